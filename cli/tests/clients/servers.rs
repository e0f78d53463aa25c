//! The servers of the course, each with a client that knows nothing of it.

use testbed::TcpState;

use crate::play::{Server, Step::*};

/// The host that connects, unless a row says otherwise.
pub const LAPTOP: &str = "ernest-laptop";
/// The host that serves.
pub const KONGMING: &str = "Kongming20";

/// In the arguments and in the client's command, ADDRESS stands for the server's
/// address and port, IP and PORT for one of them.
pub const SERVERS: &[Server] = &[
    Server {
        name: "accept_and_nc",
        lab: "accept",
        args: &["ADDRESS"],
        host: KONGMING,
        client: "nc -N IP PORT",
        internet: false,
        steps: &[
            Types(""),
            Prints("client 1 is 192.168.1.108:"),
            Says("hello"),
            Hears("hello"),
            Looks,
            Says("again"),
            Hears("again"),
            EndsInput,
            Prints("client 1: end of file after 12 bytes"),
            ClientEnds(0),
            Looks,
        ],
    },
    Server {
        name: "accept_and_telnet",
        lab: "accept",
        args: &["ADDRESS"],
        host: KONGMING,
        client: "telnet IP PORT",
        internet: false,
        steps: &[
            Hears("Connected to 192.168.1.109."),
            // In the queue, and accepted by nobody.
            Looks,
            Types(""),
            Prints("client 1 is 192.168.1.108:"),
            Says("hello"),
            Hears("hello"),
            // A line of telnet's ends in CR LF.
            EndsInput,
            Prints("client 1: end of file after 7 bytes"),
            Looks,
        ],
    },
    Server {
        name: "half_close_and_nc",
        lab: "half_close",
        args: &["server", "ADDRESS"],
        host: KONGMING,
        client: "nc -N IP PORT",
        internet: false,
        steps: &[
            Prints("accepted"),
            Says("two"),
            Says("one"),
            EndsInput,
            Prints("end of file after 8 bytes"),
            Reaches(LAPTOP, TcpState::FinWait2),
            Reaches(KONGMING, TcpState::CloseWait),
            Looks,
            Types(""),
            Hears("one"),
            Hears("two"),
            Prints("answered"),
            ClientEnds(0),
            Looks,
        ],
    },
    Server {
        name: "time_wait_and_telnet",
        lab: "time_wait",
        args: &["server", "ADDRESS"],
        host: KONGMING,
        client: "telnet IP PORT",
        internet: false,
        steps: &[
            Prints("accepted 192.168.1.108:"),
            Says("hello"),
            Prints("received hello"),
            Looks,
            Types(""),
            Prints("closed"),
            Hears("Connection closed by foreign host."),
            ServerEnds,
            Reaches(KONGMING, TcpState::TimeWait),
            Looks,
        ],
    },
    Server {
        name: "forward_proxy_and_curl",
        lab: "forward_proxy",
        args: &["ADDRESS", "80"],
        host: LAPTOP,
        client: "curl -sSi --proxy http://ADDRESS http://www.example.test/",
        internet: true,
        steps: &[
            Hears("HTTP/1.1 200"),
            Hears("Via: "),
            Hears("<html><head><title>www.example.test</title></head>"),
            ClientEnds(0),
            Prints("GET www.example.test/ 200"),
        ],
    },
    Server {
        name: "forward_proxy_and_curl_by_connect",
        lab: "forward_proxy",
        args: &["ADDRESS", "80"],
        host: LAPTOP,
        // Two requests on one connection, by CONNECT.
        client: "curl -sS -p -x http://ADDRESS -w '%{num_connects}\\n' \
                 http://www.example.test/ http://www.example.test/",
        internet: true,
        steps: &[
            Hears("<html><head><title>www.example.test</title></head>"),
            Hears("1"),
            Hears("<html><head><title>www.example.test</title></head>"),
            Hears("0"),
            ClientEnds(0),
            Prints("CONNECT www.example.test:80 200"),
        ],
    },
    Server {
        name: "forward_proxy_and_a_name_that_is_none",
        lab: "forward_proxy",
        args: &["ADDRESS", "80"],
        host: LAPTOP,
        client: "curl -sS -o /dev/null -w '%{http_code}\\n' \
                 -x http://ADDRESS http://nobody.example.test/",
        internet: true,
        steps: &[
            Hears("502"),
            ClientEnds(0),
            Prints("GET nobody.example.test/ 502"),
        ],
    },
];

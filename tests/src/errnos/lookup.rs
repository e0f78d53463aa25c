//! Names looked up: getaddrinfo. Its errors are the C library's, and its own.

use std::net::{SocketAddr, UdpSocket};

use libc::{AF_INET, AF_INET6, AF_UNSPEC, SOCK_STREAM};

use super::Probe;
use super::tools::{Play, on};
use crate::ground::Ground;
use crate::stage::LAPTOP;
use crate::sys::calls::{self, Question};

/// What is asked unless a probe says otherwise.
const USUAL: Question<'static> = Question {
    name: "www.example.test",
    service: None,
    family: AF_UNSPEC,
    kind: SOCK_STREAM,
    flags: 0,
};

pub(super) const PROBES: &[Probe] = &[
    Probe::of("getaddrinfo", "EAI_NONAME", |ground| {
        let name = "nobody.example.test";
        let given = format!("`{name}`: the DNS server says NXDOMAIN");
        ask(ground, Question { name, ..USUAL }, &given)
    })
    .with_internet(),
    Probe::of("getaddrinfo", "EAI_AGAIN", |ground| {
        ask(ground, USUAL, "`www.example.test`, and no DNS server answers")
    }),
    Probe::of("getaddrinfo", "EAI_NODATA", |ground| {
        let given =
            "`www.example.test`: the server says NOERROR and no address";
        answered(ground, 0, given)
    }),
    Probe::of("getaddrinfo", "EAI_SERVICE", |ground| {
        let service = Some("no-such-service");
        let name = "192.0.2.1";
        let question = Question { name, service, ..USUAL };
        ask(ground, question, "the service `no-such-service`")
    }),
    Probe::of("getaddrinfo", "EAI_FAMILY", |ground| {
        ask(ground, Question { family: 99, ..USUAL }, "99 for ai_family")
    }),
    Probe::of("getaddrinfo", "EAI_ADDRFAMILY", |ground| {
        let question =
            Question { name: "192.0.2.1", family: AF_INET6, ..USUAL };
        ask(ground, question, "`192.0.2.1`, with AF_INET6 for ai_family")
    }),
    Probe::of("getaddrinfo", "EAI_SOCKTYPE", |ground| {
        ask(ground, Question { kind: 99, ..USUAL }, "99 for ai_socktype")
    }),
    Probe::of("getaddrinfo", "EAI_BADFLAGS", |ground| {
        let question = Question { flags: 1 << 20, ..USUAL };
        ask(ground, question, "an unknown flag in ai_flags")
    }),
];

fn ask(ground: &Ground<'_>, question: Question<'_>, given: &str) -> Play {
    let call = || calls::getaddrinfo(&question);
    Ok(on(ground, LAPTOP, call)?.given(given))
}

/// Asks a server on the laptop itself, which answers each query with this
/// response code and nothing else.
fn answered(ground: &Ground<'_>, code: u8, given: &str) -> Play {
    // Where the resolver asks if /etc/resolv.conf names nobody: resolv.conf(5).
    let own = SocketAddr::from(([127, 0, 0, 1], 53));
    let server = ground.at(LAPTOP, "bind", || UdpSocket::bind(own))?;
    ground.host(LAPTOP)?.thread(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut query) {
            if length < 12 {
                continue;
            }
            // A response, recursion available, this code (RFC 1035, 4.1.1).
            query[2] |= 0x80;
            query[3] = 0x80 | code;
            // No record behind the question: EDNS's is dropped.
            query[6..12].fill(0);
            let end = question_end(&query[..length]);
            let _ = server.send_to(&query[..end], from); // Nobody waits.
        }
    })?;
    let question = Question { family: AF_INET, ..USUAL };
    ask(ground, question, given)
}

/// Where the question of a query ends: its name, type and class.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query.get(at).is_some_and(|length| *length > 0) {
        at += 1 + usize::from(query[at]);
    }
    (at + 5).min(query.len())
}

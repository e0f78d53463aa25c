//! Networks, and the traffic that several tests send through them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use testbed::{Backend, Host, Network, Segment, Testbed, Trace};

/// Longer than anything here takes, so that what hangs fails.
pub const SOON: Duration = Duration::from_secs(10);

/// Two hosts: the client of nearly every test, and its server.
pub struct Lan {
    pub net: Testbed,
}

impl Lan {
    pub fn up(backend: Backend) -> testbed::Result<Lan> {
        Ok(Lan { net: Network::lan().backend(backend).seed(7).up()? })
    }

    pub fn laptop(&self) -> &Host {
        self.net.host("ernest-laptop").unwrap()
    }

    pub fn server(&self) -> &Host {
        self.net.host("Kongming20").unwrap()
    }

    /// The server's IPv4 address.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.server().ip(), port)
    }

    /// A listener on the server.
    pub fn listen(&self, port: u16) -> TcpListener {
        let address = self.address(port);
        self.server().at(|| TcpListener::bind(address)).unwrap().unwrap()
    }

    /// A connection from the laptop.
    pub fn connect(&self, port: u16) -> TcpStream {
        let address = self.address(port);
        self.laptop().at(|| TcpStream::connect(address)).unwrap().unwrap()
    }

    /// Both ends of a connection, the laptop's first.
    pub fn connection(&self, port: u16) -> (TcpStream, TcpStream) {
        let listener = self.listen(port);
        let client = self.connect(port);
        let server = listener.accept().unwrap().0;
        (client, server)
    }

    /// A UDP socket on either host, each connected to the other.
    pub fn datagrams(&self) -> (UdpSocket, UdpSocket) {
        let bind = |host: &Host| {
            let address = SocketAddr::new(host.ip(), 0);
            let socket = host.at(|| UdpSocket::bind(address)).unwrap().unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket
        };
        let (laptop, server) = (bind(self.laptop()), bind(self.server()));
        laptop.connect(server.local_addr().unwrap()).unwrap();
        server.connect(laptop.local_addr().unwrap()).unwrap();
        (laptop, server)
    }

    /// The same after a round trip: whoever asks by ARP has had its answer.
    pub fn acquainted(&self) -> (UdpSocket, UdpSocket) {
        let (laptop, server) = self.datagrams();
        laptop.send(b"hello").unwrap();
        assert_eq!(receive(&server), b"hello");
        server.send(b"hello").unwrap();
        assert_eq!(receive(&laptop), b"hello");
        (laptop, server)
    }
}

/// The next datagram.
#[track_caller]
pub fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("a datagram comes");
    buffer[..length].to_vec()
}

/// Nothing has come, nor will: a later datagram, sent for the purpose, is the
/// next to be received. The wire keeps the order of what it delivers.
#[track_caller]
pub fn nothing_before_a_marker(from: &UdpSocket, to: &UdpSocket) {
    from.send(b"marker").unwrap();
    assert_eq!(receive(to), b"marker", "something came that should not have");
}

/// Sends `bytes` from one end of a connection to the other, whole.
#[track_caller]
pub fn carry(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    to.set_read_timeout(Some(SOON)).unwrap();
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).expect("the bytes come");
    assert!(got == bytes, "the bytes that came are others");
}

/// The TCP segments of a trace, with their sender.
pub fn segments(trace: &Trace) -> Vec<(String, Segment)> {
    let frames = trace.frames();
    frames
        .filter_map(|(event, frame)| {
            Some((event.host.clone(), frame.packet().segment()?))
        })
        .collect()
}

/// What the wire noted on the frames that match.
pub fn notes(trace: &Trace, what: &str) -> Vec<String> {
    let selected = trace.select(what).unwrap();
    selected.frames().flat_map(|(_, frame)| frame.wire.clone()).collect()
}

/// Two texts are the same; if not, both are shown whole.
#[track_caller]
pub fn assert_text(actual: &str, expected: &str) {
    let (actual, expected) = (actual.trim_end(), expected.trim_end());
    assert!(actual == expected, "had:\n{actual}\nshould have had:\n{expected}");
}

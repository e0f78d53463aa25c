//! Connections opened: connect, accept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;

use socket2::{SockAddr, Socket, Type};

use super::Probe;
use super::tools::{
    Play, address, bad_pointer, datagrams, interrupted, not_a_socket, not_open,
    unix, unix_socket, without_descriptors,
};
use crate::ground::{Call, Ground, bytes};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys::calls;

/// An address of a network that the two hosts know nothing of (RFC 5737).
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// No Unix socket has such a queue.
const LONG_QUEUE: usize = 100;

pub(super) const PROBES: &[Probe] = &[
    Probe::of("accept", "EAGAIN", |ground| {
        let address = ground.address(KONGMING)?;
        let listener = ground.listener(KONGMING, address)?;
        listener.set_nonblocking(true).call("fcntl")?;
        let returned = calls::accept(listener.as_raw_fd());
        Ok(returned.given("O_NONBLOCK, and an empty queue"))
    }),
    Probe::of("accept", "EINVAL", |ground| {
        let address = ground.address(KONGMING)?;
        let socket = ground.socket(KONGMING)?;
        socket.bind(&address.into()).call("bind")?;
        let returned = calls::accept(socket.as_raw_fd());
        Ok(returned.given("a bound socket that does not listen"))
    }),
    Probe::of("accept", "EOPNOTSUPP", |ground| {
        let socket = datagrams(ground, KONGMING)?;
        Ok(calls::accept(socket.as_raw_fd()).given("a UDP socket"))
    }),
    Probe::of("accept", "EMFILE", accept_too_many),
    Probe::of("accept", "EINTR", |ground| {
        let address = ground.address(KONGMING)?;
        let listener = ground.listener(KONGMING, address)?;
        let call = move || calls::accept(listener.as_raw_fd());
        let returned = interrupted(ground, KONGMING, call)?;
        Ok(returned.given("an empty queue, and a signal meanwhile"))
    }),
    Probe::of("accept", "EBADF", |_| not_open(calls::accept)),
    Probe::of("accept", "ENOTSOCK", |_| not_a_socket(calls::accept)),
    Probe::of("connect", "ECONNREFUSED", |ground| {
        let to = ground.address(KONGMING)?;
        connect(ground, to, "a port where nobody listens")
    }),
    Probe::of("connect", "ETIMEDOUT", |ground| {
        ground.arm("drop every syn")?;
        ground.set_on(LAPTOP, "net.ipv4.tcp_syn_retries", "1")?;
        let to = ground.address(KONGMING)?;
        connect(ground, to, "every SYN lost; `tcp_syn_retries=1`")
    }),
    Probe::of("connect", "EHOSTUNREACH", connect_nobody),
    Probe::of("connect", "ENETUNREACH", |ground| {
        let to = elsewhere(ground);
        connect(ground, to, "no route there, nor a default one")
    }),
    Probe::of("connect", "EACCES", |ground| {
        let to = elsewhere(ground);
        let route = format!("prohibit {ELSEWHERE}");
        ground.host(LAPTOP)?.add_route(&route)?;
        connect(ground, to, &format!("the route `{route}`"))
    }),
    Probe::of("connect", "EADDRNOTAVAIL", connect_without_ports),
    Probe::of("connect", "EINPROGRESS", |ground| {
        let (socket, to) = under_way(ground, false)?;
        let returned = calls::connect(socket.as_raw_fd(), &address(to));
        Ok(returned.given(format!("`{to}`, O_NONBLOCK")))
    }),
    Probe::of("connect", "EALREADY", |ground| {
        let (socket, to) = under_way(ground, true)?;
        let returned = calls::connect(socket.as_raw_fd(), &address(to));
        Ok(returned.given(format!("`{to}`, O_NONBLOCK, a second time")))
    }),
    Probe::of("connect", "EISCONN", |ground| {
        let pair = ground.pair()?;
        let to = address(pair.address);
        let returned = calls::connect(pair.client.as_raw_fd(), &to);
        Ok(returned.given("a connected socket"))
    }),
    Probe::of("connect", "EAFNOSUPPORT", |ground| {
        let to: SocketAddr = "[2001:db8::1]:80".parse().unwrap_or(NOWHERE);
        connect(ground, to, "with an AF_INET socket")
    }),
    Probe::of("connect", "EINVAL", |ground| {
        let socket = ground.socket(LAPTOP)?;
        let to = address(ground.address(KONGMING)?);
        let returned = calls::connect(socket.as_raw_fd(), &to[..8]);
        Ok(returned.given("8 bytes of a sockaddr_in's 16"))
    }),
    Probe::of("connect", "EINTR", |ground| {
        ground.arm("drop every syn")?;
        let to = address(ground.address(KONGMING)?);
        let socket = ground.socket(LAPTOP)?;
        let call = move || calls::connect(socket.as_raw_fd(), &to);
        let returned = interrupted(ground, LAPTOP, call)?;
        Ok(returned.given("a peer that is silent, and a signal meanwhile"))
    }),
    Probe::of("connect", "ENOENT", |_| {
        let path = "/nonexistent/server.sock";
        let socket = unix_socket(Type::STREAM)?;
        let returned = calls::connect(socket.as_raw_fd(), &unix(path));
        Ok(returned.given(format!("the path `{path}`")))
    }),
    Probe::of("connect", "EPROTOTYPE", connect_other_type),
    Probe::of("connect", "EAGAIN", connect_full_queue),
    Probe::of("connect", "EBADF", |_| {
        not_open(|fd| calls::connect(fd, &[0; 16]))
    }),
    Probe::of("connect", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::connect(fd, &[0; 16]))
    }),
    Probe::of("connect", "EFAULT", |ground| {
        bad_pointer(ground, LAPTOP, "connect")
    }),
];

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(ELSEWHERE), 80);

fn elsewhere(ground: &mut Ground<'_>) -> SocketAddr {
    SocketAddr::new(ELSEWHERE.into(), ground.stage.draw.port())
}

/// The laptop connects, and waits for what comes of it.
fn connect(ground: &Ground<'_>, to: SocketAddr, what: &str) -> Play {
    let socket = ground.socket(LAPTOP)?;
    let returned = calls::connect(socket.as_raw_fd(), &address(to));
    Ok(returned.given(format!("`{to}`: {what}")))
}

fn accept_too_many(ground: &mut Ground<'_>) -> Play {
    let to = ground.address(KONGMING)?;
    let listener = ground.listener(KONGMING, to)?;
    let client = ground.socket(LAPTOP)?;
    client.connect(&to.into()).call("connect")?;
    let fd: RawFd = listener.as_raw_fd();
    let returned = without_descriptors(ground, KONGMING, || calls::accept(fd))?;
    Ok(returned.given("a connection, and no descriptor left for it"))
}

/// A neighbour that never answers: its address is nobody's.
fn connect_nobody(ground: &mut Ground<'_>) -> Play {
    for (name, value) in [("mcast_solicit", "1"), ("retrans_time_ms", "100")] {
        let name = format!("net.ipv4.neigh.eth0.{name}");
        ground.set_on(LAPTOP, &name, value)?;
    }
    let [a, b, c, _] = bytes::v4(ground.ip(LAPTOP)?).octets();
    let nobody = Ipv4Addr::new(a, b, c, 77);
    let to = SocketAddr::new(nobody.into(), ground.stage.draw.port());
    connect(ground, to, "ARP gets no answer")
}

fn connect_without_ports(ground: &mut Ground<'_>) -> Play {
    let name = "net.ipv4.ip_local_port_range";
    ground.set_on(LAPTOP, name, "40000 40000")?;
    let to = ground.address(KONGMING)?;
    let _listener = ground.listener(KONGMING, to)?;
    let first = ground.socket(LAPTOP)?;
    first.connect(&to.into()).call("connect")?;
    connect(ground, to, "port 40000, the whole range, is in use to there")
}

/// A socket that does not wait, and whose SYN, if it has sent one, is lost.
fn under_way(
    ground: &mut Ground<'_>,
    begun: bool,
) -> Result<(Socket, SocketAddr), Halt> {
    ground.arm("drop every syn")?;
    let to = ground.address(KONGMING)?;
    let socket = ground.socket(LAPTOP)?;
    socket.set_nonblocking(true).call("fcntl")?;
    if begun {
        let _ = socket.connect(&to.into()); // EINPROGRESS.
    }
    Ok((socket, to))
}

/// A Unix stream socket that listens on a file, and one of datagrams for it.
fn connect_other_type(ground: &mut Ground<'_>) -> Play {
    let folder = ground.host(KONGMING)?.scratch();
    let none = || Halt::Missed("looked for a folder to write to".into());
    let file = folder.ok_or_else(none)?.join("server.sock");
    let _server = UnixListener::bind(&file).call("bind")?;
    let socket = unix_socket(Type::DGRAM)?;
    let path = unix(&file.display().to_string());
    let returned = calls::connect(socket.as_raw_fd(), &path);
    Ok(returned.given("SOCK_DGRAM, to a SOCK_STREAM Unix socket"))
}

/// A Unix stream socket that listens on a name that the kernel has chosen; and
/// that name.
fn unix_server() -> Result<(Socket, Vec<u8>), Halt> {
    let server = unix_socket(Type::STREAM)?;
    // Nothing but the family: a name is chosen (unix(7), "Autobind").
    let bound = calls::bind(server.as_raw_fd(), &unix("")[..2]);
    if bound.value.is_err() {
        return Err(Halt::Missed("called bind of a Unix socket".into()));
    }
    server.listen(1).call("listen")?;
    let name = server.local_addr().call("getsockname")?;
    Ok((server, in_full(&name)))
}

/// An abstract name, with the family and the zero before it.
fn in_full(address: &SockAddr) -> Vec<u8> {
    let name = address.as_abstract_namespace().unwrap_or_default();
    [&unix("")[..2], &[0], name].concat()
}

fn connect_full_queue(_: &mut Ground<'_>) -> Play {
    let (_server, name) = unix_server()?;
    let mut clients = Vec::new();
    let mut last = None;
    while clients.len() < LONG_QUEUE {
        let client = unix_socket(Type::STREAM)?;
        client.set_nonblocking(true).call("fcntl")?;
        let returned = calls::connect(client.as_raw_fd(), &name);
        let full = returned.value.is_err();
        last = Some(returned);
        if full {
            break;
        }
        clients.push(client);
    }
    let none = || Halt::Missed("called nothing".to_string());
    let given = "O_NONBLOCK, and a Unix listener whose queue is full";
    Ok(last.ok_or_else(none)?.given(given))
}

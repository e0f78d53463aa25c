//! Bytes there and back, and the end: send, sendto, sendmsg, write, recv, read,
//! shutdown, close.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_OOB, SHUT_WR};
use socket2::{SockRef, Type};

use super::Probe;
use super::tools::{
    Play, address, datagrams, interrupted, not_a_socket, not_open, unix,
    unix_socket,
};
use crate::ground::{Call, Ground, MTU_DISCOVER, Pair, bytes};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;
use crate::sys::calls::{self, Returned};

/// More than UDP's 16-bit length leaves room for over IPv4.
const TOO_LONG: usize = 65_508;
/// More than fits into a frame of Ethernet's MTU.
const TWO_FRAMES: usize = 1_473;
/// IOV_MAX of linux/uio.h, and one more.
const TOO_MANY_PARTS: usize = 1_025;
/// An address of a network that the two hosts know nothing of (RFC 5737).
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// What waits for an acknowledgement no longer than this.
const BRIEFLY: Duration = Duration::from_millis(300);

pub(super) const PROBES: &[Probe] = &[
    Probe::of("send", "EPIPE", |ground| {
        let client = closed_by_peer(ground)?;
        let returned = calls::send(client.as_raw_fd(), b"more", MSG_NOSIGNAL);
        Ok(returned.given("a peer that has closed, and said so by a RST"))
    }),
    Probe::of("send", "ECONNRESET", |ground| {
        let client = reset(ground)?;
        let returned = calls::send(client.as_raw_fd(), b"more", MSG_NOSIGNAL);
        Ok(returned.given("a connection that the peer has reset"))
    }),
    Probe::of("send", "EAGAIN", |ground| {
        let pair = unread(ground)?;
        let returned = until_it_fails(fd(&pair), MSG_DONTWAIT);
        Ok(returned.given("MSG_DONTWAIT, and a send buffer that is full"))
    }),
    Probe::of("send", "EINTR", |ground| {
        let pair = unread(ground)?;
        let call = move || until_it_fails(fd(&pair), MSG_NOSIGNAL);
        let returned = interrupted(ground, LAPTOP, call)?;
        Ok(returned.given("a full send buffer, and a signal meanwhile"))
    }),
    Probe::of("send", "EMSGSIZE", |ground| {
        let (client, _server) = ground.udp_pair()?;
        let returned = calls::send(client.as_raw_fd(), &[0; TOO_LONG], 0);
        Ok(returned.given(format!("a datagram of {TOO_LONG} bytes")))
    }),
    Probe::of("send", "EDESTADDRREQ", |ground| {
        let socket = datagrams(ground, LAPTOP)?;
        let returned = calls::send(socket.as_raw_fd(), b"to whom?", 0);
        Ok(returned.given("a UDP socket that is not connected"))
    }),
    Probe::of("send", "ECONNREFUSED", |ground| {
        let client = unheard(ground)?;
        let returned = calls::send(client.as_raw_fd(), b"again", 0);
        Ok(returned.given("UDP, after an ICMP port unreachable"))
    }),
    Probe::of("send", "ENOTCONN", |_| {
        let socket = unix_socket(Type::STREAM)?;
        let returned = calls::send(socket.as_raw_fd(), b"x", MSG_NOSIGNAL);
        Ok(returned.given("a Unix stream socket that is not connected"))
    }),
    Probe::of("send", "EOPNOTSUPP", |ground| {
        let (client, _server) = ground.udp_pair()?;
        let returned = calls::send(client.as_raw_fd(), b"!", MSG_OOB);
        Ok(returned.given("MSG_OOB, with a UDP socket"))
    }),
    Probe::of("send", "EBADF", |_| not_open(|fd| calls::send(fd, b"x", 0))),
    Probe::of("send", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::send(fd, b"x", 0))
    }),
    Probe::of("send", "EFAULT", |ground| {
        let pair = ground.pair()?;
        let returned = calls::with_a_bad_pointer("send", fd(&pair));
        Ok(returned.given("a pointer to address 8, where nothing is"))
    }),
    Probe::of("write", "EPIPE", |ground| {
        let client = closed_by_peer(ground)?;
        let returned = calls::write(client.as_raw_fd(), b"more");
        Ok(returned.given("a peer that has closed; SIGPIPE ignored"))
    }),
    Probe::of("sendto", "EACCES", |ground| {
        let [a, b, c, _] = bytes::v4(ground.ip(LAPTOP)?).octets();
        let to = Ipv4Addr::new(a, b, c, 255);
        sendto(ground, to, "no SO_BROADCAST")
    }),
    Probe::of("sendto", "ENETUNREACH", |ground| {
        sendto(ground, ELSEWHERE, "no route there, nor a default one")
    }),
    Probe::of("sendto", "EHOSTUNREACH", |ground| {
        let route = format!("unreachable {ELSEWHERE}");
        ground.host(LAPTOP)?.add_route(&route)?;
        sendto(ground, ELSEWHERE, &format!("the route `{route}`"))
    }),
    Probe::of("sendto", "EINVAL", |ground| {
        let to = SocketAddr::new(ground.ip(KONGMING)?, 0);
        let socket = datagrams(ground, LAPTOP)?;
        let returned = calls::sendto(socket.as_raw_fd(), b"x", &address(to));
        Ok(returned.given(format!("`{to}`: port 0")))
    }),
    Probe::of("sendto", "EAFNOSUPPORT", |ground| {
        let to = SocketAddr::new([0_u16; 8].into(), ground.stage.draw.port());
        let socket = datagrams(ground, LAPTOP)?;
        let returned = calls::sendto(socket.as_raw_fd(), b"x", &address(to));
        Ok(returned.given(format!("`{to}`, with an AF_INET socket")))
    }),
    Probe::of("sendto", "EMSGSIZE", |ground| {
        let to = ground.address(KONGMING)?;
        let socket = datagrams(ground, LAPTOP)?;
        sys::set_option(&socket, MTU_DISCOVER, libc::IP_PMTUDISC_DO)
            .call("setsockopt")?;
        let text = [0; TWO_FRAMES];
        let returned = calls::sendto(socket.as_raw_fd(), &text, &address(to));
        let given = format!("{TWO_FRAMES} bytes, IP_PMTUDISC_DO, MTU 1500");
        Ok(returned.given(given))
    }),
    Probe::of("sendto", "EISCONN", |_| {
        let (client, _server) = UnixStream::pair().call("socketpair")?;
        let to = unix("/tmp/other.sock");
        let returned = calls::sendto(client.as_raw_fd(), b"x", &to);
        Ok(returned.given("a path, with a connected Unix stream socket"))
    }),
    Probe::of("sendmsg", "EMSGSIZE", |ground| {
        let pair = ground.pair()?;
        let returned = calls::sendmsg(fd(&pair), TOO_MANY_PARTS, b"x", &[]);
        Ok(returned.given(format!("{TOO_MANY_PARTS} parts")))
    }),
    Probe::of("sendmsg", "ENOBUFS", |ground| {
        let (client, _server) = ground.udp_pair()?;
        // Above any net.core.optmem_max.
        let control = vec![0; 1 << 24];
        let returned = calls::sendmsg(client.as_raw_fd(), 1, b"x", &control);
        Ok(returned.given("16 MiB of control data"))
    }),
    Probe::of("sendmsg", "EINVAL", |ground| {
        let (client, _server) = ground.udp_pair()?;
        let control = control(4, libc::SOL_IP, libc::IP_TTL, 64);
        let returned = calls::sendmsg(client.as_raw_fd(), 1, b"x", &control);
        Ok(returned.given("a cmsghdr whose cmsg_len is 4"))
    }),
    Probe::of("sendmsg", "EBADF", |_| {
        let (client, _server) = UnixStream::pair().call("socketpair")?;
        let (level, kind) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        let control = control(HEADER + 4, level, kind, -1);
        let returned = calls::sendmsg(client.as_raw_fd(), 1, b"x", &control);
        Ok(returned.given("SCM_RIGHTS with the descriptor -1"))
    }),
    Probe::of("recv", "EAGAIN", |ground| {
        let pair = ground.pair()?;
        let returned = calls::recv(fd(&pair), MSG_DONTWAIT);
        Ok(returned.given("MSG_DONTWAIT, and nothing has come"))
    }),
    Probe::of("recv", "ECONNRESET", |ground| {
        let client = reset(ground)?;
        let returned = calls::recv(client.as_raw_fd(), 0);
        Ok(returned.given("a connection that the peer has reset"))
    }),
    Probe::of("recv", "ETIMEDOUT", recv_unacknowledged),
    Probe::of("recv", "ECONNREFUSED", |ground| {
        let client = unheard(ground)?;
        let returned = calls::recv(client.as_raw_fd(), 0);
        Ok(returned.given("UDP, after an ICMP port unreachable"))
    }),
    Probe::of("recv", "ENOTCONN", |ground| {
        let socket = ground.socket(LAPTOP)?;
        let returned = calls::recv(socket.as_raw_fd(), 0);
        Ok(returned.given("a TCP socket that is not connected"))
    }),
    Probe::of("recv", "EINVAL", |ground| {
        let pair = ground.pair()?;
        let returned = calls::recv(fd(&pair), MSG_OOB);
        Ok(returned.given("MSG_OOB, and no urgent byte has come"))
    }),
    Probe::of("recv", "EINTR", |ground| {
        let pair = ground.pair()?;
        pair.client.set_read_timeout(None).call("setsockopt")?;
        let call = move || calls::recv(fd(&pair), 0);
        let returned = interrupted(ground, LAPTOP, call)?;
        Ok(returned.given("nothing to read, and a signal meanwhile"))
    }),
    Probe::of("recv", "EBADF", |_| not_open(|fd| calls::recv(fd, 0))),
    Probe::of("recv", "ENOTSOCK", |_| not_a_socket(|fd| calls::recv(fd, 0))),
    Probe::of("recv", "EFAULT", |ground| {
        let pair = ground.pair()?;
        pair.answer(b"hello")?;
        ground.queued(LAPTOP, 5)?;
        let returned = calls::with_a_bad_pointer("recv", fd(&pair));
        Ok(returned.given("a pointer to address 8, where nothing is"))
    }),
    Probe::of("read", "EAGAIN", |ground| {
        let pair = ground.pair()?;
        pair.client.set_read_timeout(Some(BRIEFLY)).call("setsockopt")?;
        Ok(calls::read(fd(&pair))
            .given("SO_RCVTIMEO of 0.3 s, and nothing came"))
    }),
    Probe::of("read", "ECONNRESET", |ground| {
        let client = reset(ground)?;
        let returned = calls::read(client.as_raw_fd());
        Ok(returned.given("a connection that the peer has reset"))
    }),
    Probe::of("shutdown", "ENOTCONN", |ground| {
        let socket = ground.socket(LAPTOP)?;
        let returned = calls::shutdown(socket.as_raw_fd(), SHUT_WR);
        Ok(returned.given("a TCP socket that is not connected"))
    }),
    Probe::of("shutdown", "EINVAL", |ground| {
        let pair = ground.pair()?;
        Ok(calls::shutdown(fd(&pair), 3).given("3 for `how`"))
    }),
    Probe::of("shutdown", "EBADF", |_| {
        not_open(|fd| calls::shutdown(fd, SHUT_WR))
    }),
    Probe::of("shutdown", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::shutdown(fd, SHUT_WR))
    }),
    Probe::of("close", "EBADF", |_| {
        Ok(calls::close_none().given("the descriptor -1"))
    }),
];

fn fd(pair: &Pair) -> i32 {
    pair.client.as_raw_fd()
}

/// The server has closed; the client has sent all the same, and got a RST.
fn closed_by_peer(ground: &mut Ground<'_>) -> Result<TcpStream, Halt> {
    let Pair { client, server, .. } = ground.pair()?;
    drop(server);
    ground.socket_in(LAPTOP, testbed::TcpState::CloseWait)?;
    ground.acknowledged(KONGMING)?;
    let sent = calls::send(client.as_raw_fd(), b"too late", MSG_NOSIGNAL);
    if sent.value.is_err() {
        return Err(Halt::Missed("called send after a FIN".into()));
    }
    ground.settled(LAPTOP)?;
    Ok(client)
}

/// The server has closed by a RST, which has come.
fn reset(ground: &mut Ground<'_>) -> Result<TcpStream, Halt> {
    let Pair { client, server, .. } = ground.pair()?;
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .call("setsockopt")?;
    drop(server);
    ground.settled(LAPTOP)?;
    Ok(client)
}

/// A connection on which nothing that is sent leaves the buffer again: the wire
/// loses each acknowledgement.
fn unread(ground: &mut Ground<'_>) -> Result<Pair, Halt> {
    let pair = ground.pair()?;
    ground.arm("drop every tcp from Kongming20")?;
    Ok(pair)
}

/// Sends as long as there is room. A retransmission makes some: the kernel then
/// merges segments.
fn until_it_fails(fd: i32, flags: i32) -> Returned {
    loop {
        let returned = calls::send(fd, &[0; 4096], flags);
        if returned.value.is_err() {
            return returned;
        }
    }
}

/// A UDP socket whose datagram nobody wanted, and who has been told.
fn unheard(ground: &mut Ground<'_>) -> Result<UdpSocket, Halt> {
    let to = ground.address(KONGMING)?;
    let client = ground.udp(LAPTOP)?;
    client.connect(to).call("connect")?;
    client.send(b"anybody there?").call("send")?;
    ground.wait("icmp from Kongming20", 1)?;
    ground.round_trip()?;
    Ok(client)
}

/// The laptop sends a datagram to this address.
fn sendto(ground: &mut Ground<'_>, to: Ipv4Addr, what: &str) -> Play {
    let to = SocketAddr::new(to.into(), ground.stage.draw.port());
    let socket = datagrams(ground, LAPTOP)?;
    let returned = calls::sendto(socket.as_raw_fd(), b"x", &address(to));
    Ok(returned.given(format!("`{to}`: {what}")))
}

/// The bytes of a cmsghdr before its data.
const HEADER: usize = std::mem::size_of::<libc::cmsghdr>();

/// Control data of one int: cmsg(3).
fn control(length: usize, level: i32, kind: i32, value: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value.to_ne_bytes());
    bytes.resize(HEADER + std::mem::size_of::<usize>(), 0);
    bytes
}

/// Data that is never acknowledged, on a socket that does not wait for long.
fn recv_unacknowledged(ground: &mut Ground<'_>) -> Play {
    let option = (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT);
    let briefly = BRIEFLY.as_millis() as i32;
    let pair = ground.pair_with(
        |socket| sys::set_option(socket, option, briefly),
        |_| Ok(()),
    )?;
    ground.arm("drop every tcp from ernest-laptop")?;
    pair.say(b"hello?")?;
    let returned = calls::recv(fd(&pair), 0);
    let given = "data that nobody acknowledges; TCP_USER_TIMEOUT 300 ms";
    Ok(returned.given(given))
}

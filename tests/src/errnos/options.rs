//! Options: getsockopt, setsockopt.

use std::os::fd::AsRawFd;

use libc::{
    IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_MTU, IPPROTO_TCP,
    SO_BINDTODEVICE, SO_KEEPALIVE, SO_RCVBUFFORCE, SO_RCVTIMEO, SOL_IP,
    SOL_SOCKET, TCP_CONGESTION, TCP_NODELAY,
};
use socket2::Type;

use super::Probe;
use super::tools::{
    Play, bad_pointer, datagrams, not_a_socket, not_open, unix_socket,
    unprivileged,
};
use crate::ground::{Ground, bytes};
use crate::stage::{Halt, KONGMING};
use crate::sys::calls;

type Option = (libc::c_int, libc::c_int);

const KEEPALIVE: Option = (SOL_SOCKET, SO_KEEPALIVE);
const NODELAY: Option = (IPPROTO_TCP, TCP_NODELAY);
/// No option of TCP's has this number.
const UNKNOWN: Option = (IPPROTO_TCP, 9_999);
const JOIN: Option = (SOL_IP, IP_ADD_MEMBERSHIP);
const LEAVE: Option = (SOL_IP, IP_DROP_MEMBERSHIP);
/// An int that is not 0.
const ON: [u8; 4] = 1_i32.to_ne_bytes();

pub(super) const PROBES: &[Probe] = &[
    Probe::of("getsockopt", "ENOPROTOOPT", |ground| {
        let socket = ground.socket(KONGMING)?;
        let returned = calls::getsockopt(socket.as_raw_fd(), UNKNOWN, 4);
        Ok(returned.given("`IPPROTO_TCP, 9999`"))
    }),
    Probe::of("getsockopt", "EOPNOTSUPP", |_| {
        let socket = unix_socket(Type::STREAM)?;
        let returned = calls::getsockopt(socket.as_raw_fd(), NODELAY, 4);
        Ok(returned.given("TCP_NODELAY of a Unix socket"))
    }),
    Probe::of("getsockopt", "EINVAL", |ground| {
        let socket = ground.socket(KONGMING)?;
        let returned = calls::getsockopt(socket.as_raw_fd(), KEEPALIVE, -1);
        Ok(returned.given("SO_KEEPALIVE, with the length -1"))
    }),
    Probe::of("getsockopt", "ENOTCONN", |ground| {
        let socket = datagrams(ground, KONGMING)?;
        let option = (SOL_IP, IP_MTU);
        let returned = calls::getsockopt(socket.as_raw_fd(), option, 4);
        Ok(returned.given("IP_MTU of a UDP socket that is not connected"))
    }),
    Probe::of("getsockopt", "EFAULT", |ground| {
        bad_pointer(ground, KONGMING, "getsockopt")
    }),
    Probe::of("getsockopt", "EBADF", |_| {
        not_open(|fd| calls::getsockopt(fd, KEEPALIVE, 4))
    }),
    Probe::of("getsockopt", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::getsockopt(fd, KEEPALIVE, 4))
    }),
    Probe::of("setsockopt", "ENOPROTOOPT", |ground| {
        let given = "`IPPROTO_TCP, 9999`";
        of_tcp(ground, UNKNOWN, &ON, given)
    }),
    Probe::of("setsockopt", "EOPNOTSUPP", |_| {
        let socket = unix_socket(Type::STREAM)?;
        let returned = calls::setsockopt(socket.as_raw_fd(), NODELAY, &ON);
        Ok(returned.given("TCP_NODELAY of a Unix socket"))
    }),
    Probe::of("setsockopt", "EINVAL", |ground| {
        of_tcp(ground, KEEPALIVE, &[1], "SO_KEEPALIVE as 1 byte, not an int")
    }),
    Probe::of("setsockopt", "EDOM", |ground| {
        let (seconds, micros): (libc::time_t, libc::suseconds_t) =
            (0, 1_500_000);
        let value = [seconds.to_ne_bytes(), micros.to_ne_bytes()].concat();
        let given = "SO_RCVTIMEO with a tv_usec of 1500000";
        of_tcp(ground, (SOL_SOCKET, SO_RCVTIMEO), &value, given)
    }),
    Probe::of("setsockopt", "EPERM", |ground| {
        let socket = ground.socket(KONGMING)?;
        let option = (SOL_SOCKET, SO_RCVBUFFORCE);
        let call = || calls::setsockopt(socket.as_raw_fd(), option, &ON);
        let returned = unprivileged(ground, KONGMING, call)?;
        Ok(returned.given("SO_RCVBUFFORCE, no CAP_NET_ADMIN"))
    }),
    Probe::of("setsockopt", "ENODEV", |ground| {
        let option = (SOL_SOCKET, SO_BINDTODEVICE);
        of_tcp(ground, option, b"eth7\0", "SO_BINDTODEVICE, `eth7`")
    }),
    Probe::of("setsockopt", "ENOENT", |ground| {
        let option = (IPPROTO_TCP, TCP_CONGESTION);
        of_tcp(ground, option, b"pigeon", "TCP_CONGESTION, `pigeon`")
    }),
    Probe::of("setsockopt", "EADDRINUSE", |ground| {
        let group = group(ground, 1)?;
        member(ground, &[(JOIN, group), (JOIN, group)], "the same group twice")
    }),
    Probe::of("setsockopt", "EADDRNOTAVAIL", |ground| {
        let group = group(ground, 1)?;
        let given = "IP_DROP_MEMBERSHIP of a group that it is not in";
        member(ground, &[(LEAVE, group)], given)
    }),
    Probe::of("setsockopt", "ENOBUFS", |ground| {
        let name = "net.ipv4.igmp_max_memberships";
        ground.set_on(KONGMING, name, "1")?;
        let (one, two) = (group(ground, 1)?, group(ground, 2)?);
        let given = "a second group; `igmp_max_memberships=1`";
        member(ground, &[(JOIN, one), (JOIN, two)], given)
    }),
    Probe::of("setsockopt", "EFAULT", |ground| {
        bad_pointer(ground, KONGMING, "setsockopt")
    }),
    Probe::of("setsockopt", "EBADF", |_| {
        not_open(|fd| calls::setsockopt(fd, KEEPALIVE, &ON))
    }),
    Probe::of("setsockopt", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::setsockopt(fd, KEEPALIVE, &ON))
    }),
];

fn of_tcp(
    ground: &Ground<'_>,
    option: Option,
    value: &[u8],
    given: &str,
) -> Play {
    let socket = ground.socket(KONGMING)?;
    let returned = calls::setsockopt(socket.as_raw_fd(), option, value);
    Ok(returned.given(given))
}

/// A struct ip_mreq: a group for local use (RFC 2365), and the interface.
fn group(ground: &Ground<'_>, number: u8) -> Result<[u8; 8], Halt> {
    let [a, b, c, d] = bytes::v4(ground.ip(KONGMING)?).octets();
    Ok([239, 255, 0, number, a, b, c, d])
}

/// Groups joined and left by one socket; what came of the last.
fn member(
    ground: &Ground<'_>,
    acts: &[(Option, [u8; 8])],
    given: &str,
) -> Play {
    let socket = datagrams(ground, KONGMING)?;
    let fd = socket.as_raw_fd();
    let mut returned = None;
    for (option, group) in acts {
        returned = Some(calls::setsockopt(fd, *option, group));
    }
    let none = || Halt::Missed("called nothing".to_string());
    Ok(returned.ok_or_else(none)?.given(given))
}

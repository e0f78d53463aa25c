//! Sockets and their names: socket, socketpair, bind, listen, getsockname,
//! getpeername.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use libc::{AF_INET, AF_UNSPEC, SOCK_RAW, SOCK_RDM, SOCK_STREAM};
use socket2::Type;

use super::Probe;
use super::tools::{
    Play, address, bad_pointer, datagrams, not_a_socket, not_open, on, unix,
    unix_socket, unprivileged, without_descriptors,
};
use crate::ground::{Call, Ground};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys::calls;

pub(super) const PROBES: &[Probe] = &[
    Probe::of("socket", "EAFNOSUPPORT", |ground| {
        let given = "`AF_UNSPEC, SOCK_STREAM, 0`";
        opened(ground, (AF_UNSPEC, SOCK_STREAM, 0), given)
    }),
    Probe::of("socket", "EPROTONOSUPPORT", |ground| {
        let given = "`AF_INET, SOCK_STREAM, IPPROTO_UDP`";
        opened(ground, (AF_INET, SOCK_STREAM, libc::IPPROTO_UDP), given)
    }),
    Probe::of("socket", "ESOCKTNOSUPPORT", |ground| {
        let given = "`AF_INET, SOCK_RDM, 0`";
        opened(ground, (AF_INET, SOCK_RDM, 0), given)
    }),
    Probe::of("socket", "EINVAL", |ground| {
        opened(ground, (AF_INET, 99, 0), "`AF_INET, 99, 0`")
    }),
    Probe::of("socket", "EPERM", socket_raw),
    Probe::of("socket", "EMFILE", socket_too_many),
    Probe::of("socketpair", "EOPNOTSUPP", |_| {
        let returned = calls::socketpair(AF_INET, SOCK_STREAM);
        Ok(returned.given("`AF_INET, SOCK_STREAM`"))
    }),
    Probe::of("bind", "EACCES", bind_low),
    Probe::of("bind", "EADDRINUSE", bind_taken),
    Probe::of("bind", "EADDRNOTAVAIL", bind_foreign),
    Probe::of("bind", "EINVAL", bind_twice),
    Probe::of("bind", "EAFNOSUPPORT", bind_other_family),
    Probe::of("bind", "ENOENT", bind_nowhere),
    Probe::of("bind", "EBADF", |_| not_open(|fd| calls::bind(fd, &[0; 16]))),
    Probe::of("bind", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::bind(fd, &[0; 16]))
    }),
    Probe::of("bind", "EFAULT", |ground| bad_pointer(ground, KONGMING, "bind")),
    Probe::of("listen", "EADDRINUSE", listen_second),
    Probe::of("listen", "EOPNOTSUPP", |ground| {
        let socket = datagrams(ground, KONGMING)?;
        Ok(calls::listen(socket.as_raw_fd(), 5).given("a UDP socket"))
    }),
    Probe::of("listen", "EINVAL", |ground| {
        let pair = ground.pair()?;
        let returned = calls::listen(pair.client.as_raw_fd(), 5);
        Ok(returned.given("a connected TCP socket"))
    }),
    Probe::of("listen", "EBADF", |_| not_open(|fd| calls::listen(fd, 5))),
    Probe::of("listen", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::listen(fd, 5))
    }),
    Probe::of("getsockname", "EINVAL", |ground| {
        let socket = ground.socket(KONGMING)?;
        let returned = calls::getsockname(socket.as_raw_fd(), -1);
        Ok(returned.given("the length -1"))
    }),
    Probe::of("getsockname", "EFAULT", |ground| {
        bad_pointer(ground, KONGMING, "getsockname")
    }),
    Probe::of("getsockname", "EBADF", |_| {
        not_open(|fd| calls::getsockname(fd, 16))
    }),
    Probe::of("getsockname", "ENOTSOCK", |_| {
        not_a_socket(|fd| calls::getsockname(fd, 16))
    }),
    Probe::of("getpeername", "ENOTCONN", |ground| {
        let address = ground.address(KONGMING)?;
        let listener = ground.listener(KONGMING, address)?;
        let returned = calls::getpeername(listener.as_raw_fd());
        Ok(returned.given("a listening socket"))
    }),
    Probe::of("getpeername", "EBADF", |_| not_open(calls::getpeername)),
    Probe::of("getpeername", "ENOTSOCK", |_| not_a_socket(calls::getpeername)),
];

fn opened(
    ground: &Ground<'_>,
    (domain, kind, protocol): (i32, i32, i32),
    given: &str,
) -> Play {
    let call = || calls::socket(domain, kind, protocol);
    Ok(on(ground, KONGMING, call)?.given(given))
}

fn socket_raw(ground: &mut Ground<'_>) -> Play {
    let call = || calls::socket(AF_INET, SOCK_RAW, libc::IPPROTO_ICMP);
    let returned = unprivileged(ground, KONGMING, call)?;
    Ok(returned.given("`AF_INET, SOCK_RAW, IPPROTO_ICMP`, no CAP_NET_RAW"))
}

fn socket_too_many(ground: &mut Ground<'_>) -> Play {
    let call = || calls::socket(AF_INET, SOCK_STREAM, 0);
    let returned = without_descriptors(ground, KONGMING, call)?;
    Ok(returned.given("RLIMIT_NOFILE descriptors open already"))
}

fn bind_low(ground: &mut Ground<'_>) -> Play {
    let to = SocketAddr::new(ground.ip(KONGMING)?, 80);
    let socket = ground.socket(KONGMING)?;
    let call = || calls::bind(socket.as_raw_fd(), &address(to));
    let returned = unprivileged(ground, KONGMING, call)?;
    Ok(returned.given(format!("`{to}`, no CAP_NET_BIND_SERVICE")))
}

fn bind_taken(ground: &mut Ground<'_>) -> Play {
    let to = ground.address(KONGMING)?;
    let _listener = ground.listener(KONGMING, to)?;
    bind(ground, to, "on which another socket listens")
}

fn bind_foreign(ground: &mut Ground<'_>) -> Play {
    let to = ground.address(LAPTOP)?;
    bind(ground, to, "which is another host's")
}

fn bind(ground: &Ground<'_>, to: SocketAddr, what: &str) -> Play {
    let socket = ground.socket(KONGMING)?;
    let returned = calls::bind(socket.as_raw_fd(), &address(to));
    Ok(returned.given(format!("`{to}`, {what}")))
}

fn bind_twice(ground: &mut Ground<'_>) -> Play {
    let (first, second) =
        (ground.address(KONGMING)?, ground.address(KONGMING)?);
    let socket = ground.socket(KONGMING)?;
    socket.bind(&first.into()).call("bind")?;
    let returned = calls::bind(socket.as_raw_fd(), &address(second));
    Ok(returned.given(format!("a socket that is bound to `{first}`")))
}

fn bind_other_family(ground: &mut Ground<'_>) -> Play {
    let to: SocketAddr = ([0_u16; 8], ground.stage.draw.port()).into();
    let socket = ground.socket(KONGMING)?;
    let returned = calls::bind(socket.as_raw_fd(), &address(to));
    Ok(returned.given(format!("`{to}`, with an AF_INET socket")))
}

fn bind_nowhere(_: &mut Ground<'_>) -> Play {
    let socket = unix_socket(Type::STREAM)?;
    let path = "/nonexistent/server.sock";
    let returned = calls::bind(socket.as_raw_fd(), &unix(path));
    Ok(returned.given(format!("the path `{path}`")))
}

fn listen_second(ground: &mut Ground<'_>) -> Play {
    let to = ground.address(KONGMING)?;
    let bound = |ground: &Ground<'_>| {
        let socket = ground.socket(KONGMING)?;
        socket.set_reuse_address(true).call("setsockopt")?;
        socket.bind(&to.into()).call("bind")?;
        Ok::<_, Halt>(socket)
    };
    let (first, second) = (bound(ground)?, bound(ground)?);
    first.listen(5).call("listen")?;
    let returned = calls::listen(second.as_raw_fd(), 5);
    let given = "both sockets bound with SO_REUSEADDR, one listens";
    Ok(returned.given(format!("`{to}`: {given}")))
}

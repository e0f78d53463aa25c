//! Another right program: nix, and one socket for all tries: a bind that
//! has failed leaves nothing behind on it, so options can be set and bind
//! called again.
//!
//! Usage: bind_errors < ADDRESSES, an ADDRESS:PORT a line
//! See also: bind(2), socket(7), ipv6(7)

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage,
    bind, listen, setsockopt, socket,
};
use socket2::Socket;

const BACKLOG: i32 = 5;
/// From this port on, no capability is needed.
const UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

fn main() -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let address: SocketAddr =
            line.parse().with_context(|| format!("parse {line}"))?;
        match listen_on(address) {
            Ok((listener, helped)) => {
                let name = listener.local_addr().context("getsockname")?;
                let name = name.as_socket().context("getsockname")?;
                println!("listening on {name}{helped}");
                listeners.push(listener);
            }
            // The socket that failed is closed by now; the next is a new one.
            Err((call, errno)) => {
                println!("{call} {address}: {errno:?}, {}", advice(errno));
            }
        }
    }
    Ok(())
}

/// A listener, and what it took to get it; or the call that failed, and how.
fn listen_on(
    address: SocketAddr,
) -> Result<(Socket, &'static str), (&'static str, Errno)> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let (flags, name) =
        (SockFlag::SOCK_CLOEXEC, SockaddrStorage::from(address));
    let fd = socket(family, SockType::Stream, flags, SockProtocol::Tcp)
        .map_err(|errno| ("socket", errno))?;
    let mut helped = "";
    while let Err(errno) = bind(fd.as_raw_fd(), &name) {
        // A bind that has failed leaves the socket as it was.
        helped = match (errno, helped) {
            (Errno::EADDRINUSE, "") => {
                let set = setsockopt(&fd, ReuseAddr, &true);
                set.map_err(|errno| ("setsockopt", errno))?;
                ", with SO_REUSEADDR"
            }
            (Errno::EADDRINUSE, ", with SO_REUSEADDR") if address.is_ipv6() => {
                let set = setsockopt(&fd, Ipv6V6Only, &true);
                set.map_err(|errno| ("setsockopt", errno))?;
                ", with IPV6_V6ONLY"
            }
            _ => return Err(("bind", errno)),
        };
    }
    let backlog = Backlog::new(BACKLOG).map_err(|errno| ("listen", errno))?;
    listen(&fd, backlog).map_err(|errno| ("listen", errno))?;
    Ok((Socket::from(fd), helped))
}

/// What an error of bind(2) or listen(2) means for who wants to serve.
fn advice(errno: Errno) -> String {
    match errno {
        Errno::EACCES => {
            let first = std::fs::read_to_string(UNPRIVILEGED);
            let first = first.unwrap_or_default();
            format!("ports below {} want a capability", first.trim())
        }
        Errno::EADDRINUSE => "another socket has the port".into(),
        Errno::EADDRNOTAVAIL => "no interface has this address".into(),
        _ => errno.desc().to_string(),
    }
}

//! Another right program: a socket without options asks whether the port is
//! anybody's; every listener has SO_REUSEADDR, so that a later run finds no
//! old connection in its way.
//!
//! Usage: bind_errors < ADDRESSES, an ADDRESS:PORT a line
//! See also: bind(2), socket(7), ipv6(7)

use std::io;
use std::net::SocketAddr;

use anyhow::Context;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

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
    // Is the port anybody's at all? A socket that is only to be told so is
    // closed again at the end of its line.
    let free = match bound(address, false, false) {
        Ok(_) => true,
        Err((_, Errno::EADDRINUSE)) => false,
        Err(failed) => return Err(failed),
    };
    let mut helped = if free { "" } else { ", with SO_REUSEADDR" };
    let mut socket = bound(address, true, false);
    if let Err((_, Errno::EADDRINUSE)) = socket
        && address.is_ipv6()
    {
        helped = ", with IPV6_V6ONLY";
        socket = bound(address, true, true);
    }
    let socket = socket?;
    socket.listen(BACKLOG).map_err(|err| ("listen", errno(&err)))?;
    Ok((socket, helped))
}

fn bound(
    address: SocketAddr,
    reuse: bool,
    ipv6_alone: bool,
) -> Result<Socket, (&'static str, Errno)> {
    let failed = |call| move |err: io::Error| (call, errno(&err));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .map_err(failed("socket"))?;
    socket.set_reuse_address(reuse).map_err(failed("setsockopt"))?;
    if address.is_ipv6() {
        socket.set_only_v6(ipv6_alone).map_err(failed("setsockopt"))?;
    }
    socket.bind(&address.into()).map_err(failed("bind"))?;
    Ok(socket)
}

fn errno(err: &io::Error) -> Errno {
    Errno::from_raw(err.raw_os_error().unwrap_or_default())
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

//! The mistake: SO_REUSEPORT, where the old connection had SO_REUSEADDR.
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
    let failed = |call| move |err: io::Error| (call, errno(&err));
    let tries: &[&str] = match address {
        SocketAddr::V4(_) => &["", ", with SO_REUSEADDR"],
        SocketAddr::V6(_) => &["", ", with SO_REUSEADDR", ", with IPV6_V6ONLY"],
    };
    let mut last = ("bind", Errno::EADDRINUSE);
    for (at, helped) in tries.iter().enumerate() {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, None)
            .map_err(failed("socket"))?;
        // Each try has what the one before it had, and one thing more.
        if at >= 1 {
            socket.set_reuse_port(true).map_err(failed("setsockopt"))?;
        }
        if at >= 2 {
            socket.set_only_v6(true).map_err(failed("setsockopt"))?;
        }
        let bound = socket.bind(&address.into()).map_err(failed("bind"));
        // With SO_REUSEADDR, bind may leave it to listen to say no.
        let done = bound
            .and_then(|()| socket.listen(BACKLOG).map_err(failed("listen")));
        match done {
            Ok(()) => return Ok((socket, helped)),
            Err((call, Errno::EADDRINUSE)) => last = (call, Errno::EADDRINUSE),
            Err(failed) => return Err(failed),
        }
    }
    Err(last)
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

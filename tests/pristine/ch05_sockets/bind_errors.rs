//! Listen on whatever address you are told, or say why that cannot be.
//!
//! bind(2) is where a server learns whether an address and a port can be its
//! own. Its errno says what is wrong, but EADDRINUSE has several reasons: a
//! socket listens there, an old connection still has the port, or it is IPv4
//! that has it and you have asked for both. Which one it was shows when you ask
//! again with SO_REUSEADDR set, and then with IPV6_V6ONLY.
//!
//! Usage: bind_errors < ADDRESSES, an ADDRESS:PORT a line
//! See also: bind(2), listen(2), getsockname(2), socket(7): SO_REUSEADDR,
//! ipv6(7): IPV6_V6ONLY, capabilities(7): CAP_NET_BIND_SERVICE

use std::io;
use std::net::SocketAddr;

use anyhow::Context;
use nix::errno::Errno;
use socket2::Socket;

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
    // 1. Make a TCP socket of the address' family, bind it to `address` as it
    //    stands, and listen. If that goes well, return the socket and `""`.
    // 2. If a call fails, return its name and its errno: `("bind", EACCES)`.
    //    No descriptor is left of the attempt.
    // 3. But where the errno is EADDRINUSE, try again with SO_REUSEADDR. If
    //    that helps, return the socket and `", with SO_REUSEADDR"`.
    // 4. If it does not, and the address is of IPv6, try once more, with
    //    IPV6_V6ONLY beside it: `", with IPV6_V6ONLY"`. If nothing helps, the
    //    error is EADDRINUSE.
    todo!("bind_errors is not started: {address}")
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

//! Another right program: nix has the four calls as they are, with an errno
//! in place of an io::Error.
//!
//! Usage: connect_errors < TARGETS, an ADDRESS:PORT a line
//! See also: connect(2), tcp(7)

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getpeername,
    getsockname, socket,
};

/// Somebody who says no says so sooner. A kernel that waits for an answer asks
/// once a second.
const SOON: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let target: SocketAddr =
            line.parse().with_context(|| format!("parse {line}"))?;
        println!("{target}: {}", attempt(target));
    }
    Ok(())
}

/// What came of one attempt to connect.
fn attempt(target: SocketAddr) -> String {
    let start = Instant::now();
    let connected = connected(target);
    let took = start.elapsed();
    match connected {
        Ok(false) => "connected".into(),
        Ok(true) => "connected to itself".into(),
        Err(errno) => {
            let (why, seconds) = (explain(errno, took), took.as_secs_f64());
            format!("{errno:?} after {seconds:.3} s, {why}")
        }
    }
}

/// Connects, and closes again: had the connection one end only?
fn connected(target: SocketAddr) -> nix::Result<bool> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(target))?;
    let own: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    let peer: SockaddrStorage = getpeername(fd.as_raw_fd())?;
    Ok(own == peer)
}

/// Why an attempt failed, by its errno and by how long it took.
fn explain(errno: Errno, took: Duration) -> &'static str {
    match errno {
        Errno::ECONNREFUSED => "nobody listens there",
        Errno::ETIMEDOUT => "nobody answers",
        Errno::EHOSTUNREACH if took < SOON => "somebody says no",
        Errno::EHOSTUNREACH => "no neighbour has the address",
        Errno::ENETUNREACH => "no route leads there",
        Errno::EADDRNOTAVAIL => "no local port is left",
        _ => errno.desc(),
    }
}

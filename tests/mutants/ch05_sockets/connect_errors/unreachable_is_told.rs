//! The mistake: EHOSTUNREACH is always somebody's answer.
//!
//! Usage: connect_errors < TARGETS, an ADDRESS:PORT a line
//! See also: connect(2), tcp(7)

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;

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
    // A socket of its own, which is closed before the next attempt.
    let connected = TcpStream::connect(target);
    let took = start.elapsed();
    match connected.and_then(|conn| is_its_own_peer(&conn)) {
        Ok(false) => "connected".into(),
        Ok(true) => "connected to itself".into(),
        Err(err) => {
            let errno = Errno::from_raw(err.raw_os_error().unwrap_or(0));
            let (why, seconds) = (explain(errno, took), took.as_secs_f64());
            format!("{errno:?} after {seconds:.3} s, {why}")
        }
    }
}

/// Both ends of a connection have one name: it has one end only.
fn is_its_own_peer(conn: &TcpStream) -> io::Result<bool> {
    Ok(conn.local_addr()? == conn.peer_addr()?)
}

/// Why an attempt failed, by its errno and by how long it took.
fn explain(errno: Errno, _took: Duration) -> &'static str {
    match errno {
        Errno::ECONNREFUSED => "nobody listens there",
        Errno::ETIMEDOUT => "nobody answers",
        Errno::EHOSTUNREACH => "somebody says no",
        Errno::ENETUNREACH => "no route leads there",
        Errno::EADDRNOTAVAIL => "no local port is left",
        _ => errno.desc(),
    }
}

//! The mistake: where connect returns 0 there is somebody.
//!
//! Usage: connect_errors < TARGETS, an ADDRESS:PORT a line
//! See also: connect(2), tcp(7)

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;

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
    // A socket of its own, which is closed before the next attempt.
    let connected = TcpStream::connect(target);
    let took = start.elapsed();
    match connected {
        Ok(_) => "connected".into(),
        Err(err) => {
            let errno = Errno::from_raw(err.raw_os_error().unwrap_or(0));
            let (why, seconds) = (explain(errno, took), took.as_secs_f64());
            format!("{errno:?} after {seconds:.3} s, {why}")
        }
    }
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

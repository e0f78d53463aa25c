//! Connect within a deadline of one's own.
//!
//! Where nothing answers, `connect(2)` waits for as long as its kernel sends
//! SYNs: more than two minutes. A socket that does not block returns from it at
//! once, with EINPROGRESS, and the kernel goes on by itself. `poll(2)` tells
//! when the attempt is over, or that the time is; SO_ERROR tells how it went.
//! Closing the socket is what stops the SYNs.
//!
//! Usage: connect_timeout ADDRESS:PORT MILLISECONDS
//! See also: connect(2): EINPROGRESS, poll(2), socket(7): SO_ERROR, tcp(7):
//! tcp_syn_retries; RFC 6298

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;

const USAGE: &str = "usage: connect_timeout ADDRESS:PORT MILLISECONDS";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let limit: u64 =
        args.next().context(USAGE)?.parse().context("parse MILLISECONDS")?;

    println!("connecting for {limit} ms at most");
    match connect_within(address, Duration::from_millis(limit)) {
        Ok(Some(conn)) => {
            println!("connected");
            println!("read {} bytes", count(conn).context("read")?);
        }
        Ok(None) => println!("gave up"),
        Err(err) => println!("connect: {}", name(&err)),
    }
    // There is time to see what this host still has of the attempt.
    io::stdin().read_to_end(&mut Vec::new()).context("read standard input")?;
    Ok(())
}

/// A connection, or `None`: there was none when the time was over.
fn connect_within(
    address: SocketAddr,
    limit: Duration,
) -> io::Result<Option<TcpStream>> {
    // 1. Begin to connect to `address` without waiting for it: one attempt.
    // 2. Sleep until the attempt is over, or until `limit` has passed since the
    //    beginning. In the second case stop the attempt, so that no SYN leaves
    //    any more, and return `None`.
    // 3. Find out how the attempt went. If it failed, return the error that the
    //    kernel has for it: ECONNREFUSED, or ETIMEDOUT if the kernel gave up
    //    before you did.
    // 4. Return the connection, as one whose reads wait for data.
    todo!("connect_timeout is not started: {address} {limit:?}")
}

/// How many bytes come before end-of-file.
fn count(mut conn: TcpStream) -> io::Result<usize> {
    conn.read_to_end(&mut Vec::new())
}

/// The error's name, as in errno(3).
fn name(err: &io::Error) -> String {
    let errno = err.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| err.to_string(), |errno| format!("{errno:?}"))
}

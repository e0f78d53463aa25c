//! The mistake: a new attempt every tenth of a second, until one succeeds or
//! the time is over.
//!
//! Usage: connect_timeout ADDRESS:PORT MILLISECONDS
//! See also: connect(2): EINPROGRESS, poll(2), socket(7): SO_ERROR, tcp(7):
//! tcp_syn_retries; RFC 6298

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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

/// As long as one attempt is given.
const A_WHILE: Duration = Duration::from_millis(100);

/// A connection, or `None`: there was none when the time was over.
fn connect_within(
    address: SocketAddr,
    limit: Duration,
) -> io::Result<Option<TcpStream>> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        let a_while = left.clamp(Duration::from_millis(1), A_WHILE);
        match TcpStream::connect_timeout(&address, a_while) {
            // Its own deadline, which has no errno.
            Err(err) if err.raw_os_error().is_none() => {}
            result => return result.map(Some),
        }
    }
    Ok(None)
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

//! Another right program: SO_SNDTIMEO bounds connect(2) too, on Linux: it
//! fails with EINPROGRESS when the time is over. The option is taken off
//! before the socket is used for anything else.
//!
//! Usage: connect_timeout ADDRESS:PORT MILLISECONDS
//! See also: connect(2): EINPROGRESS, poll(2), socket(7): SO_ERROR, tcp(7):
//! tcp_syn_retries; RFC 6298

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    if let Err(err) = socket.connect(&address.into()) {
        return match err.raw_os_error() {
            Some(libc::EINPROGRESS) => Ok(None),
            _ => Err(err),
        };
    }
    socket.set_write_timeout(None)?;
    Ok(Some(socket.into()))
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

//! The mistake: the connection is handed over as it is: a read from it does
//! not wait.
//!
//! Usage: connect_timeout ADDRESS:PORT MILLISECONDS
//! See also: connect(2): EINPROGRESS, poll(2), socket(7): SO_ERROR, tcp(7):
//! tcp_syn_retries; RFC 6298

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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
    let deadline = Instant::now() + limit;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(err) if err.raw_os_error() == Some(libc::EINPROGRESS) => {}
        other => other?,
    }
    if !is_over(&socket, deadline)? {
        return Ok(None); // `socket` is closed: no more SYNs
    }
    // Over, but how? The error is told once, and then the socket forgets it.
    if let Some(err) = socket.take_error()? {
        return Err(err);
    }
    Ok(Some(socket.into()))
}

/// Sleeps until the attempt has come to an end, or until the deadline: `false`.
fn is_over(socket: &Socket, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a poll of 0 ms would not sleep through the last one.
        let left = left.as_micros().div_ceil(1000);
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, left) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            // A signal, or a time that is longer than poll(2) can wait.
            Ok(0) | Err(Errno::EINTR) => {}
            result => return Ok(result? > 0),
        }
    }
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

//! The mistake: a socket whose connect has failed is used for the next
//! target.
//!
//! Usage: connect_errors < TARGETS, an ADDRESS:PORT a line
//! See also: connect(2), tcp(7)

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

/// Somebody who says no says so sooner. A kernel that waits for an answer asks
/// once a second.
const SOON: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let mut socket = None;
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let target: SocketAddr =
            line.parse().with_context(|| format!("parse {line}"))?;
        println!("{target}: {}", attempt(&mut socket, target));
    }
    Ok(())
}

/// What came of one attempt to connect.
fn attempt(socket: &mut Option<Socket>, target: SocketAddr) -> String {
    let start = Instant::now();
    let connected = connect(socket, target);
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

/// connect(2) begins, poll(2) waits, and SO_ERROR tells how it went.
fn connect(
    kept: &mut Option<Socket>,
    target: SocketAddr,
) -> io::Result<TcpStream> {
    let socket = match kept.take() {
        Some(socket) => socket,
        None => Socket::new(Domain::for_address(target), Type::STREAM, None)?,
    };
    socket.set_nonblocking(true)?;
    match socket.connect(&target.into()) {
        Err(err) if err.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(err) => {
            *kept = Some(socket); // It is as good as new.
            return Err(err);
        }
        Ok(()) => {}
    }
    poll(
        &mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)],
        PollTimeout::NONE,
    )?;
    match socket.take_error()? {
        Some(err) => {
            *kept = Some(socket); // It is as good as new.
            Err(err)
        }
        None => Ok(socket.into()),
    }
}

/// Both ends of a connection have one name: it has one end only.
fn is_its_own_peer(conn: &TcpStream) -> io::Result<bool> {
    Ok(conn.local_addr()? == conn.peer_addr()?)
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

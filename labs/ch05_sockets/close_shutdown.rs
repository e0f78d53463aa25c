//! A child for each connection, and a parent that can end it over its head.
//!
//! After `fork(2)` both processes have a descriptor of the same connection.
//! `close(2)` gives one back: the kernel sends the FIN when the last is closed,
//! in whichever process it is. `shutdown(2)` does not count. It acts on the
//! connection, for every process that has it.
//!
//! Usage: close_shutdown ADDRESS:PORT
//! See also: fork(2), close(2), shutdown(2), wait(2), signalfd(2)

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{ForkResult, fork};

const USAGE: &str = "usage: close_shutdown ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;

    // 1. Listen on `address`; print `listening on ADDRESS:PORT`.
    // 2. Accept whoever comes; clients are numbered from 1. Print
    //    `client N is ADDRESS:PORT`, and fork a child that calls `serve` and
    //    ends. The child has no other TCP socket open while it serves. The
    //    parent keeps its descriptor of the connection.
    // 3. Do what is typed, each a line; shutdown(2) on client N's connection:
    //      `write N`   SHUT_WR: the client is told that nothing more will come
    //      `read N`    SHUT_RD: the child reads to the end of what has come
    //      `both N`    SHUT_RDWR
    //    Print `client N: SHUT_WR`, and so on; or, if the call fails, the name
    //    of the error, such as `client N: ENOTCONN`. Then go on.
    // 4. When a child has ended, by itself or by a signal, wait for it, and
    //    close the parent's descriptor of its connection. Print
    //    `client N: closed`.
    // 5. When standard input ends, close the listener; go on with 4 until there
    //    is no child left. Print `stopped`, and return.
    // While there is nothing to do, sleep: `wait` does.
    todo!("close_shutdown is not started: {address}")
}

/// Sends back what comes, as long as it may, and reads to the end of file.
#[allow(dead_code)] // Until you use it; the line can go then.
fn serve(number: usize, mut conn: TcpStream) {
    let (mut bytes, mut sent) = (0, 0);
    let mut buf = [0; 1024];
    let end = loop {
        match conn.read(&mut buf) {
            Ok(0) => break "end of file".to_string(),
            Ok(more) => {
                bytes += more;
                // EPIPE: this direction is shut down. The other may go on.
                sent += conn.write_all(&buf[..more]).map_or(0, |()| more);
            }
            Err(err) => break errno(&err),
        }
    };
    println!("child {number}: {bytes} bytes in, {sent} bytes out, {end}");
}

/// A descriptor that is readable as long as SIGCHLD is pending. Blocked, the
/// signal stays so, and interrupts no call.
#[allow(dead_code)] // Until you use it; the line can go then.
fn sigchld() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    SignalFd::new(&mask)
}

/// Sleeps until there is something: on standard input (its end counts), a child
/// that has ended, a client.
#[allow(dead_code)] // Until you use it; the line can go then.
fn wait(listener: &TcpListener, signals: &SignalFd) -> nix::Result<[bool; 3]> {
    let stdin = io::stdin();
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [stdin.as_fd(), signals.as_fd(), listener.as_fd()].map(watch);
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(fds.map(|fd| fd.any().unwrap_or(true)))
}

/// One line of standard input; `None`: its end. It is read byte by byte: poll(2)
/// knows nothing of lines that wait in a buffer of ours.
#[allow(dead_code)] // Until you use it; the line can go then.
fn command() -> nix::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match nix::unistd::read(io::stdin(), &mut byte)? {
            0 => return Ok(None),
            _ if byte == *b"\n" => break,
            _ => line.extend(byte),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// `fork(2)`: this very program twice, from here on.
#[allow(dead_code)] // Until you use it; the line can go then.
fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child finds every lock free.
    unsafe { fork() }
}

/// `ECONNRESET`
#[allow(dead_code)] // Until you use it; the line can go then.
fn errno(err: &io::Error) -> String {
    let number = err.raw_os_error();
    number.map_or(err.to_string(), |raw| format!("{:?}", Errno::from_raw(raw)))
}

//! The mistake: it closes a descriptor, where it is told to end a connection.
//!
//! Usage: close_shutdown ADDRESS:PORT
//! See also: close(2), shutdown(2)

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

const USAGE: &str = "usage: close_shutdown ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;

    let signals = sigchld().context("signalfd")?;
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);

    let mut clients = serve_all(listener, &signals)?;
    reap(&mut clients, WaitPidFlag::empty()).context("waitpid")?;
    println!("stopped");
    Ok(())
}

/// The parent's descriptor of a connection that a child serves.
struct Client {
    number: usize,
    conn: Option<TcpStream>,
}

/// Gives each client a child, and does what is typed, until standard input
/// ends: the listener is closed then, and the clients who are left returned.
fn serve_all(
    listener: TcpListener,
    signals: &SignalFd,
) -> anyhow::Result<HashMap<Pid, Client>> {
    let mut clients = HashMap::new();
    let mut number = 0;
    loop {
        let [typed, ended, client] =
            wait(&listener, signals).context("poll")?;
        if ended {
            signals.read_signal().context("read signalfd")?;
            reap(&mut clients, WaitPidFlag::WNOHANG).context("waitpid")?;
        }
        if typed {
            match command().context("read standard input")? {
                Some(line) => obey(&line, &mut clients),
                None => return Ok(clients),
            }
        }
        if client {
            let (conn, peer) = listener.accept().context("accept")?;
            number += 1;
            println!("client {number} is {peer}");
            match start_process().context("fork")? {
                ForkResult::Parent { child } => {
                    clients
                        .insert(child, Client { number, conn: Some(conn) });
                }
                ForkResult::Child => {
                    // It has a copy of everything: of the listener, and of
                    // each connection that the parent has kept.
                    drop(listener);
                    drop(clients);
                    serve(number, conn);
                    std::process::exit(0);
                }
            }
        }
    }
}

/// Closes the connection.
fn obey(line: &str, clients: &mut HashMap<Pid, Client>) {
    let (word, number) = line.split_once(' ').unwrap_or_default();
    let (how, name) = match word {
        "write" => (None, "SHUT_WR"),
        "read" => (Some(Shutdown::Read), "SHUT_RD"),
        "both" => (None, "SHUT_RDWR"),
        _ => return,
    };
    let client = clients.values_mut().find(|it| it.number.to_string() == number);
    let end = |client: &mut Client| match (how, &client.conn) {
        (Some(how), Some(conn)) => conn.shutdown(how),
        _ => {
            client.conn = None; // close(2)
            Ok(())
        }
    };
    match client.map(end) {
        Some(Ok(())) => println!("client {number}: {name}"),
        // ENOTCONN: its client has reset, and there is nothing to end.
        Some(Err(err)) => println!("client {number}: {}", errno(&err)),
        None => {}
    }
}

/// Waits for children that have ended, and closes the parent's descriptor of
/// each one's connection. With WNOHANG it does not wait for those that live.
fn reap(
    clients: &mut HashMap<Pid, Client>,
    flags: WaitPidFlag,
) -> nix::Result<()> {
    loop {
        let ended = match waitpid(None, Some(flags)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            ended => ended?, // by itself, or killed by a signal
        };
        let client = ended.pid().and_then(|child| clients.remove(&child));
        if let Some(Client { number, conn }) = client {
            drop(conn); // the last one: now there is a FIN, or a RST
            println!("client {number}: closed");
        }
    }
}

/// Sends back what comes, as long as it may, and reads to the end of file.
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
fn sigchld() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    SignalFd::new(&mask)
}

/// Sleeps until there is something: on standard input (its end counts), a child
/// that has ended, a client.
fn wait(listener: &TcpListener, signals: &SignalFd) -> nix::Result<[bool; 3]> {
    let stdin = io::stdin();
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [stdin.as_fd(), signals.as_fd(), listener.as_fd()].map(watch);
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(fds.map(|fd| fd.any().unwrap_or(true)))
}

/// One line of standard input; `None`: its end. It is read byte by byte: poll(2)
/// knows nothing of lines that wait in a buffer of ours.
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
fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child finds every lock free.
    unsafe { fork() }
}

/// `ECONNRESET`
fn errno(err: &io::Error) -> String {
    let number = err.raw_os_error();
    number.map_or(err.to_string(), |raw| format!("{:?}", Errno::from_raw(raw)))
}

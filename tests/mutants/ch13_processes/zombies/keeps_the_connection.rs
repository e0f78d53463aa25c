//! The mistake: the parent keeps its copy of each connection.
//! Prints what the solution prints, as long as no client waits for the end.
//!
//! Usage: zombies ADDRESS:PORT
//! See also: fork(2), wait(2), signal(7), signalfd(2)

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: zombies ADDRESS:PORT";
const BACKLOG: i32 = 16;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    let listener = listen(address)?;
    // Blocked, the signal interrupts no call. It stays pending, and as long as
    // it does a signalfd is readable.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().context("sigprocmask")?;
    let signals = SignalFd::new(&mask).context("signalfd")?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);

    let mut children = HashMap::new();
    let mut served = Vec::new();
    loop {
        let [input, ended, client] =
            wait(&listener, &signals).context("poll")?;
        if ended {
            signals.read_signal().context("read signalfd")?;
            reap(&mut children, WaitPidFlag::WNOHANG).context("waitpid")?;
        }
        if client {
            let (conn, peer) = listener.accept().context("accept")?;
            match start_process().context("fork")? {
                ForkResult::Child => {
                    // While one copy is open, the port is listened on.
                    drop(listener);
                    std::process::exit(serve(conn));
                }
                ForkResult::Parent { child } => {
                    println!("child for {peer}");
                    children.insert(child, peer);
                    served.push(conn);
                }
            }
        }
        if input {
            break;
        }
    }

    drop(listener);
    println!("closing");
    reap(&mut children, WaitPidFlag::empty()).context("waitpid")?;
    println!("stopped");
    Ok(())
}

/// Sends back what comes, to its end; how many lines that were.
fn serve(mut conn: TcpStream) -> i32 {
    let mut buf = [0; 1024];
    let mut lines = 0;
    loop {
        // A read returns what has come by now: half a line, or several.
        match conn.read(&mut buf) {
            Ok(0) | Err(_) => return lines, // end-of-file, or a reset
            Ok(n) => {
                let ends = buf[..n].iter().filter(|byte| **byte == b'\n');
                lines += ends.count() as i32;
                if conn.write_all(&buf[..n]).is_err() {
                    return lines;
                }
            }
        }
    }
}

/// Asks for the status of each child that has ended. With WNOHANG it does not
/// wait for those that live; without, it returns when there is none left.
fn reap(
    children: &mut HashMap<Pid, SocketAddr>,
    flags: WaitPidFlag,
) -> nix::Result<()> {
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::Exited(child, status)) => {
                if let Some(peer) = children.remove(&child) {
                    println!("child for {peer} ended with status {status}");
                }
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) => {} // killed by a signal: reaped all the same
            Err(err) => return Err(err),
        }
    }
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

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    Ok(TcpListener::from(socket))
}

/// `fork(2)`: this very program twice, from here on.
fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child finds every lock free.
    unsafe { fork() }
}

//! Another right program: raw calls. A handler writes a byte to a pipe of the
//! program's own, and `poll` waits for that: the self-pipe trick, older than
//! signalfd. The calls that the signal interrupts are made again.
//!
//! Usage: zombies ADDRESS:PORT
//! See also: pipe(2), sigaction(2), signal-safety(7)

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::Context;

/// Where the handler writes to.
static WAKE: AtomicI32 = AtomicI32::new(-1);

fn main() -> anyhow::Result<()> {
    let address =
        std::env::args().nth(1).context("usage: zombies ADDR:PORT")?;
    let address: SocketAddr = address.parse().context("parse ADDR:PORT")?;
    let mut listener = Some(TcpListener::bind(address).context("bind")?);
    let (woken, wake) = pipe().context("pipe2")?;
    WAKE.store(wake.as_raw_fd(), Ordering::Relaxed);
    catch_sigchld().context("sigaction")?;
    println!("listening on {address}");

    let mut children = BTreeMap::new();
    while let Some(open) = &listener {
        let [input, ended, client] =
            wait([0, woken.as_raw_fd(), open.as_raw_fd()]).context("poll")?;
        if client {
            let (conn, peer) = open.accept().context("accept")?;
            match fork().context("fork")? {
                0 => {
                    listener = None;
                    end(serve(conn));
                }
                child => children.insert(child, peer),
            };
            println!("child for {peer}");
        }
        if ended {
            let mut bytes = [0; 64];
            read(&woken, &mut bytes).context("read")?;
            while reap(&mut children, libc::WNOHANG).context("waitpid")? {}
        }
        if input {
            listener = None;
        }
    }
    println!("closing");
    while reap(&mut children, 0).context("waitpid")? {}
    println!("stopped");
    Ok(())
}

/// The same in other pieces: eleven bytes at a time.
fn serve(mut conn: TcpStream) -> i32 {
    let mut buf = [0; 11];
    let mut lines = 0;
    while let Ok(n @ 1..) = conn.read(&mut buf) {
        for byte in &buf[..n] {
            lines += i32::from(*byte == b'\n');
        }
        if conn.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    lines
}

/// Reaps one child; `false`: there is none to be reaped.
fn reap(
    children: &mut BTreeMap<i32, SocketAddr>,
    flags: i32,
) -> io::Result<bool> {
    let mut status = 0;
    // SAFETY: `status` is an int of ours.
    let child = unsafe { libc::waitpid(-1, &mut status, flags) };
    match child {
        -1 => match io::Error::last_os_error() {
            err if err.raw_os_error() == Some(libc::ECHILD) => Ok(false),
            err if err.kind() == io::ErrorKind::Interrupted => Ok(true),
            err => Err(err),
        },
        0 => Ok(false),
        child => {
            if let Some(peer) = children.remove(&child) {
                let status = libc::WEXITSTATUS(status);
                println!("child for {peer} ended with status {status}");
            }
            Ok(true)
        }
    }
}

fn wait(fds: [RawFd; 3]) -> io::Result<[bool; 3]> {
    let event = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut fds = fds.map(event);
    loop {
        // SAFETY: three entries, in an array of ours.
        match unsafe { libc::poll(fds.as_mut_ptr(), 3, -1) } {
            -1 => match io::Error::last_os_error() {
                err if err.kind() == io::ErrorKind::Interrupted => {}
                err => return Err(err),
            },
            _ => return Ok(fds.map(|fd| fd.revents != 0)),
        }
    }
}

fn catch_sigchld() -> io::Result<()> {
    // SAFETY: the all-zero sigaction is valid; the handler makes one call,
    // which signal-safety(7) lists.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = wake as *const () as usize;
        action.sa_flags = libc::SA_NOCLDSTOP;
        libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn wake(_signal: i32) {
    // SAFETY: one byte that lives as long as the program. A full pipe is as
    // good as one more byte in it.
    unsafe {
        libc::write(WAKE.load(Ordering::Relaxed), c"".as_ptr().cast(), 1)
    };
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: two ints of ours.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are open, and nobody else has them.
    Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).into())
}

fn read(from: &OwnedFd, bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: the length is that of `bytes`.
    let n = unsafe {
        libc::read(from.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len())
    };
    if n >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn fork() -> io::Result<i32> {
    // SAFETY: the process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(child),
    }
}

fn end(status: i32) -> ! {
    // SAFETY: ends this process; nothing of it is used any more.
    unsafe { libc::_exit(status) }
}

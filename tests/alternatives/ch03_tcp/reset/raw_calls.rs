//! Another right program: read(2), write(2), shutdown(2) and close(2) by their
//! numbers. It closes its listener at once, aborts with a linger structure of
//! its own, and waits in poll(2) while it drains.
//!
//! Usage: reset server ADDRESS:PORT
//!        reset client ADDRESS:PORT
//! See also: connect(2), read(2), write(2), poll(2), close(2), socket(7)

use std::io::{self, BufRead};
use std::mem::size_of;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{IntoRawFd, RawFd};

use anyhow::{Context, bail};
use libc::{c_int, c_void, socklen_t};

const USAGE: &str = "usage: reset server|client ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => {
            let listener = TcpListener::bind(address).context("bind")?;
            println!("listening on {address}");
            let conn = listener.accept().context("accept")?.0;
            drop(listener);
            println!("accepted");
            obey(conn.into_raw_fd())
        }
        ["client", address] => match TcpStream::connect(address) {
            Ok(conn) => {
                println!("connected");
                obey(conn.into_raw_fd())
            }
            Err(err) => {
                println!("connect: {}", name(&err));
                Ok(())
            }
        },
        _ => bail!(USAGE),
    }
}

fn obey(fd: RawFd) -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let mut words = line.splitn(2, ' ');
        match (words.next(), words.next()) {
            (Some("read"), None) => match read(fd) {
                Ok(0) => println!("read: end of file"),
                Ok(count) => println!("read: {count} bytes"),
                Err(err) => println!("read: {}", name(&err)),
            },
            (Some("write"), Some(text)) => match write(fd, text) {
                Ok(count) => println!("write: {count} bytes"),
                Err(err) => println!("write: {}", name(&err)),
            },
            (Some("close"), None) => {
                close(fd).context("close")?;
                println!("closed");
                break;
            }
            (Some("abort"), None) => {
                linger(fd).context("setsockopt SO_LINGER")?;
                close(fd).context("close")?;
                println!("aborted");
                break;
            }
            (Some("drain"), None) => {
                shut_down(fd).context("shutdown")?;
                let mut count = 0;
                loop {
                    wait_readable(fd).context("poll")?;
                    match read(fd).context("read")? {
                        0 => break, // the peer's FIN
                        more => count += more,
                    }
                }
                close(fd).context("close")?;
                println!("drained {count} bytes");
                break;
            }
            _ => bail!("no such command: {line}"),
        }
    }
    Ok(())
}

/// The errors that these calls have here.
fn name(err: &io::Error) -> String {
    match err.raw_os_error() {
        Some(libc::ECONNREFUSED) => "ECONNREFUSED".to_string(),
        Some(libc::ECONNRESET) => "ECONNRESET".to_string(),
        Some(libc::EPIPE) => "EPIPE".to_string(),
        _ => err.to_string(),
    }
}

/// What a system call returned, or errno.
fn check(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

fn read(fd: RawFd) -> io::Result<usize> {
    let mut buf = [0_u8; 1024];
    // SAFETY: the buffer is valid for writes of its length.
    check(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) })
}

fn write(fd: RawFd, text: &str) -> io::Result<usize> {
    // SAFETY: the text is valid for reads of its length.
    check(unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) })
}

fn close(fd: RawFd) -> io::Result<usize> {
    // SAFETY: `obey` owns the descriptor, and does not use it again.
    check(unsafe { libc::close(fd) } as isize)
}

fn shut_down(fd: RawFd) -> io::Result<usize> {
    // SAFETY: passes no pointers.
    check(unsafe { libc::shutdown(fd, libc::SHUT_WR) } as isize)
}

fn wait_readable(fd: RawFd) -> io::Result<usize> {
    let mut wish = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, as the count says, that outlives the call.
    check(unsafe { libc::poll(&raw mut wish, 1, -1) } as isize)
}

fn linger(fd: RawFd) -> io::Result<usize> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    let value: *const c_void = (&raw const at_once).cast();
    let length = size_of::<libc::linger>() as socklen_t;
    let (level, option): (c_int, c_int) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: `value` points at `length` bytes that outlive the call.
    check(unsafe { libc::setsockopt(fd, level, option, value, length) } as isize)
}

//! Another right program: setsockopt(2) itself, and SO_ERROR asked when poll(2)
//! says POLLERR.
//!
//! Usage: half_open plain ADDRESS:PORT
//!        half_open keepalive IDLE INTERVAL COUNT ADDRESS:PORT   (seconds)
//!        half_open user-timeout MILLISECONDS ADDRESS:PORT
//! See also: setsockopt(2), poll(2), socket(7) under SO_ERROR

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address = args.last().context("which address?")?;
    let listener = TcpListener::bind(address).context("bind")?;
    println!("listening on {address}");
    let (mut conn, peer) = listener.accept().context("accept")?;
    let number = |at: usize| args[at].parse::<libc::c_int>();
    match (args[0].as_str(), args.len()) {
        ("plain", 2) => {}
        ("keepalive", 5) => {
            for (option, value) in [
                (libc::TCP_KEEPCNT, number(3)?),
                (libc::TCP_KEEPINTVL, number(2)?),
                (libc::TCP_KEEPIDLE, number(1)?),
            ] {
                set(&conn, libc::IPPROTO_TCP, option, value)?;
            }
            set(&conn, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        }
        ("user-timeout", 3) => {
            let option = libc::TCP_USER_TIMEOUT;
            set(&conn, libc::IPPROTO_TCP, option, number(1)?)?;
        }
        _ => bail!("usage: half_open HOW ADDRESS:PORT"),
    }
    println!("accepted {}", peer.ip());

    let mut stdin = Some(io::stdin());
    let mut buf = [0; 512];
    loop {
        let (there, typed) = wait(&conn, stdin.as_ref())?;
        if there.contains(PollFlags::POLLERR) {
            let error = conn.take_error()?.and_then(|err| err.raw_os_error());
            match error {
                Some(libc::ECONNRESET) => println!("connection reset"),
                Some(libc::ETIMEDOUT) => println!("connection timed out"),
                other => bail!("the connection: error {other:?}"),
            }
            return Ok(());
        }
        if !there.is_empty() {
            let count = conn.read(&mut buf).context("read")?;
            if count == 0 {
                println!("end of file");
                return Ok(());
            }
            let text = buf[..count].trim_ascii_end();
            println!("received {}", text.escape_ascii());
        }
        if typed {
            let mut line = String::new();
            if io::stdin().read_line(&mut line)? == 0 {
                stdin = None;
                continue;
            }
            conn.write_all(line.as_bytes()).context("write")?;
            println!("sent {} bytes", line.len());
        }
    }
}

/// What there is on the connection, and whether something was typed.
fn wait(
    conn: &TcpStream,
    stdin: Option<&io::Stdin>,
) -> anyhow::Result<(PollFlags, bool)> {
    let mut fds = vec![PollFd::new(conn.as_fd(), PollFlags::POLLIN)];
    if let Some(stdin) = stdin {
        fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
    }
    poll(&mut fds, PollTimeout::NONE).context("poll")?;
    let there = fds[0].revents().unwrap_or(PollFlags::empty());
    let typed = fds.get(1).and_then(|fd| fd.any()).unwrap_or(false);
    Ok((there, typed))
}

/// `setsockopt(2)` of an `int`.
fn set(
    conn: &TcpStream,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> anyhow::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to an int that outlives the call, and `size` is
    // its size.
    let done = unsafe {
        let value = std::ptr::from_ref(&value).cast();
        libc::setsockopt(conn.as_raw_fd(), level, option, value, size)
    };
    if done == -1 {
        return Err(io::Error::last_os_error()).context("setsockopt");
    }
    Ok(())
}

//! Another right program: the calls by nix, which returns errno as it is. It
//! drains with recv(2) and MSG_TRUNC, which copies nothing.
//!
//! Usage: reset server ADDRESS:PORT
//!        reset client ADDRESS:PORT
//! See also: connect(2), read(2), write(2), socket(7): SO_LINGER; RFC 9293,
//! sections 3.5.2 and 3.6.1; RFC 1122, section 4.2.2.13

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, recv, send, setsockopt, shutdown, sockopt::Linger,
};

const USAGE: &str = "usage: reset server|client ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;

    match role.as_str() {
        "server" => serve(address),
        "client" => call(address),
        _ => bail!(USAGE),
    }
}

fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    let (conn, _peer) = listener.accept().context("accept")?;
    println!("accepted");
    obey(conn)
}

/// Connects once. A refusal is an answer, and not a failure of this program.
fn call(address: SocketAddr) -> anyhow::Result<()> {
    let conn = match TcpStream::connect(address) {
        Ok(conn) => conn,
        Err(err) => {
            println!("connect: {}", name(&err));
            return Ok(());
        }
    };
    println!("connected");
    obey(conn)
}

/// Makes the call that each line asks for, until one ends the connection.
fn obey(conn: TcpStream) -> anyhow::Result<()> {
    let mut buf = [0; 1024];
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let (verb, text) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "read" => match recv(conn.as_raw_fd(), &mut buf, MsgFlags::empty())
            {
                Ok(0) => println!("read: end of file"),
                result => tell("read", result),
            },
            "write" => {
                let flags = MsgFlags::MSG_NOSIGNAL;
                tell("write", send(conn.as_raw_fd(), text.as_bytes(), flags))
            }
            "close" => {
                drop(conn);
                println!("closed");
                return Ok(());
            }
            "abort" => {
                abort(conn).context("abort")?;
                println!("aborted");
                return Ok(());
            }
            "drain" => {
                let count = drain(conn).context("drain")?;
                println!("drained {count} bytes");
                return Ok(());
            }
            _ => bail!("no such command: {line}"),
        }
    }
    Ok(())
}

/// What a call that was made once has returned.
fn tell(call: &str, result: nix::Result<usize>) {
    match result {
        Ok(count) => println!("{call}: {count} bytes"),
        Err(errno) => println!("{call}: {errno:?}"),
    }
}

/// Closes with RST: what is not acknowledged yet will not be sent again.
fn abort(conn: TcpStream) -> io::Result<()> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&conn, Linger, &at_once)?;
    Ok(())
}

/// Closes in order whatever the peer still sends; how much it was.
fn drain(conn: TcpStream) -> io::Result<usize> {
    shutdown(conn.as_raw_fd(), nix::sys::socket::Shutdown::Write)?;
    // Up to the peer's FIN: then nothing is left that close(2) could find
    // unread. A real server would not wait for ever.
    let mut count = 0;
    loop {
        match recv(conn.as_raw_fd(), &mut [0; 256], MsgFlags::MSG_TRUNC)? {
            0 => return Ok(count),
            more => count += more,
        }
    }
}

/// The error's name, as in errno(3).
fn name(err: &io::Error) -> String {
    let errno = err.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| err.to_string(), |errno| format!("{errno:?}"))
}

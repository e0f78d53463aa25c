//! The mistake: it reads up to the peer's end of file, and the peer waits for
//! ours.
//!
//! Usage: reset server ADDRESS:PORT
//!        reset client ADDRESS:PORT
//! See also: connect(2), read(2), write(2), socket(7): SO_LINGER; RFC 9293,
//! sections 3.5.2 and 3.6.1; RFC 1122, section 4.2.2.13

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use socket2::SockRef;

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
fn obey(mut conn: TcpStream) -> anyhow::Result<()> {
    let mut buf = [0; 1024];
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let (verb, text) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "read" => match conn.read(&mut buf) {
                Ok(0) => println!("read: end of file"),
                result => tell("read", result),
            },
            // write(2) to a peer that has gone raises SIGPIPE, which ends a C
            // program. Here it is send(2) with MSG_NOSIGNAL: EPIPE is all.
            "write" => tell("write", conn.write(text.as_bytes())),
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
fn tell(call: &str, result: io::Result<usize>) {
    match result {
        Ok(count) => println!("{call}: {count} bytes"),
        Err(err) => println!("{call}: {}", name(&err)),
    }
}

/// Closes with RST: what is not acknowledged yet will not be sent again.
fn abort(conn: TcpStream) -> io::Result<()> {
    SockRef::from(&conn).set_linger(Some(Duration::ZERO))
    // `conn` goes out of scope: close(2), and RST instead of FIN.
}

/// Closes in order whatever the peer still sends; how much it was.
fn drain(mut conn: TcpStream) -> io::Result<u64> {
    // Up to the peer's FIN: then nothing is left that close(2) could find
    // unread. A real server would not wait for ever.
    io::copy(&mut conn, &mut io::sink())
}

/// The error's name, as in errno(3).
fn name(err: &io::Error) -> String {
    let errno = err.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| err.to_string(), |errno| format!("{errno:?}"))
}

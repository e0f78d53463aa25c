//! Leave a connection in three ways, and see what the other end's calls return.
//!
//! A segment with RST says: this connection does not exist, or no longer. A
//! kernel sends it for a port on which nobody listens, for a close(2) that is
//! to drop everything (SO_LINGER with a time of 0), and for a close(2) while
//! there is data that nobody has read. What the other end's program hears of it
//! depends on the call that it makes next: an error is told once.
//! Both ends do what standard input says, one command a line: `read`,
//! `write TEXT`, and one of `close`, `abort` and `drain`, which is the last.
//!
//! Usage: reset server ADDRESS:PORT
//!        reset client ADDRESS:PORT
//! See also: connect(2), read(2), write(2), socket(7): SO_LINGER; RFC 9293,
//! sections 3.5.2 and 3.6.1; RFC 1122, section 4.2.2.13

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};
use nix::errno::Errno;

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
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let (verb, _text) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            // 1. `read`: call read(2) once, with room for 1024 bytes; print
            //    `read: N bytes`, `read: end of file`, or `read: ERROR`, the
            //    error's name. `write TEXT`: call write(2) once, without a
            //    newline; print `write: N bytes` or `write: ERROR`. An error
            //    here is no reason to end.
            // 2. `close`: close the connection as it is; print `closed`, and
            //    return.
            // 3. `abort`: close it with RST, whatever it holds; print
            //    `aborted`, and return.
            // 4. `drain`: close it so that no RST is sent, though there may be
            //    data that nobody has read, and the peer may send more. The
            //    peer is to see our end-of-file before it ends itself. Print
            //    `drained N bytes`, how many came, and return.
            "read" | "write" | "close" | "abort" | "drain" => {
                todo!("{verb} is not started: {conn:?}")
            }
            _ => bail!("no such command: {line}"),
        }
    }
    Ok(())
}

/// The error's name, as in errno(3).
fn name(err: &io::Error) -> String {
    let errno = err.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| err.to_string(), |errno| format!("{errno:?}"))
}

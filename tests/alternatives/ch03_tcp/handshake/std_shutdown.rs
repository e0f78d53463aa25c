//! Another right program: the standard library alone. The server ends its own
//! direction with `shutdown` before it closes, counts its input byte by byte,
//! and leaves the reading of the line to another thread.
//!
//! Usage: handshake server ADDRESS:PORT
//!        handshake client ADDRESS:PORT
//! See also: shutdown(2), read(2); RFC 9293, section 3.6

use std::io::{self, BufRead, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, bail};

const USAGE: &str = "usage: handshake server|client ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, address] = args.as_slice() else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;

    match role.as_str() {
        "server" => serve(address),
        "client" => call(address),
        _ => bail!(USAGE),
    }
}

fn serve(address: SocketAddr) -> anyhow::Result<()> {
    // It sets SO_REUSEADDR by itself, on every system but Windows.
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);

    let (mut conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    let count = count_to_end(&mut conn).context("read")?;
    println!("end of file after {count} bytes");

    wait_for_line().context("read standard input")?;
    // Shut down and then closed: the FIN leaves with the first of the two.
    conn.shutdown(Shutdown::Write).context("shutdown")?;
    drop(conn);
    println!("closed");
    Ok(())
}

fn call(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected to {}", conn.peer_addr().context("getpeername")?.ip());

    wait_for_line().context("read standard input")?;
    drop(conn);
    println!("closed");
    Ok(())
}

/// How many bytes come before end-of-file.
fn count_to_end(conn: &mut TcpStream) -> io::Result<usize> {
    let mut count = 0;
    let mut byte = [0];
    loop {
        match conn.read(&mut byte) {
            Ok(0) => return Ok(count), // the peer's FIN
            Ok(more) => count += more,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

/// Another thread reads the line; this one waits for it.
fn wait_for_line() -> anyhow::Result<()> {
    let reader = thread::spawn(|| io::stdin().lock().lines().next());
    match reader.join() {
        Ok(line) => Ok(line.transpose().map(drop)?),
        Err(_) => bail!("the reading thread panicked"),
    }
}

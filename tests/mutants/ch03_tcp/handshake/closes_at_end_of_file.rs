//! The mistake: the server closes at end-of-file, before its line. Prints what
//! the solution prints.
//!
//! Usage: handshake server ADDRESS:PORT
//!        handshake client ADDRESS:PORT
//! See also: tcp(7), connect(2), close(2), ss(8); RFC 9293, section 3.6

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: handshake server|client ADDRESS:PORT";
const BACKLOG: i32 = 1;

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

/// Accepts one connection, and closes it some time after the client has.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = listen(address)?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);

    let (mut conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());

    // The client's FIN reads as end-of-file. The kernel has acknowledged it,
    // or will, but sends no FIN of ours before `close`.
    let mut rest = Vec::new();
    conn.read_to_end(&mut rest).context("read")?;
    println!("end of file after {} bytes", rest.len());

    drop(conn);
    wait_for_line().context("read standard input")?;
    println!("closed");
    Ok(())
}

/// Connects, and closes first.
fn call(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected to {}", conn.peer_addr().context("getpeername")?.ip());

    wait_for_line().context("read standard input")?;
    drop(conn); // close(2): our FIN leaves
    println!("closed");
    Ok(())
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    // Without it a second run would have to wait until TIME-WAIT is over.
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    Ok(TcpListener::from(socket))
}

/// Sleeps until a line, or the end of standard input.
fn wait_for_line() -> io::Result<()> {
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

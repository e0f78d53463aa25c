//! The mistake: the client sends the line without its newline, and the server
//! takes what one read returns for a line. All the lines printed are right.
//!
//! Usage: time_wait server ADDRESS:PORT
//!        time_wait client LOCAL_ADDRESS:PORT SERVER_ADDRESS:PORT
//! See also: socket(7), ip(7), tcp(7), bind(2), connect(2)

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: time_wait server ADDRESS:PORT, \
                     or time_wait client LOCAL_ADDRESS:PORT ADDRESS:PORT";
const BACKLOG: i32 = 5;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let mut address = || -> anyhow::Result<SocketAddr> {
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")
    };
    match role.as_str() {
        "server" => serve(address()?),
        "client" => call(address()?, address()?),
        _ => bail!(USAGE),
    }
}

/// Serves one connection, and closes it when told to.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = listen(address)?;
    println!("listening on {address}");

    let (mut conn, peer) = listener.accept().context("accept")?;
    println!("accepted {peer}");

    let mut buf = [0; 1024];
    let count = conn.read(&mut buf).context("read")?;
    println!("received {}", buf[..count].trim_ascii_end().escape_ascii());

    wait_for_line().context("read standard input")?;
    drop(conn); // close(2): our FIN leaves
    println!("closed");
    Ok(())
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = reusable(address)?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    Ok(TcpListener::from(socket))
}

/// Calls from an address and port of its own choice, and sends what is typed.
fn call(local: SocketAddr, server: SocketAddr) -> anyhow::Result<()> {
    let socket = reusable(local)?;
    socket.bind(&local.into()).with_context(|| format!("bind {local}"))?;
    println!("bound to {local}");

    match socket.connect(&server.into()) {
        // Both addresses are right: it is the two together that are taken.
        Err(err) if err.kind() == io::ErrorKind::AddrNotAvailable => {
            println!("connect: address not available");
            return Ok(());
        }
        result => result.with_context(|| format!("connect {server}"))?,
    }
    println!("connected to {server}");

    let mut conn = TcpStream::from(socket);
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        conn.write_all(line.as_bytes()).context("write")?;
    }
    drop(conn); // close(2): our FIN leaves
    println!("closed");
    Ok(())
}

/// A TCP socket that may be bound to what an old connection still holds.
fn reusable(address: SocketAddr) -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    // bind(2) is where it is looked at: set later, it helps nobody.
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    Ok(socket)
}

/// Sleeps until a line, or the end of standard input.
fn wait_for_line() -> io::Result<()> {
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

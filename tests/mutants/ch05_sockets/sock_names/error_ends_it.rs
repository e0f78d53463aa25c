//! The mistake: that there is no peer is taken for a failure.
//!
//! Usage: sock_names server [ADDRESS:PORT]
//!        sock_names tcp ADDRESS:PORT
//!        sock_names udp ADDRESS:PORT
//! See also: getsockname(2), getpeername(2), ip(7), bind(2), connect(2)

use std::io::{self, Read};
use std::net::SocketAddr;

use anyhow::{Context, bail};
use socket2::{Domain, SockAddr, Socket, Type};

const USAGE: &str =
    "usage: sock_names server [ADDRESS:PORT] | tcp|udp ADDRESS:PORT";
const BACKLOG: i32 = 5;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let address = args.next().map(|text| text.parse::<SocketAddr>());
    let address = address.transpose().context("parse ADDRESS:PORT")?;
    match (role.as_str(), address) {
        ("server", address) => server(address),
        ("tcp", Some(address)) => client(Type::STREAM, address),
        ("udp", Some(address)) => client(Type::DGRAM, address),
        _ => bail!(USAGE),
    }
}

/// Listens, and accepts one connection. Without an address it does not bind.
fn server(address: Option<SocketAddr>) -> anyhow::Result<()> {
    let listener =
        Socket::new(Domain::IPV4, Type::STREAM, None).context("socket")?;
    names("socket", &listener)?;
    if let Some(address) = address {
        enter()?;
        listener.bind(&address.into()).context("bind")?;
        names("bind", &listener)?;
    }
    enter()?;
    listener.listen(BACKLOG).context("listen")?;
    names("listen", &listener)?;

    enter()?;
    let (conn, _peer) = listener.accept().context("accept")?;
    names("accept", &conn)?;
    names("listener", &listener)?;

    enter()?;
    names(end(&conn)?, &conn)
}

/// Connects, and sees a connection through to its end.
fn client(kind: Type, address: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, kind, None).context("socket")?;
    names("socket", &socket)?;

    enter()?;
    match socket.connect(&address.into()) {
        Ok(()) => names("connect", &socket)?,
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {
            return names("refused", &socket);
        }
        Err(err) => return Err(err).context("connect"),
    }
    enter()?;
    if kind == Type::STREAM {
        names(end(&socket)?, &socket)?;
    }
    Ok(())
}

/// Prints both names of a socket as they are now.
fn names(step: &str, socket: &Socket) -> anyhow::Result<()> {
    let local = text(socket.local_addr().context("getsockname")?);
    let peer = text(socket.peer_addr().context("getpeername")?);
    println!("{step}: local {local}, peer {peer}");
    Ok(())
}

fn text(name: SockAddr) -> String {
    name.as_socket().map_or("none".into(), |name| name.to_string())
}

/// Waits until somebody presses Enter.
fn enter() -> anyhow::Result<()> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line).context("read standard input")? {
        0 => bail!("standard input ended before the next step"),
        _ => Ok(()),
    }
}

/// Reads what the peer sends, up to what ends the connection, and names that.
fn end(mut conn: &Socket) -> anyhow::Result<&'static str> {
    let mut buf = [0; 1024];
    loop {
        match conn.read(&mut buf) {
            Ok(0) => return Ok("end of file"),
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => {
                return Ok("reset");
            }
            Err(err) => return Err(err).context("read"),
        }
    }
}

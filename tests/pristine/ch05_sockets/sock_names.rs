//! Say what a socket's names are, at each step of its life.
//!
//! A socket has two names: an address and port of this host, getsockname(2),
//! and its peer's, getpeername(2). The kernel gives them step by step. bind(2)
//! with port 0, listen(2) and connect(2) choose a port; the address stays
//! 0.0.0.0, for any of this host's, until a connection is there: then it is the
//! one that the peer has called, or that the route to the peer says.
//! Before each step but the first the program waits for a line of standard
//! input.
//!
//! Usage: sock_names server [ADDRESS:PORT]
//!        sock_names tcp ADDRESS:PORT
//!        sock_names udp ADDRESS:PORT
//! See also: getsockname(2), getpeername(2), ip(7), bind(2), connect(2)

use std::io::{self, Read};
use std::net::SocketAddr;

use anyhow::{Context, bail};
use nix::errno::Errno;
use socket2::{SockAddr, Socket, Type};

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
    // Each number is a step: call `enter` before it (not before 1), and print
    // the names after it, as they are then, by `names`.
    //
    // 1. Make a TCP socket for IPv4. Its step is `socket`.
    // 2. If there is an address, bind to it as it is: `bind`.
    // 3. Listen, with BACKLOG: `listen`.
    // 4. Accept a connection. `accept` for the connection's socket, and then,
    //    without a further `enter`, `listener` for the one that listens.
    // 5. Wait for the connection's end, by `end`, and name the connection's
    //    socket again: the step has the name that `end` gives it.
    todo!("server is not written: {address:?}, {BACKLOG}")
}

/// Connects, and sees a connection through to its end.
fn client(kind: Type, address: SocketAddr) -> anyhow::Result<()> {
    // 6. Make a socket of this kind for IPv4: `socket`.
    // 7. Connect it. Do not bind it: which address it has is for the kernel to
    //    say. `connect`, or if it fails with ECONNREFUSED `refused`, and that is
    //    all.
    // 8. Call `enter` once more. A TCP connection: then as in 5. UDP knows of no
    //    end: that is all.
    let _ = (names, enter, end);
    todo!("client is not written: {kind:?}, {address}")
}

/// Prints both names of a socket as they are now.
fn names(step: &str, socket: &Socket) {
    // 9. Ask the kernel for both, each time: print `STEP: local NAME, peer NAME`,
    //    a NAME being ADDRESS:PORT, or the error's, as ENOTCONN: see `text`.
    let _ = text;
    todo!("names is not written: {step}, {socket:?}")
}

/// A name, or the error in its place as in errno(3): ENOTCONN.
fn text(name: io::Result<SockAddr>) -> String {
    match name {
        Ok(name) => name.as_socket().map_or("none".into(), |n| n.to_string()),
        Err(err) => errno(&err),
    }
}

fn errno(err: &io::Error) -> String {
    let number = err.raw_os_error().map(Errno::from_raw);
    number.map_or_else(|| err.to_string(), |number| format!("{number:?}"))
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

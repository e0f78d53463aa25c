//! With the calls as they are in C: the kernel fills in an address, and says how
//! long it is.
//!
//! Usage: sock_names server [ADDRESS:PORT]
//!        sock_names tcp ADDRESS:PORT
//!        sock_names udp ADDRESS:PORT
//! See also: getsockname(2), getpeername(2), ip(7), bind(2), connect(2)

use std::io::{self, Read};
use std::mem;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, bail};
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

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
    names("socket", &listener);
    if let Some(address) = address {
        enter()?;
        listener.bind(&address.into()).context("bind")?;
        names("bind", &listener);
    }
    enter()?;
    listener.listen(BACKLOG).context("listen")?;
    names("listen", &listener);

    enter()?;
    let (conn, _peer) = listener.accept().context("accept")?;
    names("accept", &conn);
    names("listener", &listener);

    enter()?;
    names(end(&conn)?, &conn);
    Ok(())
}

/// Connects, and sees a connection through to its end.
fn client(kind: Type, address: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, kind, None).context("socket")?;
    names("socket", &socket);

    enter()?;
    match socket.connect(&address.into()) {
        Ok(()) => names("connect", &socket),
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {
            names("refused", &socket);
            return Ok(());
        }
        Err(err) => return Err(err).context("connect"),
    }
    enter()?;
    if kind == Type::STREAM {
        names(end(&socket)?, &socket);
    }
    Ok(())
}

/// Prints both names of a socket as they are now.
fn names(step: &str, socket: &Socket) {
    let local = text(getsockname(socket));
    let peer = text(getpeername(socket));
    println!("{step}: local {local}, peer {peer}");
}

/// A name, or the error in its place as in errno(3): ENOTCONN.
fn text(name: io::Result<SocketAddrV4>) -> String {
    match name {
        Ok(name) => name.to_string(),
        Err(err) => errno(&err),
    }
}

fn errno(err: &io::Error) -> String {
    let number = err.raw_os_error().map(Errno::from_raw);
    number.map_or_else(|| err.to_string(), |number| format!("{number:?}"))
}

type Call = unsafe extern "C" fn(
    libc::c_int,
    *mut libc::sockaddr,
    *mut libc::socklen_t,
) -> libc::c_int;

fn getsockname(socket: &Socket) -> io::Result<SocketAddrV4> {
    name(libc::getsockname, socket.as_raw_fd())
}

fn getpeername(socket: &Socket) -> io::Result<SocketAddrV4> {
    name(libc::getpeername, socket.as_raw_fd())
}

fn name(call: Call, fd: RawFd) -> io::Result<SocketAddrV4> {
    // SAFETY: all of a sockaddr_in may be zero.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `address`, and the
    // length itself; both live until it returns.
    let result = unsafe { call(fd, (&raw mut address).cast(), &mut length) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    let ip = u32::from_be(address.sin_addr.s_addr).into();
    Ok(SocketAddrV4::new(ip, u16::from_be(address.sin_port)))
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

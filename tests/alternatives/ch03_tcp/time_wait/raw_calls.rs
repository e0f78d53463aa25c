//! Another right program: nothing but the system calls. The listener stays open
//! to the end: a socket that listens, and a connection of the same address and
//! port beside it.
//!
//! Usage: time_wait server ADDRESS:PORT
//!        time_wait client LOCAL_ADDRESS:PORT SERVER_ADDRESS:PORT
//! See also: socket(2), setsockopt(2), bind(2), connect(2), close(2); ip(7)

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, bail};
use libc::{c_int, sockaddr, sockaddr_in, socklen_t};

const USAGE: &str = "usage: time_wait server|client ADDRESS:PORT...";
const LENGTH: socklen_t = size_of::<sockaddr_in>() as socklen_t;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let addresses: Result<Vec<SocketAddrV4>, _> =
        args.map(|arg| arg.parse()).collect();
    match (role.as_str(), &addresses.context("parse ADDRESS:PORT")?[..]) {
        ("server", [address]) => serve(*address),
        ("client", [local, server]) => call(*local, *server),
        _ => bail!(USAGE),
    }
}

fn serve(address: SocketAddrV4) -> anyhow::Result<()> {
    let listener = bound(address)?;
    listen(&listener, 1).context("listen")?;
    println!("listening on {address}");
    let (conn, peer) = accept(&listener).context("accept")?;
    println!("accepted {peer}");
    println!("received {}", line_of(conn.as_raw_fd()).context("read")?);
    line_of(0).context("read standard input")?;
    drop(conn);
    println!("closed");
    Ok(())
}

fn call(local: SocketAddrV4, server: SocketAddrV4) -> anyhow::Result<()> {
    let socket = bound(local)?;
    println!("bound to {local}");
    if let Err(err) = connect(&socket, server) {
        if err.raw_os_error() != Some(libc::EADDRNOTAVAIL) {
            return Err(err).context("connect");
        }
        println!("connect: address not available");
        return Ok(());
    }
    println!("connected to {server}");
    let mut buf = [0; 64];
    loop {
        match read(0, &mut buf).context("read standard input")? {
            0 => break,
            n => write(&socket, &buf[..n]).context("write")?,
        }
    }
    drop(socket);
    println!("closed");
    Ok(())
}

/// A line, byte by byte, without its newline.
fn line_of(fd: RawFd) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while read(fd, &mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    Ok(line.escape_ascii().to_string())
}

fn bound(address: SocketAddrV4) -> anyhow::Result<OwnedFd> {
    let socket = socket().context("socket")?;
    reuse_address(&socket).context("setsockopt SO_REUSEADDR")?;
    bind(&socket, address).with_context(|| format!("bind {address}"))?;
    Ok(socket)
}

fn raw(address: SocketAddrV4) -> sockaddr_in {
    // SAFETY: all zero bits are a valid sockaddr_in.
    let mut raw: sockaddr_in = unsafe { zeroed() };
    raw.sin_family = libc::AF_INET as libc::sa_family_t;
    raw.sin_port = address.port().to_be();
    raw.sin_addr.s_addr = u32::from(*address.ip()).to_be();
    raw
}

fn check(answer: c_int) -> io::Result<c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: passes no pointers.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })?;
    // SAFETY: a descriptor that was opened just now, and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn reuse_address(socket: &OwnedFd) -> io::Result<()> {
    let one: c_int = 1;
    let length = size_of::<c_int>() as socklen_t;
    // SAFETY: the value is an int that lives until the call has returned.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR,
            (&raw const one).cast(),
            length,
        )
    })?;
    Ok(())
}

fn bind(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    let to = raw(address);
    let to: *const sockaddr = (&raw const to).cast();
    // SAFETY: points at a sockaddr_in of the length that is given.
    check(unsafe { libc::bind(socket.as_raw_fd(), to, LENGTH) })?;
    Ok(())
}

fn connect(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    let to = raw(address);
    let to: *const sockaddr = (&raw const to).cast();
    // SAFETY: points at a sockaddr_in of the length that is given.
    check(unsafe { libc::connect(socket.as_raw_fd(), to, LENGTH) })?;
    Ok(())
}

fn listen(socket: &OwnedFd, backlog: c_int) -> io::Result<()> {
    // SAFETY: passes no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    Ok(())
}

fn accept(socket: &OwnedFd) -> io::Result<(OwnedFd, SocketAddrV4)> {
    // SAFETY: all zero bits are a valid sockaddr_in.
    let mut from: sockaddr_in = unsafe { zeroed() };
    let mut length = LENGTH;
    let to: *mut sockaddr = (&raw mut from).cast();
    // SAFETY: both pointers are valid, and `length` is the room behind the first.
    let fd = check(unsafe {
        libc::accept(socket.as_raw_fd(), to, &raw mut length)
    })?;
    let ip = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
    let peer = SocketAddrV4::new(ip, u16::from_be(from.sin_port));
    // SAFETY: a descriptor that was opened just now, and is nobody else's.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, peer))
}

fn read(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes into `buf`, and no further than its length.
    let count = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// A short write is an error here: so few bytes fit into any socket.
fn write(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let (fd, data) = (socket.as_raw_fd(), bytes.as_ptr().cast());
    // SAFETY: the kernel reads `bytes`, and no further than its length.
    let count = unsafe { libc::write(fd, data, bytes.len()) };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

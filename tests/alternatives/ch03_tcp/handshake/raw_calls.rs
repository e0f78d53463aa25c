//! Another right program: nothing but the system calls. The server closes its
//! listener as soon as it has its one connection, waits with `poll`, and reads
//! its line byte by byte from descriptor 0.
//!
//! Usage: handshake server ADDRESS:PORT
//!        handshake client ADDRESS:PORT
//! See also: socket(2), bind(2), accept(2), poll(2), close(2); ip(7)

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, bail};
use libc::{c_int, sockaddr, sockaddr_in, socklen_t};

const USAGE: &str = "usage: handshake server|client ADDRESS:PORT";
const STDIN: c_int = 0;
const LENGTH: socklen_t = size_of::<sockaddr_in>() as socklen_t;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let address: SocketAddrV4 =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;

    match role.as_str() {
        "server" => serve(address),
        "client" => call(address),
        _ => bail!(USAGE),
    }
}

fn serve(address: SocketAddrV4) -> anyhow::Result<()> {
    let listener = socket().context("socket")?;
    reuse_address(&listener).context("setsockopt SO_REUSEADDR")?;
    bind(&listener, address).with_context(|| format!("bind {address}"))?;
    listen(&listener, 16).context("listen")?;
    println!("listening on {address}");

    let (conn, peer) = accept(&listener).context("accept")?;
    drop(listener); // an accepted connection does not need it
    println!("accepted {peer}");

    let mut count = 0;
    let mut buf = [0; 4096];
    loop {
        wait_readable(conn.as_raw_fd()).context("poll")?;
        match read(conn.as_raw_fd(), &mut buf).context("read")? {
            0 => break, // the peer's FIN
            more => count += more,
        }
    }
    println!("end of file after {count} bytes");

    wait_for_line().context("read standard input")?;
    drop(conn);
    println!("closed");
    Ok(())
}

fn call(address: SocketAddrV4) -> anyhow::Result<()> {
    let conn = socket().context("socket")?;
    connect(&conn, address).with_context(|| format!("connect {address}"))?;
    println!("connected to {}", address.ip());

    wait_for_line().context("read standard input")?;
    drop(conn);
    println!("closed");
    Ok(())
}

/// Sleeps until a line, or the end of standard input.
fn wait_for_line() -> io::Result<()> {
    let mut byte = [0];
    while read(STDIN, &mut byte)? == 1 && byte != *b"\n" {}
    Ok(())
}

fn to_sockaddr(address: SocketAddrV4) -> sockaddr_in {
    // SAFETY: sockaddr_in is plain numbers, for which zero is a value.
    let mut name: sockaddr_in = unsafe { zeroed() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = address.port().to_be();
    name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
    name
}

/// What a system call returned, or errno.
fn check(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: passes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    check(fd as isize)?;
    // SAFETY: the kernel has just given out this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn reuse_address(socket: &OwnedFd) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the option's value is a c_int that outlives the call.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR,
            (&raw const on).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    check(returned as isize).map(drop)
}

fn bind(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    let name = to_sockaddr(address);
    let name = (&raw const name).cast::<sockaddr>();
    // SAFETY: `name` is a sockaddr_in of LENGTH bytes that outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), name, LENGTH) } as isize)
        .map(drop)
}

fn listen(socket: &OwnedFd, backlog: c_int) -> io::Result<()> {
    // SAFETY: passes no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) } as isize)
        .map(drop)
}

fn connect(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    let name = to_sockaddr(address);
    let name = (&raw const name).cast::<sockaddr>();
    // SAFETY: `name` is a sockaddr_in of LENGTH bytes that outlives the call.
    check(unsafe { libc::connect(socket.as_raw_fd(), name, LENGTH) } as isize)
        .map(drop)
}

fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, Ipv4Addr)> {
    let mut name = to_sockaddr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let mut length = LENGTH;
    let pointer = (&raw mut name).cast::<sockaddr>();
    let fd = listener.as_raw_fd();
    // SAFETY: there is room for LENGTH bytes at `pointer`, as `length` says.
    let fd = unsafe { libc::accept(fd, pointer, &raw mut length) };
    check(fd as isize)?;
    // SAFETY: the kernel has just given out this descriptor.
    let conn = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((conn, Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr))))
}

fn wait_readable(fd: c_int) -> io::Result<()> {
    let mut wish = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, as the count says, that outlives the call.
    check(unsafe { libc::poll(&raw mut wish, 1, -1) } as isize).map(drop)
}

fn read(fd: c_int, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for writes of its length.
    check(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) })
}

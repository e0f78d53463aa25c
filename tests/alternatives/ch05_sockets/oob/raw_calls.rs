//! Another right program: raw calls, no poll. A read that blocks ends at the
//! mark, and MSG_OOB itself says whether there is an urgent byte.
//!
//! Usage: oob recv|inline|send ADDRESS:PORT
//! See also: recv(2), send(2), sockatmark(3)

use std::io::{self, BufRead};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, bail};
use libc::c_int;

const USAGE: &str = "usage: oob recv|inline|send ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, address] = args.as_slice() else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    match role.as_str() {
        "send" => send_pieces(address),
        "recv" | "inline" => receive(address, role == "inline"),
        _ => bail!(USAGE),
    }
}

fn receive(address: SocketAddr, inline: bool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).context("bind")?;
    set_inline(listener.as_raw_fd(), inline).context("setsockopt")?;
    println!("listening on {address}");
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    io::stdin().read_line(&mut String::new())?;

    let conn = conn.as_raw_fd();
    loop {
        wait(conn, inline).context("poll")?;
        let mut buf = [0; 4096];
        if at_mark(conn).context("sockatmark")? {
            if inline {
                println!("mark");
            } else if receive_some(conn, &mut buf[..1], libc::MSG_OOB).is_ok() {
                println!("urgent {}", buf[..1].escape_ascii());
                continue; // There may be nothing behind it yet.
            }
        }
        match receive_some(conn, &mut buf, 0).context("recv")? {
            0 => break, // the peer's FIN
            n => println!("data {}", buf[..n].escape_ascii()),
        }
    }
    println!("end of file");
    Ok(())
}

fn send_pieces(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address).context("connect")?;
    println!("connected to {}", address.ip());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (kind, text) = line.split_once(' ').context("a piece")?;
        let urgent = kind == "urgent";
        let flags = if urgent { libc::MSG_OOB } else { 0 };
        let note = if urgent { ", the last one urgent" } else { "" };
        let count = send_some(conn.as_raw_fd(), text.as_bytes(), flags)?;
        println!("sent {count} bytes{note}");
    }
    drop(conn);
    println!("closed");
    Ok(())
}

fn wait(fd: RawFd, inline: bool) -> io::Result<()> {
    let events =
        if inline { libc::POLLIN } else { libc::POLLIN | libc::POLLPRI };
    let mut wish = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd, as the count says, that outlives the call.
    check(unsafe { libc::poll(&raw mut wish, 1, -1) } as isize).map(drop)
}

fn at_mark(fd: RawFd) -> io::Result<bool> {
    unsafe extern "C" {
        fn sockatmark(fd: c_int) -> c_int;
    }
    // SAFETY: passes no pointers.
    Ok(check(unsafe { sockatmark(fd) } as isize)? == 1)
}

fn receive_some(fd: RawFd, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    let room = buf.as_mut_ptr().cast();
    // SAFETY: the buffer is valid for writes of its length.
    check(unsafe { libc::recv(fd, room, buf.len(), flags) })
}

fn send_some(fd: RawFd, bytes: &[u8], flags: c_int) -> io::Result<usize> {
    let data = bytes.as_ptr().cast();
    // SAFETY: the buffer is valid for reads of its length.
    check(unsafe { libc::send(fd, data, bytes.len(), flags) })
}

fn set_inline(fd: RawFd, inline: bool) -> io::Result<()> {
    let value = c_int::from(inline);
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the option's value is a c_int that outlives the call.
    let returned = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_OOBINLINE,
            value,
            length,
        )
    };
    check(returned as isize).map(drop)
}

/// What a system call returned, or errno.
fn check(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

//! Another right program: select(2), whose third set is for urgent data, a
//! buffer of two bytes, and the mark by ioctl(2).
//!
//! Usage: oob recv|inline|send ADDRESS:PORT
//! See also: select(2), ioctl_tty(2), tcp(7): SIOCATMARK

use std::io::{self, BufRead};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::select::{FdSet, select};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};

const USAGE: &str = "usage: oob recv|inline|send ADDRESS:PORT";
/// <asm-generic/sockios.h>
const SIOCATMARK: libc::Ioctl = 0x8905;

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
    println!("listening on {address}");
    let (conn, peer) = listener.accept().context("accept")?;
    // At once: nothing has been sent before `accepted`.
    setsockopt(&conn, sockopt::OobInline, &inline)?;
    println!("accepted {}", peer.ip());
    io::stdin().read_line(&mut String::new())?;

    loop {
        let urgent = wait(&conn, !inline)?;
        let at_mark = at_mark(&conn)?;
        let mut buf = [0; 2];
        if at_mark && inline {
            println!("mark");
        }
        if urgent && at_mark {
            recv(conn.as_raw_fd(), &mut buf[..1], MsgFlags::MSG_OOB)?;
            println!("urgent {}", buf[..1].escape_ascii());
            continue;
        }
        match recv(conn.as_raw_fd(), &mut buf, MsgFlags::empty())? {
            0 => break, // the peer's FIN
            n => println!("data {}", buf[..n].escape_ascii()),
        }
    }
    println!("end of file");
    Ok(())
}

/// Sleeps until there is something; is there urgent data?
fn wait(conn: &TcpStream, urgent: bool) -> nix::Result<bool> {
    let (mut ready, mut exceptional) = (FdSet::new(), FdSet::new());
    ready.insert(conn.as_fd());
    if urgent {
        exceptional.insert(conn.as_fd());
    }
    select(None, &mut ready, None, &mut exceptional, None)?;
    Ok(exceptional.contains(conn.as_fd()))
}

fn at_mark(conn: &TcpStream) -> nix::Result<bool> {
    let mut answer: libc::c_int = 0;
    // SAFETY: the kernel writes an int, for which there is room.
    let returned =
        unsafe { libc::ioctl(conn.as_raw_fd(), SIOCATMARK, &raw mut answer) };
    Errno::result(returned)?;
    Ok(answer != 0)
}

fn send_pieces(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address).context("connect")?;
    println!("connected to {}", address.ip());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (kind, text) = line.split_once(' ').context("a piece")?;
        let (flags, note) = match kind {
            "urgent" => (MsgFlags::MSG_OOB, ", the last one urgent"),
            _ => (MsgFlags::empty(), ""),
        };
        let count = send(conn.as_raw_fd(), text.as_bytes(), flags)?;
        println!("sent {count} bytes{note}");
    }
    drop(conn);
    println!("closed");
    Ok(())
}

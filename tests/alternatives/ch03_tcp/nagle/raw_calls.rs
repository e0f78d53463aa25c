//! Another right program: setsockopt(2) itself, the cork put in before each
//! request and pulled after it, TCP_QUICKACK set before and after each read.
//!
//! Usage: nagle server plain|quickack ADDRESS:PORT
//!        nagle client plain|nodelay|cork ADDRESS:PORT
//! See also: setsockopt(2), tcp(7), recv(2)

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, bail};

const USAGE: &str = "usage: nagle server|client HOW ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, how, address] = args.as_slice() else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    match role.as_str() {
        "server" => serve(how == "quickack", address),
        _ => call(how, address),
    }
}

fn serve(quickly: bool, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).context("bind")?;
    println!("listening on {address}");
    let (mut conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    let fd = conn.as_raw_fd();
    let mut pending = Vec::new();
    let mut buf = [0; 64];
    loop {
        if quickly {
            set(fd, libc::TCP_QUICKACK, 1).context("setsockopt")?;
        }
        let count = conn.read(&mut buf).context("read")?;
        if quickly {
            set(fd, libc::TCP_QUICKACK, 1).context("setsockopt")?;
        }
        if count == 0 {
            break;
        }
        pending.extend_from_slice(&buf[..count]);
        while let Some(at) = pending.iter().position(|byte| *byte == b'\n') {
            pending.drain(..=at);
            println!("request of {at} bytes");
            conn.write_all(format!("{at}\n").as_bytes()).context("write")?;
        }
    }
    println!("end of file");
    Ok(())
}

fn call(how: &str, address: SocketAddr) -> anyhow::Result<()> {
    let mut conn = TcpStream::connect(address).context("connect")?;
    println!("connected to {address}");
    let fd = conn.as_raw_fd();
    if how == "nodelay" {
        set(fd, libc::TCP_NODELAY, 1).context("setsockopt TCP_NODELAY")?;
    }
    let corks = how == "cork";
    set(fd, libc::TCP_CORK, corks.into()).context("setsockopt TCP_CORK")?;
    let mut line = String::new();
    while io::stdin().read_line(&mut line).context("read")? > 0 {
        let text = line.trim_end();
        if text.is_empty() {
            conn.write_all(b"\n").context("write")?;
            if corks {
                set(fd, libc::TCP_CORK, 0).context("setsockopt TCP_CORK")?;
            }
            let mut answer = Vec::new();
            let mut byte = [0];
            while conn.read(&mut byte).context("read")? == 1 && byte != *b"\n" {
                answer.push(byte[0]);
            }
            println!("answer {}", answer.escape_ascii());
            if corks {
                set(fd, libc::TCP_CORK, 1).context("setsockopt TCP_CORK")?;
            }
        } else {
            conn.write_all(text.as_bytes()).context("write")?;
            println!("wrote {text}");
        }
        line.clear();
    }
    drop(conn);
    println!("closed");
    Ok(())
}

/// `setsockopt(2)` of an `int` at TCP's level.
fn set(fd: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to an int that outlives the call, and `size` is
    // its size.
    let done = unsafe {
        let value = std::ptr::from_ref(&value).cast();
        libc::setsockopt(fd, libc::IPPROTO_TCP, option, value, size)
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

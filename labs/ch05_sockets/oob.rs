//! Send and receive TCP urgent ("out-of-band") data, and see where it falls.
//!
//! TCP has no second channel. `send` with MSG_OOB sets the URG flag and points
//! behind the last byte sent; the receiving kernel remembers that byte's place,
//! the urgent mark, and takes the byte out of the stream: `recv` with MSG_OOB
//! fetches it. With SO_OOBINLINE it stays in the stream, and only the mark is
//! left. A read never crosses the mark; `sockatmark` tells when it is reached.
//!
//! Usage: oob recv ADDRESS:PORT
//!        oob inline ADDRESS:PORT
//!        oob send ADDRESS:PORT
//! See also: tcp(7), send(2), sockatmark(3), poll(2): POLLPRI; RFC 6093

use std::io::{self, BufRead};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const USAGE: &str = "usage: oob recv|inline|send ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;

    match role.as_str() {
        "recv" => receive(accept(address, false)?).context("receive"),
        "inline" => receive_inline(accept(address, true)?).context("receive"),
        "send" => send(address),
        _ => bail!(USAGE),
    }
}

/// Accepts one connection, and lets the kernel receive until there is a line.
fn accept(address: SocketAddr, inline: bool) -> anyhow::Result<TcpStream> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    // 1. If `inline`: set SO_OOBINLINE on the listener. Its connections inherit
    //    it. (socket2's `SockRef::from(&listener)` has the option.)
    let _ = inline;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    io::stdin().read_line(&mut String::new()).context("read the line")?;
    Ok(conn)
}

/// Role `recv`: prints ordinary bytes and urgent ones, each at its place.
fn receive(conn: TcpStream) -> io::Result<()> {
    // 2. Until end-of-file, print in the order in which the peer sent them
    //      `data BYTES`     ordinary bytes, as many as a read returns
    //      `urgent BYTE`    the byte at the mark, fetched with MSG_OOB
    //    (`recv` of nix::sys::socket takes MSG_OOB), and then `end of file`.
    //    Bytes are printed as `buf[..n].escape_ascii()` shows them.
    // 3. Sleep while there is nothing: `wait` does. POLLPRI says that an urgent
    //    byte is there; `at_mark` says that all before it has been read.
    let ready = wait(&conn, PollFlags::POLLIN | PollFlags::POLLPRI)?;
    todo!("oob recv is not started: {ready:?}, {}", at_mark(&conn)?)
}

/// Role `inline`: prints all bytes in order, and where the mark is.
fn receive_inline(conn: TcpStream) -> io::Result<()> {
    // 4. Until end-of-file, print `data BYTES` for what a read returns, and
    //    `mark` when the mark is reached, just before the urgent byte, which is
    //    one of the bytes here. Then print `end of file`.
    todo!("oob inline is not started: {conn:?}")
}

/// Role `send`: sends each line of standard input, as it says.
fn send(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected to {}", conn.peer_addr().context("getpeername")?.ip());
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        match line.split_once(' ') {
            // 5. Send the text; print `sent N bytes`.
            Some(("data", text)) => todo!("oob send is not started: {text}"),
            // 6. Send the text with one call, as urgent data; print
            //    `sent N bytes, the last one urgent`.
            Some(("urgent", text)) => todo!("oob send: urgent {text}"),
            _ => bail!("`{line}` is not `data TEXT` or `urgent TEXT`"),
        }
    }
    drop(conn); // close(2): our FIN leaves
    println!("closed");
    Ok(())
}

/// Sleeps until one of these events, or the end, is there.
fn wait(conn: &TcpStream, events: PollFlags) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(conn.as_fd(), events)];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(fds[0].revents().unwrap_or(PollFlags::empty()))
}

/// `sockatmark(3)`: has every byte before the urgent mark been read?
fn at_mark(conn: &TcpStream) -> io::Result<bool> {
    // Declared here because the libc crate has no binding for it on Linux.
    unsafe extern "C" {
        fn sockatmark(fd: libc::c_int) -> libc::c_int;
    }
    // SAFETY: passes no pointers, and `conn` keeps its descriptor open.
    match unsafe { sockatmark(conn.as_raw_fd()) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer == 1),
    }
}

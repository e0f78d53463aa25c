//! The mistake: the urgent byte is fetched as soon as POLLPRI announces it.
//!
//! Usage: oob recv|inline|send ADDRESS:PORT
//! See also: poll(2): POLLPRI; sockatmark(3)

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;

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
    // The connection inherits it: later, urgent bytes could be there already.
    SockRef::from(&listener)
        .set_out_of_band_inline(inline)
        .context("setsockopt SO_OOBINLINE")?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    io::stdin().read_line(&mut String::new()).context("read the line")?;
    Ok(conn)
}

/// Prints ordinary bytes and urgent ones, each at its place in the stream.
fn receive(mut conn: TcpStream) -> io::Result<()> {
    let mut buf = [0; 1024];
    loop {
        let ready = wait(&conn, PollFlags::POLLIN | PollFlags::POLLPRI)?;

        if ready.contains(PollFlags::POLLPRI) {
            let mut urgent = [0];
            recv(conn.as_raw_fd(), &mut urgent, MsgFlags::MSG_OOB)?;
            println!("urgent {}", urgent.escape_ascii());
        } else {
            // This ends at the mark, or passes it once the byte is fetched.
            match conn.read(&mut buf)? {
                0 => break, // the peer's FIN
                n => println!("data {}", buf[..n].escape_ascii()),
            }
        }
    }
    println!("end of file");
    Ok(())
}

/// Prints all bytes as they stand in the stream, and where the mark is.
fn receive_inline(mut conn: TcpStream) -> io::Result<()> {
    let mut buf = [0; 1024];
    loop {
        wait(&conn, PollFlags::POLLIN)?;
        if at_mark(&conn)? {
            println!("mark");
        }
        match conn.read(&mut buf)? {
            0 => break, // the peer's FIN
            n => println!("data {}", buf[..n].escape_ascii()),
        }
    }
    println!("end of file");
    Ok(())
}

/// Sends each line of standard input, as it says.
fn send(address: SocketAddr) -> anyhow::Result<()> {
    let mut conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected to {}", conn.peer_addr().context("getpeername")?.ip());
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        match line.split_once(' ') {
            Some(("data", text)) => {
                conn.write_all(text.as_bytes()).context("send")?;
                println!("sent {} bytes", text.len());
            }
            Some(("urgent", text)) => {
                let count = SockRef::from(&conn)
                    .send_out_of_band(text.as_bytes())
                    .context("send MSG_OOB")?;
                println!("sent {count} bytes, the last one urgent");
            }
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

//! The mistake: the socket is left as it is, and `write` sleeps until there is
//! room: nothing is ever said of it.
//!
//! Usage: window reader RECEIVE_BUFFER ADDRESS:PORT
//!        window sender SEND_BUFFER COUNT ADDRESS:PORT
//! See also: tcp(7), socket(7): SO_RCVBUF, SO_SNDBUF; poll(2); RFC 9293,
//! section 3.8.6

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: window reader RECEIVE_BUFFER ADDRESS:PORT, \
                     or window sender SEND_BUFFER COUNT ADDRESS:PORT";
const BACKLOG: i32 = 1;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["reader", buffer, address] => {
            let buffer = buffer.parse().context("parse RECEIVE_BUFFER")?;
            receive(buffer, address.parse().context("parse ADDRESS:PORT")?)
        }
        ["sender", buffer, count, address] => {
            let buffer = buffer.parse().context("parse SEND_BUFFER")?;
            let count = count.parse().context("parse COUNT")?;
            let address = address.parse().context("parse ADDRESS:PORT")?;
            send(buffer, &stream_of(count), address)
        }
        _ => bail!(USAGE),
    }
}

/// Reads only when it is told to, and only as much.
fn receive(buffer: usize, address: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    // Before listen: the SYN ACK has a window in it, and how windows are to be
    // scaled, and it leaves before there is a socket that accept could return.
    socket.set_recv_buffer_size(buffer).context("setsockopt SO_RCVBUF")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    let size = socket.recv_buffer_size().context("getsockopt SO_RCVBUF")?;
    println!("listening on {address}, receive buffer {size}");

    let listener = TcpListener::from(socket);
    let (mut conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());

    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let mut buf = vec![0; line.parse().context("parse a count")?];
        conn.read_exact(&mut buf).context("read")?;
        println!("read {}", buf.len());
    }
    let rest = conn.read_to_end(&mut Vec::new()).context("read")?;
    println!("end of file after {rest} more");
    Ok(())
}

/// Sends as fast as its kernel takes it, and says when it takes no more.
fn send(
    buffer: usize,
    stream: &[u8],
    address: SocketAddr,
) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    socket.set_send_buffer_size(buffer).context("setsockopt SO_SNDBUF")?;
    socket
        .connect(&address.into())
        .with_context(|| format!("connect {address}"))?;
    let size = socket.send_buffer_size().context("getsockopt SO_SNDBUF")?;
    println!("connected to {address}, send buffer {size}");

    let mut conn = TcpStream::from(socket);
    let mut sent = 0;
    while sent < stream.len() {
        match conn.write(&stream[sent..]) {
            // It may take less than it was offered.
            Ok(count) => sent += count,
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                eprintln!("no room after {sent}");
                wait_for_room(&conn)?;
            }
            Err(err) => return Err(err).context("write"),
        }
    }
    println!("sent {sent}");
    Ok(())
}

/// Sleeps until the kernel has room for more than a few bytes.
fn wait_for_room(conn: &TcpStream) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(conn.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::NONE).context("poll")?;
    Ok(())
}

/// The bytes to be sent: lost or doubled ones would be seen.
fn stream_of(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

//! Another right program: send(2) with MSG_DONTWAIT on a socket that blocks, and
//! ppoll(2); the reader peeks at nothing and reads into a buffer of its own.
//!
//! Usage: window reader RECEIVE_BUFFER ADDRESS:PORT
//!        window sender SEND_BUFFER COUNT ADDRESS:PORT
//! See also: send(2) under MSG_DONTWAIT, ppoll(2)

use std::io::{BufRead, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, ppoll};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: window reader|sender BUFFER [COUNT] ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(address), Some(buffer)) = (args.last(), args.get(1)) else {
        bail!(USAGE)
    };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    let buffer: usize = buffer.parse().context("parse BUFFER")?;
    match args.len() {
        3 => receive(buffer, address),
        4 => send(buffer, args[2].parse().context("parse COUNT")?, address),
        _ => bail!(USAGE),
    }
}

fn receive(buffer: usize, address: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address.into()).context("bind")?;
    socket.set_recv_buffer_size(buffer).context("setsockopt SO_RCVBUF")?;
    socket.listen(8).context("listen")?;
    let size = socket.recv_buffer_size()?;
    println!("listening on {address}, receive buffer {size}");
    let (mut conn, peer) = TcpListener::from(socket).accept()?;
    println!("accepted {}", peer.ip());

    let mut buf = [0; 512];
    for line in std::io::stdin().lock().lines() {
        let wanted: usize = line?.trim().parse().context("parse")?;
        let mut count = 0;
        while count < wanted {
            let most = buf.len().min(wanted - count);
            match conn.read(&mut buf[..most]).context("read")? {
                0 => bail!("end of file after {count}"),
                more => count += more,
            }
        }
        println!("read {count}");
    }
    let mut rest = 0;
    loop {
        match conn.read(&mut buf).context("read")? {
            0 => break,
            more => rest += more,
        }
    }
    println!("end of file after {rest} more");
    Ok(())
}

fn send(buffer: usize, count: usize, to: SocketAddr) -> anyhow::Result<()> {
    let stream: Vec<u8> = (0..count).map(|at| (at % 251) as u8).collect();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.connect(&to.into()).context("connect")?;
    socket.set_send_buffer_size(buffer).context("setsockopt SO_SNDBUF")?;
    let size = socket.send_buffer_size()?;
    println!("connected to {to}, send buffer {size}");

    let mut rest = stream.as_slice();
    while !rest.is_empty() {
        let most = rest.len().min(1000);
        match socket.send_with_flags(&rest[..most], libc::MSG_DONTWAIT) {
            Ok(count) => rest = &rest[count..],
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                eprintln!("no room after {}", stream.len() - rest.len());
                let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                ppoll(&mut fds, None, None).context("ppoll")?;
            }
            Err(err) => return Err(err).context("send"),
        }
    }
    println!("sent {}", stream.len());
    Ok(())
}

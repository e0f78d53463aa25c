//! Another right program: an epoll instance tells of room, edge-triggered, and
//! what is to be sent comes in chunks.
//!
//! Usage: window reader RECEIVE_BUFFER ADDRESS:PORT
//!        window sender SEND_BUFFER COUNT ADDRESS:PORT
//! See also: epoll(7)

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};
use nix::sys::epoll::{
    Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout,
};
use socket2::{Domain, Socket, Type};

const CHUNK: usize = 1500;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context("which role?")?;
    let buffer = args.next().context("which buffer?")?.parse()?;
    let last: Vec<String> = args.collect();
    match (role.as_str(), last.as_slice()) {
        ("reader", [address]) => receive(buffer, address.parse()?),
        ("sender", [count, address]) => {
            send(buffer, count.parse()?, address.parse()?)
        }
        _ => bail!("usage: window reader|sender BUFFER [COUNT] ADDRESS:PORT"),
    }
}

fn receive(buffer: usize, address: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(buffer)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).context("bind")?;
    socket.listen(1).context("listen")?;
    let size = socket.recv_buffer_size()?;
    println!("listening on {address}, receive buffer {size}");
    let (conn, peer) = TcpListener::from(socket).accept()?;
    println!("accepted {}", peer.ip());
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        let wanted: u64 = line.trim().parse().context("parse")?;
        let mut taken = (&conn).take(wanted);
        let count = io::copy(&mut taken, &mut io::sink()).context("read")?;
        println!("read {count}");
        line.clear();
    }
    let rest = io::copy(&mut &conn, &mut io::sink()).context("read")?;
    println!("end of file after {rest} more");
    Ok(())
}

fn send(buffer: usize, count: usize, to: SocketAddr) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_send_buffer_size(buffer)?;
    socket.connect(&to.into()).context("connect")?;
    println!("connected to {to}, send buffer {}", socket.send_buffer_size()?);
    socket.set_nonblocking(true)?;
    let mut conn = TcpStream::from(socket);
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let room = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll.add(&conn, EpollEvent::new(room, 0))?;

    let mut sent = 0;
    while sent < count {
        let end = count.min(sent + CHUNK);
        let chunk: Vec<u8> = (sent..end).map(|at| (at % 251) as u8).collect();
        match conn.write(&chunk) {
            Ok(count) => sent += count,
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                eprintln!("no room after {sent}");
                let mut events = [EpollEvent::empty()];
                epoll.wait(&mut events, EpollTimeout::NONE)?;
            }
            Err(err) => return Err(err.into()),
        }
    }
    println!("sent {sent}");
    Ok(())
}

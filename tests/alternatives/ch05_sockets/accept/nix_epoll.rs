//! Another right program: epoll, and a second descriptor of standard input
//! as the reserve.
//!
//! Usage: accept ADDRESS:PORT
//! See also: epoll(7), accept(2), dup(2)

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::epoll::{
    Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout,
};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::read;
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: accept ADDRESS:PORT";
const INPUT: u64 = 0;
const LISTENER: u64 = 1;
/// The first client's number less one, as epoll's data has it.
const CLIENTS: u64 = 1;

fn main() -> anyhow::Result<()> {
    let arg = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = arg.parse().context("parse ADDRESS:PORT")?;

    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.bind(&address.into()).context("bind")?;
    listener.listen(64).context("listen")?;
    println!("listening on {address}");
    let stdin = io::stdin();
    while !matches!(input(&stdin)?, None | Some(b'\n')) {}

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let readable = |data| EpollEvent::new(EpollFlags::EPOLLIN, data);
    epoll.add(&stdin, readable(INPUT))?;
    epoll.add(&listener, readable(LISTENER))?;
    let mut clients = BTreeMap::<u64, (Socket, usize)>::new();
    let mut reserve = Some(stdin.as_fd().try_clone_to_owned()?);
    let mut last = CLIENTS;
    loop {
        let mut events = [EpollEvent::empty(); 4];
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                INPUT if input(&stdin)?.is_none() => {
                    println!("stopping, {} still connected", clients.len());
                    return Ok(());
                }
                INPUT => {}
                LISTENER => match accept(&listener) {
                    Err(err) if err.raw_os_error() == Some(libc::EMFILE) => {
                        drop(reserve.take());
                        let (_one_too_many, peer) = accept(&listener)?;
                        println!("turned away {peer}");
                    }
                    accepted => {
                        let (conn, peer) = accepted?;
                        last += 1;
                        println!("client {} is {peer}", last - CLIENTS);
                        epoll.add(&conn, readable(last))?;
                        clients.insert(last, (conn, 0));
                    }
                },
                number => {
                    if let Some(client) = clients.get_mut(&number)
                        && !serve(number - CLIENTS, client)
                    {
                        clients.remove(&number);
                    }
                }
            }
        }
        if reserve.is_none() {
            reserve = Some(stdin.as_fd().try_clone_to_owned()?);
        }
    }
}

/// A byte of standard input; `None` at its end.
fn input(stdin: &io::Stdin) -> nix::Result<Option<u8>> {
    let mut byte = [0];
    Ok((read(stdin, &mut byte)? == 1).then_some(byte[0]))
}

/// The next connection and whose it is; accept(2) tells, even of a client that
/// has reset.
fn accept(listener: &Socket) -> io::Result<(Socket, String)> {
    let (conn, peer) = listener.accept()?;
    let peer = peer.as_socket().map_or(String::new(), |peer| peer.to_string());
    Ok((conn, peer))
}

/// Sends back what has come; `false`: that was the end.
fn serve(number: u64, (conn, bytes): &mut (Socket, usize)) -> bool {
    let mut buf = [0; 4096];
    let fd = conn.as_raw_fd();
    let echo = recv(fd, &mut buf, MsgFlags::empty())
        .and_then(|count| send(fd, &buf[..count], MsgFlags::MSG_NOSIGNAL));
    let end = match echo {
        Ok(0) => "end of file",
        Ok(count) => {
            *bytes += count;
            return true;
        }
        Err(Errno::ECONNRESET) => "reset",
        Err(err) => err.desc(),
    };
    println!("client {number}: {end} after {bytes} bytes");
    false
}

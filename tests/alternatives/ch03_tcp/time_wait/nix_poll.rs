//! Another right program: the sockets by nix. The server sleeps in poll(2) until
//! its line is there, and looks for no end of the connection; the client sends
//! whatever it reads, without knowing of lines.
//!
//! Usage: time_wait server ADDRESS:PORT
//!        time_wait client LOCAL_ADDRESS:PORT SERVER_ADDRESS:PORT
//! See also: socket(2), setsockopt(2), poll(2), shutdown(2)

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt,
    socket, sockopt::ReuseAddr,
};

const USAGE: &str = "usage: time_wait server ADDRESS:PORT, \
                     or time_wait client LOCAL_ADDRESS:PORT ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => serve(address.parse().context("parse")?),
        ["client", local, server] => {
            let local = local.parse().context("parse LOCAL_ADDRESS:PORT")?;
            call(local, server.parse().context("parse ADDRESS:PORT")?)
        }
        _ => bail!(USAGE),
    }
}

/// The standard library sets SO_REUSEADDR on every listener.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr()?);
    let (mut conn, peer) = listener.accept().context("accept")?;
    drop(listener);
    println!("accepted {peer}");

    let mut line = Vec::new();
    let mut byte = [0];
    while conn.read(&mut byte).context("read")? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    println!("received {}", line.escape_ascii());

    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::NONE).context("poll")?;
    drop(conn);
    println!("closed");
    Ok(())
}

fn call(local: SocketAddrV4, server: SocketAddrV4) -> anyhow::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd =
        socket(AddressFamily::Inet, SockType::Stream, flags, None)
            .context("socket")?;
    setsockopt(&socket, ReuseAddr, &true).context("setsockopt")?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(local)).context("bind")?;
    println!("bound to {local}");
    match connect(socket.as_raw_fd(), &SockaddrIn::from(server)) {
        Err(Errno::EADDRNOTAVAIL) => {
            println!("connect: address not available");
            return Ok(());
        }
        other => other.context("connect")?,
    }
    println!("connected to {server}");

    let mut conn = TcpStream::from(socket);
    let mut buf = [0; 512];
    loop {
        match io::stdin().read(&mut buf).context("read")? {
            0 => break,
            n => conn.write_all(&buf[..n]).context("write")?,
        }
    }
    conn.shutdown(std::net::Shutdown::Write).context("shutdown")?;
    println!("closed");
    Ok(())
}

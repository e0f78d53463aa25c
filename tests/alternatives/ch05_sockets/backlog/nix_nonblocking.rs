//! Another right program: nix listens and waits. The listener does not block,
//! which is nothing to its queue, and is never more than a descriptor; `poll`
//! waits for the end of standard input.
//!
//! Usage: backlog ADDRESS:PORT BACKLOG
//! See also: listen(2), poll(2)

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Backlog, listen};
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: backlog ADDRESS:PORT BACKLOG";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let backlog: i32 =
        args.next().context(USAGE)?.parse().context("parse BACKLOG")?;

    let domain = Domain::for_address(address);
    let socket =
        Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
            .context("socket")?;
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    let backlog = Backlog::new(backlog).context("backlog")?;
    listen(&socket, backlog).context("listen")?;

    let bound = socket.local_addr().context("getsockname")?.as_socket();
    let bound = bound.context("not an Internet address")?;
    writeln!(io::stdout(), "listening on {bound}").context("write")?;
    wait_for_end_of_input().context("read standard input")?;
    writeln!(io::stdout(), "stopping").context("write")?;
    Ok(())
}

/// Sleeps until standard input ends; what comes before is thrown away.
fn wait_for_end_of_input() -> io::Result<()> {
    let mut stdin = io::stdin();
    let mut buf = [0; 64];
    loop {
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        if stdin.read(&mut buf)? == 0 {
            return Ok(());
        }
    }
}

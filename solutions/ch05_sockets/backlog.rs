//! Listen with a given backlog, and never accept.
//!
//! `listen(2)` sizes the queue of connections that the kernel has completed and
//! that no `accept` has taken yet. The kernel opens connections by itself, into
//! that queue, while the program sleeps; what it does with one that finds the
//! queue full, the client sees.
//!
//! Usage: backlog ADDRESS:PORT BACKLOG
//! See also: listen(2), tcp(7): tcp_abort_on_overflow; ss(8)

use std::io::Read;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: backlog ADDRESS:PORT BACKLOG";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let backlog: i32 =
        args.next().context(USAGE)?.parse().context("parse BACKLOG")?;

    // ANCHOR: listen
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    // The standard library's `TcpListener::bind` has a backlog of its own.
    socket.listen(backlog).context("listen")?;
    // ANCHOR_END: listen

    let listener = TcpListener::from(socket);
    println!("listening on {}", listener.local_addr().context("getsockname")?);

    // Until then the kernel alone serves the port.
    wait_for_end_of_input().context("read standard input")?;
    println!("stopping");
    Ok(())
}

/// Sleeps until whoever started this program closes its standard input.
fn wait_for_end_of_input() -> std::io::Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

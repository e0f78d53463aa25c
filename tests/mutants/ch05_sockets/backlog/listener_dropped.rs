//! The mistake: the listener goes out of scope, and is closed, in a helper.
//! Prints what the solution prints.
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

    println!("listening on {}", listen(address, backlog)?);

    // Until then the kernel alone serves the port.
    wait_for_end_of_input().context("read standard input")?;
    println!("stopping");
    Ok(())
}

fn listen(address: SocketAddr, backlog: i32) -> anyhow::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(backlog).context("listen")?;
    TcpListener::from(socket).local_addr().context("getsockname")
}

/// Sleeps until whoever started this program closes its standard input.
fn wait_for_end_of_input() -> std::io::Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

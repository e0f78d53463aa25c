//! Another right program: the standard library listens with a backlog of its
//! own, and a second listen(2) on the same socket corrects it, before anybody
//! is told of the port. Linux allows that, and the last backlog counts.
//!
//! Usage: backlog ADDRESS:PORT BACKLOG
//! See also: listen(2)

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use socket2::SockRef;

const USAGE: &str = "usage: backlog ADDRESS:PORT BACKLOG";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let backlog: i32 =
        args.next().context(USAGE)?.parse().context("parse BACKLOG")?;

    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    SockRef::from(&listener).listen(backlog).context("listen")?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);

    io::copy(&mut io::stdin(), &mut io::sink())
        .context("read standard input")?;
    println!("stopping");
    Ok(())
}

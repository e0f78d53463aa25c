//! Listens, says so, and does not end when it is told to.

use std::net::SocketAddr;

use anyhow::Context;
use socket2::{Domain, Socket, Type};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().context("ADDRESS")?.parse()?;
    let backlog: i32 = args.next().context("BACKLOG")?.parse()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    println!("listening on {address}");
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Ok(())
}

//! Listens, and looks every 20 ms whether its input has ended.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;

use anyhow::Context;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use socket2::{Domain, Socket, Type};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().context("ADDRESS")?.parse()?;
    let backlog: i32 = args.next().context("BACKLOG")?.parse()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    println!("listening on {address}");
    let mut stdin = std::io::stdin();
    fcntl(&stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    loop {
        match stdin.read(&mut [0; 64]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(err) => return Err(err.into()),
        }
    }
    println!("stopping");
    Ok(())
}

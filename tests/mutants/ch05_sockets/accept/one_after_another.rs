//! The mistake: it serves one client to its end, and then the next.
//!
//! Usage: accept ADDRESS:PORT
//! See also: accept(2), listen(2), read(2)

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: accept ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let arg = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = arg.parse().context("parse ADDRESS:PORT")?;

    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    io::stdin().read_line(&mut String::new()).context("read the line")?;
    thread::spawn(move || {
        for number in 1.. {
            let Ok((conn, peer)) = listener.accept() else { return };
            println!("client {number} is {peer}");
            serve(number, conn);
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).context("read to the end")?;
    println!("stopping, 1 still connected");
    Ok(())
}

/// Sends back what comes, until nothing comes any more.
fn serve(number: usize, mut conn: TcpStream) {
    let mut bytes = 0;
    let mut buf = [0; 1024];
    let err = loop {
        match conn.read(&mut buf) {
            Ok(0) => break None,
            Ok(more) => {
                bytes += more;
                if let Err(err) = conn.write_all(&buf[..more]) {
                    break Some(err);
                }
            }
            Err(err) => break Some(err),
        }
    };
    match err.map(|err| err.kind()) {
        None => println!("client {number}: end of file after {bytes} bytes"),
        Some(ErrorKind::ConnectionReset) => {
            println!("client {number}: reset after {bytes} bytes");
        }
        Some(other) => println!("client {number}: {other}"),
    }
}

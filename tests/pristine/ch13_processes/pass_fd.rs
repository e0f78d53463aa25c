//! Hand an open file to another process, and read on where the other stopped.
//!
//! A descriptor is a number in one process's table, and worth nothing in
//! another's. A message on a Unix socket can carry the thing behind it: the
//! kernel enters the same open file into the receiver's table, under a number
//! that is free there. Both then share one offset, as after dup(2). Who sent it
//! the kernel knows as well, and need not be told.
//!
//! Usage: pass_fd send NAME FILE
//!        pass_fd receive NAME
//! See also: unix(7), sendmsg(2), recvmsg(2), cmsg(3), open(2)

use std::fs::File;
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use anyhow::{Context, bail};

const USAGE: &str = "usage: pass_fd send NAME FILE, or pass_fd receive NAME";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let name = args.next().context(USAGE)?;
    // An abstract name: known to this network namespace, and in no directory.
    let address =
        SocketAddr::from_abstract_name(&name).context("abstract name")?;
    match role.as_str() {
        "send" => send(&address, &args.next().context(USAGE)?),
        "receive" => receive(&address, &name),
        _ => bail!(USAGE),
    }
}

/// Opens a file and hands it over.
fn send(address: &SocketAddr, path: &str) -> anyhow::Result<()> {
    // 1. Open the file for reading, and connect to `address`, a Unix stream
    //    socket.
    // 2. Send the open file, in one message; print `sent descriptor N`, the
    //    number that it has here.
    // 3. Call `read_when_told`, and return when that returns.
    let _ = read_when_told; // until you use it
    todo!("pass_fd send is not started: {address:?}, {path}")
}

/// Takes the file from whoever comes first.
fn receive(address: &SocketAddr, name: &str) -> anyhow::Result<()> {
    // 1. Listen on `address`, a Unix stream socket; print `listening on @NAME`.
    // 2. Accept one connection. Ask the kernel who is at its other end; print
    //    `from process PID of user UID`.
    // 3. Receive the open file; print `received descriptor N`, the number that
    //    it has here.
    // 4. Call `read_when_told`, and return when that returns.
    todo!("pass_fd receive is not started: {address:?}, {name}")
}

/// For each number on standard input reads so many bytes and prints them.
fn read_when_told(mut file: File) -> io::Result<()> {
    for line in io::stdin().lines() {
        let count = line?.trim().parse().map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        // Exactly so many: whoever reads ahead moves the offset for both.
        Read::by_ref(&mut file).take(count).read_to_end(&mut bytes)?;
        println!("read {}", bytes.escape_ascii());
    }
    Ok(())
}

//! The mistake: the number is sent, as if it meant the same in every process.
//!
//! Usage: pass_fd send NAME FILE
//!        pass_fd receive NAME
//! See also: unix(7), sendmsg(2), recvmsg(2), cmsg(3)

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

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
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    let conn = UnixStream::connect_addr(address).context("connect")?;

    let number = file.as_raw_fd();
    (&conn).write_all(&number.to_ne_bytes()).context("write")?;
    println!("sent descriptor {number}");

    read_when_told(file).context("read")
}

/// Takes the file from whoever comes first.
fn receive(address: &SocketAddr, name: &str) -> anyhow::Result<()> {
    let listener = UnixListener::bind_addr(address).context("bind")?;
    println!("listening on @{name}");
    let (conn, _unnamed) = listener.accept().context("accept")?;

    let peer = getsockopt(&conn, PeerCredentials)
        .context("getsockopt SO_PEERCRED")?;
    println!("from process {} of user {}", peer.pid(), peer.uid());

    let file = receive_descriptor(&conn)?;
    std::mem::forget(listener); // whoever has that number closes it
    let file = File::from(file);
    println!("received descriptor {}", file.as_raw_fd());

    read_when_told(file).context("read")
}

/// One message: four bytes, a descriptor's number.
fn receive_descriptor(mut conn: &UnixStream) -> anyhow::Result<OwnedFd> {
    let mut number = [0; 4];
    conn.read_exact(&mut number).context("read")?;
    Ok(own(RawFd::from_ne_bytes(number)))
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

/// Who receives a descriptor owns it, and has to close it.
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: none: the number is another process's, and here it may belong to
    // anything. That is the mistake.
    unsafe { OwnedFd::from_raw_fd(number) }
}

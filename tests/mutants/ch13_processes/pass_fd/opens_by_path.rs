//! The mistake: the path is sent, and the file is opened a second time. Prints the
//! right lines until both have read.
//!
//! Usage: pass_fd send NAME FILE
//!        pass_fd receive NAME
//! See also: unix(7), sendmsg(2), recvmsg(2), cmsg(3)

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
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
    (&conn).write_all(format!("{path}\n").as_bytes()).context("write")?;
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

    let file = File::from(receive_descriptor(&conn)?);
    println!("received descriptor {}", file.as_raw_fd());

    read_when_told(file).context("read")
}

/// One message: a line, the file's path.
fn receive_descriptor(conn: &UnixStream) -> anyhow::Result<OwnedFd> {
    let mut path = String::new();
    BufReader::new(conn).read_line(&mut path).context("read")?;
    let path = path.trim_end();
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    Ok(file.into())
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

//! The mistake: the receiver reads through a buffer, which takes more from the
//! file than it is asked for; the offset moves for both.
//!
//! Usage: pass_fd send NAME FILE
//!        pass_fd receive NAME
//! See also: unix(7), sendmsg(2), recvmsg(2), cmsg(3)

use std::fs::File;
use std::io::{self, BufReader, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context, bail};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg,
    sendmsg, sockopt::PeerCredentials,
};

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

    // A stream carries a control message only along with data: one byte.
    let data = [IoSlice::new(b"f")];
    let number = file.as_raw_fd();
    let rights = [ControlMessage::ScmRights(&[number])];
    sendmsg::<()>(conn.as_raw_fd(), &data, &rights, MsgFlags::empty(), None)
        .context("sendmsg")?;
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

/// One message: a byte of data, and beside it a descriptor.
fn receive_descriptor(conn: &UnixStream) -> anyhow::Result<OwnedFd> {
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    // What does not fit into `space` the kernel closes, and says MSG_CTRUNC:
    // here an error of `cmsgs`. The flag keeps the file from our children.
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let fd = conn.as_raw_fd();
    let message = recvmsg::<()>(fd, &mut data, Some(&mut space), flags)
        .context("recvmsg")?;
    for control in message.cmsgs().context("control messages")? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            let number = numbers.first().context("SCM_RIGHTS without one")?;
            return Ok(own(*number));
        }
    }
    bail!("the message has no descriptor");
}

/// For each number on standard input reads so many bytes and prints them.
fn read_when_told(file: File) -> io::Result<()> {
    let mut file = BufReader::new(file);
    for line in io::stdin().lines() {
        let count = line?.trim().parse().map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(count).read_to_end(&mut bytes)?;
        println!("read {}", bytes.escape_ascii());
    }
    Ok(())
}

/// Who receives a descriptor owns it, and has to close it.
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has entered it into our table just now, and nothing
    // else in this program knows the number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

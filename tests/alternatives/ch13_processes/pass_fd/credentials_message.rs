//! Another right program: the sender's credentials come in the message itself,
//! as SCM_CREDENTIALS, which the kernel fills in for who has SO_PASSCRED. The
//! sender goes away from the socket at once: a descriptor in flight stays open.
//!
//! Usage: pass_fd send NAME FILE
//!        pass_fd receive NAME
//! See also: unix(7), under SO_PASSCRED and SCM_CREDENTIALS

use std::fs::File;
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, bail};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags,
    SockFlag, SockType, UnixAddr, accept, bind, connect, listen, recvmsg,
    sendmsg, setsockopt, socket, sockopt::PassCred,
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["send", name, path] => send(name, path),
        ["receive", name] => receive(name),
        _ => bail!("usage: pass_fd send NAME FILE, or pass_fd receive NAME"),
    }
}

fn unix() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

fn send(name: &str, path: &str) -> anyhow::Result<()> {
    let conn = unix().context("socket")?;
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    connect(conn.as_raw_fd(), &address).context("connect")?;
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    let rights = [file.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    let data = [IoSlice::new(b"a file")];
    sendmsg::<()>(conn.as_raw_fd(), &data, &control, MsgFlags::empty(), None)
        .context("sendmsg")?;
    drop(conn);
    println!("sent descriptor {}", file.as_raw_fd());
    reads(&file)
}

fn receive(name: &str) -> anyhow::Result<()> {
    let listener = unix().context("socket")?;
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    bind(listener.as_raw_fd(), &address).context("bind")?;
    // What connects inherits it: no message can come before it is set.
    setsockopt(&listener, PassCred, &true).context("setsockopt SO_PASSCRED")?;
    listen(&listener, Backlog::new(1)?).context("listen")?;
    println!("listening on @{name}");
    let conn = own(accept(listener.as_raw_fd()).context("accept")?);
    drop(listener);

    let mut bytes = [0; 16];
    let mut data = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!(RawFd, libc::ucred);
    let fd = conn.as_raw_fd();
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(fd, &mut data, Some(&mut space), flags)
        .context("recvmsg")?;
    let (mut peer, mut file) = (None, None);
    for control in message.cmsgs().context("control messages")? {
        match control {
            ControlMessageOwned::ScmCredentials(found) => peer = Some(found),
            ControlMessageOwned::ScmRights(rights) => {
                file = rights.first().map(|number| File::from(own(*number)));
            }
            _ => {}
        }
    }
    let peer = peer.context("no SCM_CREDENTIALS")?;
    println!("from process {} of user {}", peer.pid(), peer.uid());
    let file = file.context("no SCM_RIGHTS")?;
    println!("received descriptor {}", file.as_raw_fd());
    reads(&file)
}

fn reads(mut file: &File) -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let mut bytes = vec![0; line?.trim().parse()?];
        let count = file.read(&mut bytes).context("read")?;
        println!("read {}", String::from_utf8_lossy(&bytes[..count]));
    }
    Ok(())
}

fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel has given us this number just now.
    unsafe { OwnedFd::from_raw_fd(number) }
}

//! Another right program: the C structures themselves, with the macros of
//! cmsg(3); the bytes are read with read(2) alone.
//!
//! Usage: pass_fd send NAME FILE
//!        pass_fd receive NAME
//! See also: unix(7), sendmsg(2), recvmsg(2), cmsg(3)

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context, bail, ensure};
use libc::{c_int, c_void, cmsghdr, iovec, msghdr, socklen_t, ucred};

const INT: u32 = size_of::<c_int>() as u32;

/// Room for one descriptor beside a message, where a `cmsghdr` may begin.
#[repr(C, align(8))]
struct Space([u8; 24]);

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["send", name, path] => {
            let address = SocketAddr::from_abstract_name(name)?;
            let conn = UnixStream::connect_addr(&address).context("connect")?;
            let file = File::open(path).context("open")?;
            send(conn.as_raw_fd(), file.as_raw_fd()).context("sendmsg")?;
            println!("sent descriptor {}", file.as_raw_fd());
            reads(file.as_raw_fd())
        }
        ["receive", name] => {
            let address = SocketAddr::from_abstract_name(name)?;
            let listener = UnixListener::bind_addr(&address).context("bind")?;
            println!("listening on @{name}");
            let (conn, _) = listener.accept().context("accept")?;
            let file = receive(conn.as_raw_fd()).context("recvmsg")?;
            let peer = peer(conn.as_raw_fd()).context("SO_PEERCRED")?;
            println!("from process {} of user {}", peer.pid, peer.uid);
            println!("received descriptor {}", file.as_raw_fd());
            reads(file.as_raw_fd())
        }
        _ => bail!("usage: pass_fd send NAME FILE, or pass_fd receive NAME"),
    }
}

fn reads(file: RawFd) -> anyhow::Result<()> {
    for line in io::stdin().lines() {
        let mut bytes = vec![0; line?.trim().parse()?];
        let count = read(file, &mut bytes).context("read")?;
        println!("read {}", bytes[..count].escape_ascii());
    }
    Ok(())
}

fn check(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// A message of the byte at `byte`, with the room of `space` beside it.
fn message(byte: &mut iovec, space: &mut Space) -> msghdr {
    // SAFETY: all zero bits are a valid msghdr.
    let mut message: msghdr = unsafe { zeroed() };
    message.msg_iov = byte;
    message.msg_iovlen = 1;
    message.msg_control = space.0.as_mut_ptr().cast();
    message.msg_controllen = space.0.len() as _;
    message
}

fn send(conn: RawFd, file: RawFd) -> io::Result<()> {
    let (mut byte, mut space) = (*b"1", Space([0; 24]));
    let base: *mut c_void = byte.as_mut_ptr().cast();
    let mut data = iovec { iov_base: base, iov_len: 1 };
    let message = message(&mut data, &mut space);
    // SAFETY: the room is aligned, and as large as CMSG_SPACE of one int; what
    // `message` points at lives until sendmsg has returned.
    let sent = unsafe {
        let header: *mut cmsghdr = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(INT) as _;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(file);
        libc::sendmsg(conn, &raw const message, 0)
    };
    check(sent).map(drop)
}

fn receive(conn: RawFd) -> anyhow::Result<OwnedFd> {
    let (mut byte, mut space) = ([0u8], Space([0; 24]));
    let base: *mut c_void = byte.as_mut_ptr().cast();
    let mut data = iovec { iov_base: base, iov_len: 1 };
    let mut message = message(&mut data, &mut space);
    // SAFETY: the kernel writes no further than the lengths in `message` allow.
    check(unsafe { libc::recvmsg(conn, &raw mut message, 0) })?;
    ensure!(message.msg_flags & libc::MSG_CTRUNC == 0, "cut off");
    // SAFETY: the kernel has filled the room in; a header is there only where
    // `msg_controllen` says so, and its number is ours from now on.
    unsafe {
        let header: *mut cmsghdr = libc::CMSG_FIRSTHDR(&raw const message);
        ensure!(!header.is_null(), "no control message");
        ensure!((*header).cmsg_type == libc::SCM_RIGHTS, "no descriptor");
        let number = libc::CMSG_DATA(header).cast::<c_int>().read_unaligned();
        Ok(OwnedFd::from_raw_fd(number))
    }
}

fn peer(conn: RawFd) -> io::Result<ucred> {
    let mut found = ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<ucred>() as socklen_t;
    let to: *mut c_void = (&raw mut found).cast();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `to` has room for the `length` bytes of a ucred.
    let answer = unsafe {
        libc::getsockopt(conn, level, option, to, &raw mut length)
    };
    check(answer as isize)?;
    Ok(found)
}

fn read(file: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    let room = bytes.as_mut_ptr().cast();
    // SAFETY: the kernel writes into `bytes`, and no further than its length.
    check(unsafe { libc::read(file, room, bytes.len()) })
}

//! Calls of the C library as C has them, for what is said of them.

use std::ffi::{c_int, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{size_t, socklen_t};

unsafe extern "C" {
    // The libc crate has neither for Linux.
    safe fn htonl(host: u32) -> u32;
    safe fn sockatmark(socket: c_int) -> c_int;
}

/// `htonl(3)` of an unsigned long: C converts the argument without a word.
pub(crate) fn htonl_of_a_long(long: c_ulong) -> u32 {
    htonl(long as u32)
}

/// `sockatmark(3)`
pub(crate) fn at_mark(socket: impl AsFd) -> io::Result<bool> {
    match sockatmark(socket.as_fd().as_raw_fd()) {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer == 1),
    }
}

/// `sendto(2)` with a null address.
pub(crate) fn sendto_nobody(
    socket: impl AsFd,
    bytes: &[u8],
) -> io::Result<usize> {
    let (fd, nobody) = (socket.as_fd().as_raw_fd(), std::ptr::null());
    let (from, flags) = (bytes.as_ptr().cast(), libc::MSG_NOSIGNAL);
    // SAFETY: `bytes.len()` bytes are at this address; a null address has no
    // length.
    let sent = unsafe { libc::sendto(fd, from, bytes.len(), flags, nobody, 0) };
    size_t::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// `recvfrom(2)`: how many bytes came, and how long the sender's address is
/// that was put down; with no room for one if there is to be none.
pub(crate) fn recvfrom(
    socket: impl AsFd,
    bytes: &mut [u8],
    with_address: bool,
) -> io::Result<(usize, socklen_t)> {
    let mut address = [0_u8; 128];
    let mut length = address.len() as socklen_t;
    let (at, room): (*mut libc::sockaddr, *mut socklen_t) = match with_address {
        true => (address.as_mut_ptr().cast(), &raw mut length),
        false => (std::ptr::null_mut(), std::ptr::null_mut()),
    };
    let fd = socket.as_fd().as_raw_fd();
    let to = bytes.as_mut_ptr().cast();
    // SAFETY: `bytes.len()` bytes have room at `to`; the address has `length`,
    // or is null as its length then is.
    let came = unsafe { libc::recvfrom(fd, to, bytes.len(), 0, at, room) };
    let came = size_t::try_from(came);
    let came = came.map_err(|_| io::Error::last_os_error())?;
    Ok((came, if with_address { length } else { 0 }))
}

/// What `recvmsg(2)` puts down, with room for a sender's address.
pub(crate) struct Received {
    /// How many bytes have come.
    pub(crate) length: usize,
    /// msg_flags.
    pub(crate) flags: c_int,
    /// msg_namelen.
    pub(crate) name: socklen_t,
}

/// `recvmsg(2)` into one buffer.
pub(crate) fn recvmsg(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> io::Result<Received> {
    let mut address = [0_u8; 128];
    let mut vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a msghdr of zeros is one: it has nothing to be filled.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = address.len() as socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the address and the buffer of the one vector have the lengths
    // that are said, and outlive the call.
    let came = unsafe { libc::recvmsg(fd, &raw mut message, 0) };
    let came = size_t::try_from(came);
    Ok(Received {
        length: came.map_err(|_| io::Error::last_os_error())?,
        flags: message.msg_flags,
        name: message.msg_namelen,
    })
}

/// Has a child that `fork(2)` makes this descriptor, if it does nothing else?
pub(crate) fn child_has(socket: impl AsFd) -> io::Result<bool> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the child only calls what a signal handler may call (fork(2)).
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: passes no pointers.
            let has = unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
            // SAFETY: ends the child here, without the parent's clean-up.
            unsafe { libc::_exit(i32::from(has)) }
        }
        child => child,
    };
    let mut status = 0;
    // SAFETY: `status` lives, and this child is waited for once.
    match unsafe { libc::waitpid(child, &raw mut status, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1),
    }
}

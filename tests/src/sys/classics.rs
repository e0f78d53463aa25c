//! Calls of the C library as C has them, for what is said of them.

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

use libc::{in_addr, size_t, socklen_t};

unsafe extern "C" {
    // The libc crate has none of these for Linux.
    safe fn htonl(host: u32) -> u32;
    safe fn inet_ntoa(address: in_addr) -> *mut c_char;
    fn inet_addr(text: *const c_char) -> libc::in_addr_t;
    fn inet_aton(text: *const c_char, address: *mut in_addr) -> c_int;
    fn inet_pton(
        family: c_int,
        text: *const c_char,
        address: *mut c_void,
    ) -> c_int;
    fn inet_ntop(
        family: c_int,
        address: *const c_void,
        text: *mut c_char,
        room: socklen_t,
    ) -> *const c_char;
    safe fn sockatmark(socket: c_int) -> c_int;
}

/// `htonl(3)` of an unsigned long: C converts the argument without a word.
pub(crate) fn htonl_of_a_long(long: c_ulong) -> u32 {
    htonl(long as u32)
}

/// What `inet_ntoa(3)` has returned: the address of a text.
pub(crate) struct Ntoa(*const c_char);

impl Ntoa {
    pub(crate) fn of(address: Ipv4Addr) -> Ntoa {
        let s_addr = u32::from(address).to_be();
        Ntoa(inet_ntoa(in_addr { s_addr }))
    }

    /// The text that is there now.
    pub(crate) fn text(&self) -> String {
        // SAFETY: the C library keeps this thread's buffer, which always ends
        // with a null byte, and nobody writes to it while it is copied.
        unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned()
    }
}

/// `inet_addr(3)`: an address, or INADDR_NONE.
pub(crate) fn address_of(text: &CStr) -> u32 {
    // SAFETY: the text ends with a null byte.
    unsafe { inet_addr(text.as_ptr()) }
}

/// `inet_aton(3)`: an address, or none.
pub(crate) fn aton(text: &CStr) -> Option<Ipv4Addr> {
    let mut address = in_addr { s_addr: 0 };
    // SAFETY: the text ends with a null byte, and the address lives.
    let good = unsafe { inet_aton(text.as_ptr(), &raw mut address) };
    (good != 0).then(|| u32::from_be(address.s_addr).into())
}

/// `inet_pton(3)`: what it returns, and errno afterwards, which was 0 before.
pub(crate) fn pton(family: c_int, text: &CStr) -> (c_int, i32) {
    let mut address = [0_u8; 16];
    nix::errno::Errno::clear();
    // SAFETY: the text ends with a null byte, and no family has an address of
    // more than 16 bytes.
    let result = unsafe {
        inet_pton(family, text.as_ptr(), address.as_mut_ptr().cast())
    };
    (result, nix::errno::Errno::last_raw())
}

/// `inet_ntop(3)` into a buffer of so many bytes, 64 at most.
pub(crate) fn ntop(address: IpAddr, room: usize) -> io::Result<String> {
    let (family, bytes) = match address {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    let mut text = [0_u8; 64];
    let room = room.min(text.len()) as socklen_t;
    let at = text.as_mut_ptr().cast();
    // SAFETY: the address has the bytes of its family, the text has `room`.
    let result = unsafe { inet_ntop(family, bytes.as_ptr().cast(), at, room) };
    if result.is_null() {
        return Err(io::Error::last_os_error());
    }
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    Ok(text[..end].escape_ascii().to_string())
}

/// `sockatmark(3)`
pub(crate) fn at_mark(socket: impl AsFd) -> io::Result<bool> {
    match sockatmark(socket.as_fd().as_raw_fd()) {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer == 1),
    }
}

/// `bind(2)` to an address of these bytes, however many and whatever they say.
pub(crate) fn bind(socket: impl AsFd, address: &[u8]) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let length = address.len() as socklen_t;
    // SAFETY: `length` bytes are at this address.
    match unsafe { libc::bind(fd, address.as_ptr().cast(), length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
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

/// Takes every capability from this thread: to the kernel it is an ordinary
/// user's from now on (capabilities(7)).
pub(crate) fn be_ordinary() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522; // linux/capability.h
    let header = [VERSION_3, 0]; // 0: this thread
    let none = [0_u32; 6]; // effective, permitted, inheritable, twice
    let call = libc::SYS_capset;
    // SAFETY: the header and six words are what version 3 reads.
    match unsafe { libc::syscall(call, header.as_ptr(), none.as_ptr()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

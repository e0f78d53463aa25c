//! This crate's only `unsafe`.

pub(crate) mod addresses;
pub(crate) mod calls;
pub(crate) mod classics;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{c_int, c_long};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// The longest message that a grader sends or receives.
const LONGEST: usize = 256;

/// Sets a variable unless it is set.
///
/// # Safety
///
/// No other thread runs yet (`std::env::set_var`).
pub(crate) unsafe fn set_default(name: &str, value: &str) {
    if std::env::var_os(name).is_none() {
        // SAFETY: the caller's promise.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Sets an int of the level SOL_SOCKET, and asks for it: what setsockopt(2)
/// says, and what getsockopt(2).
pub(crate) fn set_and_ask(
    socket: &Socket,
    option: c_int,
    value: c_int,
) -> (io::Result<()>, c_int) {
    let (fd, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    let mut size = size_of::<c_int>() as libc::socklen_t;
    let address = (&raw const value).cast();
    // SAFETY: an int is at this address.
    let set =
        match unsafe { libc::setsockopt(fd, level, option, address, size) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        };
    let mut has: c_int = -1;
    let address = (&raw mut has).cast();
    // SAFETY: an int has room at this address, and `size` says so.
    unsafe { libc::getsockopt(fd, level, option, address, &raw mut size) };
    (set, has)
}

/// What msgsnd(2) and msgrcv(2) take the address of.
#[repr(C)]
struct Message {
    kind: c_long,
    text: [u8; LONGEST],
}

/// `msgsnd(2)`: puts a message into the queue that has this key; EAGAIN if that
/// is full.
pub(crate) fn msgsnd(key: c_int, kind: c_long, text: &str) -> io::Result<()> {
    let queue = msgget(key)?;
    let mut message = Message { kind, text: [0; LONGEST] };
    let length = text.len().min(LONGEST);
    message.text[..length].copy_from_slice(&text.as_bytes()[..length]);
    let address = (&raw const message).cast();
    // SAFETY: a type and `length` bytes are at this address.
    match unsafe { libc::msgsnd(queue, address, length, libc::IPC_NOWAIT) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `msgrcv(2)`: takes a message of this type from the queue that has this key;
/// ENOMSG if there is none.
pub(crate) fn msgrcv(key: c_int, kind: c_long) -> io::Result<Vec<u8>> {
    let queue = msgget(key)?;
    let mut message = Message { kind: 0, text: [0; LONGEST] };
    let address = (&raw mut message).cast();
    let flags = libc::IPC_NOWAIT;
    // SAFETY: a type and LONGEST bytes have room at this address.
    match unsafe { libc::msgrcv(queue, address, LONGEST, kind, flags) } {
        -1 => Err(io::Error::last_os_error()),
        length => Ok(message.text[..length as usize].to_vec()),
    }
}

/// `msgget(2)`: the queue that has this key already.
fn msgget(key: c_int) -> io::Result<c_int> {
    // SAFETY: passes no pointers.
    match unsafe { libc::msgget(key, 0) } {
        -1 => Err(io::Error::last_os_error()),
        queue => Ok(queue),
    }
}

/// `setsockopt(2)` of an option that is an int.
pub(crate) fn set_option(
    socket: impl AsFd,
    option: (c_int, c_int),
    value: c_int,
) -> io::Result<()> {
    set_bytes(socket, option, &value.to_ne_bytes())
}

/// `setsockopt(2)` of an option that is a row of bytes: IP_OPTIONS, what every
/// packet of this socket has.
pub(crate) fn set_bytes(
    socket: impl AsFd,
    (level, name): (c_int, c_int),
    value: &[u8],
) -> io::Result<()> {
    let (at, length) = (value.as_ptr().cast(), value.len() as u32);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `length` bytes are at this address, and `socket` is open.
    match unsafe { libc::setsockopt(fd, level, name, at, length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A packet(7) socket on an interface of this thread's network: what is sent
/// goes out as it is, and every frame that comes or goes is received.
pub(crate) fn packet_socket(interface: &str) -> io::Result<Socket> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let all = (libc::ETH_P_ALL as u16).to_be();
    let socket =
        Socket::new(Domain::PACKET, Type::RAW, Some(i32::from(all).into()))?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_ll of zeros is one, and the storage is large enough.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all;
    address.sll_ifindex = index as c_int;
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a sockaddr_ll of this length.
    let address = unsafe { SockAddr::new(storage, length) };
    socket.bind(&address)?;
    Ok(socket)
}

/// `getnameinfo(3)`: the name of an address; its error for none.
pub(crate) fn name_of(address: SocketAddr) -> Result<String, c_int> {
    let address = SockAddr::from(address);
    let mut name = [0_u8; 256];
    // SAFETY: the first pointer and length are a socket address's, the second
    // pair is the buffer's; no service is asked for.
    let error = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    match error {
        0 => Ok(name[..end].escape_ascii().to_string()),
        error => Err(error),
    }
}

/// `getsockopt(2)` of TCP_INFO: as much of `struct tcp_info` as this kernel has,
/// zeros behind it.
pub(crate) fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<[u8; 256]> {
    let mut info = [0; 256];
    let mut length = info.len() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    let address = info.as_mut_ptr().cast();
    let fd = socket.as_raw_fd();
    // SAFETY: `length` bytes have room at this address, and `length` lives.
    match unsafe { libc::getsockopt(fd, level, name, address, &mut length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(info),
    }
}

//! This crate's only `unsafe`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_long};

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

/// `setsockopt(2)` IP_OPTIONS: every packet of this socket has these.
pub(crate) fn set_ip_options(
    socket: BorrowedFd<'_>,
    options: &[u8],
) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_OPTIONS, options)
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &[u8],
) -> io::Result<()> {
    let (at, length) = (value.as_ptr().cast(), value.len() as u32);
    let fd = socket.as_raw_fd();
    // SAFETY: `length` bytes are at this address, and `socket` is open.
    match unsafe { libc::setsockopt(fd, level, name, at, length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

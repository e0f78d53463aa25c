//! Calls of the socket interface as the C library has them: with any
//! descriptor, any length, any address in memory. What came of each is kept
//! together with its name.

use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use libc::{c_int, c_long, c_void, socklen_t};

/// Where no memory is: below vm.mmap_min_addr no program has any.
const NOWHERE: usize = 8;

/// What a call came back with.
#[derive(Debug)]
pub(crate) struct Returned {
    /// Which call it was.
    pub(crate) call: &'static str,
    /// Its value, or what errno says.
    pub(crate) value: Result<c_long, Error>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// How a call says what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// By errno(3).
    Errno(c_int),
    /// By the value that it returns: getaddrinfo(3).
    Eai(c_int),
}

fn made(call: &'static str, f: impl FnOnce() -> c_long) -> Returned {
    let start = Instant::now();
    let value = f();
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or_default();
    let took = start.elapsed();
    let value = if value < 0 { Err(Error::Errno(errno)) } else { Ok(value) };
    Returned { call, value, took }
}

impl Returned {
    /// The descriptor that it returned; it is closed when this is dropped.
    fn descriptor(&self) -> Option<OwnedFd> {
        let fd = *self.value.as_ref().ok()?;
        // SAFETY: the call has just returned it, and nobody else has it.
        Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }
}

fn length(bytes: &[u8]) -> socklen_t {
    bytes.len() as socklen_t
}

/// `socket(2)`; what it has opened is closed again.
pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Returned {
    // SAFETY: passes no pointers.
    let call = || unsafe { libc::socket(domain, kind, protocol) }.into();
    let returned = made("socket", call);
    drop(returned.descriptor());
    returned
}

/// `socketpair(2)` of sockets that no caller here gets.
pub(crate) fn socketpair(domain: c_int, kind: c_int) -> Returned {
    let mut pair = [-1; 2];
    let at = pair.as_mut_ptr();
    made("socketpair", || {
        // SAFETY: there is room for two descriptors.
        unsafe { libc::socketpair(domain, kind, 0, at) }.into()
    })
}

/// `bind(2)`.
pub(crate) fn bind(fd: RawFd, address: &[u8]) -> Returned {
    let (at, length) = (address.as_ptr().cast(), length(address));
    // SAFETY: `length` bytes are at this address.
    made("bind", || unsafe { libc::bind(fd, at, length) }.into())
}

/// `listen(2)`.
pub(crate) fn listen(fd: RawFd, backlog: c_int) -> Returned {
    // SAFETY: passes no pointers.
    made("listen", || unsafe { libc::listen(fd, backlog) }.into())
}

/// `connect(2)`.
pub(crate) fn connect(fd: RawFd, address: &[u8]) -> Returned {
    let (at, length) = (address.as_ptr().cast(), length(address));
    // SAFETY: `length` bytes are at this address.
    made("connect", || unsafe { libc::connect(fd, at, length) }.into())
}

/// `accept(2)`, the peer's address not asked for; what it has accepted is
/// closed again.
pub(crate) fn accept(fd: RawFd) -> Returned {
    let none = std::ptr::null_mut();
    let call =
        // SAFETY: a null pointer asks for nothing.
        || unsafe { libc::accept(fd, none, std::ptr::null_mut()) }.into();
    let returned = made("accept", call);
    drop(returned.descriptor());
    returned
}

/// `getsockname(2)`, with room for so many bytes.
pub(crate) fn getsockname(fd: RawFd, mut room: i32) -> Returned {
    let mut bytes = [0_u8; 128];
    let (at, room) = (bytes.as_mut_ptr().cast(), (&raw mut room).cast());
    // SAFETY: the kernel writes 128 bytes at most, whatever room is claimed.
    made("getsockname", || unsafe { libc::getsockname(fd, at, room) }.into())
}

/// `getpeername(2)`.
pub(crate) fn getpeername(fd: RawFd) -> Returned {
    let mut bytes = [0_u8; 128];
    let mut room = length(&bytes);
    let at = bytes.as_mut_ptr().cast();
    made("getpeername", || {
        // SAFETY: there is this much room.
        unsafe { libc::getpeername(fd, at, &raw mut room) }.into()
    })
}

/// `send(2)`.
pub(crate) fn send(fd: RawFd, bytes: &[u8], flags: c_int) -> Returned {
    let at = bytes.as_ptr().cast();
    // SAFETY: `len` bytes are at this address.
    made("send", || unsafe { libc::send(fd, at, bytes.len(), flags) } as c_long)
}

/// `write(2)`.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> Returned {
    let at = bytes.as_ptr().cast();
    // SAFETY: `len` bytes are at this address.
    made("write", || unsafe { libc::write(fd, at, bytes.len()) } as c_long)
}

/// `sendto(2)`.
pub(crate) fn sendto(fd: RawFd, bytes: &[u8], address: &[u8]) -> Returned {
    let (at, to) = (bytes.as_ptr().cast(), address.as_ptr().cast());
    let length = length(address);
    // SAFETY: `len` bytes and an address of this length are at these two.
    made("sendto", || unsafe {
        libc::sendto(fd, at, bytes.len(), 0, to, length) as c_long
    })
}

/// `sendmsg(2)` of so many parts, each the same bytes, and of control data.
pub(crate) fn sendmsg(
    fd: RawFd,
    parts: usize,
    bytes: &[u8],
    control: &[u8],
) -> Returned {
    let part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut parts = vec![part; parts];
    // SAFETY: a msghdr of zeros is one that says nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    if !control.is_empty() {
        message.msg_control = control.as_ptr().cast_mut().cast();
        message.msg_controllen = control.len() as _;
    }
    // SAFETY: each part and the control data live, and are only read.
    made("sendmsg", || unsafe {
        libc::sendmsg(fd, &raw const message, 0) as c_long
    })
}

/// `recv(2)` of at most 16 bytes.
pub(crate) fn recv(fd: RawFd, flags: c_int) -> Returned {
    let mut bytes = [0_u8; 16];
    let at = bytes.as_mut_ptr().cast();
    // SAFETY: there is this much room.
    made("recv", || unsafe { libc::recv(fd, at, bytes.len(), flags) as c_long })
}

/// `read(2)` of at most 16 bytes.
pub(crate) fn read(fd: RawFd) -> Returned {
    let mut bytes = [0_u8; 16];
    let at = bytes.as_mut_ptr().cast();
    // SAFETY: there is this much room.
    made("read", || unsafe { libc::read(fd, at, bytes.len()) as c_long })
}

/// `shutdown(2)`.
pub(crate) fn shutdown(fd: RawFd, how: c_int) -> Returned {
    // SAFETY: passes no pointers.
    made("shutdown", || unsafe { libc::shutdown(fd, how) }.into())
}

/// `close(2)` of what is no descriptor.
pub(crate) fn close_none() -> Returned {
    // SAFETY: no file can have this number.
    made("close", || unsafe { libc::close(-1) }.into())
}

/// `getsockopt(2)` of an option, with room for so many bytes.
pub(crate) fn getsockopt(
    fd: RawFd,
    (level, name): (c_int, c_int),
    mut room: i32,
) -> Returned {
    let mut bytes = [0_u8; 256];
    let (at, room) = (bytes.as_mut_ptr().cast(), (&raw mut room).cast());
    made("getsockopt", || {
        // SAFETY: no option that is asked for here has more than 256 bytes.
        unsafe { libc::getsockopt(fd, level, name, at, room) }.into()
    })
}

/// `setsockopt(2)` of an option that is these bytes.
pub(crate) fn setsockopt(
    fd: RawFd,
    (level, name): (c_int, c_int),
    value: &[u8],
) -> Returned {
    let (at, length) = (value.as_ptr().cast(), length(value));
    made("setsockopt", || {
        // SAFETY: `length` bytes are at this address.
        unsafe { libc::setsockopt(fd, level, name, at, length) }.into()
    })
}

/// A call that is given an address in memory where there is none.
pub(crate) fn with_a_bad_pointer(call: &'static str, fd: RawFd) -> Returned {
    let bad = NOWHERE as *mut c_void;
    let long: usize = 16;
    let length = long as socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
    let mut room = length;
    let room = &raw mut room;
    made(call, || {
        // SAFETY: the kernel finds nothing there and copies nothing.
        unsafe {
            match call {
                "bind" => libc::bind(fd, bad.cast(), length).into(),
                "connect" => libc::connect(fd, bad.cast(), length).into(),
                "getsockname" => libc::getsockname(fd, bad.cast(), room).into(),
                "send" => libc::send(fd, bad, long, 0) as c_long,
                "recv" => libc::recv(fd, bad, long, 0) as c_long,
                "getsockopt" => {
                    libc::getsockopt(fd, level, name, bad, room).into()
                }
                _ => libc::setsockopt(fd, level, name, bad, length).into(),
            }
        }
    })
}

/// What is asked of getaddrinfo(3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) name: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) family: c_int,
    pub(crate) kind: c_int,
    pub(crate) flags: c_int,
}

/// `getaddrinfo(3)`; the addresses are dropped.
pub(crate) fn getaddrinfo(question: &Question<'_>) -> Returned {
    let name = CString::new(question.name).unwrap_or_default();
    let service = question.service.and_then(|text| CString::new(text).ok());
    let service = service.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    // SAFETY: an addrinfo of zeros is one that asks for anything.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = question.family;
    hints.ai_socktype = question.kind;
    hints.ai_flags = question.flags;
    let mut found = std::ptr::null_mut();
    let start = Instant::now();
    // SAFETY: both names end with a zero, or one is null; the hints live.
    let status = unsafe {
        libc::getaddrinfo(
            name.as_ptr(),
            service,
            &raw const hints,
            &raw mut found,
        )
    };
    let took = start.elapsed();
    if status == 0 {
        // SAFETY: getaddrinfo has made this list, and nobody else has it.
        unsafe { libc::freeaddrinfo(found) };
    }
    let value = if status == 0 { Ok(0) } else { Err(Error::Eai(status)) };
    Returned { call: "getaddrinfo", value, took }
}

/// From here on this thread has no capability; other threads keep theirs
/// (capabilities(7), capset(2)).
pub(crate) fn give_up_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [[0_u32; 3]; 2];
    // SAFETY: a header of version 3, and the two sets of words that it takes.
    let status = unsafe {
        libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr())
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The number of this thread.
pub(crate) fn thread_number() -> c_int {
    // SAFETY: passes nothing.
    unsafe { libc::gettid() }
}

/// Has SIGUSR1 interrupt calls and do nothing else: no SA_RESTART.
pub(crate) fn handle_user_signal() -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: a sigaction of zeros has no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
    let none = std::ptr::null_mut();
    // SAFETY: the handler does nothing, so it may run at any time.
    match unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends SIGUSR1 to a thread of this process.
pub(crate) fn signal_thread(thread: c_int) {
    let this = std::process::id() as c_int;
    // SAFETY: passes no pointers; without such a thread nothing happens.
    unsafe { libc::syscall(libc::SYS_tgkill, this, thread, libc::SIGUSR1) };
}

/// The most descriptors that this process's threads may have, from here on.
pub(crate) fn limit_files(most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let which = libc::RLIMIT_NOFILE;
    // SAFETY: the struct is filled in, then read.
    unsafe {
        if libc::getrlimit(which, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = most.min(limit.rlim_max);
        if libc::setrlimit(which, &raw const limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

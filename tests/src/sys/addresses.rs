//! Addresses as bytes and as text: what the kernel and the C library make of
//! them.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{c_char, c_int, c_void, in_addr, sockaddr, socklen_t};
use socket2::{SockAddr, SockAddrStorage};

// The libc crate has no bindings for these on Linux.
unsafe extern "C" {
    fn inet_aton(text: *const c_char, address: *mut in_addr) -> c_int;
    fn inet_addr(text: *const c_char) -> u32;
    fn inet_ntoa(address: in_addr) -> *const c_char;
    fn inet_pton(family: c_int, text: *const c_char, to: *mut c_void) -> c_int;
    fn inet_ntop(
        family: c_int,
        from: *const c_void,
        to: *mut c_char,
        size: socklen_t,
    ) -> *const c_char;
}

/// Of `bind(2)` or `connect(2)`: an address that is these bytes.
type Give = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;
/// Of `getsockname(2)` or `getpeername(2)`.
type Ask = unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;

/// `bind(2)` with any bytes.
pub(crate) fn bind(socket: impl AsFd, address: &[u8]) -> io::Result<()> {
    give(libc::bind, socket.as_fd(), address)
}

/// `connect(2)` with any bytes.
pub(crate) fn connect(socket: impl AsFd, address: &[u8]) -> io::Result<()> {
    give(libc::connect, socket.as_fd(), address)
}

fn give(call: Give, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let (at, length) = (bytes.as_ptr().cast(), bytes.len() as socklen_t);
    // SAFETY: `length` bytes are at this address, and `socket` is open.
    match unsafe { call(socket.as_raw_fd(), at, length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `getsockname(2)` into this buffer; the length that it says.
pub(crate) fn getsockname(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<usize> {
    ask(libc::getsockname, socket.as_fd(), buffer)
}

/// `getpeername(2)` into this buffer; the length that it says.
pub(crate) fn getpeername(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<usize> {
    ask(libc::getpeername, socket.as_fd(), buffer)
}

fn ask(
    call: Ask,
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut length = buffer.len() as socklen_t;
    let at = buffer.as_mut_ptr().cast();
    // SAFETY: `length` bytes have room at this address, and `socket` is open.
    match unsafe { call(socket.as_raw_fd(), at, &mut length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(length as usize),
    }
}

/// The bytes of an address that the standard library or socket2 has laid out.
pub(crate) fn bytes_of(address: &SockAddr) -> Vec<u8> {
    let (at, length) = (address.as_ptr().cast::<u8>(), address.len() as usize);
    // SAFETY: `length` bytes are at this address, for as long as it is borrowed.
    unsafe { std::slice::from_raw_parts(at, length) }.to_vec()
}

/// The address that these bytes are for socket2; at most 128.
pub(crate) fn address_of(bytes: &[u8]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    let length = bytes.len().min(size_of::<SockAddrStorage>());
    let from = bytes.as_ptr();
    // SAFETY: `length` bytes are at `from` and have room in the storage, in
    // which any bytes are an address.
    unsafe {
        let to = (&raw mut storage).cast::<u8>();
        to.copy_from_nonoverlapping(from, length);
        SockAddr::new(storage, length as socklen_t)
    }
}

/// `inet_pton(3)` of an IPv4 address.
pub(crate) fn pton4(text: &str) -> Option<[u8; 4]> {
    pton(libc::AF_INET, text)
}

/// `inet_pton(3)` of an IPv6 address.
pub(crate) fn pton6(text: &str) -> Option<[u8; 16]> {
    pton(libc::AF_INET6, text)
}

fn pton<const N: usize>(family: c_int, text: &str) -> Option<[u8; N]> {
    let text = CString::new(text).ok()?;
    // An IPv6 address has 16 bytes, and no family's has more.
    let mut bytes = [0_u8; 16];
    let to = bytes.as_mut_ptr().cast();
    // SAFETY: the text ends with NUL, and there is room for either address.
    let found = unsafe { inet_pton(family, text.as_ptr(), to) } == 1;
    found.then(|| bytes.first_chunk().copied())?
}

/// What `inet_pton(3)` returns for a family, and errno after it, which was 0.
pub(crate) fn pton_says(family: c_int, text: &CStr) -> (c_int, c_int) {
    let mut bytes = [0_u8; 16];
    let to = bytes.as_mut_ptr().cast();
    // SAFETY: errno is this thread's; the text ends with NUL, and there is room
    // for either address.
    unsafe {
        *libc::__errno_location() = 0;
        let returned = inet_pton(family, text.as_ptr(), to);
        (returned, *libc::__errno_location())
    }
}

/// `inet_ntop(3)` of an IPv6 address.
pub(crate) fn ntop6(address: Ipv6Addr) -> String {
    let bytes = address.octets();
    let mut text = [0_u8; 46]; // INET6_ADDRSTRLEN
    let (from, size) = (bytes.as_ptr().cast(), text.len() as socklen_t);
    let to = text.as_mut_ptr().cast();
    // SAFETY: 16 bytes are at `from`, and `size` have room at `to`.
    unsafe { inet_ntop(libc::AF_INET6, from, to, size) };
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// `inet_aton(3)`.
pub(crate) fn aton(text: &str) -> Option<[u8; 4]> {
    let text = CString::new(text).ok()?;
    let mut address = in_addr { s_addr: 0 };
    // SAFETY: the text ends with NUL, and the address is one.
    let found = unsafe { inet_aton(text.as_ptr(), &mut address) } != 0;
    found.then(|| address.s_addr.to_ne_bytes())
}

/// `inet_addr(3)`: the number in network byte order.
pub(crate) fn addr(text: &CStr) -> u32 {
    // SAFETY: the text ends with NUL.
    unsafe { inet_addr(text.as_ptr()) }
}

/// `inet_ntoa(3)` of two addresses, one after the other, and only then a look
/// at what each call has returned.
pub(crate) fn ntoa_twice(addresses: [Ipv4Addr; 2]) -> [String; 2] {
    let texts = addresses.map(|address| {
        let s_addr = u32::from_ne_bytes(address.octets());
        // SAFETY: takes no pointers.
        unsafe { inet_ntoa(in_addr { s_addr }) }
    });
    // SAFETY: both point to this thread's buffer, a text that ends with NUL.
    let read = |text| unsafe { CStr::from_ptr(text) }.to_string_lossy();
    texts.map(|text| read(text).into_owned())
}

//! What the kernel takes for an address, and what it says of it.
//!
//! All of it is called on a thread that is on a host.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::{self, addresses};

/// Larger than any address, and than what the kernel says of any.
pub(super) const ROOM: usize = 128;
/// What was in a buffer before.
const BEFORE: u8 = 0xa5;
/// `struct sockaddr_un`.
pub(super) const UNIX_SIZE: usize = size_of::<libc::sockaddr_un>();

/// A buffer that a call has written into, and the length that it said.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub buffer: Vec<u8>,
    pub length: usize,
}

/// An address by what it is made of.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    Inet(Ipv4Addr, u16),
    Inet6 { ip: Ipv6Addr, port: u16, flow: u32, scope: u32 },
    Path(Vec<u8>),
    Abstract(Vec<u8>),
}

impl Parts {
    /// As socket2 and the C library's structures have it.
    pub(super) fn given(&self) -> Vec<u8> {
        match self {
            Parts::Inet(ip, port) => {
                let address = SocketAddrV4::new(*ip, *port);
                addresses::bytes_of(&SockAddr::from(address))
            }
            Parts::Inet6 { ip, port, flow, scope } => {
                // The standard library passes the flow information on as it is.
                let flow = flow.to_be();
                let address = SocketAddrV6::new(*ip, *port, flow, *scope);
                addresses::bytes_of(&SockAddr::from(address))
            }
            Parts::Path(path) => unix(path),
            Parts::Abstract(name) => unix(&[&[0], &name[..]].concat()),
        }
    }

    /// As the questions have it.
    pub(super) fn text(&self) -> String {
        match self {
            Parts::Inet(ip, port) => format!("inet {ip} {port}"),
            Parts::Inet6 { ip, port, flow, scope } => {
                format!("inet6 {ip} {port} flow {flow:#x} scope {scope}")
            }
            Parts::Path(path) => format!("unix path \"{}\"", escaped(path)),
            Parts::Abstract(name) => {
                format!("unix abstract \"{}\"", escaped(name))
            }
        }
    }
}

/// Letters, digits and what paths have; else `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let text = bytes.iter().map(|byte| match plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("\\x{byte:02x}"),
    });
    text.collect()
}

/// `struct sockaddr_un`, also where socket2 makes none: a path of 108 bytes,
/// and what is too long.
fn unix(path: &[u8]) -> Vec<u8> {
    match SockAddr::unix(OsStr::from_bytes(path)) {
        Ok(address) => addresses::bytes_of(&address),
        Err(_) => [&(libc::AF_UNIX as u16).to_ne_bytes()[..], path].concat(),
    }
}

/// What the kernel takes these bytes for: it is given them as an address, and
/// asked for that address.
///
/// # Errors
///
/// EINVAL and EAFNOSUPPORT say that they are none.
pub(super) fn takes(bytes: &[u8]) -> io::Result<Written> {
    let family = bytes.first_chunk().map(|two| u16::from_ne_bytes(*two));
    match family.map(i32::from) {
        // bind(2) would choose a name for it: unix(7), autobind.
        Some(libc::AF_UNIX) if bytes.len() == 2 => {
            let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
            name(&socket, ROOM)
        }
        Some(libc::AF_UNIX) => {
            let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
            addresses::bind(&socket, bytes)?;
            let written = name(&socket, ROOM)?;
            remove(&written)?;
            Ok(written)
        }
        Some(libc::AF_INET6) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            if bytes.get(4..8).is_some_and(|flow| flow != [0; 4]) {
                // Only a peer has a flow label; it is told to who sends one.
                let option = (libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO_SEND);
                sys::set_option(&socket, option, 1)?;
                addresses::connect(&socket, bytes)?;
                return peer(&socket, ROOM);
            }
            socket.set_freebind_v6(true)?;
            addresses::bind(&socket, bytes)?;
            name(&socket, ROOM)
        }
        // An IPv4 socket knows no other family.
        _ => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_freebind_v4(true)?;
            addresses::bind(&socket, bytes)?;
            name(&socket, ROOM)
        }
    }
}

/// Removes the file that a path is the name of.
fn remove(written: &Written) -> io::Result<()> {
    match address(written).as_pathname() {
        Some(path) => fs::remove_file(path),
        None => Ok(()),
    }
}

/// `getsockname(2)` into a buffer of this size.
pub(super) fn name(socket: &Socket, size: usize) -> io::Result<Written> {
    let mut buffer = vec![BEFORE; size];
    let length = addresses::getsockname(socket, &mut buffer)?;
    Ok(Written { buffer, length })
}

/// `getpeername(2)` into a buffer of this size.
pub(super) fn peer(socket: &Socket, size: usize) -> io::Result<Written> {
    let mut buffer = vec![BEFORE; size];
    let length = addresses::getpeername(socket, &mut buffer)?;
    Ok(Written { buffer, length })
}

impl Written {
    /// What is of the address.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length.min(self.buffer.len())]
    }
}

fn address(written: &Written) -> SockAddr {
    addresses::address_of(written.bytes())
}

/// What socket2 reads in it.
pub(super) fn read(written: &Written) -> String {
    if written.length > written.buffer.len() {
        return "truncated".into();
    }
    let address = address(written);
    if let Some(inet) = address.as_socket_ipv4() {
        return format!("inet {} {}", inet.ip(), inet.port());
    }
    if let Some(inet6) = address.as_socket_ipv6() {
        let (ip, port) = (inet6.ip(), inet6.port());
        let flow = u32::from_be(inet6.flowinfo());
        let scope = inet6.scope_id();
        return format!("inet6 {ip} {port} flow {flow:#x} scope {scope}");
    }
    if let Some(path) = address.as_pathname() {
        let path = path.as_os_str().as_bytes();
        return format!("unix path \"{}\"", path.escape_ascii());
    }
    if let Some(name) = address.as_abstract_namespace() {
        return format!("unix abstract \"{}\"", name.escape_ascii());
    }
    "unix unnamed".into()
}

/// The answer that an error is.
pub(super) fn word(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Some("EINVAL"),
        Some(libc::EAFNOSUPPORT) => Some("EAFNOSUPPORT"),
        _ => None,
    }
}

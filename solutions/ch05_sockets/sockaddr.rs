//! Lay a socket address out in bytes, and read one that the kernel has written.
//!
//! `bind`, `connect` and `sendto` take an address as bytes and a length, and
//! `getsockname`, `getpeername` and `accept` give it back so. The first two
//! bytes are the family; what follows is the family's own. The kernel knows no
//! more than the bytes that the length covers: it is part of the address.
//!
//! Usage: sockaddr <QUESTIONS    (a line is `NAME bytes ADDRESS`, or
//!                                `NAME text LENGTH BUFFER`)
//! See also: bind(2), getsockname(2), ip(7), ipv6(7), unix(7); RFC 3493

use std::fmt;
use std::io::{self, BufRead};
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, bail, ensure};

const INET: u16 = libc::AF_INET as u16;
const INET6: u16 = libc::AF_INET6 as u16;
const UNIX: u16 = libc::AF_UNIX as u16;

/// An address, whatever its layout.
enum Address {
    Inet { ip: Ipv4Addr, port: u16 },
    Inet6 { ip: Ipv6Addr, port: u16, flow: u32, scope: u32 },
    Path(Vec<u8>),
    Abstract(Vec<u8>),
    Unnamed,
}

/// What stands in place of an answer: an errno's name, or `truncated`.
type Problem = &'static str;

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (name, question) = line.split_once(' ').context("no question")?;
        let answer = match question.split_once(' ') {
            Some(("bytes", text)) => to_bytes(&address(text)?).map(hex),
            Some(("text", rest)) => {
                let (length, buffer) =
                    rest.split_once(' ').context("no buffer")?;
                let length = length.parse().context("parse LENGTH")?;
                to_address(&bytes(buffer)?, length).map(|a| a.to_string())
            }
            _ => bail!("no question: {line}"),
        };
        println!("{name} {}", answer.unwrap_or_else(String::from));
    }
    Ok(())
}

// ANCHOR: to_bytes
/// What to give to `bind` or `connect`; as many bytes as there are is the
/// length.
fn to_bytes(address: &Address) -> Result<Vec<u8>, Problem> {
    Ok(match address {
        Address::Inet { ip, port } => [
            &INET.to_ne_bytes()[..],
            &port.to_be_bytes(),
            &ip.octets(),
            &[0; 8], // sin_zero: struct sockaddr has 16 bytes
        ]
        .concat(),
        Address::Inet6 { ip, port, flow, scope } => [
            &INET6.to_ne_bytes()[..],
            &port.to_be_bytes(),
            &flow.to_be_bytes(),
            &ip.octets(),
            &scope.to_ne_bytes(), // an interface of this host: host order
        ]
        .concat(),
        Address::Path(path) => {
            let mut sun_path = path.clone();
            if path.len() < 108 {
                sun_path.push(0);
            }
            unix(&sun_path)?
        }
        // No NUL ends this name: it would be part of it.
        Address::Abstract(name) => unix(&[&[0], &name[..]].concat())?,
        Address::Unnamed => unix(&[])?,
    })
}

/// `struct sockaddr_un` up to the end of what is used of its path.
fn unix(sun_path: &[u8]) -> Result<Vec<u8>, Problem> {
    match sun_path.len() {
        0..=108 => Ok([&UNIX.to_ne_bytes()[..], sun_path].concat()),
        _ => Err("EINVAL"),
    }
}
// ANCHOR_END: to_bytes

// ANCHOR: to_address
/// What a call has written into a buffer, having said that it is `length` long.
fn to_address(buffer: &[u8], length: usize) -> Result<Address, Problem> {
    // Beyond the length is what was in the buffer before. A length beyond the
    // buffer says that the address did not fit.
    let bytes = buffer.get(..length).ok_or("truncated")?;
    let (family, rest) = bytes.split_first_chunk().ok_or("EINVAL")?;
    match u16::from_ne_bytes(*family) {
        INET if (16..=128).contains(&length) => {
            let ip = Ipv4Addr::from(take(&rest[2..]));
            Ok(Address::Inet { ip, port: u16::from_be_bytes(take(rest)) })
        }
        // RFC 2133 had no scope: the kernel still takes its 24 bytes.
        INET6 if (24..=128).contains(&length) => Ok(Address::Inet6 {
            port: u16::from_be_bytes(take(rest)),
            flow: u32::from_be_bytes(take(&rest[2..])),
            ip: Ipv6Addr::from(take::<16>(&rest[6..])),
            scope: rest[22..].first_chunk().map_or(0, |scope: &[u8; 4]| {
                u32::from_ne_bytes(*scope) // none if it is not whole
            }),
        }),
        // The kernel takes a path of 108 bytes without a NUL, and then counts
        // the one that it has put behind it.
        UNIX if length <= 110 || (length == 111 && end(rest) == 108) => {
            Ok(match rest {
                [] => Address::Unnamed,
                [0, name @ ..] => Address::Abstract(name.to_vec()),
                path => Address::Path(path[..end(path)].to_vec()),
            })
        }
        INET | INET6 | UNIX => Err("EINVAL"),
        _ => Err("EAFNOSUPPORT"),
    }
}

/// Where a path ends: before its first NUL, or with the length.
fn end(path: &[u8]) -> usize {
    path.iter().position(|byte| *byte == 0).unwrap_or(path.len())
}

/// The first bytes; the caller has seen that they are there.
fn take<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[..N]);
    taken
}
// ANCHOR_END: to_address

/// `inet 192.0.2.1 80`, `inet6 fe80::1 80 flow 0x0 scope 2`, `unix path "/a"`,
/// `unix abstract "a\x00b"`, `unix unnamed`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet { ip, port } => write!(f, "inet {ip} {port}"),
            Address::Inet6 { ip, port, flow, scope } => {
                write!(f, "inet6 {ip} {port} flow {flow:#x} scope {scope}")
            }
            Address::Path(path) => {
                write!(f, "unix path \"{}\"", path.escape_ascii())
            }
            Address::Abstract(name) => {
                write!(f, "unix abstract \"{}\"", name.escape_ascii())
            }
            Address::Unnamed => f.write_str("unix unnamed"),
        }
    }
}

fn address(text: &str) -> anyhow::Result<Address> {
    if text == "unix unnamed" {
        return Ok(Address::Unnamed);
    }
    if let Some((kind, name)) = text.split_once(" \"") {
        let name = name.strip_suffix('"').context("no second quote")?;
        return Ok(match kind {
            "unix path" => Address::Path(unescape(name)?),
            _ => Address::Abstract(unescape(name)?),
        });
    }
    let words: Vec<&str> = text.split(' ').collect();
    Ok(match words[..] {
        ["inet", ip, port] => {
            Address::Inet { ip: ip.parse()?, port: port.parse()? }
        }
        ["inet6", ip, port, "flow", flow, "scope", scope] => {
            let flow = flow.strip_prefix("0x").context("flow 0x...")?;
            Address::Inet6 {
                ip: ip.parse()?,
                port: port.parse()?,
                flow: u32::from_str_radix(flow, 16)?,
                scope: scope.parse()?,
            }
        }
        _ => bail!("no address: {text}"),
    })
}

/// A byte is itself, or `\xNN`.
fn unescape(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).context("\\xNN")?;
        bytes.push(u8::from_str_radix(digits, 16).context("\\xNN")?);
        bytes.extend(rest.as_bytes());
    }
    Ok(bytes)
}

fn hex(bytes: Vec<u8>) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two hexadecimal digits a byte.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    ensure!(digits, "not hexadecimal: {hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

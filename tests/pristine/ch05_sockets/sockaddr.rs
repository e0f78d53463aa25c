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

#![allow(dead_code)] // Until your code uses what is given here.

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

/// What to give to `bind` or `connect`; as many bytes as there are is the
/// length.
fn to_bytes(address: &Address) -> Result<Vec<u8>, Problem> {
    // By hand, without `struct sockaddr_...` of another's making. The family
    // has two bytes in host order.
    //
    // 1. `struct sockaddr_in`: family, port, the address's four bytes, eight
    //    zeros.
    // 2. `struct sockaddr_in6`: family, port, flow information of four bytes,
    //    the address's sixteen bytes, scope id of four bytes.
    // 3. `struct sockaddr_un`: family and up to 108 bytes of `sun_path`, no
    //    more of them than are used.
    //    A path and a NUL behind it, which is left out if there is no room.
    //    An abstract name with a NUL before it. Of the unnamed, nothing.
    //    What needs more than 108 bytes gets `EINVAL`.
    todo!("sockaddr is not started: no bytes for {address}")
}

/// What a call has written into a buffer, having said that it is `length` long.
fn to_address(buffer: &[u8], length: usize) -> Result<Address, Problem> {
    // 4. A length that is more than the buffer: `truncated`. Bytes of the
    //    buffer beyond the length are no part of the address.
    // 5. Fewer than two bytes: `EINVAL`. A family of none of these three:
    //    `EAFNOSUPPORT`.
    // 6. Lengths that the kernel would not take are `EINVAL`. It takes 16 to
    //    128 for an IPv4 address, 24 to 128 for IPv6, 2 to 110 for Unix. Without
    //    a whole scope id the scope is 0. A path of 108 bytes it gives back with
    //    a NUL, and says 111: that is the one other length.
    // 7. A path ends before its first NUL, or with the length. A `sun_path` that
    //    begins with NUL is an abstract name: it ends with the length, and NULs
    //    are bytes like others. One of no bytes is unnamed.
    todo!("sockaddr is not started: {} bytes, length {length}", buffer.len())
}

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

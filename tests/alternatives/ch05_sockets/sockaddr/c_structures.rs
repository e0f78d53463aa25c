//! Another right program: the C library's structures, seen as bytes.

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

/// The C library's structures, seen as bytes.
fn to_bytes(address: &Address) -> Result<Vec<u8>, Problem> {
    match address {
        Address::Inet { ip, port } => {
            let address = libc::sockaddr_in {
                sin_family: INET,
                sin_port: port.to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*ip).to_be() },
                sin_zero: [0; 8],
            };
            Ok(seen(&address, size_of_val(&address)))
        }
        Address::Inet6 { ip, port, flow, scope } => {
            let address = libc::sockaddr_in6 {
                sin6_family: INET6,
                sin6_port: port.to_be(),
                sin6_flowinfo: flow.to_be(),
                sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                sin6_scope_id: *scope,
            };
            Ok(seen(&address, size_of_val(&address)))
        }
        Address::Path(path) => unix(path.iter().copied().chain([0]), 1),
        Address::Abstract(name) => {
            unix([0].into_iter().chain(name.iter().copied()), 0)
        }
        Address::Unnamed => unix([].into_iter(), 0),
    }
}

/// `spare`: so many bytes at the end may be left out.
fn unix(
    path: impl Iterator<Item = u8>,
    spare: usize,
) -> Result<Vec<u8>, Problem> {
    let path: Vec<u8> = path.collect();
    let mut address =
        libc::sockaddr_un { sun_family: UNIX, sun_path: [0; 108] };
    let room = address.sun_path.len();
    if path.len() - spare.min(path.len()) > room {
        return Err("EINVAL");
    }
    for (to, byte) in address.sun_path.iter_mut().zip(&path) {
        *to = *byte as libc::c_char;
    }
    let before = std::mem::offset_of!(libc::sockaddr_un, sun_path);
    Ok(seen(&address, before + path.len().min(room)))
}

/// The first bytes of a structure.
fn seen<T>(address: &T, length: usize) -> Vec<u8> {
    let at = (&raw const *address).cast::<u8>();
    let length = length.min(size_of::<T>());
    // SAFETY: none of the three structures has padding, and `length` is no more
    // than its size.
    unsafe { std::slice::from_raw_parts(at, length) }.to_vec()
}

/// The structure that begins with these bytes, zeros behind them.
fn filled<T>(bytes: &[u8]) -> T {
    let mut room = [0_u8; 128];
    room[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: the structures have at most 110 bytes, any of which are right.
    unsafe { room.as_ptr().cast::<T>().read_unaligned() }
}

fn to_address(buffer: &[u8], length: usize) -> Result<Address, Problem> {
    if buffer.len() < length {
        return Err("truncated");
    }
    let bytes = &buffer[..length];
    if length < 2 || length > size_of::<libc::sockaddr_storage>() {
        let known = |family: &u16| {
            buffer.get(..2) == Some(&family.to_ne_bytes()[..]) || length < 2
        };
        let none = ![INET, INET6, UNIX].iter().any(known);
        return Err(if none { "EAFNOSUPPORT" } else { "EINVAL" });
    }
    let room = size_of::<libc::sockaddr_un>();
    let full = bytes.get(room) == Some(&0) && !bytes[2..room].contains(&0);
    match filled::<libc::sa_family_t>(&bytes[..2]) {
        INET if length >= size_of::<libc::sockaddr_in>() => {
            let address: libc::sockaddr_in = filled(bytes);
            Ok(Address::Inet {
                ip: u32::from_be(address.sin_addr.s_addr).into(),
                port: u16::from_be(address.sin_port),
            })
        }
        INET6 if length >= 24 => {
            let whole = if length < 28 { &bytes[..24] } else { bytes };
            let address: libc::sockaddr_in6 = filled(whole);
            Ok(Address::Inet6 {
                ip: address.sin6_addr.s6_addr.into(),
                port: u16::from_be(address.sin6_port),
                flow: u32::from_be(address.sin6_flowinfo),
                scope: address.sin6_scope_id,
            })
        }
        UNIX if length == 2 => Ok(Address::Unnamed),
        UNIX if length <= room || (length == room + 1 && full) => {
            let address: libc::sockaddr_un = filled(bytes);
            let path = address.sun_path.map(|byte| byte as u8);
            let used = &path[..length.min(room) - 2];
            Ok(match used.strip_prefix(&[0]) {
                Some(name) => Address::Abstract(name.to_vec()),
                None => {
                    let path = used.iter().take_while(|byte| **byte != 0);
                    Address::Path(path.copied().collect())
                }
            })
        }
        INET | INET6 | UNIX => Err("EINVAL"),
        _ => Err("EAFNOSUPPORT"),
    }
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

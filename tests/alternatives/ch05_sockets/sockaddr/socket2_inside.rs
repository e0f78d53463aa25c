//! Another right program: socket2 lays the bytes out and reads them.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, bail, ensure};
use socket2::{SockAddr, SockAddrStorage};

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

/// As socket2 lays it out, but for a path that fills `sun_path`.
fn to_bytes(address: &Address) -> Result<Vec<u8>, Problem> {
    let address = match address {
        Address::Inet { ip, port } => SocketAddrV4::new(*ip, *port).into(),
        Address::Inet6 { ip, port, flow, scope } => {
            SocketAddrV6::new(*ip, *port, flow.to_be(), *scope).into()
        }
        Address::Path(path) if path.len() == 108 => {
            return Ok([&UNIX.to_ne_bytes()[..], path].concat());
        }
        Address::Path(path) => unix(path)?,
        Address::Abstract(name) => unix(&[b"\0", &name[..]].concat())?,
        Address::Unnamed => unix(b"")?,
    };
    let (at, length) = (address.as_ptr().cast::<u8>(), address.len() as usize);
    // SAFETY: `length` bytes of the address are at this place.
    Ok(unsafe { std::slice::from_raw_parts(at, length) }.to_vec())
}

fn unix(path: &[u8]) -> Result<SockAddr, Problem> {
    SockAddr::unix(OsStr::from_bytes(path)).map_err(|_| "EINVAL")
}

/// As socket2 reads it, when the length is one that can be.
fn to_address(buffer: &[u8], length: usize) -> Result<Address, Problem> {
    if length > buffer.len() {
        return Err("truncated");
    }
    let family = match buffer[..length] {
        [low, high, ..] => u16::from_ne_bytes([low, high]),
        _ => return Err("EINVAL"),
    };
    let lengths = match family {
        INET => 16..=128,
        INET6 => 24..=128,
        UNIX if buffer[2..].iter().position(|byte| *byte == 0) == Some(108) => {
            2..=111 // with the NUL that the kernel has put there
        }
        UNIX => 2..=110,
        _ => return Err("EAFNOSUPPORT"),
    };
    if !lengths.contains(&length) {
        return Err("EINVAL");
    }
    let bytes = match family {
        // Less than the whole scope id is none.
        INET6 if length < 28 => &buffer[..24],
        _ => &buffer[..length],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: no more than 128 bytes, which have room in the storage, in which
    // any bytes are an address.
    let address = unsafe {
        let to = (&raw mut storage).cast::<u8>();
        to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        SockAddr::new(storage, length as libc::socklen_t)
    };
    if let Some(inet) = address.as_socket_ipv4() {
        return Ok(Address::Inet { ip: *inet.ip(), port: inet.port() });
    }
    if let Some(inet6) = address.as_socket_ipv6() {
        return Ok(Address::Inet6 {
            ip: *inet6.ip(),
            port: inet6.port(),
            flow: u32::from_be(inet6.flowinfo()),
            scope: inet6.scope_id(),
        });
    }
    if let Some(name) = address.as_abstract_namespace() {
        return Ok(Address::Abstract(name.to_vec()));
    }
    // socket2 takes for granted that the last byte of a path is its NUL.
    let path = bytes[2..].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(match path {
        b"" => Address::Unnamed,
        path => Address::Path(path.to_vec()),
    })
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

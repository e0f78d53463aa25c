//! Addresses that are right, and what the kernel says of each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockRef, Socket, Type};
use testbed::Draw;

use super::kernel::{self, Parts, UNIX_SIZE, Written};
use super::*;

/// So many addresses are drawn.
const DRAWN: usize = 600;
/// What a question shows of the buffer behind an address.
const BEHIND: usize = 6;
/// A connection is made at once, or not at all.
const SOON: Duration = Duration::from_secs(5);
const INTERFACE: &str = "eth0";
/// A directory that each host has for itself.
const DIRECTORY: &str = "/dev/shm/";

/// Those of every run. Each is about one thing alone, as far as those before it
/// go.
pub(super) fn usual(stage: &mut Stage) -> Result<Vec<Asked>, Halt> {
    let server = stage.net.host(KONGMING)?;
    let IpAddr::V6(peer) = server.ip6().unwrap_or(server.ip()) else {
        return Err(Halt::Missed(format!("an IPv6 address of {KONGMING}")));
    };
    let asked = stage.net.host(LAPTOP)?.at(|| -> io::Result<Vec<Asked>> {
        let scope = if_nametoindex(INTERFACE)?;
        let mut asked = Vec::new();
        for (about, read, parts) in kinds(peer, scope) {
            asked.extend(both(about, read, &parts, true)?);
        }
        // A socket that has no name yet says so.
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let written = kernel::name(&socket, kernel::ROOM)?;
        asked.push(Asked {
            about: "unnamed",
            text: "bytes unix unnamed".into(),
            answer: hex(written.bytes()),
            usual: true,
        });
        asked.push(text("unnamed", &written, true));
        Ok(asked)
    })?;
    let mut asked = asked.map_err(failed)?;
    asked.extend(connected(stage)?);
    Ok(asked)
}

/// What its bytes ask about, what reading them asks about.
fn kinds(
    peer: Ipv6Addr,
    scope: u32,
) -> Vec<(&'static str, &'static str, Parts)> {
    let inet = |last| Ipv4Addr::new(192, 168, 1, last);
    let inet6 = |ip: Ipv6Addr, flow, scope| Parts::Inet6 {
        ip,
        port: 8080,
        flow,
        scope,
    };
    let near = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x5);
    let global = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6);
    let path = |length: usize| {
        let path = format!("{DIRECTORY}{}", "x".repeat(length));
        Parts::Path(path.as_bytes()[..length].to_vec())
    };
    let name = |name: &[u8]| Parts::Abstract(name.to_vec());
    vec![
        ("inet", "inet-read", Parts::Inet(inet(109), 8080)),
        ("inet", "inet-read", Parts::Inet(inet(108), 40000)),
        ("inet6", "inet6-read", inet6(global, 0, 0)),
        ("inet6", "inet6-read", inet6(inet(109).to_ipv6_mapped(), 0, 0)),
        ("scope-left-out", "scope-left-out", inet6(near, 0, scope)),
        ("flow-order", "flow-order", inet6(peer, 0x12345, 0)),
        ("path-nul", "path-end", path(20)),
        ("path-nul", "path-end", path(107)),
        ("path-full", "path-full", path(108)),
        ("too-long", "too-long", path(109)),
        ("abstract-length", "abstract-end", name(b"lab")),
        ("abstract-length", "abstract-nul", name(b"lab\0")),
        ("abstract-length", "abstract-nul", name(b"a\0b")),
        ("abstract-length", "abstract-nul", name(b"")),
        ("abstract-length", "abstract-end", name(&[b'n'; 107])),
        ("too-long", "too-long", name(&[b'n'; 108])),
    ]
}

/// An address as a question about its bytes, and what the kernel makes of it as
/// one about its text.
fn both(
    about: &'static str,
    about_text: &'static str,
    parts: &Parts,
    usual: bool,
) -> io::Result<Vec<Asked>> {
    let given = parts.given();
    let ask = |answer| Asked {
        about,
        text: format!("bytes {}", parts.text()),
        answer,
        usual,
    };
    let written = match kernel::takes(&given) {
        Ok(written) => written,
        Err(err) => {
            let word = kernel::word(&err).ok_or(err)?;
            return Ok(vec![ask(word.into())]);
        }
    };
    // Of a path of 108 bytes the kernel says that it has 111 with its NUL, one
    // more than there are in a `struct sockaddr_un`.
    let bytes = match parts {
        Parts::Path(_) => &written.bytes()[..written.length.min(UNIX_SIZE)],
        _ => written.bytes(),
    };
    if bytes != given {
        let (kernel, socket2) = (hex(bytes), hex(&given));
        let differ = format!("the kernel has {kernel}, socket2 {socket2}");
        return Err(io::Error::other(differ));
    }
    Ok(vec![ask(hex(bytes)), text(about_text, &written, usual)])
}

/// A question about what a call has written.
pub(super) fn text(
    about: &'static str,
    written: &Written,
    usual: bool,
) -> Asked {
    let Written { buffer, length } = written;
    let shown = &buffer[..buffer.len().min(length + BEHIND)];
    Asked {
        about,
        text: format!("text {length} {}", hex(shown)),
        answer: kernel::read(written),
        usual,
    }
}

/// Both ends of connections: by IPv4, by IPv6, by IPv4 to a socket that has
/// both, and on one host.
fn connected(stage: &mut Stage) -> Result<Vec<Asked>, Halt> {
    let mut asked = Vec::new();
    let server = stage.net.host(KONGMING)?;
    let ip = server.ip();
    let ways = [(Some(ip), ip), (None, ip)].into_iter();
    let ways = ways.chain(server.ip6().map(|ip6| (Some(ip6), ip6)));
    for (listens, ip) in ways {
        let port = stage.draw.port();
        let listens = listens.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        let (laptop, server) =
            (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
        let listener = server.at(|| TcpListener::bind((listens, port)))?;
        let listener = listener.map_err(failed)?;
        let to = (ip, port).into();
        let conn = laptop.at(|| TcpStream::connect_timeout(&to, SOON))?;
        let conn = conn.map_err(failed)?;
        let (accepted, _) = listener.accept().map_err(failed)?;
        for socket in [SockRef::from(&conn), SockRef::from(&accepted)] {
            for call in [kernel::name, kernel::peer] {
                let written = call(&socket, kernel::ROOM).map_err(failed)?;
                asked.push(text("connected", &written, true));
            }
        }
    }
    let local = stage.net.host(LAPTOP)?.at(on_one_host)?;
    asked.extend(local.map_err(failed)?);
    Ok(asked)
}

/// The client has no name; the server's end has the listener's.
fn on_one_host() -> io::Result<Vec<Asked>> {
    let address = SocketAddr::from_abstract_name(b"server")?;
    let listener = UnixListener::bind_addr(&address)?;
    let conn = UnixStream::connect_addr(&address)?;
    let (accepted, _) = listener.accept()?;
    let mut asked = Vec::new();
    for socket in [SockRef::from(&conn), SockRef::from(&accepted)] {
        for call in [kernel::name, kernel::peer] {
            let written = call(&socket, kernel::ROOM)?;
            asked.push(text("connected", &written, true));
        }
    }
    Ok(asked)
}

/// Any addresses.
pub(super) fn drawn(stage: &mut Stage) -> Result<Vec<Asked>, Halt> {
    let server = stage.net.host(KONGMING)?;
    let peer = match server.ip6() {
        Some(IpAddr::V6(ip)) => ip,
        _ => Ipv6Addr::LOCALHOST,
    };
    let parts: Vec<Parts> =
        (0..DRAWN).map(|at| any(&mut stage.draw, at, peer)).collect();
    let asked = stage.net.host(LAPTOP)?.at(|| -> io::Result<Vec<Asked>> {
        let scope = if_nametoindex(INTERFACE)?;
        let mut asked = Vec::new();
        for mut parts in parts {
            if let Parts::Inet6 { scope: its, .. } = &mut parts {
                *its *= scope;
            }
            asked.extend(both("any-bytes", "any-text", &parts, false)?);
        }
        Ok(asked)
    })?;
    asked.map_err(failed)
}

/// An address of any kind. A scope of 1 stands for the interface's index.
pub(super) fn any(draw: &mut Draw, at: usize, peer: Ipv6Addr) -> Parts {
    let port = draw.port();
    let mut octets = [(); 4].map(|()| draw.word().to_be_bytes()).concat();
    let ip = |octets: &[u8]| {
        Ipv6Addr::from(octets.first_chunk().copied().unwrap_or([0; 16]))
    };
    match at % 6 {
        0 => Parts::Inet(Ipv4Addr::from(draw.word()), port),
        1 => {
            octets[0] = 0x20;
            Parts::Inet6 { ip: ip(&octets), port, flow: 0, scope: 0 }
        }
        2 => {
            octets[..8].copy_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
            Parts::Inet6 { ip: ip(&octets), port, flow: 0, scope: 1 }
        }
        3 => {
            // Of the peer's network, so that there is a route.
            octets[..8].copy_from_slice(&peer.octets()[..8]);
            let flow = 1 + draw.word() % 0xf_ffff;
            Parts::Inet6 { ip: ip(&octets), port, flow, scope: 0 }
        }
        4 => {
            let length = draw.count(1..=99) as usize;
            let mut path = format!("{DIRECTORY}{}", draw.letters(length));
            path.truncate(UNIX_SIZE - 2);
            let mut path = path.into_bytes();
            let last = path.len() - 1;
            if draw.count(0..=1) == 1 {
                path[last] = draw.count(0x80..=0xff) as u8;
            }
            Parts::Path(path)
        }
        _ => {
            let length = draw.count(1..=107) as usize;
            let name = octets.iter().cycle().take(length).copied();
            // A name may have any bytes, NUL too.
            let name = name.map(|byte| if byte < 0x40 { 0 } else { byte });
            Parts::Abstract(name.collect())
        }
    }
}

pub(super) fn failed(err: io::Error) -> Halt {
    Halt::Missed(format!("sockets for the questions: {err}"))
}

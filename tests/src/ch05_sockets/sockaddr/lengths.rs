//! Lengths that are not those of the address, and families that are none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Socket, Type};

use super::kernel::{self, Parts, UNIX_SIZE, Written};
use super::samples::{any, failed, text};
use super::*;
use crate::sys::addresses;

/// So many addresses are cut, lengthened or given another family.
const DRAWN: usize = 1_200;
/// What the kernel has room for.
const STORAGE: usize = size_of::<libc::sockaddr_storage>();
/// The shortest path that is cut: what is left of it is not a directory's name.
const SHORTEST_PATH: usize = 13;
const BEHIND: [u8; 6] = [0xa5; 6];
/// What a question about a wrong length is about, and the lengths.
type Lengths = &'static [(&'static str, &'static [usize])];
const INET: Lengths =
    &[("too-short", &[15, 8, 2]), ("longer", &[20, 128]), ("too-long", &[129])];
const INET6: Lengths = &[
    ("no-scope", &[24, 27]),
    ("too-short", &[23, 16, 2]),
    ("longer", &[32]),
    ("too-long", &[129]),
];

/// Those of every run.
pub(super) fn usual(stage: &mut Stage) -> Result<Vec<Asked>, Halt> {
    let asked = stage.net.host(LAPTOP)?.at(|| -> io::Result<Vec<Asked>> {
        let mut asked = Vec::new();
        for (bytes, lengths) in [(inet(), INET), (inet6(), INET6)] {
            for (about, lengths) in lengths.iter() {
                for length in lengths.iter() {
                    let mut bytes = bytes.clone();
                    bytes.resize(*length, 0xee);
                    asked.push(reading(about, &bytes, true)?);
                }
            }
        }
        for (about, path) in [
            ("path-end", &b"/dev/shm/lab.sock"[..]),
            ("path-end", b"/dev/shm/lab.sock\0\0\0\0"),
            ("path-end", b"/dev/shm/lab.sock\0more/of/it"),
            ("too-long", &[b'\0'; UNIX_SIZE - 1]),
        ] {
            asked.push(reading(about, &unix(path), true)?);
        }
        for bytes in [&[][..], &[2], &[1]] {
            asked.push(reading("too-short", bytes, true)?);
        }
        for family in [0x0200_u16, 0x0a00, 0x0100, 3, 16, 99, 0xffff] {
            let mut bytes = inet6();
            bytes[..2].copy_from_slice(&family.to_ne_bytes());
            asked.push(reading("unknown-family", &bytes, true)?);
        }
        asked.extend(truncated()?);
        Ok(asked)
    })?;
    asked.map_err(failed)
}

fn inet() -> Vec<u8> {
    Parts::Inet(Ipv4Addr::new(192, 168, 1, 109), 8080).given()
}

fn inet6() -> Vec<u8> {
    let ip = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6);
    Parts::Inet6 { ip, port: 8080, flow: 0, scope: 0 }.given()
}

fn unix(path: &[u8]) -> Vec<u8> {
    [&(libc::AF_UNIX as u16).to_ne_bytes()[..], path].concat()
}

/// What the kernel takes these bytes for. In the question the buffer is longer
/// than the address.
fn reading(
    about: &'static str,
    bytes: &[u8],
    usual: bool,
) -> io::Result<Asked> {
    let answer = match kernel::takes(bytes) {
        Ok(written) => kernel::read(&written),
        Err(err) => kernel::word(&err).ok_or(err)?.to_string(),
    };
    let buffer = [bytes, &BEHIND].concat();
    let text = format!("text {} {}", bytes.len(), hex(&buffer));
    Ok(Asked { about, text, answer, usual })
}

/// getsockname(2) into buffers that are too small.
fn truncated() -> io::Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for (family, bytes) in [
        (Domain::IPV6, inet6()),
        (Domain::UNIX, Parts::Abstract(b"server".to_vec()).given()),
        (Domain::IPV4, inet()),
    ] {
        let socket = Socket::new(family, Type::DGRAM, None)?;
        match family {
            Domain::IPV6 => socket.set_freebind_v6(true)?,
            Domain::IPV4 => socket.set_freebind_v4(true)?,
            _ => {}
        }
        addresses::bind(&socket, &bytes)?;
        for size in [bytes.len() - 1, 8, 2] {
            let written = kernel::name(&socket, size)?;
            asked.push(text("truncated", &written, true));
        }
    }
    Ok(asked)
}

/// Any address, cut or lengthened; any family.
pub(super) fn drawn(stage: &mut Stage) -> Result<Vec<Asked>, Halt> {
    let mut cut = Vec::new();
    for at in 0..DRAWN {
        // Without flow information: the kernel would have to know a route.
        let kind = [0, 1, 4, 5][at % 4];
        let parts = any(&mut stage.draw, kind, Ipv6Addr::LOCALHOST);
        let mut bytes = parts.given();
        let least = match parts {
            Parts::Path(_) => SHORTEST_PATH,
            _ => 3,
        };
        let length = match stage.draw.count(0..=9) {
            0 => STORAGE + 1,
            1 => bytes.len(),
            2 => bytes.len() + stage.draw.count(1..=4) as usize,
            _ => stage.draw.count(least as u64..=bytes.len().max(least) as u64)
                as usize,
        };
        bytes.resize(length, stage.draw.count(1..=255) as u8);
        if at % 8 == 0 && (inet().len()..=STORAGE).contains(&length) {
            let family = stage.draw.count(11..=0xffff) as u16;
            bytes[..2].copy_from_slice(&family.to_ne_bytes());
        }
        cut.push(bytes);
    }
    let asked = stage.net.host(LAPTOP)?.at(|| -> io::Result<Vec<Asked>> {
        let reading = |bytes: &Vec<u8>| reading("any-length", bytes, false);
        cut.iter().map(reading).collect()
    })?;
    asked.map_err(failed)
}

/// What wrong lengths get, for who looks at a run.
pub(super) fn steps(stage: &mut Stage) -> Result<(), Halt> {
    stage.fact("sockaddr", size_of::<libc::sockaddr>());
    stage.fact("sockaddr_in", size_of::<libc::sockaddr_in>());
    stage.fact("sockaddr_in6", size_of::<libc::sockaddr_in6>());
    stage.fact("sockaddr_un", UNIX_SIZE);
    stage.fact("sockaddr_storage", STORAGE);
    stage.fact("alignment", align_of::<libc::sockaddr_storage>());
    let ip6 = stage.net.host(KONGMING)?.ip6();
    let steps = stage.net.host(LAPTOP)?.at(told)?.map_err(failed)?;
    for step in steps {
        stage.step(LAPTOP, step)?;
    }
    let Some(std::net::IpAddr::V6(ip)) = ip6 else { return Ok(()) };
    let port = stage.draw.port();
    let parts = Parts::Inet6 { ip, port, flow: 0x12345, scope: 0 };
    stage.step(LAPTOP, "a datagram with flow 0x12345")?;
    let sent = stage.net.host(LAPTOP)?.at(|| -> io::Result<()> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        let option = (libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO_SEND);
        crate::sys::set_option(&socket, option, 1)?;
        addresses::connect(&socket, &parts.given())?;
        socket.send(b"labelled").map(drop)
    })?;
    sent.map_err(failed)?;
    stage.frames("udp from ernest-laptop", 1)
}

fn told() -> io::Result<Vec<String>> {
    let mut told = Vec::new();
    let said = |result: io::Result<()>| match result {
        Ok(()) => "0".to_string(),
        Err(err) => match err.raw_os_error() {
            Some(errno) => {
                format!("{:?}", nix::errno::Errno::from_raw(errno))
            }
            None => err.to_string(),
        },
    };
    let inet = Parts::Inet(Ipv4Addr::LOCALHOST, 8080).given();
    let udp = || Socket::new(Domain::IPV4, Type::DGRAM, None);
    let bound = said(addresses::bind(&udp()?, &inet[..15]));
    told.push(format!("bind to 127.0.0.1 8080, 15 bytes: {bound}"));
    let done = said(addresses::connect(&udp()?, &inet[..15]));
    told.push(format!("connect to 127.0.0.1 8080, 15 bytes: {done}"));
    let longer = [&inet[..], &[0; 12]].concat();
    let bound = said(addresses::bind(&udp()?, &longer));
    told.push(format!("bind to 127.0.0.1 8080, 28 bytes: {bound}"));

    let stream = || Socket::new(Domain::UNIX, Type::STREAM, None);
    let listener = stream()?;
    let lab = Parts::Abstract(b"lab".to_vec()).given();
    addresses::bind(&listener, &lab)?;
    listener.listen(8)?;
    told.push(format!("a listener is bound to \\0lab, {} bytes", lab.len()));
    let mut room = lab.clone();
    room.resize(UNIX_SIZE, 0);
    for length in [lab.len(), lab.len() + 1, UNIX_SIZE, lab.len() - 1] {
        let done = said(addresses::connect(&stream()?, &room[..length]));
        told.push(format!("connect to \\0lab, {length} bytes: {done}"));
    }
    let other = stream()?;
    let bound = said(addresses::bind(&other, &room));
    told.push(format!("bind to \\0lab, {UNIX_SIZE} bytes: {bound}"));

    let path = [b"/dev/shm/", &[b'x'; 99][..]].concat();
    let socket = stream()?;
    addresses::bind(&socket, &unix(&path))?;
    let Written { length, .. } = kernel::name(&socket, UNIX_SIZE)?;
    told.push(format!(
        "getsockname of a path of 108 bytes, {UNIX_SIZE} of room: {length}"
    ));
    std::fs::remove_file(String::from_utf8_lossy(&path).as_ref())?;
    let inet6 = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    let Written { length, .. } = kernel::name(&inet6, inet.len())?;
    told.push(format!(
        "getsockname of an IPv6 socket, {} of room: {length}",
        inet.len()
    ));
    Ok(told)
}

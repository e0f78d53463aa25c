//! Frames for decoders: those of a mixed run of two real kernels, and what
//! becomes of them when they are cut short or bent.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use testbed::Draw;

use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// Everything here happens at once, or not at all.
const SOON: Duration = Duration::from_secs(5);
/// Where the headers are: bits beyond it are data.
const HEADERS: usize = 74;
/// Ethernet's shortest frame, without its CRC (IEEE 802.3).
const SHORTEST: usize = 60;

/// A frame, with the time of its capture as its name: seconds since the
/// network came up, to the nanosecond, so that no other run has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `0.004213870`.
    pub name: String,
    /// From the destination station address on, without the CRC.
    pub bytes: Vec<u8>,
}

/// Has the two hosts talk over TCP, UDP, ICMP and ARP, in IPv4 and IPv6, with
/// datagrams that must be fragmented and one to a closed port; the frames.
///
/// # Errors
///
/// The testbed failed.
pub fn mixed_run(stage: &mut Stage) -> Result<Vec<Taken>, Halt> {
    let server = stage.net.host(KONGMING)?;
    for ip in std::iter::once(server.ip()).chain(server.ip6()) {
        talk(stage, ip)?;
    }
    let trace = stage.net.trace()?;
    let frames = trace.frames().map(|(event, frame)| Taken {
        name: name(event.t_ns),
        bytes: frame.bytes.clone(),
    });
    Ok(frames.collect())
}

fn name(t_ns: u64) -> String {
    format!("{}.{:09}", t_ns / 1_000_000_000, t_ns % 1_000_000_000)
}

fn talk(stage: &mut Stage, ip: IpAddr) -> Result<(), Halt> {
    let mut port = || SocketAddr::new(ip, stage.draw.port());
    let (tcp, udp, closed) = (port(), port(), port());
    let words = stage.draw.letters(12).into_bytes();
    let (laptop, server) = (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
    let failed = |err: std::io::Error| Halt::Missed(format!("{ip}: {err}"));
    let listener = server.at(|| TcpListener::bind(tcp))?.map_err(failed)?;
    let conn = laptop.at(|| TcpStream::connect_timeout(&tcp, SOON))?;
    let mut conn = conn.map_err(failed)?;
    let (mut peer, _) = listener.accept().map_err(failed)?;
    conn.write_all(&words).map_err(failed)?;
    peer.read_exact(&mut vec![0; words.len()]).map_err(failed)?;
    peer.write_all(&words).map_err(failed)?;
    conn.read_exact(&mut vec![0; words.len()]).map_err(failed)?;
    drop(conn);
    peer.read_to_end(&mut Vec::new()).map_err(failed)?;
    drop(peer);

    let any = SocketAddr::new(unspecified(ip), 0);
    let hears = server.at(|| UdpSocket::bind(udp))?.map_err(failed)?;
    let says = laptop.at(|| UdpSocket::bind(any))?.map_err(failed)?;
    hears.set_read_timeout(Some(SOON)).map_err(failed)?;
    // Two of one frame each, the first shorter than Ethernet's shortest; one of
    // three fragments.
    for length in [1, 40, 4_000] {
        says.send_to(&vec![words[0]; length], udp).map_err(failed)?;
        hears.recv_from(&mut vec![0; length]).map_err(failed)?;
    }
    says.connect(closed).map_err(failed)?;
    says.set_read_timeout(Some(SOON)).map_err(failed)?;
    says.send(&words).map_err(failed)?;
    let _refused = says.recv(&mut [0]); // The ICMP error has come back.
    Ok(())
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Gives frames that were never captured the times after the last one's, a
/// nanosecond apart.
pub fn named(frames: &[Taken], made: Vec<Vec<u8>>) -> Vec<Taken> {
    let last = frames.last().map_or("0.0", |frame| frame.name.as_str());
    let (seconds, fraction) = last.split_once('.').unwrap_or(("0", "0"));
    let seconds: u64 = seconds.parse().unwrap_or(0);
    let fraction: u64 = fraction.parse().unwrap_or(0);
    let last = seconds * 1_000_000_000 + fraction;
    let made = (last + 1..).zip(made);
    made.map(|(t_ns, bytes)| Taken { name: name(t_ns), bytes }).collect()
}

/// Frames like these, and worse: cut short, padded, with bits turned over, with
/// any bytes at all.
pub fn bent(draw: &mut Draw, frames: &[Taken], count: usize) -> Vec<Vec<u8>> {
    let bend = |at: usize| {
        let mut bytes = match frames.is_empty() {
            true => Vec::new(),
            false => frames[at % frames.len()].bytes.clone(),
        };
        bend(draw, &mut bytes, at / frames.len().max(1));
        bytes
    };
    (0..count).map(bend).collect()
}

fn bend(draw: &mut Draw, bytes: &mut Vec<u8>, how: usize) {
    let mut below = |most: usize| draw.word() as usize % most.max(1);
    match how % 4 {
        0 => bytes.truncate(1 + below(bytes.len().min(HEADERS))),
        1 => {
            // What a network card adds to a short frame.
            let length = bytes.len().max(SHORTEST);
            bytes.resize(length, below(256) as u8);
            let at = below(HEADERS.min(length));
            bytes[at] = below(256) as u8;
        }
        2 => {
            for _ in 0..=below(3) {
                let at = below(HEADERS.min(bytes.len()));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << below(8);
                }
            }
        }
        _ => {
            let known = 1 + below(40).min(bytes.len());
            let length = below(80);
            bytes.truncate(known);
            bytes.extend((0..length).map(|_| below(256) as u8));
        }
    }
}

/// Bytes as two hexadecimal digits each, nothing between.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes again; `None`: it is not hexadecimal, or is empty.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    (!text.is_empty()).then(|| pairs.map(byte).collect())?
}

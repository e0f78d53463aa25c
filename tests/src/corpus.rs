//! Frames for decoders: those of a mixed run of two real kernels, and what
//! becomes of them when they are cut short or bent.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use testbed::Draw;
use testbed::trace::{Event, Frame};

use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::sys;

/// Everything here happens at once, or not at all.
const SOON: Duration = Duration::from_secs(5);
/// A story has so many kinds of options.
const SHOWN: usize = 2;
/// Level and name of the option.
const IP_OPTIONS: (i32, i32) = (libc::IPPROTO_IP, libc::IP_OPTIONS);
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
    let frames = trace.frames();
    Ok(frames.map(|(event, frame)| taken(event, frame)).collect())
}

fn taken(event: &Event, frame: &Frame) -> Taken {
    Taken { name: name(event.t_ns), bytes: frame.bytes.clone() }
}

/// A time of capture as a name.
pub(crate) fn name(t_ns: u64) -> String {
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

/// The same hosts with IPv4 options: datagrams and an echo that record their
/// route or the time, or ask routers to look at them; the frames of it.
///
/// # Errors
///
/// The testbed failed.
pub fn options_run(stage: &mut Stage) -> Result<Vec<Taken>, Halt> {
    let before = stage.net.trace()?.frames().count();
    let (laptop, server) = (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
    let to = SocketAddr::new(server.ip(), stage.draw.port());
    let words = stage.draw.letters(8).into_bytes();
    let failed = |err: std::io::Error| Halt::Missed(format!("{to}: {err}"));
    let hears = server.at(|| UdpSocket::bind(to))?.map_err(failed)?;
    hears.set_read_timeout(Some(SOON)).map_err(failed)?;
    let mut kinds = ip_options(laptop.ip(), server.ip());
    for options in kinds.iter().filter(|_| !stage.story) {
        let says = laptop.at(|| UdpSocket::bind(("0.0.0.0", 0)))?;
        let says = says.map_err(failed)?;
        sys::set_bytes(&says, IP_OPTIONS, options).map_err(failed)?;
        says.send_to(&words, to).map_err(failed)?;
        hears.recv_from(&mut [0; 64]).map_err(failed)?;
    }
    // The other kernel answers with the options that it was sent, its own
    // address among them (RFC 1122, section 3.2.2.6).
    let echo = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
    let icmp = Some(Protocol::ICMPV4);
    let ping = laptop.at(|| Socket::new(Domain::IPV4, Type::RAW, icmp))?;
    let ping = ping.map_err(failed)?;
    ping.set_read_timeout(Some(SOON)).map_err(failed)?;
    if stage.story {
        kinds.truncate(SHOWN);
    }
    for options in kinds {
        sys::set_bytes(&ping, IP_OPTIONS, &options).map_err(failed)?;
        ping.send_to(&echo, &to.into()).map_err(failed)?;
        let mut answer = [std::mem::MaybeUninit::uninit(); 256];
        ping.recv(&mut answer).map_err(failed)?;
    }
    let trace = stage.net.trace()?;
    let frames = trace.frames().skip(before);
    Ok(frames.map(|(event, frame)| taken(event, frame)).collect())
}

/// Record route with nine slots; timestamps alone, with addresses, and for
/// addresses that are given; router alert (RFC 2113).
fn ip_options(laptop: IpAddr, server: IpAddr) -> Vec<Vec<u8>> {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(_) => Vec::new(),
    };
    let mut given = vec![68, 20, 5, 3];
    for ip in [laptop, server] {
        given.extend(octets(ip));
        given.extend([0; 4]);
    }
    let room = |head: &[u8], length: usize| {
        let mut option = head.to_vec();
        option.resize(length, 0);
        option
    };
    vec![
        room(&[7, 39, 4], 40),
        room(&[68, 36, 5, 1], 36),
        room(&[68, 36, 5, 0], 36),
        given,
        room(&[148, 4], 4),
        room(&[1, 7, 11, 4], 12),
    ]
}

/// The same hosts over TCP with what is rarer: two of eight segments lost, an
/// urgent byte, a connection without timestamps and with ECN, a port where
/// nobody listens; the frames of it.
///
/// # Errors
///
/// The testbed failed.
pub fn segments_run(stage: &mut Stage) -> Result<Vec<Taken>, Halt> {
    let before = stage.net.trace()?.frames().count();
    let to = stage.address(KONGMING)?;
    let closed = stage.address(KONGMING)?;
    let laptop = stage.net.host(LAPTOP)?;
    let failed = |err: std::io::Error| Halt::Missed(format!("{to}: {err}"));
    let (mut conn, mut peer) = connection(stage, to)?;
    conn.set_nodelay(true).map_err(failed)?;
    for lost in [2, 4] {
        let rule =
            format!("drop #{lost} data from {LAPTOP} port {}", to.port());
        stage.net.wire().arm(&rule)?;
    }
    let words = [b'x'; 101]; // Odd, so that the sums have a byte left over.
    for _ in 0..8 {
        conn.write_all(&words).map_err(failed)?;
    }
    peer.read_exact(&mut [0; 8 * 101]).map_err(failed)?;
    SockRef::from(&conn).send_out_of_band(b"abc").map_err(failed)?;
    drop(conn);
    peer.read_to_end(&mut Vec::new()).map_err(failed)?;
    drop(peer);
    if !stage.story {
        laptop.set_sysctl("net.ipv4.tcp_timestamps", "0")?;
        laptop.set_sysctl("net.ipv4.tcp_ecn", "1")?;
        drop(connection(stage, to)?);
        let _refused =
            laptop.at(|| TcpStream::connect_timeout(&closed, SOON))?;
    }
    let trace = stage.net.trace()?;
    let frames = trace.frames().skip(before);
    Ok(frames.map(|(event, frame)| taken(event, frame)).collect())
}

fn connection(
    stage: &Stage,
    to: SocketAddr,
) -> Result<(TcpStream, TcpStream), Halt> {
    let (laptop, server) = (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
    let failed = |err: std::io::Error| Halt::Missed(format!("{to}: {err}"));
    let listener = server.at(|| TcpListener::bind(to))?.map_err(failed)?;
    let conn = laptop.at(|| TcpStream::connect_timeout(&to, SOON))?;
    let conn = conn.map_err(failed)?;
    let (peer, _) = listener.accept().map_err(failed)?;
    for stream in [&conn, &peer] {
        stream.set_read_timeout(Some(SOON)).map_err(failed)?;
    }
    Ok((conn, peer))
}

/// The same hosts over IPv6 alone: TCP, UDP, ICMPv6, fragments; and with what
/// no kernel sends unasked: options for every hop or for the destination, a
/// traffic class; the frames of it.
///
/// # Errors
///
/// The testbed failed.
pub fn ipv6_run(stage: &mut Stage) -> Result<Vec<Taken>, Halt> {
    let server = stage.net.host(KONGMING)?;
    let ip = server.ip6().unwrap_or(server.ip());
    talk(stage, ip)?;
    let to = SocketAddr::new(ip, stage.draw.port());
    let (laptop, server) = (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
    let failed = |err: std::io::Error| Halt::Missed(format!("{to}: {err}"));
    let hears = server.at(|| UdpSocket::bind(to))?.map_err(failed)?;
    hears.set_read_timeout(Some(SOON)).map_err(failed)?;
    // Padding (RFC 8200, section 4.2), of which Linux takes no more than 7
    // bytes in a row; and an option for experiments, to be skipped by who does
    // not know it (RFC 4727, section 3.6).
    let short = vec![0, 0, 1, 4, 0, 0, 0, 0];
    let long = [&[0, 1, 0x1e, 8][..], &[b'x'; 8], &[1, 2, 0, 0]].concat();
    for (name, value, length) in [
        (libc::IPV6_HOPOPTS, &short, 40),
        (libc::IPV6_DSTOPTS, &long, 40),
        (libc::IPV6_DSTOPTS, &short, 4_000),
    ] {
        let says = laptop.at(|| UdpSocket::bind(("::", 0)))?.map_err(failed)?;
        let class = (libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
        sys::set_option(&says, class, 0xb8).map_err(failed)?;
        let option = (libc::IPPROTO_IPV6, name);
        sys::set_bytes(&says, option, value).map_err(failed)?;
        says.send_to(&vec![b'v'; length], to).map_err(failed)?;
        hears.recv_from(&mut vec![0; length]).map_err(failed)?;
    }
    let trace = stage.net.trace()?;
    let frames = trace.frames();
    Ok(frames.map(|(event, frame)| taken(event, frame)).collect())
}

/// A host that talks to itself: what a packet socket sees of it, IP packets in
/// the order of their capture.
///
/// # Errors
///
/// The testbed failed.
pub fn loopback_run(stage: &mut Stage) -> Result<Vec<Vec<u8>>, Halt> {
    let to = SocketAddr::from(([127, 0, 0, 1], stage.draw.port()));
    let words = stage.draw.letters(20);
    let captured = stage.net.host(LAPTOP)?.at(|| {
        let sees = sys::packet_socket("lo")?;
        sees.set_nonblocking(true)?;
        let listener = TcpListener::bind(to)?;
        let mut conn = TcpStream::connect(to)?;
        let (mut peer, _) = listener.accept()?;
        conn.write_all(words.as_bytes())?;
        drop(conn);
        peer.read_to_end(&mut Vec::new())?;
        drop(peer);
        let mut captured: Vec<Vec<u8>> = Vec::new();
        let mut frame = [0; 2_000];
        // Each is there by now, and each twice: on its way out, and in.
        while let Ok(count) = (&sees).read(&mut frame) {
            let packet = &frame[..count];
            let loopback = packet.get(12..14) == Some(&[0x08, 0x00])
                && packet.get(26..30) == Some(&[127, 0, 0, 1]);
            let packet = packet.get(14..).unwrap_or_default();
            if loopback && captured.last().is_none_or(|last| last != packet) {
                captured.push(packet.to_vec());
            }
        }
        match captured.is_empty() {
            true => Err(std::io::Error::other("nothing captured on lo")),
            false => Ok(captured),
        }
    })?;
    captured.map_err(|err: std::io::Error| Halt::Missed(format!("{to}: {err}")))
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

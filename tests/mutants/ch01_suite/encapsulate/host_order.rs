//! The mistake: the checksum is written as the number lies in memory.
//!
//! Usage: encapsulate INTERFACE PORT STATION ADDRESS:PORT
//! See also: packet(7), udp(7), ip(7), getifaddrs(3); RFC 768, RFC 791,
//! RFC 1071, RFC 894

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: encapsulate INTERFACE PORT STATION ADDRESS:PORT";
const TTL: u8 = 64;
const UDP: u8 = 17;

type Station = [u8; 6];

/// From where to where: what the headers say.
struct Way {
    from_station: Station,
    to_station: Station,
    from: SocketAddrV4,
    to: SocketAddrV4,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context(USAGE);
    let (link, address) = own(&next()?).context("getifaddrs")?;
    let port = next()?.parse().context("parse PORT")?;
    let way = Way {
        from_station: link.addr().context("no station address")?,
        to_station: station(&next()?).context("parse STATION")?,
        from: SocketAddrV4::new(address, port),
        to: next()?.parse().context("parse ADDRESS:PORT")?,
    };

    // Of the protocol 0: it sends, and receives nothing.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)
        .context("socket AF_PACKET")?;
    bind(socket.as_raw_fd(), &link).context("bind")?;
    for line in std::io::stdin().lines() {
        let line = line.context("read standard input")?;
        let datagram = udp(&way, line.as_bytes());
        let packet = ipv4(&way, &datagram);
        let frame = ethernet(&way, &packet);
        socket.send(&frame).context("send")?;
        println!(
            "sent {} bytes, IPv4 checksum {}, UDP checksum {}",
            frame.len(),
            hex(&packet[10..12]),
            hex(&datagram[6..8])
        );
    }
    Ok(())
}

/// The datagram: 8 bytes of header, and the data.
fn udp(way: &Way, data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let mut datagram = Vec::new();
    datagram.extend(way.from.port().to_be_bytes());
    datagram.extend(way.to.port().to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]); // the checksum's place, while it is computed
    datagram.extend(data);

    let mut summed = Vec::new(); // the pseudo-header: never sent
    summed.extend(way.from.ip().octets());
    summed.extend(way.to.ip().octets());
    summed.extend([0, UDP]);
    summed.extend(length.to_be_bytes());
    summed.extend(&datagram);
    let sum = match checksum(&summed) {
        0 => 0xffff, // 0 would say that there is no checksum
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_ne_bytes());
    datagram
}

/// The packet: 20 bytes of header, and the datagram.
fn ipv4(way: &Way, datagram: &[u8]) -> Vec<u8> {
    let length = (20 + datagram.len()) as u16;
    let mut packet = vec![0x45, 0]; // version 4, 5 words of header; no DSCP
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0]); // identification, flags: no fragment
    packet.extend([TTL, UDP]);
    packet.extend([0, 0]); // the checksum's place
    packet.extend(way.from.ip().octets());
    packet.extend(way.to.ip().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_ne_bytes());

    packet.extend(datagram);
    packet
}

/// The frame: 14 bytes of header, and the packet.
fn ethernet(way: &Way, packet: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(way.to_station);
    frame.extend(way.from_station);
    frame.extend((libc::ETH_P_IP as u16).to_be_bytes());
    frame.extend(packet);
    frame
}

/// The complement of the sum of all 16-bit words, where what overflows is added
/// in again at the lower end (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        // An odd byte at the end is the upper half of a word.
        let lower = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], lower]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The interface with its station address, as bind(2) takes them, and its IPv4
/// address.
fn own(interface: &str) -> anyhow::Result<(LinkAddr, Ipv4Addr)> {
    let (mut link, mut address) = (None, None);
    for entry in getifaddrs()?.filter(|e| e.interface_name == interface) {
        let Some(found) = entry.address else { continue };
        link = link.or(found.as_link_addr().copied());
        address = address.or(found.as_sockaddr_in().map(|v4| v4.ip()));
    }
    let link = link.with_context(|| format!("no interface {interface}"))?;
    Ok((link, address.context("no IPv4 address")?))
}

/// Six bytes in hexadecimal, with colons between.
fn station(text: &str) -> Option<Station> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<Vec<u8>, _>>().ok()?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Build a UDP datagram from the bottom up, and send it as a frame.
//!
//! On an ordinary socket a program hands over its data, and the kernel puts
//! three headers before it: UDP, IPv4, Ethernet. A packet socket takes what the
//! program has put there (packet(7)), and no receiver can tell the difference:
//! as long as every length fits and both checksums are right. IPv4's covers its
//! header alone, UDP's the data too, and in addition a pseudo-header with the
//! two addresses, lest a datagram be taken in by the wrong host.
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
    // 4. The two ports, the length of header and data, and the checksum; then
    //    the data. Every number has 16 bits, most significant byte first.
    // 5. The checksum is that of a pseudo-header and the whole datagram, in
    //    which its own place is 0. The pseudo-header is never sent: the two IP
    //    addresses, a byte 0, the protocol (17), the datagram's length.
    // 6. A checksum of 0 is sent as 0xffff: 0 means that there is none.
    let _ = checksum(data);
    todo!("udp is not written: {} {}", way.from.port(), way.to.port())
}

/// The packet: 20 bytes of header, and the datagram.
fn ipv4(way: &Way, datagram: &[u8]) -> Vec<u8> {
    // 2. 0x45: version 4, and 5 words of 4 bytes of header; 0; the length of
    //    header and datagram (16 bits); the identification and the fragment's
    //    place, all 0; the time to live; the protocol; the checksum (16 bits);
    //    the two IP addresses.
    // 3. The checksum is that of the header alone, its own place being 0.
    let _ = checksum(datagram);
    todo!("ipv4 is not written: {} {TTL} {UDP}", way.from.ip())
}

/// The frame: 14 bytes of header, and the packet.
fn ethernet(way: &Way, packet: &[u8]) -> Vec<u8> {
    // 1. The receiver's station, the sender's, the type ETH_P_IP (16 bits);
    //    then the packet.
    let stations = (way.to_station, way.from_station);
    todo!("ethernet is not written: {stations:?} {}", packet.len())
}

/// The complement of the sum of all 16-bit words, where what overflows is added
/// in again at the lower end (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    // 7. An odd byte at the end is the upper half of a word.
    todo!("checksum is not written: {} bytes", bytes.len())
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

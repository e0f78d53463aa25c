//! IPv4 packets as the scenarios of this chapter make and read them.

use std::net::Ipv4Addr;

use testbed::trace::{Event, Frame};
use testbed::{Host, Trace};

use crate::stage::Halt;

/// The length of an Ethernet header.
const ETHERNET: usize = 14;
/// The protocol number of ICMP.
pub const ICMP: u8 = 1;
/// To every station on the wire.
pub const EVERYONE: [u8; 6] = [0xff; 6];

/// An IPv4 header to be; `build` puts what follows behind it.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The identification.
    pub id: u16,
    /// The field with the flags and the fragment offset.
    pub fragment: u16,
    /// The time to live.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
}

impl Header {
    /// The whole packet, with its header checksum.
    pub fn build(&self, data: &[u8]) -> Vec<u8> {
        let length = (20 + data.len()) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        let sum = sum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(data);
        packet
    }

    /// The same with the identification that gives this header checksum to a
    /// packet with so many bytes of data.
    pub fn with_checksum(mut self, wanted: u16, length: usize) -> Header {
        self.id = 0;
        let packet = self.build(&vec![0; length]);
        let without = u16::from_be_bytes([packet[10], packet[11]]);
        // The words of a header and its checksum add up to 0xffff, in one's
        // complement: what the checksum is to lose, the identification gains.
        let (gain, borrow) = without.overflowing_sub(wanted);
        self.id = gain - u16::from(borrow);
        self
    }
}

/// An ICMP message: its four bytes after the checksum, and what it carries.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(data);
    let sum = sum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The Internet checksum (RFC 1071); 0 over what has a right one in it.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The station address that a host's interface has, told from its address
/// (`HostSpec::interface`).
pub fn station(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x52, 0x54, a, b, c, d]
}

/// Puts a packet on the wire as it stands, from the first interface of a host
/// to a station.
pub fn send(
    host: &Host,
    from: Ipv4Addr,
    to: [u8; 6],
    packet: &[u8],
) -> Result<(), Halt> {
    let mut frame = to.to_vec();
    frame.extend(station(from));
    frame.extend([8, 0]);
    frame.extend(packet);
    Ok(host.send_frame("eth0", &frame)?)
}

/// An IPv4 packet that was on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who put it there.
    pub host: &'a str,
    /// From the version on, without padding.
    pub bytes: &'a [u8],
    /// The station that it was sent to.
    pub to: [u8; 6],
    /// The station that sent it.
    pub from: [u8; 6],
    /// Did it arrive?
    pub arrived: bool,
}

impl<'a> Seen<'a> {
    fn new(event: &'a Event, frame: &'a Frame) -> Option<Seen<'a>> {
        let (to, from) = frame.packet().stations()?;
        let bytes = frame.bytes.get(ETHERNET..)?;
        let ip = frame.bytes.get(12..14)? == [8, 0] && bytes.len() >= 20;
        let length =
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        let bytes = bytes.get(..length).unwrap_or(bytes);
        let arrived = frame.delivered_ns.is_some();
        let seen = Seen { host: &event.host, bytes, to, from, arrived };
        (ip && bytes.len() >= 20).then_some(seen)
    }

    /// From whom.
    pub fn source(&self) -> Ipv4Addr {
        address(self.bytes, 12)
    }

    /// To whom.
    pub fn destination(&self) -> Ipv4Addr {
        address(self.bytes, 16)
    }

    /// The time to live.
    pub fn ttl(&self) -> u8 {
        self.bytes[8]
    }

    /// The header checksum.
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.bytes[10], self.bytes[11]])
    }

    /// What comes after the header.
    pub fn data(&self) -> &'a [u8] {
        self.bytes.get(header_length(self.bytes)..).unwrap_or_default()
    }

    /// The ICMP message, if it is one and no later fragment.
    pub fn icmp(&self) -> Option<&'a [u8]> {
        let first = self.bytes[6] & 0x1f == 0 && self.bytes[7] == 0;
        let whole = self.data().len() >= 8;
        (self.bytes[9] == ICMP && first && whole).then(|| self.data())
    }

    /// `192.168.1.108 > 203.0.113.80 ttl 3`
    pub fn line(&self) -> String {
        let (source, destination) = (self.source(), self.destination());
        format!("{source} > {destination} ttl {}", self.ttl())
    }
}

/// Every IPv4 packet of a run, in the order of the wire.
pub fn packets(trace: &Trace) -> Vec<Seen<'_>> {
    let seen = |(event, frame)| Seen::new(event, frame);
    trace.frames().filter_map(seen).collect()
}

/// How long the header says that it is.
pub fn header_length(packet: &[u8]) -> usize {
    usize::from(packet[0] & 0x0f) * 4
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| packet[at + n]);
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            id: 7,
            fragment: 0,
            ttl: 9,
            protocol: ICMP,
            source: Ipv4Addr::new(192, 168, 1, 108),
            destination: Ipv4Addr::new(203, 0, 113, 80),
        }
    }

    #[test]
    fn a_packet_has_its_checksum() {
        let packet = header().build(b"hello");
        assert_eq!(sum(&packet[..20]), 0);
        assert_eq!(packet.len(), 25);
    }

    #[test]
    fn a_checksum_can_be_chosen() {
        for wanted in [0xfeff, 0xff12, 0x0001, 0x8000] {
            let packet = header().with_checksum(wanted, 5).build(b"hello");
            assert_eq!(packet[10..12], wanted.to_be_bytes(), "{wanted:#06x}");
        }
    }
}

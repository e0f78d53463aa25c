//! Frames made by hand, and read by hand: what a decoder would refuse is just
//! what some probes are about.

use std::net::{IpAddr, Ipv4Addr};

/// Where the IPv4 header of a frame begins.
pub(crate) const IP: usize = 14;
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// What an echo request of ours is known by.
const IDENT: [u8; 4] = [0x2b, 0x67, 0, 1];

/// The Internet checksum of RFC 1071: the complement of the sum of 16-bit words
/// with the carry added back in. Over a message with its sum in it: 0.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        [high] => u16::from_be_bytes([high, 0]),
        _ => 0,
    });
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The same with TCP's or UDP's pseudo-header before it (RFC 9293, section 3.1).
pub(crate) fn transport_checksum(
    (from, to): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    segment: &[u8],
) -> u16 {
    let mut all = Vec::with_capacity(12 + segment.len());
    all.extend(from.octets());
    all.extend(to.octets());
    all.extend([0, protocol]);
    all.extend((segment.len() as u16).to_be_bytes());
    all.extend(segment);
    checksum(&all)
}

/// An echo request with so many bytes of data.
pub(crate) fn echo(length: usize) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(IDENT);
    message.extend((0..length).map(|at| at as u8));
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// A UDP datagram.
pub(crate) fn udp(
    ends: (Ipv4Addr, Ipv4Addr),
    (from, to): (u16, u16),
    data: &[u8],
) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(from.to_be_bytes());
    datagram.extend(to.to_be_bytes());
    datagram.extend((8 + data.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    let sum = transport_checksum(ends, UDP, &datagram).to_be_bytes();
    datagram[6..8].copy_from_slice(&sum);
    datagram
}

/// A SYN; of the options there are as many as the header has room for, and
/// `words` is what it says of its own length.
pub(crate) fn syn(
    ends: (Ipv4Addr, Ipv4Addr),
    (from, to): (u16, u16),
    options: &[u8],
    words: u8,
) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.to_be_bytes());
    segment.extend(to.to_be_bytes());
    segment.extend([0, 0, 0x10, 0, 0, 0, 0, 0]);
    segment.extend([words << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    let sum = transport_checksum(ends, TCP, &segment).to_be_bytes();
    segment[16..18].copy_from_slice(&sum);
    segment
}

/// An IPv4 header and what it carries, inside an Ethernet frame.
#[derive(Clone)]
pub(crate) struct Datagram<'a> {
    pub(crate) ends: (Ipv4Addr, Ipv4Addr),
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) id: u16,
    /// Flags and fragment offset.
    pub(crate) fragment: u16,
    pub(crate) options: &'a [u8],
    pub(crate) data: &'a [u8],
}

impl<'a> Datagram<'a> {
    pub(crate) fn new(
        ends: (Ipv4Addr, Ipv4Addr),
        protocol: u8,
        data: &'a [u8],
    ) -> Datagram<'a> {
        let (ttl, id, fragment) = (64, 0x1234, 0);
        Datagram { ends, protocol, ttl, id, fragment, options: &[], data }
    }

    /// The frame, from the sender's station to the one that has this address.
    pub(crate) fn frame(&self, next: Ipv4Addr) -> Vec<u8> {
        let mut ip = vec![0x45 + self.options.len() as u8 / 4, 0];
        let length = 20 + self.options.len() + self.data.len();
        ip.extend((length as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, self.protocol, 0, 0]);
        ip.extend(self.ends.0.octets());
        ip.extend(self.ends.1.octets());
        ip.extend(self.options);
        let sum = checksum(&ip).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
        ip.extend(self.data);
        ethernet(station(next), station(self.ends.0), 0x0800, &ip)
    }
}

/// An Ethernet II frame.
pub(crate) fn ethernet(
    to: [u8; 6],
    from: [u8; 6],
    kind: u16,
    payload: &[u8],
) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An ARP request, padded to nothing.
pub(crate) fn arp_request(from: Ipv4Addr, asked: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, 1];
    message.extend(station(from));
    message.extend(from.octets());
    message.extend([0; 6]);
    message.extend(asked.octets());
    ethernet([0xff; 6], station(from), 0x0806, &message)
}

/// The station address that the testbed gives to an IPv4 address.
pub(crate) fn station(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x52, 0x54, a, b, c, d]
}

/// An IPv4 address of the two that there are.
pub(crate) fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// The length of an IPv4 header, in bytes.
pub(crate) fn header_length(ip: &[u8]) -> usize {
    usize::from(ip[0] & 15) * 4
}

/// What an IPv4 frame carries: ICMP, a segment, a datagram.
pub(crate) fn carried(frame: &[u8]) -> &[u8] {
    let ip = &frame[IP..];
    let length = usize::from(word(ip, 2)).min(ip.len());
    &ip[header_length(ip)..length]
}

/// Two bytes of a header.
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes of a header.
pub(crate) fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The options of a TCP segment, in order: each one's kind and contents.
pub(crate) fn tcp_options(segment: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let end = usize::from(segment[12] >> 4) * 4;
    let mut rest = &segment[20..end];
    let mut options = Vec::new();
    while let [kind, after @ ..] = rest {
        let length = match (kind, after) {
            (0, _) => break,
            (1, _) => 1,
            (_, [length, ..]) => usize::from(*length),
            _ => break,
        };
        let contents = rest.get(2..length).unwrap_or_default().to_vec();
        options.push((*kind, contents));
        rest = rest.get(length.max(1)..).unwrap_or_default();
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of RFC 1071, section 3.
    #[test]
    fn the_sum_is_the_one_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(!checksum(&bytes), 0xddf2);
        assert_eq!(checksum(&echo(5)), 0);
    }
}

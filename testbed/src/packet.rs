//! What is in a frame: one decoder for the rules, the trace and the reader.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{
    LaxIpv4Slice, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpOptionElement,
    TcpSlice, TransportSlice,
};

/// A decoded frame. What could not be decoded is `None`; nothing panics.
#[derive(Debug)]
pub struct Packet<'a> {
    sliced: Option<LaxSlicedPacket<'a>>,
    bytes: &'a [u8],
}

/// The fields of a TCP segment that identify and describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sender's address and port.
    pub source: SocketAddr,
    /// Receiver's address and port.
    pub destination: SocketAddr,
    /// Sequence number as sent: absolute.
    pub seq: u32,
    /// Acknowledgement number as sent; meaningless without `Flags::ack`.
    pub ack: u32,
    /// The control bits.
    pub flags: Flags,
    /// The window field, not scaled.
    pub window: u16,
    /// The urgent pointer; meaningless without `Flags::urg`.
    pub urgent: u16,
    /// Bytes of data.
    pub data: usize,
    /// Options in tcpdump's notation, timestamps without their values.
    pub options: Vec<String>,
}

impl Segment {
    /// Sequence numbers used up: the data, and one each for SYN and FIN.
    pub fn sequence_length(&self) -> u32 {
        let controls = u32::from(self.flags.syn) + u32::from(self.flags.fin);
        self.data as u32 + controls
    }
}

/// TCP's control bits (RFC 9293, section 3.1; RFC 3168 for ECE and CWR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Flags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
    pub urg: bool,
    pub ece: bool,
    pub cwr: bool,
}

impl Flags {
    /// ACK and nothing else.
    pub const ACK: Flags = Flags {
        ack: true,
        syn: false,
        fin: false,
        rst: false,
        psh: false,
        urg: false,
        ece: false,
        cwr: false,
    };

    /// The names of those that are set, in a fixed order.
    pub fn names(self) -> Vec<&'static str> {
        [
            ("SYN", self.syn),
            ("FIN", self.fin),
            ("RST", self.rst),
            ("PSH", self.psh),
            ("URG", self.urg),
            ("ACK", self.ack),
            ("ECE", self.ece),
            ("CWR", self.cwr),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl<'a> Packet<'a> {
    /// Decodes an Ethernet II frame as far as it goes.
    pub fn decode(bytes: &'a [u8]) -> Packet<'a> {
        Packet { sliced: LaxSlicedPacket::from_ethernet(bytes).ok(), bytes }
    }

    /// The station addresses: destination, then source.
    pub fn stations(&self) -> Option<([u8; 6], [u8; 6])> {
        match self.sliced.as_ref()?.link.as_ref()? {
            LinkSlice::Ethernet2(header) => {
                Some((header.destination(), header.source()))
            }
            _ => None,
        }
    }

    /// The IP addresses: source, then destination.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.sliced.as_ref()?.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => Some((
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
            )),
            LaxNetSlice::Ipv6(ip) => Some((
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
            )),
            LaxNetSlice::Arp(_) => None,
        }
    }

    /// The address that an ARP message asks about, or answers to.
    pub fn arp_target(&self) -> Option<IpAddr> {
        match self.sliced.as_ref()?.net.as_ref()? {
            LaxNetSlice::Arp(arp) => {
                let octets: [u8; 4] =
                    arp.target_protocol_addr().try_into().ok()?;
                Some(IpAddr::from(octets))
            }
            _ => None,
        }
    }

    /// Is this a fragment of a larger IPv4 datagram?
    pub fn is_fragment(&self) -> bool {
        match self.sliced.as_ref().and_then(|sliced| sliced.net.as_ref()) {
            Some(LaxNetSlice::Ipv4(ip)) => ip.header().is_fragmenting_payload(),
            _ => false,
        }
    }

    /// The lowest protocol that was recognised: `tcp`, `udp`, `icmp`, `icmp6`,
    /// `arp`, `ip`, `ip6` or `ethernet`.
    pub fn protocol(&self) -> &'static str {
        let Some(sliced) = &self.sliced else { return "ethernet" };
        match (&sliced.transport, &sliced.net) {
            (Some(TransportSlice::Tcp(_)), _) => "tcp",
            (Some(TransportSlice::Udp(_)), _) => "udp",
            (Some(TransportSlice::Icmpv4(_)), _) => "icmp",
            (Some(TransportSlice::Icmpv6(_)), _) => "icmp6",
            (_, Some(LaxNetSlice::Ipv4(_))) => "ip",
            (_, Some(LaxNetSlice::Ipv6(_))) => "ip6",
            (_, Some(LaxNetSlice::Arp(_))) => "arp",
            _ => "ethernet",
        }
    }

    /// The TCP segment, if this is one.
    pub fn segment(&self) -> Option<Segment> {
        let sliced = self.sliced.as_ref()?;
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            return None;
        };
        let (source, destination) = self.addresses()?;
        Some(Segment {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            flags: flags(tcp),
            window: tcp.window_size(),
            urgent: tcp.urgent_pointer(),
            data: tcp.payload().len(),
            options: options(tcp),
        })
    }

    /// The control bits and the number of data bytes, if this is TCP: what the
    /// wire's rules ask of every frame, so nothing is allocated.
    pub(crate) fn flags(&self) -> Option<(Flags, usize)> {
        match self.sliced.as_ref()?.transport.as_ref()? {
            TransportSlice::Tcp(tcp) => Some((flags(tcp), tcp.payload().len())),
            _ => None,
        }
    }

    /// The transport's data: what the program sent.
    pub fn data(&self) -> &'a [u8] {
        match self.sliced.as_ref().and_then(|s| s.transport.as_ref()) {
            Some(TransportSlice::Tcp(tcp)) => tcp.payload(),
            Some(TransportSlice::Udp(udp)) => udp.payload(),
            _ => &[],
        }
    }

    /// The ports of a TCP segment or UDP datagram: source, destination.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.sliced.as_ref()?.transport.as_ref()? {
            TransportSlice::Tcp(tcp) => {
                Some((tcp.source_port(), tcp.destination_port()))
            }
            TransportSlice::Udp(udp) => {
                Some((udp.source_port(), udp.destination_port()))
            }
            _ => None,
        }
    }

    /// The two ends of a TCP segment or UDP datagram: source, destination.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (source, destination) = self.addresses()?;
        let (from, to) = self.ports()?;
        Some((SocketAddr::new(source, from), SocketAddr::new(destination, to)))
    }

    /// A line about a frame that is not TCP; `name` says who has an address.
    pub fn describe(&self, name: &dyn Fn(IpAddr) -> String) -> String {
        let Some(sliced) = &self.sliced else {
            return format!(
                "frame too short to decode: {} bytes",
                self.bytes.len()
            );
        };
        match (&sliced.transport, &sliced.net) {
            (Some(TransportSlice::Udp(udp)), _) => {
                format!("UDP {} bytes", udp.payload().len())
            }
            (Some(TransportSlice::Icmpv4(icmp)), _) => {
                icmp4(icmp.type_u8(), icmp.code_u8())
            }
            (Some(TransportSlice::Icmpv6(icmp)), _) => {
                icmp6(icmp.type_u8(), icmp.code_u8())
            }
            (_, Some(LaxNetSlice::Arp(arp))) => arp_line(arp, name),
            (_, Some(net)) => match net {
                LaxNetSlice::Ipv4(ip) if self.is_fragment() => fragment(ip),
                LaxNetSlice::Ipv4(ip) => {
                    format!("IPv4 protocol {}", ip.payload_ip_number().0)
                }
                _ => "IPv6".to_string(),
            },
            _ => format!("frame of {} bytes", self.bytes.len()),
        }
    }
}

/// `IPv4 fragment 1480+21 last`: where its data belongs, and how long it is.
fn fragment(ip: &LaxIpv4Slice<'_>) -> String {
    let offset = ip.header().fragments_offset().byte_offset();
    let length = ip.payload().payload.len();
    let more = if ip.header().more_fragments() { "more" } else { "last" };
    format!("IPv4 fragment {offset}+{length} {more}")
}

fn flags(tcp: &TcpSlice<'_>) -> Flags {
    Flags {
        syn: tcp.syn(),
        ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        urg: tcp.urg(),
        ece: tcp.ece(),
        cwr: tcp.cwr(),
    }
}

fn options(tcp: &TcpSlice<'_>) -> Vec<String> {
    tcp.options_iterator()
        .filter_map(|option| match option {
            Ok(TcpOptionElement::Noop) => None,
            Ok(TcpOptionElement::MaximumSegmentSize(size)) => {
                Some(format!("mss {size}"))
            }
            Ok(TcpOptionElement::WindowScale(shift)) => {
                Some(format!("wscale {shift}"))
            }
            Ok(TcpOptionElement::SelectiveAcknowledgementPermitted) => {
                Some("sackOK".to_string())
            }
            Ok(TcpOptionElement::SelectiveAcknowledgement(..)) => {
                Some("sack".to_string())
            }
            Ok(TcpOptionElement::Timestamp(..)) => Some("TS".to_string()),
            Err(err) => Some(format!("bad option: {err}")),
        })
        .collect()
}

fn arp_line(
    arp: &etherparse::ArpPacketSlice<'_>,
    name: &dyn Fn(IpAddr) -> String,
) -> String {
    let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(octets) => name(IpAddr::from(octets)),
        Err(_) => "?".to_string(),
    };
    let sender = address(arp.sender_protocol_addr());
    let target = address(arp.target_protocol_addr());
    match arp.operation().0 {
        1 => format!("ARP who has {target}? tell {sender}"),
        2 => format!("ARP {sender} is at its station address"),
        other => format!("ARP operation {other}"),
    }
}

/// RFC 792; the codes of type 3 as in RFC 1812, section 5.2.7.1.
fn icmp4(kind: u8, code: u8) -> String {
    match (kind, code) {
        (0, _) => "ICMP echo reply".into(),
        (3, 0) => "ICMP network unreachable".into(),
        (3, 1) => "ICMP host unreachable".into(),
        (3, 3) => "ICMP port unreachable".into(),
        (3, 4) => "ICMP fragmentation needed".into(),
        (3, 13) => "ICMP administratively prohibited".into(),
        (5, _) => "ICMP redirect".into(),
        (8, _) => "ICMP echo request".into(),
        (11, _) => "ICMP time exceeded".into(),
        _ => format!("ICMP type {kind} code {code}"),
    }
}

/// RFC 4443 and, for neighbour discovery, RFC 4861.
fn icmp6(kind: u8, code: u8) -> String {
    match kind {
        1 => "ICMPv6 destination unreachable".into(),
        128 => "ICMPv6 echo request".into(),
        129 => "ICMPv6 echo reply".into(),
        135 => "ICMPv6 neighbour solicitation".into(),
        136 => "ICMPv6 neighbour advertisement".into(),
        _ => format!("ICMPv6 type {kind} code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_is_decoded() {
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 168, 1, 108], [192, 168, 1, 109], 64)
            .tcp(40000, 80, 7, 1000)
            .syn()
            .write(&mut frame, &[])
            .unwrap();
        let segment = Packet::decode(&frame).segment().unwrap();
        assert_eq!(segment.flags.to_string(), "SYN");
        assert_eq!(segment.seq, 7);
        assert_eq!(segment.sequence_length(), 1);
        assert_eq!(segment.destination.to_string(), "192.168.1.109:80");
    }

    #[test]
    fn no_prefix_of_a_frame_panics() {
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 168, 1, 108], [192, 168, 1, 109], 64)
            .tcp(1, 2, 3, 4)
            .write(&mut frame, b"hello")
            .unwrap();
        for length in 0..frame.len() {
            let packet = Packet::decode(&frame[..length]);
            packet.segment();
            packet.describe(&|addr| addr.to_string());
        }
    }

    /// What a kernel sends: each protocol, with options and headers between.
    fn whole_frames() -> Vec<Vec<u8>> {
        use etherparse::{IpNumber, PacketBuilder, TcpOptionElement};
        let mut frames = vec![Vec::new(); 4];
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 168, 1, 108], [192, 168, 1, 109], 64)
            .tcp(40000, 80, 7, 1000)
            .options(&[
                TcpOptionElement::MaximumSegmentSize(1460),
                TcpOptionElement::SelectiveAcknowledgement(
                    (1, 2),
                    [Some((3, 4)), None, None],
                ),
            ])
            .unwrap()
            .write(&mut frames[0], b"hello")
            .unwrap();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([1; 16], [2; 16], 64)
            .udp(5000, 53)
            .write(&mut frames[1], b"hello")
            .unwrap();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 168, 1, 108], [192, 168, 1, 109], 64)
            .icmpv4_echo_request(1, 2)
            .write(&mut frames[2], b"hello")
            .unwrap();
        // In IPv6 a header for every hop, then one for the destination.
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([1; 16], [2; 16], 64)
            .write(&mut frames[3], IpNumber(59), &[60, 0, 1, 4, 0, 0, 0, 0])
            .unwrap();
        frames[3][20] = 0;
        frames[3][18..20].copy_from_slice(&20u16.to_be_bytes());
        frames[3].extend([58, 0, 1, 4, 0, 0, 0, 0, 135, 0, 0, 0]);
        let mut arp = [[2; 6], [4; 6]].concat();
        arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp.extend([9; 20]);
        frames.push(arp);
        frames
    }

    /// Asks everything that can be asked about a frame.
    fn ask_everything(bytes: &[u8]) {
        let packet = Packet::decode(bytes);
        packet.stations();
        packet.ends();
        packet.is_fragment();
        packet.protocol();
        packet.flags();
        assert!(packet.data().len() <= bytes.len());
        let options = packet.segment().map_or(0, |s| s.options.len());
        assert!(options <= 40, "more options than a header has bytes");
        packet.describe(&|addr| addr.to_string());
    }

    #[test]
    fn no_bent_frame_panics_or_takes_for_ever() {
        let frames = whole_frames();
        for at in 0..10_000_u64 {
            let mut draw = crate::Draw::from_seed(at);
            let mut below = |most: usize| draw.word() as usize % most.max(1);
            let mut bytes = frames[below(frames.len())].clone();
            for _ in 0..below(4) {
                let place = below(bytes.len());
                bytes[place] = below(256) as u8;
            }
            match below(4) {
                0 => bytes.truncate(below(bytes.len() + 1)),
                1 => bytes.extend((0..below(80)).map(|at| at as u8)),
                // Behind the Ethernet header nothing is as it was.
                2 => bytes[14..].fill_with(|| below(256) as u8),
                _ => {}
            }
            ask_everything(&bytes);
        }
    }
}

//! An ARP frame, read without mercy for its fields and written as it is told.

use std::fmt;
use std::net::Ipv4Addr;

pub(super) type Station = [u8; 6];

/// The station address that all stations listen to.
pub(super) const EVERYBODY: Station = [0xff; 6];
/// Where a cut frame ends: after the sender's addresses.
const CUT: usize = 14 + 18;
const ETHERTYPE: u16 = 0x0806;
const IP: u16 = 0x0800;

/// The fields of an Ethernet frame with ARP in it (RFC 826).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) to: Station,
    pub(super) from: Station,
    pub(super) ethertype: u16,
    pub(super) hardware: u16,
    pub(super) protocol: u16,
    pub(super) lengths: [u8; 2],
    pub(super) operation: u16,
    pub(super) sender: Station,
    pub(super) sender_ip: Ipv4Addr,
    pub(super) target: Station,
    pub(super) target_ip: Ipv4Addr,
}

/// The address of ernest-laptop.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 108);

/// The station address of a host, which the network makes of its IP address.
pub(super) fn station(address: Ipv4Addr) -> Station {
    let [a, b, c, d] = address.octets();
    [0x52, 0x54, a, b, c, d]
}

pub(super) fn text(station: Station) -> String {
    station.map(|byte| format!("{byte:02x}")).join(":")
}

impl Frame {
    /// What ernest-laptop sends to find a station.
    pub(super) fn request(target: Ipv4Addr) -> Frame {
        Frame {
            to: EVERYBODY,
            from: station(OWN),
            ethertype: ETHERTYPE,
            hardware: 1,
            protocol: IP,
            lengths: [6, 4],
            operation: 1,
            sender: station(OWN),
            sender_ip: OWN,
            target: [0; 6],
            target_ip: target,
        }
    }

    /// What ernest-laptop is told: this address is at this station.
    pub(super) fn reply(address: Ipv4Addr, at: Station) -> Frame {
        Frame {
            to: station(OWN),
            from: at,
            operation: 2,
            sender: at,
            sender_ip: address,
            target: station(OWN),
            ..Frame::request(OWN)
        }
    }

    /// `None`: it is another kind of frame, or has not all of these fields.
    pub(super) fn parse(bytes: &[u8]) -> Option<Frame> {
        fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
            bytes.get(at..at + N)?.try_into().ok()
        }
        let word = |at| Some(u16::from_be_bytes(field(bytes, at)?));
        let frame = Frame {
            to: field(bytes, 0)?,
            from: field(bytes, 6)?,
            ethertype: word(12)?,
            hardware: word(14)?,
            protocol: word(16)?,
            lengths: field(bytes, 18)?,
            operation: word(20)?,
            sender: field(bytes, 22)?,
            sender_ip: field::<4>(bytes, 28)?.into(),
            target: field(bytes, 32)?,
            target_ip: field::<4>(bytes, 38)?.into(),
        };
        let types = [ETHERTYPE, ETHERTYPE.swap_bytes()];
        types.contains(&frame.ethertype).then_some(frame)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.to);
        bytes.extend(self.from);
        for word in [self.ethertype, self.hardware, self.protocol] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(self.lengths);
        bytes.extend(self.operation.to_be_bytes());
        bytes.extend(self.sender);
        bytes.extend(self.sender_ip.octets());
        bytes.extend(self.target);
        bytes.extend(self.target_ip.octets());
        bytes
    }

    /// The same without its last 10 bytes: the sender is whole.
    pub(super) fn cut(&self) -> Vec<u8> {
        self.bytes()[..CUT].to_vec()
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [hardware, protocol] = self.lengths;
        writeln!(
            f,
            "to {}, from {}, type {:04x}\n\
             hardware {:04x}, protocol {:04x}, lengths {hardware} {protocol}, \
             operation {:04x}\n\
             sender {} {}\n\
             target {} {}",
            text(self.to),
            text(self.from),
            self.ethertype,
            self.hardware,
            self.protocol,
            self.operation,
            text(self.sender),
            self.sender_ip,
            text(self.target),
            self.target_ip,
        )
    }
}

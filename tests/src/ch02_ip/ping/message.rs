//! An ICMP echo message in its frame.

use std::fmt;

/// The number of the reply that is for another program: one that ours asks for
/// too, and has no reply to.
pub(super) const ANOTHERS_NUMBER: u16 = 1;

const IP: usize = 14;
const ICMP: u8 = 1;
/// Turns an identifier into another program's.
const OTHER: u16 = 0x5a5a;

/// An echo request or reply.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    /// Ethernet and IPv4 before it.
    headers: Vec<u8>,
    /// The ICMP message.
    pub(super) message: Vec<u8>,
}

impl Echo {
    /// `None`: the frame has none in it, or less than its header.
    pub(super) fn parse(frame: &[u8]) -> Option<Echo> {
        let ip = frame.get(IP..)?;
        let is_icmp = frame.get(12..14)? == [8, 0] && *ip.get(9)? == ICMP;
        let header = usize::from(ip.first()? & 0xf) * 4;
        let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let message = ip.get(header..length)?.to_vec();
        let headers = frame[..IP + header].to_vec();
        let echo =
            is_icmp && message.len() >= 8 && [0, 8].contains(&message[0]);
        echo.then_some(Echo { headers, message })
    }

    pub(super) fn kind(&self) -> u8 {
        self.message[0]
    }

    pub(super) fn id(&self) -> u16 {
        u16::from_be_bytes([self.message[4], self.message[5]])
    }

    pub(super) fn number(&self) -> u16 {
        u16::from_be_bytes([self.message[6], self.message[7]])
    }

    /// A frame with a reply that is not for who sent this one's request.
    pub(super) fn for_another(&self) -> Vec<u8> {
        let mut other = self.clone();
        let id = (self.id() ^ OTHER).to_be_bytes();
        other.message[4..6].copy_from_slice(&id);
        let number = ANOTHERS_NUMBER.to_be_bytes();
        other.message[6..8].copy_from_slice(&number);
        other.frame()
    }

    /// A frame with a request of the same identifier and number.
    pub(super) fn as_request(&self) -> Vec<u8> {
        let mut request = self.clone();
        request.message[0] = 8;
        request.frame()
    }

    fn frame(&self) -> Vec<u8> {
        let mut message = self.message.clone();
        message[2..4].fill(0);
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        [self.headers.as_slice(), &message].concat()
    }
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The identifier is whatever the program likes.
        write!(
            f,
            "type {}, code {}, number {:04x}, {} bytes of data",
            self.message[0],
            self.message[1],
            self.number(),
            self.message.len() - 8
        )?;
        let sound =
            if checksum(&self.message) == 0 { "right" } else { "wrong" };
        write!(f, "; the checksum is {sound}")
    }
}

/// RFC 1071; 0 for a message that has its own checksum in it.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let lower = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], lower]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

//! A frame with a datagram in it, and what its checksums tell of a mistake.

use crate::verdict::Performance;

/// The fields of three headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) ethernet: [u8; 14],
    pub(super) version: u8,
    pub(super) total: u16,
    pub(super) fragment: u16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) addresses: [u8; 8],
    pub(super) ports: [u8; 4],
    pub(super) length: u16,
    pub(super) checksum: u16,
}

/// Flags and offset without DF, which anybody may set.
const FRAGMENT: u16 = 0xbfff;

impl Frame {
    /// `None`: it is too short.
    pub(super) fn parse(bytes: &[u8]) -> Option<Frame> {
        fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
            bytes.get(at..at + N)?.try_into().ok()
        }
        let word = |at| Some(u16::from_be_bytes(field(bytes, at)?));
        Some(Frame {
            ethernet: field(bytes, 0)?,
            version: *bytes.get(14)?,
            total: word(16)?,
            fragment: word(20)? & FRAGMENT,
            ttl: *bytes.get(22)?,
            protocol: *bytes.get(23)?,
            addresses: field(bytes, 26)?,
            ports: field(bytes, 34)?,
            length: word(38)?,
            checksum: word(40)?,
        })
    }

    /// What every frame should have in common, by the scenario's word: a frame
    /// that it wrote down.
    pub(super) fn told(performance: &Performance) -> Option<Frame> {
        let bytes = performance.facts.get("told")?.clone();
        let bytes: Vec<u8> = serde_json::from_value(bytes).ok()?;
        Frame::parse(&bytes)
    }

    /// What UDP's checksum covers that is not sent (RFC 768).
    pub(super) fn pseudo(&self) -> Vec<u8> {
        let mut bytes = self.addresses.to_vec();
        bytes.extend([0, 17]);
        bytes.extend(self.length.to_be_bytes());
        bytes
    }
}

/// The three headers and the data, a line each.
pub(super) fn show(bytes: &[u8]) -> String {
    let parts = [("Ethernet", 0, 14), ("IPv4", 14, 34), ("UDP", 34, 42)];
    let mut text = String::new();
    for (name, from, to) in parts {
        let (from, to) = (from.min(bytes.len()), to.min(bytes.len()));
        text.push_str(&format!("{name:<9}{}\n", spaced(&bytes[from..to])));
    }
    let data = bytes.get(42..).unwrap_or_default();
    text.push_str(&format!("data     {}", data.escape_ascii()));
    text
}

fn spaced(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes.chunks(2).map(hex).collect();
    words.join(" ")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 1071; 0 for bytes that have their own checksum in them.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    !folded(sum(bytes))
}

fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| {
            let lower = pair.get(1).copied().unwrap_or(0);
            u32::from(u16::from_be_bytes([pair[0], lower]))
        })
        .sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Why a checksum is wrong.
pub(super) mod sums {
    use super::{checksum, folded, sum};

    /// The cause of a wrong checksum in an IPv4 header.
    pub(in super::super) fn of_header(header: &[u8]) -> &'static str {
        let mut bytes = header.to_vec();
        bytes[10..12].fill(0);
        let found = u16::from_be_bytes([header[10], header[11]]);
        cause(found, &bytes).unwrap_or("ip-checksum")
    }

    /// The same of a datagram behind its pseudo-header.
    pub(in super::super) fn of_datagram(
        pseudo: &[u8],
        datagram: &[u8],
    ) -> &'static str {
        let found = u16::from_be_bytes([datagram[6], datagram[7]]);
        let mut datagram = datagram.to_vec();
        datagram[6..8].fill(0);
        let mut bytes = [pseudo, &datagram].concat();
        if found == 0 {
            let comes_to_0 = checksum(&bytes) == 0;
            return if comes_to_0 { "zero-checksum" } else { "no-checksum" };
        }
        if found == checksum(&datagram) {
            return "pseudo-header";
        }
        if let Some(cause) = cause(found, &bytes) {
            return cause;
        }
        let odd = bytes.len() % 2 == 1;
        let last = u32::from(bytes.pop().unwrap_or_default());
        let below = !folded(sum(&bytes) + last);
        match odd && (found == below || found == checksum(&bytes)) {
            true => "odd-byte",
            false => "udp-checksum",
        }
    }

    fn cause(found: u16, bytes: &[u8]) -> Option<&'static str> {
        let right = checksum(bytes);
        if found == right.swap_bytes() {
            Some("checksum-order")
        } else if found == !right {
            Some("complement")
        } else if found == !(sum(bytes) as u16) {
            Some("carry")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_summed() {
        // RFC 1071, section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
        assert_eq!(checksum(&[1, 2, 3]), checksum(&[1, 2, 3, 0]));
    }
}

//! The same with the header as a row of 16-bit words.

use std::fmt;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;

use anyhow::{Context, bail, ensure};

/// What cannot be followed: the header ends too early, or contradicts itself.
const SHORT: &str = "short";
const BAD: &str = "bad";

/// A header's fields.
struct Header {
    tos: u8,
    /// The whole packet's bytes, this header's among them.
    total: u16,
    id: u16,
    /// The three bits before the offset.
    flags: u8,
    /// In bytes.
    offset: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    /// What the checksum should be, if it is wrong.
    correction: Option<u16>,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    options: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            [_, packet] => parse(&bytes(packet)?).map(|h| h.to_string()),
            [_, "hop", packet] => hop(&bytes(packet)?).map(|h| hex(&h)),
            [_, "build", ref fields @ .., payload] => {
                Ok(hex(&build(&order(fields)?, &bytes(payload)?)))
            }
            _ => bail!("not a question: {line}"),
        };
        println!("{} {}", words[0], answer.unwrap_or_else(String::from));
    }
    Ok(())
}

/// The fields of the header that a packet begins with.
fn parse(packet: &[u8]) -> Result<Header, &'static str> {
    let header = whole(packet)?;
    let words: Vec<u16> = header.chunks(2).map(number).collect();
    let [tos, ttl] = [words[0], words[4]];
    let sum = checksum(header).wrapping_add(words[5]);
    // What is missing from the sum belongs into the field, carry and all.
    let carried = u16::from(sum < words[5]);
    Ok(Header {
        tos: tos as u8,
        total: words[1],
        id: words[2],
        flags: (words[3] >> 13) as u8,
        offset: words[3] << 3,
        ttl: (ttl >> 8) as u8,
        protocol: ttl as u8,
        checksum: words[5],
        correction: (checksum(header) > 0).then(|| sum + carried),
        source: address(&header[12..]),
        destination: address(&header[16..]),
        options: header[20..].into(),
    })
}

fn whole(packet: &[u8]) -> Result<&[u8], &'static str> {
    let length = match packet {
        _ if packet.len() < 20 => return Err(SHORT),
        [first @ 0x45..=0x4f, _, a, b, ..] => {
            let length = u16::from(first - 0x40) * 4;
            match u16::from_be_bytes([*a, *b]) {
                total if total < length => return Err(BAD),
                _ => usize::from(length),
            }
        }
        _ => return Err(BAD),
    };
    if packet.len() < length { Err(SHORT) } else { Ok(&packet[..length]) }
}

/// The ones' complement of the ones' complement sum of all 16-bit words (RFC
/// 1071). Of a header whose own checksum is right it is 0.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    !fold(words.map(|word| u32::from(number(word))).sum())
}

/// What is carried out at the top comes in again at the bottom.
fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// By places instead of by what is left.
fn walk(options: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < options.len() {
        let length = match options[at] {
            0 | 1 => 1,
            _ => options.get(at + 1).map_or(0, |length| usize::from(*length)),
        };
        let end = at + length;
        if end > options.len() || length < 2 - usize::from(options[at] < 2) {
            found.push(&[][..]);
            break;
        }
        found.push(&options[at..end]);
        at = if options[at] == 0 { options.len() } else { end };
    }
    found
}

/// RFC 1624, equation 3: take the word as it was from the sum, and add it as
/// it is. Nothing else in the header is looked at, so what was wrong before is
/// wrong after.
fn hop(packet: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut header = whole(packet)?.to_vec();
    if header[8] <= 1 {
        return Err("expired");
    }
    let (sum, before) = (number(&header[10..]), number(&header[8..]));
    header[8] -= 1;
    let after = number(&header[8..]);
    let sum = !fold(u32::from(!sum) + u32::from(!before) + u32::from(after));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(header)
}

/// The packet: a header that says this, and then the payload.
fn build(order: &Header, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    packet.extend(&order.options);
    let length = packet.len().next_multiple_of(4);
    packet.resize(length, 0);
    let total = (length + payload.len()) as u16;
    packet[0] = 0x40 | (length / 4) as u8;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[4..6].copy_from_slice(&order.id.to_be_bytes());
    packet[8] = order.ttl;
    packet[9] = order.protocol;
    packet[12..16].copy_from_slice(&order.source.octets());
    packet[16..20].copy_from_slice(&order.destination.octets());
    // Last, over all that stands there by now; its own field is still 0.
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(4, "reserved"), (2, "DF"), (1, "MF"), (8, "none")];
        let bits = if self.flags == 0 { 8 } else { self.flags };
        let set = names.iter().filter(|(bit, _)| bits & bit != 0);
        let flags: Vec<&str> = set.map(|(_, name)| *name).collect();
        write!(
            f,
            "{} > {}: tos {:#x}, ttl {}, id {}, offset {}, flags [{}], \
             proto {}, length {}, cksum {:#06x} ",
            self.source,
            self.destination,
            self.tos,
            self.ttl,
            self.id,
            self.offset,
            flags.join(","),
            self.protocol,
            self.total,
            self.checksum,
        )?;
        match self.correction {
            None => f.write_str("(correct)")?,
            Some(sum) => write!(f, "(incorrect -> {sum:#06x})")?,
        }
        if !self.options.is_empty() {
            let options = walk(&self.options).into_iter().map(option);
            let options: Vec<String> = options.collect();
            write!(f, ", options [{}]", options.join(","))?;
        }
        Ok(())
    }
}

/// A whole option. The pointer of a record route or a timestamp (RFC 791)
/// is that of its next free slot, counted from 1.
fn option(bytes: &[u8]) -> String {
    let (name, first, size, pointer) = match bytes {
        [] => return "bad".to_string(),
        [0, ..] => return "eol".to_string(),
        [1, ..] => return "nop".to_string(),
        [7, _, pointer, ..] => ("rr", 3, 4, pointer),
        [68, _, pointer, flag, ..] if flag & 3 != 0 => ("ts", 4, 8, pointer),
        [68, _, pointer, _, ..] => ("ts", 4, 4, pointer),
        [kind, ..] => return format!("option {kind} of {}", bytes.len()),
    };
    let slots = bytes[first..].chunks_exact(size);
    let used = usize::from(*pointer).saturating_sub(first + 1) / size;
    let free = slots.len().saturating_sub(used);
    let mut text = name.to_string();
    for slot in slots.take(used) {
        text.push_str(&match (name, slot) {
            ("ts", [.., a, b, c, d]) if size == 8 => {
                let ms = u32::from_be_bytes([*a, *b, *c, *d]);
                format!(" {}@{ms}", address(slot))
            }
            ("rr", _) => format!(" {}", address(slot)),
            _ => format!(" {}", u32::from(address(slot))),
        });
    }
    format!("{text} free {free}")
}

/// The words of an order.
fn order(words: &[&str]) -> anyhow::Result<Header> {
    let [source, destination, protocol, ttl, id, options] = words else {
        bail!("an order has seven words");
    };
    Ok(Header {
        tos: 0,
        total: 0,
        id: id.parse().context("id")?,
        flags: 0,
        offset: 0,
        ttl: ttl.parse().context("ttl")?,
        protocol: protocol.parse().context("protocol")?,
        checksum: 0,
        correction: None,
        source: source.parse().context("source")?,
        destination: destination.parse().context("destination")?,
        options: bytes(options)?,
    })
}

fn address(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
}

/// Two bytes, most significant first: network byte order.
fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two hexadecimal digits a byte; `-` is none.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let hex = if hex == "-" { "" } else { hex };
    ensure!(
        hex.is_ascii() && hex.len().is_multiple_of(2),
        "not hexadecimal: {hex}"
    );
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

//! The mistake: a router that sums up anew gives a damaged header a good
//! checksum.

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
    let wrong = checksum(header) != 0;
    let mut blank = header.to_vec();
    blank[10..12].fill(0);
    Ok(Header {
        tos: header[1],
        total: number(&header[2..]),
        id: number(&header[4..]),
        flags: header[6] >> 5,
        // 13 bits that count units of 8 bytes.
        offset: (number(&header[6..]) & 0x1fff) * 8,
        ttl: header[8],
        protocol: header[9],
        checksum: number(&header[10..]),
        correction: wrong.then(|| checksum(&blank)),
        source: address(&header[12..]),
        destination: address(&header[16..]),
        options: header[20..].to_vec(),
    })
}

/// The header with its options: its length is its own second half byte.
fn whole(packet: &[u8]) -> Result<&[u8], &'static str> {
    let fixed = packet.get(..20).ok_or(SHORT)?;
    let length = usize::from(fixed[0] & 0xf) * 4;
    let total = usize::from(number(&fixed[2..]));
    if fixed[0] >> 4 != 4 || length < 20 || total < length {
        return Err(BAD);
    }
    packet.get(..length).ok_or(SHORT)
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

/// Each option's bytes. All but the first two kinds have their length in their
/// second byte, and it counts the whole option: it is 2 at least.
fn walk(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [kind, tail @ ..] = rest {
        let length = match (kind, tail) {
            (0 | 1, _) => 1,
            (_, [length, ..]) if *length >= 2 => usize::from(*length),
            _ => usize::MAX,
        };
        let (option, after) = rest.split_at_checked(length).unwrap_or_default();
        found.push(option);
        rest = if *kind == 0 { &[] } else { after };
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
    header[8] -= 1;
    header[10..12].fill(0);
    let sum = checksum(&header);
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

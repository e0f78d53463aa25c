//! Read an IPv4 header, write one, and lower the time to live of one.
//!
//! A receiver adds up the header's 16-bit words, the checksum among them. If
//! not all bits of the sum are ones it drops the packet and tells nobody. So a
//! sender must get the sum right, and a router, which changes a header, must
//! bring it up to date without making good what was damaged before.
//!
//! Usage: ipv4_header <LINES     (`NAME HEX`, `NAME hop HEX`, or
//!        `NAME build SOURCE DESTINATION PROTOCOL TTL ID OPTIONS PAYLOAD`)
//! See also: ip(7), raw(7); RFC 791, RFC 1071, RFC 1624

use std::fmt;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;

use anyhow::{Context, bail, ensure};

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
    // 1. Fewer than 20 bytes: `short`. A version other than 4, a header of less
    //    than 20 bytes, a packet shorter than its header: `bad`. Fewer bytes
    //    than the header has: `short`. The payload may be missing.
    // 2. Every field. The offset counts units of 8 bytes on the wire.
    // 3. The correction: `None` if the sum over the header, its checksum
    //    included, has all bits set; else what the checksum should be.
    todo!("parse is not started: {} bytes", packet.len())
}

/// Each option's bytes.
fn walk(options: &[u8]) -> Vec<&[u8]> {
    // 4. Kind 0 ends the list, and what comes after it is no option; kind 1 is
    //    a single byte. Any other has its length in its second byte, which
    //    counts kind and length too.
    // 5. A length that cannot be: an empty slice, and nothing after it.
    todo!("walk is not started: {} bytes", options.len())
}

/// The header as a router sends it on.
fn hop(packet: &[u8]) -> Result<Vec<u8>, &'static str> {
    // 6. `short` and `bad` as above; `expired` if the time to live is 1 or 0.
    // 7. The time to live is one less. The checksum is brought up to date from
    //    its old value (RFC 1624, equation 3), not computed anew.
    todo!("hop is not started: {} bytes", packet.len())
}

/// The packet: a header that says this, and then the payload.
fn build(order: &Header, payload: &[u8]) -> Vec<u8> {
    // 8. Source, destination, protocol, ttl, id and options as in the order;
    //    options end at a multiple of 4 bytes, with zeros for what is missing.
    //    No TOS, no flags, no offset. What remains follows from it.
    todo!("build: {} bytes to {}", payload.len(), order.destination)
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

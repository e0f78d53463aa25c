//! The right answers: what etherparse makes of a header; options are read here.

use std::net::Ipv4Addr;

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv4Options,
};

use super::mend;
use crate::corpus::{hex, unhex};

/// What etherparse makes of a question.
pub(super) fn answer(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let answer = match words[..] {
        ["hop", packet] => unhex(packet).map(|packet| hop(&packet)),
        ["build", ref rest @ ..] => build(rest),
        [packet] => unhex(packet).map(|packet| show(&packet)),
        _ => None,
    };
    answer.unwrap_or_else(|| "not a question".to_string())
}

fn slice(packet: &[u8]) -> Result<Ipv4HeaderSlice<'_>, &'static str> {
    if packet.len() < 20 {
        return Err("short");
    }
    match Ipv4HeaderSlice::from_slice(packet) {
        Ok(header) if header.payload_len().is_err() => Err("bad"),
        Ok(header) => Ok(header),
        Err(_) => {
            // Room for any options, so that a header is bad before it is short.
            let mut roomy = packet.to_vec();
            roomy.resize(60, 0);
            let header = Ipv4HeaderSlice::from_slice(&roomy);
            let fits = |h: Ipv4HeaderSlice<'_>| h.payload_len().is_ok();
            Err(if header.is_ok_and(fits) { "short" } else { "bad" })
        }
    }
}

pub(super) fn show(packet: &[u8]) -> String {
    let header = match slice(packet) {
        Ok(header) => header,
        Err(problem) => return problem.to_string(),
    };
    let bytes = header.slice();
    let mut right = bytes.to_vec();
    mend(&mut right);
    let sum = header.header_checksum();
    // 0xffff is the other zero of ones' complement.
    let correct = bytes == right || (sum == 0xffff && right[10..12] == [0, 0]);
    let state = match correct {
        true => "correct".to_string(),
        false => format!("incorrect -> 0x{}", hex(&right[10..12])),
    };
    let flags = [
        (bytes[6] & 0x80 != 0, "reserved"),
        (header.dont_fragment(), "DF"),
        (header.more_fragments(), "MF"),
    ];
    let set = flags.iter().filter_map(|(set, name)| set.then_some(*name));
    let set = set.collect::<Vec<_>>().join(",");
    let flags = if set.is_empty() { "none" } else { &set };
    let tos = header.dcp().value() << 2 | header.ecn().value();
    let mut text = format!(
        "{} > {}: tos {tos:#x}, ttl {}, id {}, offset {}, flags [{flags}], \
         proto {}, length {}, cksum {sum:#06x} ({state})",
        header.source_addr(),
        header.destination_addr(),
        header.ttl(),
        header.identification(),
        header.fragments_offset().value() * 8,
        header.protocol().0,
        header.total_len(),
    );
    if !header.options().is_empty() {
        text.push_str(&format!(", options [{}]", options(header.options())));
    }
    text
}

/// etherparse leaves IPv4's options as they are.
fn options(bytes: &[u8]) -> String {
    let mut texts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            0 | 1 => 1,
            _ => bytes.get(at + 1).copied().unwrap_or(0),
        };
        let end = at + usize::from(length);
        let sized = bytes[at] < 2 || length >= 2;
        if !sized || end > bytes.len() {
            texts.push("bad".to_string());
            break;
        }
        texts.push(option(&bytes[at..end]));
        if bytes[at] == 0 {
            break;
        }
        at = end;
    }
    texts.join(",")
}

fn option(bytes: &[u8]) -> String {
    let number =
        |at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
    let (kind, length) = (bytes[0], bytes.len());
    let (head, size) = match kind {
        0 => return "eol".into(),
        1 => return "nop".into(),
        7 if length >= 3 => (3, 4),
        68 if length >= 4 && bytes[3] & 3 == 0 => (4, 4),
        68 if length >= 4 => (4, 8),
        _ => return format!("option {kind} of {length}"),
    };
    let mut text = if kind == 7 { "rr" } else { "ts" }.to_string();
    let mut free = 0;
    for slot in 0..(length - head) / size {
        let at = head + slot * size;
        // Positions are counted from 1, and a slot is used or it is not.
        if at + size >= usize::from(bytes[2]) {
            free += 1;
            continue;
        }
        let address = Ipv4Addr::from(number(at));
        text.push_str(&match (kind, size) {
            (7, _) => format!(" {address}"),
            (_, 4) => format!(" {}", number(at)),
            _ => format!(" {address}@{}", number(at + 4)),
        });
    }
    format!("{text} free {free}")
}

/// As the kernel does it: ip_decrease_ttl in include/net/ip.h.
fn hop(packet: &[u8]) -> String {
    let header = match slice(packet) {
        Ok(header) => header,
        Err(problem) => return problem.to_string(),
    };
    if header.ttl() <= 1 {
        return "expired".to_string();
    }
    let mut bytes = header.slice().to_vec();
    bytes[8] -= 1;
    let sum = u32::from(header.header_checksum()) + 0x0100;
    let sum = (sum + u32::from(sum >= 0xffff)) as u16;
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    hex(&bytes)
}

fn build(words: &[&str]) -> Option<String> {
    let [source, destination, protocol, ttl, id, options, payload] = words
    else {
        return None;
    };
    let mut options = match *options {
        "-" => Vec::new(),
        options => unhex(options)?,
    };
    options.resize(options.len().next_multiple_of(4), 0);
    let payload = unhex(payload)?;
    let address = |text: &str| text.parse::<Ipv4Addr>().ok();
    let mut header = Ipv4Header {
        identification: id.parse().ok()?,
        time_to_live: ttl.parse().ok()?,
        protocol: IpNumber(protocol.parse().ok()?),
        source: address(source)?.octets(),
        destination: address(destination)?.octets(),
        options: Ipv4Options::try_from(&options[..]).ok()?,
        dont_fragment: false,
        fragment_offset: IpFragOffset::ZERO,
        ..Ipv4Header::default()
    };
    header.set_payload_len(payload.len()).ok()?;
    header.header_checksum = header.calc_header_checksum();
    Some(format!("{}{}", hex(&header.to_bytes()), hex(&payload)))
}

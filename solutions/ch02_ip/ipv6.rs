//! Print an IPv6 packet: addresses as RFC 5952 wants them, header after header.
//!
//! The fixed header has 40 bytes, no checksum and no options. What IPv4 has in
//! options IPv6 has in headers of their own, each of which names the next. So
//! who wants the ports has to walk the chain, and who walks it must know where
//! it ends: at another protocol, and in every fragment but the first.
//!
//! Usage: ipv6 <PACKETS     (a line is `NAME HEX` or `NAME address HEX`)
//! See also: ipv6(7); RFC 8200, RFC 4291, RFC 5952, RFC 4861

use std::io::{self, BufRead};

use anyhow::{Context, bail, ensure};

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let words: Vec<&str> = line.split(' ').collect();
        let text = match words[..] {
            [_, packet] => show(&bytes(packet)?),
            [_, "address", address] => {
                let address = bytes(address)?.try_into();
                text(address.ok().context("an address has 16 bytes")?)
            }
            _ => bail!("not a packet: {line}"),
        };
        println!("{} {text}", words[0]);
    }
    Ok(())
}

// ANCHOR: show
fn show(packet: &[u8]) -> String {
    let Some((header, rest)) = packet.split_at_checked(40) else {
        return "short".to_string();
    };
    if header[0] >> 4 != 6 {
        return "bad".to_string();
    }
    let first =
        u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let (class, flow) = (first >> 20 & 0xff, first & 0xf_ffff);
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let Some(payload) = rest.get(..length) else {
        return "short".to_string();
    };
    format!(
        "{} > {}: class {class:#x}, flow {flow:#x}, hops {}, length {length}{}",
        text(address(&header[8..])),
        text(address(&header[24..])),
        header[7],
        walk(header[6], payload),
    )
}
// ANCHOR_END: show

// ANCHOR: walk
/// Each header's first byte names the next one. The second of most is their
/// length, in units of 8 bytes and without the first 8.
fn walk(mut next: u8, mut rest: &[u8]) -> String {
    let mut chain = String::new();
    for place in 0.. {
        let name = name(next);
        // Only the very first may be for every hop (RFC 8200, section 4.1).
        if next == 0 && place > 0 {
            return chain + ", hop-by-hop bad";
        }
        let length = match (next, rest) {
            (59, _) => return chain + ", none",
            (0 | 43 | 60, [_, length, ..]) => (usize::from(*length) + 1) * 8,
            (0 | 43 | 44 | 60, _) => 8,
            _ => return format!("{chain}, {name} {}", rest.len()),
        };
        let Some((header, after)) = rest.split_at_checked(length) else {
            return format!("{chain}, {name} short");
        };
        chain += &format!(", {name}");
        if next == 44 {
            let word = u16::from_be_bytes([header[2], header[3]]);
            let more = if word & 1 != 0 { " more" } else { "" };
            chain += &format!(" {}{more}", word & !7);
            if word & !7 != 0 {
                // What comes is the middle of something.
                let of = self::name(header[0]);
                return format!("{chain}, part of {of} {}", after.len());
            }
        } else {
            chain += &format!(" {length}");
        }
        (next, rest) = (header[0], after);
    }
    chain
}
// ANCHOR_END: walk

// ANCHOR: text
/// RFC 5952, section 4: lower case, no leading zeros, and `::` for the longest
/// run of two or more zeros, of equal ones the first.
fn text(address: [u8; 16]) -> String {
    if let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = address {
        return format!("::ffff:{a}.{b}.{c}.{d}"); // Section 5.
    }
    let groups: Vec<u16> = address
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    let (mut from, mut most) = (0, 1);
    for start in 0..8 {
        let zeros = groups[start..].iter().take_while(|group| **group == 0);
        let count = zeros.count();
        if count > most {
            (from, most) = (start, count);
        }
    }
    let list = |groups: &[u16]| {
        let words = groups.iter().map(|group| format!("{group:x}"));
        words.collect::<Vec<_>>().join(":")
    };
    match most {
        1 => list(&groups),
        _ => format!(
            "{}::{}",
            list(&groups[..from]),
            list(&groups[from + most..])
        ),
    }
}
// ANCHOR_END: text

fn address(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|at| bytes[at])
}

/// As IANA numbers them.
fn name(number: u8) -> String {
    match number {
        0 => "hop-by-hop".to_string(),
        6 => "tcp".to_string(),
        17 => "udp".to_string(),
        43 => "routing".to_string(),
        44 => "fragment".to_string(),
        58 => "icmp6".to_string(),
        59 => "none".to_string(),
        60 => "destination".to_string(),
        other => format!("protocol {other}"),
    }
}

/// Two hexadecimal digits a byte.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    ensure!(digits, "not hexadecimal: {hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

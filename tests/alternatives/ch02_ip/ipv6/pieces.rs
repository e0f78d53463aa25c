//! The same with a function for each kind of header, one calling the next.

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

/// By recursion: a header, and then the chain after it.
fn walk(next: u8, rest: &[u8]) -> String {
    match next {
        0 => sized(next, rest),
        _ => after_the_first(next, rest),
    }
}

fn after_the_first(next: u8, rest: &[u8]) -> String {
    match next {
        0 => ", hop-by-hop bad".to_string(),
        43 | 60 => sized(next, rest),
        44 => fragment(rest),
        59 => ", none".to_string(),
        _ => format!(", {} {}", name(next), rest.len()),
    }
}

fn sized(number: u8, rest: &[u8]) -> String {
    let length = rest.get(1).map_or(8, |units| 8 + 8 * usize::from(*units));
    if length > rest.len() {
        return format!(", {} short", name(number));
    }
    let after = after_the_first(rest[0], &rest[length..]);
    format!(", {} {length}{after}", name(number))
}

fn fragment(rest: &[u8]) -> String {
    let [next, _, high, low, _, _, _, _, after @ ..] = rest else {
        return ", fragment short".to_string();
    };
    let offset = u32::from(*high) * 256 + u32::from(low & 0xf8);
    let more = if low & 1 == 1 { " more" } else { "" };
    let then = match offset {
        0 => after_the_first(*next, after),
        _ => format!(", part of {} {}", name(*next), after.len()),
    };
    format!(", fragment {offset}{more}{then}")
}

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

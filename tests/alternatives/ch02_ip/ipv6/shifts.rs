//! The same with an address as one number, and the longest run tried first.

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

/// One number of 128 bits, of which the groups are shifted out.
fn text(address: [u8; 16]) -> String {
    let number = u128::from_be_bytes(address);
    if number >> 32 == 0xffff {
        let v4 = number as u32;
        let byte = |at: u32| v4 >> (24 - 8 * at) & 0xff;
        return format!(
            "::ffff:{}.{}.{}.{}",
            byte(0),
            byte(1),
            byte(2),
            byte(3)
        );
    }
    let group = |at: usize| (number >> (112 - 16 * at)) as u16;
    // From the longest run that there can be down to one of two.
    for length in (2..=8).rev() {
        for from in 0..=8 - length {
            if (from..from + length).all(|at| group(at) == 0) {
                let before: Vec<String> =
                    (0..from).map(|at| format!("{:x}", group(at))).collect();
                let after: Vec<String> = (from + length..8)
                    .map(|at| format!("{:x}", group(at)))
                    .collect();
                return format!("{}::{}", before.join(":"), after.join(":"));
            }
        }
    }
    (0..8).map(|at| format!("{:x}", group(at))).collect::<Vec<_>>().join(":")
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

//! The mistake: an address has four parts, as people write it.

use std::io::{self, BufRead};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().context("no question");
        let (name, kind, text) = (word()?, word()?, word()?);
        let answer = match kind {
            "pton4" => pton4(text).map(hex),
            "pton6" => pton6(text).map(hex),
            "aton" => aton(text).map(|number| hex(number.to_be_bytes())),
            "ntop6" => Some(ntop6(unhex(text)?)),
            _ => bail!("no question: {line}"),
        };
        println!("{name} {}", answer.as_deref().unwrap_or("no address"));
    }
    Ok(())
}

/// Four decimal numbers below 256, each written in the one way it has.
fn pton4(text: &str) -> Option<[u8; 4]> {
    let mut parts = text.split('.');
    let mut bytes = [0; 4];
    for byte in &mut bytes {
        let part = parts.next()?;
        let zero_in_front = part.len() > 1 && part.starts_with('0');
        // `parse` would take a sign as well.
        if zero_in_front || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *byte = part.parse().ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Eight groups of one to four hexadecimal digits; `::` stands for one or more
/// groups of zeros, once.
fn pton6(text: &str) -> Option<[u8; 16]> {
    let bytes = match text.split_once("::") {
        None => groups(text, true)?,
        Some((before, after)) => {
            let mut bytes = match before {
                "" => Vec::new(),
                _ => groups(before, false)?,
            };
            let tail = match after {
                "" => Vec::new(),
                _ => groups(after, true)?,
            };
            let zeros = 16_usize.checked_sub(bytes.len() + tail.len())?;
            if zeros == 0 {
                return None;
            }
            bytes.resize(bytes.len() + zeros, 0);
            [bytes, tail].concat()
        }
    };
    bytes.try_into().ok()
}

/// Groups with a colon between them; the last may be an IPv4 address, if it is
/// the last of the whole.
fn groups(text: &str, last: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut parts = text.split(':').peekable();
    while let Some(part) = parts.next() {
        if last && parts.peek().is_none() && part.contains('.') {
            bytes.extend(pton4(part)?);
            break;
        }
        let digits = part.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits || !(1..=4).contains(&part.len()) {
            return None;
        }
        let group = u16::from_str_radix(part, 16).ok()?;
        bytes.extend(group.to_be_bytes());
    }
    Some(bytes)
}

/// As inet_ntop(3) of the GNU C library writes it: RFC 5952, and two forms with
/// an IPv4 address at the end.
fn ntop6(bytes: [u8; 16]) -> String {
    let groups: Vec<u16> = bytes
        .chunks(2)
        .map(|two| u16::from(two[0]) << 8 | u16::from(two[1]))
        .collect();
    let (at, length) = longest_zeros(&groups);
    let mapped = at == 0 && length == 5 && groups[5] == 0xffff;
    if mapped || (at == 0 && length == 6) {
        let [.., a, b, c, d] = bytes;
        let prefix = if mapped { "::ffff:" } else { "::" };
        return format!("{prefix}{a}.{b}.{c}.{d}");
    }
    let text = |groups: &[u16]| {
        let groups = groups.iter().map(|group| format!("{group:x}"));
        groups.collect::<Vec<_>>().join(":")
    };
    match length {
        0 | 1 => text(&groups), // One group is not worth a gap.
        _ => {
            let (before, after) = (&groups[..at], &groups[at + length..]);
            format!("{}::{}", text(before), text(after))
        }
    }
}

/// Where the longest row of zeros begins, the first of several, and its length.
fn longest_zeros(groups: &[u16]) -> (usize, usize) {
    let mut best = (0, 0);
    for at in 0..groups.len() {
        let zeros = groups[at..].iter().take_while(|group| **group == 0);
        let length = zeros.count();
        if length > best.1 {
            best = (at, length);
        }
    }
    best
}

/// One to four numbers, decimal, octal (`0...`) or hexadecimal (`0x...`); the
/// last has all the bytes that the others leave. After white space anything may
/// come.
fn aton(text: &str) -> Option<u32> {
    let space = |c: char| matches!(c, ' ' | '\t'..='\r');
    let text = text.split(space).next()?;
    let parts: Option<Vec<u64>> = text.split('.').map(number).collect();
    let parts = parts?;
    let (last, before) = parts.split_last()?;
    if before.len() != 3 {
        return None;
    }
    let room = 4_usize.checked_sub(before.len()).filter(|room| *room > 0)?;
    if before.iter().any(|part| *part > 255) || *last >> (8 * room) != 0 {
        return None;
    }
    let places = before.iter().zip([24, 16, 8]);
    let high: u64 = places.map(|(part, place)| part << place).sum();
    u32::try_from(high | last).ok()
}

/// A number as C writes it.
fn number(text: &str) -> Option<u64> {
    let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let signed = digits.starts_with('+'); // `from_str_radix` takes a sign
    if signed { None } else { u64::from_str_radix(digits, radix).ok() }
}

fn hex<const N: usize>(bytes: [u8; N]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

/// 32 hexadecimal digits.
fn unhex(hex: &str) -> anyhow::Result<[u8; 16]> {
    let number = u128::from_str_radix(hex, 16).context("parse HEX")?;
    Ok(number.to_be_bytes())
}

//! The mistake: an urgent pointer is believed without its flag.

use std::io::{self, BufRead};
use std::net::IpAddr;

use anyhow::{Context, bail, ensure};

/// What cannot be followed: the header ends too early, or contradicts itself.
const SHORT: &str = "short";
const BAD: &str = "bad";

/// The control bits with tcpdump's letters, in the order in which it has them.
const FLAGS: [(u8, char); 8] = [
    (0x01, 'F'),
    (0x02, 'S'),
    (0x04, 'R'),
    (0x08, 'P'),
    (0x10, '.'),
    (0x20, 'U'),
    (0x40, 'E'),
    (0x80, 'W'),
];
const FIN_SYN_RST: u8 = 0x07;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let words: Vec<&str> = line.split(' ').collect();
        let [name, source, destination, segment] = words[..] else {
            bail!("not a segment: {line}");
        };
        let ends = [source.parse()?, destination.parse()?];
        let text = show(ends, &bytes(segment)?);
        println!("{name} {}", text.unwrap_or_else(String::from));
    }
    Ok(())
}

/// A line as of `tcpdump -nvS`.
fn show(ends: [IpAddr; 2], segment: &[u8]) -> Result<String, &'static str> {
    let fixed = segment.get(..20).ok_or(SHORT)?;
    let length = usize::from(fixed[12] >> 4) * 4;
    if length < 20 {
        return Err(BAD);
    }
    let (header, data) = segment.split_at_checked(length).ok_or(SHORT)?;
    let (seq, flags) = (long(&header[4..]), header[13]);
    let mut text = format!(
        "{}.{} > {}.{}: Flags [{}], cksum {}",
        ends[0],
        number(header),
        ends[1],
        number(&header[2..]),
        letters(flags),
        verdict(ends, segment),
    );
    if flags & FIN_SYN_RST != 0 || !data.is_empty() {
        text += &format!(", seq {seq}");
    }
    if !data.is_empty() {
        // After 4294967295 comes 0.
        text += &format!(":{}", seq.wrapping_add(data.len() as u32));
    }
    if flags & ACK != 0 {
        text += &format!(", ack {}", long(&header[8..]));
    }
    text += &format!(", win {}", number(&header[14..]));
    if flags & URG != 0 || number(&header[18..]) != 0 {
        text += &format!(", urg {}", number(&header[18..]));
    }
    if length > 20 {
        text += &format!(", options [{}]", options(&header[20..]));
    }
    Ok(text + &format!(", length {}", data.len()))
}

fn letters(flags: u8) -> String {
    let set = FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
    let letters: String = set.map(|(_, letter)| letter).collect();
    if letters.is_empty() { "none".to_string() } else { letters }
}

/// Each option but two has its length in its second byte, which counts the
/// whole option; and each kind that is known has a length that it must have.
fn options(mut rest: &[u8]) -> String {
    let mut found = Vec::new();
    while let [kind, tail @ ..] = rest {
        let length = match (kind, tail) {
            (0 | 1, _) => 1,
            (_, [length, ..]) if *length >= 2 => usize::from(*length),
            _ => usize::MAX,
        };
        let text = rest.get(..length).and_then(option);
        let end = *kind == 0 || text.is_none();
        found.push(text.unwrap_or_else(|| BAD.to_string()));
        rest = if end { &[] } else { &rest[length..] };
    }
    found.join(",")
}

fn option(bytes: &[u8]) -> Option<String> {
    let data = bytes.get(2..).unwrap_or(&[]);
    Some(match (bytes[0], data.len()) {
        (0, _) => "eol".to_string(),
        (1, _) => "nop".to_string(),
        (2, 2) => format!("mss {}", number(data)),
        (3, 1) => format!("wscale {}", data[0]),
        (4, 0) => "sackOK".to_string(),
        (5, 8 | 16 | 24 | 32) => {
            let blocks = data.chunks_exact(8);
            let mut text = format!("sack {} ", blocks.len());
            for block in blocks {
                let (left, right) = (long(block), long(&block[4..]));
                text += &format!("{{{left}:{right}}}");
            }
            text
        }
        (8, 8) => format!("TS val {} ecr {}", long(data), long(&data[4..])),
        (2..=5 | 8, _) => return None,
        (kind, 0) => format!("unknown-{kind}"),
        (kind, _) => format!("unknown-{kind} 0x{}", hex(data)),
    })
}

fn verdict(ends: [IpAddr; 2], segment: &[u8]) -> String {
    let stored = number(&segment[16..]);
    if checksum(ends, segment) == 0 {
        return format!("{stored:#06x} (correct)");
    }
    let mut blank = segment.to_vec();
    blank[16..18].fill(0);
    let right = checksum(ends, &blank);
    format!("{stored:#06x} (incorrect -> {right:#06x})")
}

/// Over the segment, and before it what is not in it: addresses, protocol and
/// length (RFC 9293, section 3.1; for IPv6 RFC 8200, section 8.1). Of a segment
/// whose own checksum is right it is 0.
fn checksum(ends: [IpAddr; 2], segment: &[u8]) -> u16 {
    let mut bytes = Vec::new();
    for end in ends {
        match end {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
    }
    // In IPv4 the length has two bytes, in IPv6 four: the sum is the same.
    bytes.extend((segment.len() as u32).to_be_bytes());
    bytes.extend([0, 6]);
    bytes.extend(segment);
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    let words = bytes.chunks_exact(2).map(|word| u32::from(number(word)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Two bytes, most significant first: network byte order.
fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn long(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two hexadecimal digits a byte.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    ensure!(digits, "not hexadecimal: {hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

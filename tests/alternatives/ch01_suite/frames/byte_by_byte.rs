//! The same in one function, by places counted from the frame's begin, and with
//! output written and flushed by hand.

use std::io::{self, BufRead, Write};

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut line = String::new();
    while stdin.read_line(&mut line).context("read standard input")? > 0 {
        let (time, hex) =
            line.trim_end().split_once(' ').context("no frame")?;
        let answer = what(&bytes(hex)?);
        stdout.write_all(format!("{time} {answer}\n").as_bytes())?;
        stdout.flush().context("write standard output")?;
        line.clear();
    }
    Ok(())
}

fn what(frame: &[u8]) -> String {
    let number =
        |at: usize| usize::from(frame[at]) << 8 | usize::from(frame[at + 1]);
    if frame.len() < 14 {
        return "ethernet short".into();
    }
    let (name, protocol, from, to) = match number(12) {
        0x0806 if frame.len() >= 14 + 28 => return "arp".into(),
        0x0806 => return "arp short".into(),
        0x0800 if frame.len() >= 14 + 20 => {
            let length = usize::from(frame[14] % 16) * 4;
            let total = number(16);
            if frame[14] / 16 != 4 || length < 20 || total < length {
                return "ipv4 bad".into();
            }
            ("ipv4", frame[23], 14 + length, 14 + total)
        }
        0x86dd if frame.len() >= 14 + 40 => {
            if frame[14] / 16 != 6 {
                return "ipv6 bad".into();
            }
            ("ipv6", frame[20], 54, 54 + number(18))
        }
        0x0800 => return "ipv4 short".into(),
        0x86dd => return "ipv6 short".into(),
        other => return format!("ethernet type 0x{other:04x}"),
    };
    if frame.len() < to {
        return format!("{name} short");
    }
    let (upper, least) = match protocol {
        1 => ("icmp".to_string(), 4),
        6 => ("tcp".to_string(), 20),
        17 => ("udp".to_string(), 8),
        58 => ("icmp6".to_string(), 4),
        other => (format!("protocol {other}"), 0),
    };
    if name == "ipv4" && number(20) % 0x2000 != 0 {
        return format!("{name} fragment of {upper}");
    }
    if to - from < least {
        return format!("{name} {upper} short");
    }
    if protocol == 6 || protocol == 17 {
        let (source, destination) = (number(from), number(from + 2));
        return format!("{name} {upper} {source} > {destination}");
    }
    format!("{name} {upper}")
}

/// Two hexadecimal digits a byte.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    ensure!(
        hex.is_ascii() && hex.len().is_multiple_of(2),
        "not hexadecimal: {hex}"
    );
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

//! The same by places counted from the segment's begin, with output that is
//! collected for each line and flushed by hand.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::net::IpAddr;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let (input, mut output) = (io::stdin().lock(), io::stdout().lock());
    for line in input.lines() {
        let line = line?;
        let mut words = line.split(' ');
        let name = words.next().context("no name")?;
        let source: IpAddr = words.next().context("no source")?.parse()?;
        let destination: IpAddr = words.next().context("no end")?.parse()?;
        let hex = words.next().context("no segment")?;
        let mut segment = Vec::new();
        for at in (0..hex.len()).step_by(2) {
            segment.push(u8::from_str_radix(&hex[at..at + 2], 16)?);
        }
        let text = show(source, destination, &segment)?;
        writeln!(output, "{name} {text}")?;
        output.flush()?;
    }
    Ok(())
}

fn show(
    source: IpAddr,
    destination: IpAddr,
    s: &[u8],
) -> anyhow::Result<String> {
    if s.len() < 20 {
        return Ok("short".into());
    }
    let header = (s[12] >> 4) as usize * 4;
    if header < 20 {
        return Ok("bad".into());
    }
    if s.len() < header {
        return Ok("short".into());
    }
    let mut out = String::new();
    write!(out, "{source}.{} > {destination}.{}: ", two(s, 0), two(s, 2))?;
    let flags = s[13];
    let letters = ["F", "S", "R", "P", ".", "U", "E", "W"];
    let mut names = String::new();
    for (at, letter) in letters.iter().enumerate() {
        if flags >> at & 1 == 1 {
            names += letter;
        }
    }
    write!(out, "Flags [{}]", if flags == 0 { "none" } else { &names })?;
    let rest = sum(source, destination, s);
    write!(out, ", cksum {:#06x} ", two(s, 16))?;
    if rest == 0xffff {
        out.push_str("(correct)");
    } else {
        let mut blank = s.to_vec();
        (blank[16], blank[17]) = (0, 0);
        let right = 0xffff - sum(source, destination, &blank);
        write!(out, "(incorrect -> {right:#06x})")?;
    }
    let length = s.len() - header;
    if length > 0 || flags & 7 > 0 {
        write!(out, ", seq {}", four(s, 4))?;
    }
    if length > 0 {
        let after = four(s, 4) as u64 + length as u64;
        write!(out, ":{}", after & 0xffff_ffff)?;
    }
    if flags & 16 > 0 {
        write!(out, ", ack {}", four(s, 8))?;
    }
    write!(out, ", win {}", two(s, 14))?;
    if flags & 32 > 0 {
        write!(out, ", urg {}", two(s, 18))?;
    }
    if header > 20 {
        out.push_str(", options [");
        options(&mut out, s, header)?;
        out.push(']');
    }
    write!(out, ", length {length}")?;
    Ok(out)
}

fn options(out: &mut String, s: &[u8], end: usize) -> anyhow::Result<()> {
    let mut at = 20;
    while at < end {
        if at > 20 {
            out.push(',');
        }
        let kind = s[at];
        if kind < 2 {
            out.push_str(if kind == 0 { "eol" } else { "nop" });
            if kind == 0 {
                return Ok(());
            }
            at += 1;
            continue;
        }
        let length = if at + 1 < end { s[at + 1] as usize } else { 0 };
        let known = match kind {
            2 => length == 4,
            3 => length == 3,
            4 => length == 2,
            5 => length >= 10 && length % 8 == 2,
            8 => length == 10,
            _ => length >= 2,
        };
        if !known || at + length > end {
            out.push_str("bad");
            return Ok(());
        }
        match kind {
            2 => write!(out, "mss {}", two(s, at + 2))?,
            3 => write!(out, "wscale {}", s[at + 2])?,
            4 => out.push_str("sackOK"),
            5 => {
                write!(out, "sack {} ", length / 8)?;
                for block in (at + 2..at + length).step_by(8) {
                    let (left, right) = (four(s, block), four(s, block + 4));
                    write!(out, "{{{left}:{right}}}")?;
                }
            }
            8 => {
                let (value, echo) = (four(s, at + 2), four(s, at + 6));
                write!(out, "TS val {value} ecr {echo}")?;
            }
            _ => {
                write!(out, "unknown-{kind}")?;
                if length > 2 {
                    out.push_str(" 0x");
                }
                for byte in &s[at + 2..at + length] {
                    write!(out, "{byte:02x}")?;
                }
            }
        }
        at += length;
    }
    Ok(())
}

fn sum(source: IpAddr, destination: IpAddr, segment: &[u8]) -> u16 {
    let mut sum = 6 + segment.len() as u32;
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    for bytes in [&octets(source)[..], &octets(destination), segment] {
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) * 256;
            sum += pair.get(1).map_or(0, |byte| u32::from(*byte));
        }
    }
    while sum >> 16 > 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn two(s: &[u8], at: usize) -> u16 {
    u16::from(s[at]) << 8 | u16::from(s[at + 1])
}

fn four(s: &[u8], at: usize) -> u32 {
    u32::from(two(s, at)) << 16 | u32::from(two(s, at + 2))
}

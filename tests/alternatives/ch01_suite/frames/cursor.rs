//! The same with the standard library's cursor: each header is read off the
//! front, and what cannot be read is an error that says so.

use std::io::{self, BufRead, Read};

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (time, text) = line.split_once(' ').context("no frame")?;
        let frame = bytes(text)?;
        println!("{time} {}", ethernet(&frame));
    }
    Ok(())
}

fn ethernet(frame: &[u8]) -> String {
    let mut rest = frame;
    let Ok(header) = take::<14>(&mut rest) else {
        return "ethernet short".into();
    };
    let (name, found) = match [header[12], header[13]] {
        [0x08, 0x06] => ("arp", take::<28>(&mut rest).map(|_| None)),
        [0x08, 0x00] => ("ipv4", ipv4(rest).map(Some)),
        [0x86, 0xdd] => ("ipv6", ipv6(rest).map(Some)),
        [a, b] => return format!("ethernet type 0x{a:02x}{b:02x}"),
    };
    match found {
        Ok(None) => name.to_string(),
        Ok(Some(found)) => format!("{name} {found}"),
        Err(err) if err.kind() == io::ErrorKind::InvalidData => {
            format!("{name} bad")
        }
        Err(_) => format!("{name} short"),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rest.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(rest: &mut &[u8], count: usize) -> io::Result<()> {
    let (_, after) =
        rest.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
    *rest = after;
    Ok(())
}

fn ipv4(packet: &[u8]) -> io::Result<String> {
    let mut rest = packet;
    let header: [u8; 20] = take(&mut rest)?;
    let words = header[0] & 15;
    let total = u16::from_be_bytes([header[2], header[3]]);
    if header[0] & 0xf0 != 0x40 || words < 5 || total < u16::from(words) * 4 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    skip(&mut rest, usize::from(words - 5) * 4)?;
    let mut after = rest;
    let payload = usize::from(total) - usize::from(words) * 4;
    skip(&mut after, payload)?;
    let offset = u16::from_be_bytes([header[6] & 0x1f, header[7]]);
    if offset > 0 {
        return Ok(format!("fragment of {}", name(header[9])));
    }
    Ok(transport(header[9], &rest[..payload]))
}

fn ipv6(packet: &[u8]) -> io::Result<String> {
    let mut rest = packet;
    let header: [u8; 40] = take(&mut rest)?;
    if header[0] & 0xf0 != 0x60 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut after = rest;
    skip(&mut after, payload)?;
    Ok(transport(header[6], &rest[..payload]))
}

fn transport(protocol: u8, payload: &[u8]) -> String {
    let name = name(protocol);
    let mut rest = payload;
    let ports = take::<4>(&mut rest);
    match (protocol, ports, payload.len()) {
        (6, Ok([a, b, c, d]), 20..) | (17, Ok([a, b, c, d]), 8..) => {
            let from = u16::from_be_bytes([a, b]);
            format!("{name} {from} > {}", u16::from_be_bytes([c, d]))
        }
        (1 | 58, Ok(_), _) => name,
        (1 | 58 | 6 | 17, _, _) => format!("{name} short"),
        _ => name,
    }
}

fn name(protocol: u8) -> String {
    let known = [(1, "icmp"), (6, "tcp"), (17, "udp"), (58, "icmp6")];
    let found = known.iter().find(|(number, _)| *number == protocol);
    found.map_or(format!("protocol {protocol}"), |(_, name)| name.to_string())
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

//! The mistake: all that follows the header is taken for the packet's.

use std::io::{self, BufRead};

use anyhow::{Context, ensure};

/// What cannot be followed any further: the frame ends too early, or a header
/// contradicts itself.
type Found = Result<String, &'static str>;

const SHORT: &str = "short";
const BAD: &str = "bad";

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (time, text) = line.split_once(' ').context("no frame")?;
        let frame = bytes(text)?;
        println!("{time} {}", ethernet(&frame));
    }
    Ok(())
}

/// 6 bytes destination, 6 bytes source, 2 bytes type.
fn ethernet(frame: &[u8]) -> String {
    let Some((header, packet)) = frame.split_at_checked(14) else {
        return "ethernet short".to_string();
    };
    let (name, rest) = match number(&header[12..]) {
        0x0806 => ("arp", arp(packet)),
        0x0800 => ("ipv4", ipv4(packet)),
        0x86dd => ("ipv6", ipv6(packet)),
        other => return format!("ethernet type {other:#06x}"),
    };
    let rest = rest.unwrap_or_else(|problem| problem.to_string());
    format!("{name} {rest}").trim_end().to_string()
}

/// Fixed fields, then two addresses of each protocol: 28 bytes (RFC 826).
fn arp(packet: &[u8]) -> Found {
    packet.get(..28).map(|_| String::new()).ok_or(SHORT)
}

/// A header whose length is its own second half byte, in words of 4 bytes.
fn ipv4(packet: &[u8]) -> Found {
    let header = packet.get(..20).ok_or(SHORT)?;
    let length = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(number(&header[2..]));
    if header[0] >> 4 != 4 || length < 20 || total < length {
        return Err(BAD);
    }
    // What follows the packet is padding: frames have 60 bytes at least.
    packet.get(length..total).ok_or(SHORT)?;
    let payload = &packet[length..];
    if number(&header[6..]) & 0x1fff != 0 {
        // Only the first fragment has the transport's header.
        return Ok(format!("fragment of {}", protocol(header[9])));
    }
    transport(header[9], payload)
}

/// A header of 40 bytes; its length field counts what comes after it.
fn ipv6(packet: &[u8]) -> Found {
    let header = packet.get(..40).ok_or(SHORT)?;
    if header[0] >> 4 != 6 {
        return Err(BAD);
    }
    let length = usize::from(number(&header[4..]));
    let payload = packet.get(40..40 + length).ok_or(SHORT)?;
    transport(header[6], payload)
}

/// TCP and UDP begin with the ports of source and destination.
fn transport(number_of: u8, payload: &[u8]) -> Found {
    let name = protocol(number_of);
    let least = match name.as_str() {
        "tcp" => 20,
        "udp" => 8,
        "icmp" | "icmp6" => 4,
        _ => return Ok(name),
    };
    if payload.len() < least {
        return Ok(format!("{name} {SHORT}"));
    }
    Ok(match name.as_str() {
        "tcp" | "udp" => {
            let (from, to) = (number(payload), number(&payload[2..]));
            format!("{name} {from} > {to}")
        }
        _ => name,
    })
}

/// As IANA numbers them.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_string(),
        6 => "tcp".to_string(),
        17 => "udp".to_string(),
        58 => "icmp6".to_string(),
        other => format!("protocol {other}"),
    }
}

/// Two bytes, most significant first: network byte order.
fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
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

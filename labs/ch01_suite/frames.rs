//! Say what is in a frame, down to the ports.
//!
//! Each header names what comes after it: Ethernet's type field the network
//! protocol, IPv4's protocol field and IPv6's next header the transport, the
//! ports the socket. That is all a kernel has to find out for whom a frame is,
//! and it must not believe a length that the frame does not keep.
//!
//! Usage: frames <CAPTURE        (a line is `TIME HEX`)
//! See also: packet(7), ip(7); RFC 894, RFC 791, RFC 8200; IEEE 802.3

use std::io::{self, BufRead};

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

/// What is in an Ethernet frame: the line without its time.
fn ethernet(frame: &[u8]) -> String {
    // Fewer bytes than a header needs, or than it promises: `short`. A header
    // that contradicts itself: `bad`, even if it is short as well.
    //
    // 1. Ethernet: `arp`, `ipv4 ...`, `ipv6 ...`, `ethernet type 0x88cc` for
    //    any other type, or `ethernet short`.
    // 2. ARP has 28 bytes: `arp`, or `arp short`.
    // 3. IPv4: `ipv4 short` if there are not 20 bytes; `ipv4 bad` if the
    //    version is not 4, the header has less than 20 bytes, or the packet is
    //    shorter than its header; `ipv4 short` if the frame does not hold the
    //    whole packet. What comes after the packet is padding.
    // 4. A fragment that is not the first: `ipv4 fragment of udp`.
    // 5. IPv6: 40 bytes or `ipv6 short`; its version is 6 or it is `ipv6 bad`;
    //    the payload that it promises, or `ipv6 short`.
    // 6. In both of them `tcp 40000 > 80`, `udp 40000 > 53`, `icmp`, `icmp6`,
    //    or `protocol 89` for any other; `tcp short` below 20 bytes, `udp
    //    short` below 8, `icmp short` and `icmp6 short` below 4.
    todo!("frames is not started: {} bytes", frame.len())
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

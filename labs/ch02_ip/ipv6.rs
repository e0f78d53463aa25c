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

/// A packet from its fixed header on.
fn show(packet: &[u8]) -> String {
    // 1. Fewer than 40 bytes: `short`. A version other than 6: `bad`. Fewer
    //    bytes after the header than it promises: `short`; more are padding.
    // 2. `2001:db8:1::108 > ff02::1: class 0x0, flow 0x1f3a, hops 64, length 40`,
    //    and then the headers after it, in their order:
    // 3. `, hop-by-hop 8`, `, routing 24`, `, destination 16` with their bytes.
    //    Numbers 0, 43, 60. If there are not so many bytes: `, routing short`,
    //    and no more. A hop-by-hop header that is not the first: `, hop-by-hop
    //    bad`, and no more.
    // 4. `, fragment 0 more` with the offset in bytes; without `more` if it is
    //    the last. Number 44, 8 bytes; `, fragment short` if there are fewer.
    //    If the offset is not 0 then `, part of udp 1448`, and no more.
    // 5. At last `, tcp 40`, `, udp 9`, `, icmp6 24`, `, protocol 89 4` with the
    //    bytes that are left; or `, none` for number 59.
    todo!("show is not started: {} bytes", packet.len())
}

/// An address by RFC 5952.
fn text(address: [u8; 16]) -> String {
    // 6. Groups of 16 bits in lower-case hexadecimal, without leading zeros.
    //    `::` for the longest run of zero groups, the first if there are two,
    //    and never for a single one.
    // 7. An IPv4 address in IPv6 (`::ffff:0:0/96`): `::ffff:192.0.2.1`.
    todo!("text is not started: {} bytes", address.len())
}

/// Two hexadecimal digits a byte.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    ensure!(digits, "not hexadecimal: {hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

//! Print a TCP segment as tcpdump does.
//!
//! A header of 20 bytes says where in the two streams this segment belongs and
//! what its sender can take. Options after it say what both ends agree on, or
//! which data has arrived beyond a gap. The checksum covers more than is in the
//! segment: the addresses, which IP has, belong to it.
//!
//! Usage: tcp_header <SEGMENTS     (a line is `NAME SOURCE DESTINATION HEX`)
//! See also: tcp(7), tcpdump(8); RFC 9293, RFC 7323, RFC 2018, RFC 1071

use std::io::{self, BufRead};
use std::net::IpAddr;

use anyhow::{Context, bail, ensure};

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
    // 1. Fewer than 20 bytes: `short`. A data offset of less than 20 bytes:
    //    `bad`. Fewer bytes than the header has: `short`.
    // 2. `192.168.1.108.40000 > 192.168.1.109.80: Flags [S.]`, the letters in
    //    this order: F S R P, `.` for ACK, U, E for ECE, W for CWR; or `none`.
    // 3. `, cksum 0x1a2b (correct)`, or `(incorrect -> 0x3c4d)` with the one
    //    that it should have.
    // 4. `, seq 100` if FIN, SYN or RST is set; `, seq 100:112` if there is
    //    data, up to the number after the last. Then `, ack 7` if ACK is set,
    //    `, win 64240`, and `, urg 3` if URG is set.
    // 5. `, options [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7]` if the header
    //    has more than 20 bytes. Others are `eol`, after which nothing is an
    //    option; `sack 2 {10:20}{30:40}`; and of a kind that is not known the
    //    number and its data, `unknown-30 0x01ff`, or without data `unknown-30`.
    //    An option whose length cannot be, or not for its kind: `bad`, and
    //    nothing after it.
    // 6. `, length 12`: the bytes of data.
    todo!("tcp_header is not started: {} bytes to {}", segment.len(), ends[1])
}

/// Two hexadecimal digits a byte.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    ensure!(digits, "not hexadecimal: {hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let bytes = (0..hex.len()).step_by(2).map(byte);
    bytes.collect::<Result<_, _>>().context("not hexadecimal")
}

//! Another right program: std::net where it agrees with the C library, and a
//! machine that reads byte by byte where it has nothing.

use std::io::{self, BufRead};
use std::net::{Ipv4Addr, Ipv6Addr};

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

/// The standard library takes what inet_pton(3) takes.
fn pton4(text: &str) -> Option<[u8; 4]> {
    text.parse().ok().map(|ip: Ipv4Addr| ip.octets())
}

fn pton6(text: &str) -> Option<[u8; 16]> {
    text.parse().ok().map(|ip: Ipv6Addr| ip.octets())
}

/// It writes `::c000:201` where inet_ntop(3) writes `::192.0.2.1`.
fn ntop6(bytes: [u8; 16]) -> String {
    let ip = Ipv6Addr::from(bytes);
    match ip.segments() {
        // `::1` has a longer row of zeros.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            let [.., a, b, c, d] = bytes;
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        }
        _ => ip.to_string(),
    }
}

/// It has nothing for this.
fn aton(text: &str) -> Option<u32> {
    let mut bytes = text.bytes().peekable();
    let (mut value, mut places) = (0_u64, 0);
    loop {
        let mut digits = 0;
        let mut radix = 10;
        let mut part = 0_u64;
        if bytes.next_if_eq(&b'0').is_some() {
            (radix, digits) = (8, 1);
            if bytes.next_if(|byte| b"xX".contains(byte)).is_some() {
                (radix, digits) = (16, 0);
            }
        }
        while let Some(digit) =
            bytes.peek().and_then(|byte| char::from(*byte).to_digit(radix))
        {
            part = part.saturating_mul(radix.into());
            part = part.saturating_add(digit.into());
            digits += 1;
            bytes.next();
        }
        let end = match bytes.next() {
            None | Some(b' ' | b'\t'..=b'\r') => true,
            Some(b'.') => false,
            Some(_) => return None,
        };
        let room = if end { 32 - 8 * places } else { 8 };
        if digits == 0 || places > 3 || part >= 1 << room {
            return None;
        }
        value = value << room | part;
        places += 1;
        if end {
            return u32::try_from(value).ok();
        }
    }
}

fn hex<const N: usize>(bytes: [u8; N]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

/// 32 hexadecimal digits.
fn unhex(hex: &str) -> anyhow::Result<[u8; 16]> {
    let number = u128::from_str_radix(hex, 16).context("parse HEX")?;
    Ok(number.to_be_bytes())
}

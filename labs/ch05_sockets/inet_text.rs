//! Read addresses from text, and write them as text: strictly, and as of old.
//!
//! The kernel knows addresses of 4 and of 16 bytes; people write text. What is
//! an address and what is not is decided by the function that reads it:
//! inet_pton(3) takes one form of an IPv4 address, inet_aton(3) the older ones
//! too. The other way, every address has many texts, and one is to be written.
//!
//! Usage: inet_text <QUESTIONS   (a line is `NAME pton4 TEXT`, `NAME pton6 TEXT`,
//!                                `NAME aton TEXT` or `NAME ntop6 HEX`)
//! See also: inet_pton(3), inet_ntop(3), inet(3); RFC 4291, RFC 5952

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

// Without std::net: its functions do most of this in one line, and not all of it
// as these do.

/// As inet_pton(3) with AF_INET; `None` is printed as `no address`.
fn pton4(text: &str) -> Option<[u8; 4]> {
    // 1. Four decimal numbers from 0 to 255, a dot between them, nothing else:
    //    no sign, no space, no 0 in front of another digit.
    todo!("pton4 is not started: {text}")
}

/// As inet_pton(3) with AF_INET6.
fn pton6(text: &str) -> Option<[u8; 16]> {
    // 2. Eight groups of one to four hexadecimal digits, a colon between them.
    //    `::` stands for one group of zeros or more, and only once. The last two
    //    groups may be written as an IPv4 address, as in step 1.
    todo!("pton6 is not started: {text}")
}

/// As inet_aton(3).
fn aton(text: &str) -> Option<u32> {
    // 3. One to four numbers, a dot between them: decimal, octal if 0 comes
    //    first, hexadecimal after 0x or 0X. Each but the last is a byte; the
    //    last has all the bytes that are left. After an address there may be
    //    white space, and anything after that.
    todo!("aton is not started: {text}")
}

/// As inet_ntop(3) with AF_INET6.
fn ntop6(bytes: [u8; 16]) -> String {
    // 4. Eight groups without zeros in front, in lower case, a colon between
    //    them. The longest row of two or more groups of zeros is `::`; of rows
    //    of the same length the first.
    // 5. Two kinds end with an IPv4 address: `::ffff:192.0.2.1` after five
    //    groups of zeros and ffff, `::192.0.2.1` after six if that is all that
    //    `::` stands for.
    todo!("ntop6 is not started: {} bytes", bytes.len())
}

fn hex<const N: usize>(bytes: [u8; N]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

/// 32 hexadecimal digits.
fn unhex(hex: &str) -> anyhow::Result<[u8; 16]> {
    let number = u128::from_str_radix(hex, 16).context("parse HEX")?;
    Ok(number.to_be_bytes())
}

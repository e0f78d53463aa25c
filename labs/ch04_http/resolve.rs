//! Find the addresses of a name: in the file first, then by asking.
//!
//! /etc/hosts is read line by line. If no line has the name, a name server is
//! sent a datagram. A datagram may get lost, and nobody says so: whoever asks
//! has to ask again. And anybody may send one: what comes is the answer only if
//! it comes from the server that was asked, with the number of the question.
//!
//! Usage: resolve NAME...
//! See also: hosts(5), resolv.conf(5), nsswitch.conf(5), udp(7); RFC 1035,
//! section 4; RFC 5452

#![allow(dead_code)] // Until you use all that is there; the line can go then.

use std::net::Ipv4Addr;
use std::time::Duration;

const DNS_PORT: u16 = 53;
/// How long an answer is waited for, and how often all servers are asked.
const PATIENCE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 3;

fn main() -> anyhow::Result<()> {
    for name in std::env::args().skip(1) {
        println!("{name}: {}", resolve(&name)?);
    }
    Ok(())
}

/// What is known about a name, as it is printed.
fn resolve(name: &str) -> anyhow::Result<String> {
    // 1. Read /etc/hosts. A line is an address and names, with white space
    //    between them; from `#` on it is a comment. Upper and lower case are one.
    //    If lines have the name, return their IPv4 addresses in their order:
    //    `ADDRESS ADDRESS (hosts)`. Then nobody is asked.
    // 2. Read /etc/resolv.conf: each line `nameserver ADDRESS` is a server, to
    //    be asked in this order. Other lines are of no interest here.
    // 3. Ask a server: `question` from a UDP socket of its own, with a new
    //    `number`, to port 53. Wait up to PATIENCE for the answer. What comes
    //    is the answer if it comes from that address and port, and `parse`
    //    finds the same number and the same name in it; else wait on.
    // 4. If none comes ask the next server, and after the last the first again,
    //    ROUNDS times in all; the same if its code is neither NO_ERROR nor
    //    NO_SUCH_NAME.
    // 5. Return `ADDRESS ADDRESS (dns)` as the answer has them, `no such name`
    //    for NO_SUCH_NAME, `no address` for an answer without any, and `no
    //    answer`.
    todo!("resolve is not started: {name}")
}

/// A number that nobody can guess.
fn number() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as u16
}

// The messages: the lab `dns` of chapter 1 is about them.

const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;
const A: u16 = 1;
const IN: u16 = 1;

/// What an answer says.
struct Answer {
    id: u16,
    code: u8,
    /// The name that was asked for.
    name: String,
    /// The addresses of the name, or of the one that it stands for.
    addresses: Vec<Ipv4Addr>,
}

/// A query for the IPv4 addresses of a name (RFC 1035, section 4).
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // RD, and one question
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len().min(63) as u8);
        message.extend(label.bytes().take(63));
    }
    message.push(0);
    message.extend(A.to_be_bytes());
    message.extend(IN.to_be_bytes());
    message
}

/// Reads an answer; `None`: it is none.
fn parse(message: &[u8]) -> Option<Answer> {
    let word = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
    };
    if message.get(2)? & 0x80 == 0 || word(4)? != 1 {
        return None;
    }
    let (name, mut at) = read_name(message, 12)?;
    at += 4;
    let mut addresses = Vec::new();
    for _ in 0..word(6)? {
        let (_, end) = read_name(message, at)?;
        let length = usize::from(word(end + 8)?);
        let data = message.get(end + 10..end + 10 + length)?;
        if (word(end)?, word(end + 2)?) == (A, IN) {
            addresses.push(<[u8; 4]>::try_from(data).ok()?.into());
        }
        at = end + 10 + length;
    }
    Some(Answer { id: word(0)?, code: message[3] & 0xf, name, addresses })
}

/// A name, and where it ends. Its rest may stand further ahead in the message
/// (section 4.1.4); each jump has to go ahead, so that there is an end.
fn read_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut end, mut limit) = (start, None, start);
    let mut labels: Vec<String> = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            192.. => {
                end = end.or(Some(at + 2));
                at = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if at >= limit {
                    return None;
                }
                limit = at;
            }
            _ => {
                let label = message.get(at + 1..at + 1 + length)?;
                labels.push(String::from_utf8_lossy(label).into_owned());
                at += 1 + length;
            }
        }
    }
}

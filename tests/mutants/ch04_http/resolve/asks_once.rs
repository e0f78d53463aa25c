//! The mistake: a query is sent once, and a lost one is lost.
//!
//! Usage: resolve NAME...
//! See also: hosts(5), resolv.conf(5), nsswitch.conf(5), udp(7); RFC 1035,
//! section 4; RFC 5452

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;

const DNS_PORT: u16 = 53;
/// How long an answer is waited for, and how often all servers are asked.
const PATIENCE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 1;

fn main() -> anyhow::Result<()> {
    for name in std::env::args().skip(1) {
        println!("{name}: {}", resolve(&name)?);
    }
    Ok(())
}

/// What is known about a name, as it is printed.
fn resolve(name: &str) -> anyhow::Result<String> {
    let hosts = fs::read_to_string("/etc/hosts").context("/etc/hosts")?;
    let found = in_hosts(&hosts, name);
    if !found.is_empty() {
        return Ok(format!("{} (hosts)", joined(&found)));
    }
    let conf = fs::read_to_string("/etc/resolv.conf");
    let servers = servers(&conf.context("/etc/resolv.conf")?);
    Ok(match ask_servers(&servers, name) {
        None => "no answer".to_string(),
        Some(answer) if answer.code == NO_SUCH_NAME => "no such name".into(),
        Some(answer) if answer.addresses.is_empty() => "no address".into(),
        Some(answer) => format!("{} (dns)", joined(&answer.addresses)),
    })
}

/// The IPv4 addresses that lines of /etc/hosts give a name, in their order.
fn in_hosts(text: &str, name: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|word| word.eq_ignore_ascii_case(name))
        {
            found.push(address);
        }
    }
    found
}

/// The servers that /etc/resolv.conf names, in their order.
fn servers(text: &str) -> Vec<IpAddr> {
    let words = text.lines().map(|line| line.split_ascii_whitespace());
    let named = words.filter_map(|mut words| match words.next() {
        Some("nameserver") => words.next()?.parse().ok(),
        _ => None,
    });
    named.collect()
}

/// Asks one server after the other, and all of them again; `None`: no answer.
fn ask_servers(servers: &[IpAddr], name: &str) -> Option<Answer> {
    for _ in 0..ROUNDS {
        for server in servers {
            match ask(*server, name) {
                Ok(answer) if answer.code == NO_ERROR => return Some(answer),
                // That there is none is an answer too, and a final one.
                Ok(answer) if answer.code == NO_SUCH_NAME => {
                    return Some(answer);
                }
                // A server that cannot say, or nobody there: the next one.
                Ok(_) | Err(_) => (),
            }
        }
    }
    None
}

/// Asks one server once. A new socket has a new port: one thing more that
/// whoever wants to forge an answer has to guess.
fn ask(server: IpAddr, name: &str) -> io::Result<Answer> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Connected, it gets datagrams of this address and port, and no others.
    socket.connect((server, DNS_PORT))?;
    let id = number();
    socket.send(&question(id, name))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let mut buf = [0; 512];
        let length = socket.recv(&mut buf)?;
        if let Some(answer) = parse(&buf[..length])
            && answer.id == id
            && answer.name.eq_ignore_ascii_case(name)
        {
            return Ok(answer);
        }
    }
}

fn joined(addresses: &[Ipv4Addr]) -> String {
    let texts: Vec<String> = addresses.iter().map(|a| a.to_string()).collect();
    texts.join(" ")
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

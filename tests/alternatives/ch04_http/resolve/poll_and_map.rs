//! The file in a map, and poll(2) with what is left of the time.
//!
//! Usage: resolve NAME...
//! See also: hosts(5), resolv.conf(5), nsswitch.conf(5), udp(7); RFC 1035,
//! section 4; RFC 5452

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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

/// What the two files say.
struct Known {
    hosts: HashMap<String, Vec<Ipv4Addr>>,
    servers: Vec<IpAddr>,
}

impl Known {
    fn read() -> anyhow::Result<Known> {
        let mut hosts = HashMap::<String, Vec<Ipv4Addr>>::new();
        let file = File::open("/etc/hosts").context("open /etc/hosts")?;
        for line in BufReader::new(file).lines() {
            let mut line = line.context("read /etc/hosts")?;
            line.truncate(line.find('#').unwrap_or(line.len()));
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some((first, names)) = words.split_first() else { continue };
            let Ok(address) = first.parse() else { continue };
            for name in names {
                hosts.entry(name.to_lowercase()).or_default().push(address);
            }
        }
        let mut servers = Vec::new();
        let file = File::open("/etc/resolv.conf");
        for line in BufReader::new(file.context("open")?).lines() {
            let line = line.context("read /etc/resolv.conf")?;
            if let Some(rest) = line.strip_prefix("nameserver") {
                servers.extend(rest.trim().parse::<IpAddr>());
            }
        }
        Ok(Known { hosts, servers })
    }
}

fn resolve(name: &str) -> anyhow::Result<String> {
    let known = Known::read()?;
    if let Some(addresses) = known.hosts.get(&name.to_lowercase()) {
        return Ok(format!("{} (hosts)", joined(addresses)));
    }
    let rounds = known.servers.len() * ROUNDS;
    for server in known.servers.iter().cycle().take(rounds) {
        let Ok(Some(answer)) = ask(*server, name) else { continue };
        return Ok(match (answer.code, answer.addresses.as_slice()) {
            (NO_SUCH_NAME, _) => "no such name".to_string(),
            (_, []) => "no address".to_string(),
            (_, addresses) => format!("{} (dns)", joined(addresses)),
        });
    }
    Ok("no answer".to_string())
}

/// One question, and poll(2) until its answer is there or time is up.
fn ask(server: IpAddr, name: &str) -> io::Result<Option<Answer>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((server, DNS_PORT))?;
    let id = number();
    socket.send(&question(id, name))?;
    let end = Instant::now() + PATIENCE;
    let mut buf = [0; 1500];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, left)? == 0 {
            return Ok(None);
        }
        let length = socket.recv(&mut buf)?;
        let answer = parse(&buf[..length]).filter(|answer| {
            let same = answer.name.eq_ignore_ascii_case(name);
            same && answer.id == id
        });
        match answer {
            Some(Answer { code: NO_ERROR | NO_SUCH_NAME, .. }) => {
                return Ok(answer);
            }
            Some(_) => return Ok(None),
            None => (),
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

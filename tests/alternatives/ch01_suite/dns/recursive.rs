//! The same, with a name read by recursion: at most 128 labels and pointers deep.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

const USAGE: &str = "usage: dns ask ADDRESS:PORT NAME, or dns parse";
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

const HEADER: usize = 12;
const RECURSION_DESIRED: u16 = 0x0100;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;
/// With the length bytes and the empty label at its end (section 3.1).
const LONGEST_NAME: usize = 255;

/// An answer: its code (section 4.1.1), and its records as lines.
struct Answer {
    code: u16,
    records: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().context(USAGE)?.as_str() {
        "ask" => {
            let server = args.next().context(USAGE)?;
            let server = server.parse().context("parse ADDRESS:PORT")?;
            ask(server, &args.next().context(USAGE)?)
        }
        "parse" => parse(),
        _ => bail!(USAGE),
    }
}

/// Asks for a name's addresses, three times if need be.
fn ask(server: SocketAddr, name: &str) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
    socket.connect(server).with_context(|| format!("connect {server}"))?;
    let id = random_number().context("read /dev/urandom")?;
    let query = query(id, name);
    println!("query {} bytes", query.len());
    for _ in 0..TRIES {
        socket.send(&query).context("send")?;
        if let Some(answer) = hear(&socket, &query)? {
            match answer.code {
                0 => answer.records.iter().for_each(|one| println!("{one}")),
                3 => println!("no such name"),
                code => println!("error {code}"),
            }
            return Ok(());
        }
        println!("no answer");
    }
    Ok(())
}

/// The answer to a query, unless time is up. Whatever else comes is somebody's
/// mistake, or somebody's lie, and no reason to stop listening.
fn hear(socket: &UdpSocket, query: &[u8]) -> anyhow::Result<Option<Answer>> {
    let deadline = Instant::now() + PATIENCE;
    let mut buf = [0; 1500];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left)).context("SO_RCVTIMEO")?;
        let length = match socket.recv(&mut buf) {
            Ok(length) => length,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
            Err(err) => return Err(err).context("recv"),
        };
        let message = &buf[..length];
        if !is_about(message, query) {
            println!("ignored");
            continue;
        }
        match read(message) {
            Some(answer) => return Ok(Some(answer)),
            None => println!("ignored"),
        }
    }
}

/// A header with one question after it.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut query = Vec::new();
    for number in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        query.extend(number.to_be_bytes());
    }
    // A length and so many bytes for each label; the root's is empty.
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(A.to_be_bytes());
    query.extend(IN.to_be_bytes());
    query
}

/// Does a message answer this query: its id, and the very same question?
fn is_about(message: &[u8], query: &[u8]) -> bool {
    let question = HEADER..query.len();
    message.get(..2) == Some(&query[..2])
        && message.get(2).is_some_and(|flags| flags & 0x80 != 0)
        && message.get(question.clone()) == Some(&query[question])
}

/// Reads messages, and prints what is in each.
fn parse() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (time, text) = line.split_once(' ').context("no message")?;
        let line = match read(&bytes(text)?) {
            None => "bad".to_string(),
            Some(answer) => {
                let records = answer.records.join("; ");
                format!("code {} {records}", answer.code).trim_end().into()
            }
        };
        println!("{time} {line}");
    }
    Ok(())
}

/// A message's code and its answer section; `None`: it is cut short, or says
/// what cannot be.
fn read(message: &[u8]) -> Option<Answer> {
    message.get(..HEADER)?;
    let code = number(message, 2)? & 0xf;
    let (questions, answers) = (number(message, 4)?, number(message, 6)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = name(message, at)?.1 + 4;
        message.get(..at)?;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        let (owner, after) = name(message, at)?;
        let kind = number(message, after)?;
        // Class, 16 bits, and time to live, 32, are of no interest here.
        let length = usize::from(number(message, after + 8)?);
        let from = after + 10;
        let data = message.get(from..from + length)?;
        at = from + length;
        let data = match kind {
            A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
            AAAA => {
                Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string()
            }
            CNAME => {
                let (name, end) = name(message, from)?;
                (end == at).then_some(name)?
            }
            _ => format!("{length} bytes"),
        };
        let kind = match kind {
            A => "A".to_string(),
            AAAA => "AAAA".to_string(),
            CNAME => "CNAME".to_string(),
            other => format!("type {other}"),
        };
        records.push(format!("{owner} {kind} {data}"));
    }
    Some(Answer { code, records })
}

/// The name at a place, and the place after it.
fn name(message: &[u8], at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let end = labels(message, at, at, 1, &mut text)?;
    let text = text.strip_suffix('.').map_or(".".into(), str::to_string);
    Some((text, end))
}

/// One label and what comes after it, each with a dot behind it.
fn labels(
    message: &[u8],
    piece: usize,
    at: usize,
    used: usize,
    text: &mut String,
) -> Option<usize> {
    let length = *message.get(at)?;
    if length == 0 {
        return Some(at + 1);
    }
    if length & 0xc0 == 0xc0 {
        let place = usize::from(number(message, at)?) - 0xc000;
        if place < piece {
            labels(message, place, place, used, text)?;
            return Some(at + 2);
        }
        return None;
    }
    let next = at + 1 + usize::from(length);
    let used = used + 1 + usize::from(length);
    if length > 63 || used > LONGEST_NAME {
        return None;
    }
    text.push_str(&message.get(at + 1..next)?.escape_ascii().to_string());
    text.push('.');
    labels(message, piece, next, used, text)
}

/// 16 bits, most significant byte first.
fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// One that nobody else can guess.
fn random_number() -> io::Result<u16> {
    let mut bytes = [0; 2];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u16::from_ne_bytes(bytes))
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

//! Ask DNS for the addresses of a name, in bytes.
//!
//! A query is a header of 12 bytes and a question; an answer repeats both and
//! adds records. Where a name has stood before, a pointer may stand in its
//! place. Nothing but a number of 16 bits ties an answer to its query, and
//! nobody tells that a datagram was lost: whoever asks needs a timer. What
//! comes over the network may be any bytes at all.
//!
//! Usage: dns ask ADDRESS:PORT NAME
//!        dns parse <MESSAGES      (a line is `TIME HEX`)
//! See also: udp(7), resolver(3); RFC 1035, section 4; RFC 5452, section 9.1

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

const USAGE: &str = "usage: dns ask ADDRESS:PORT NAME, or dns parse";
const PATIENCE: Duration = Duration::from_secs(1);

const HEADER: usize = 12;
const RECURSION_DESIRED: u16 = 0x0100;
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
    // 1. Print `query N bytes`, N being how long the query is, and send it.
    // 2. Wait a second for the answer: see `hear`. Print its records, a line
    //    each (`www.lab4.test CNAME web.example.test`, `web.example.test A
    //    203.0.113.80`), `no such name` for code 3, `error CODE` for any other.
    // 3. After that second print `no answer`, and send the same query again.
    //    Three queries are enough.
    todo!("dns ask is not started: {socket:?} {id} {name}")
}

/// The answer to a query, unless time is up.
#[expect(dead_code, reason = "to be written, and called by `ask`")]
fn hear(socket: &UdpSocket, query: &[u8]) -> anyhow::Result<Option<Answer>> {
    // An answer has the query's id, the bit QR, and the same question. What
    // has not, or cannot be read, is not an answer: print `ignored`, and go on
    // listening for what is left of the second.
    todo!("dns hear is not started: {socket:?} {query:?} {PATIENCE:?}")
}

/// A header with one question after it.
#[expect(dead_code, reason = "to be written, and called by `ask`")]
fn query(id: u16, name: &str) -> Vec<u8> {
    // Six numbers of 16 bits: the id, the flags (RD alone), one question and
    // no records. Then the name, label by label; type A, class IN.
    todo!("dns query is not started: {id} {name} {RECURSION_DESIRED}")
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
    // 1. The header has 12 bytes; the code is the low half byte of the fourth,
    //    the numbers of questions and answers stand at 4 and 6.
    // 2. Pass over each question: a name, type and class.
    // 3. Read each answer: a name, type, class, time to live (32 bits), length
    //    and data. Type A has 4 bytes, AAAA 16, CNAME is a name that fills its
    //    data: `NAME A ADDRESS`, `NAME AAAA ADDRESS`, `NAME CNAME NAME`. For
    //    any other: `NAME type 16 7 bytes`.
    // 4. A name: labels of 1 to 63 bytes, each after its length, up to an empty
    //    one or a pointer (`0xc0` in its first byte). A pointer leads to an
    //    earlier place than the one where this name, or the piece that the last
    //    pointer led to, begins. No name is longer than 255 bytes with its
    //    lengths. Bytes are shown by `escape_ascii`, the root is `.`.
    todo!("dns read is not started: {message:?} {HEADER} {LONGEST_NAME}")
}

/// 16 bits, most significant byte first.
#[expect(dead_code, reason = "for `read`")]
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

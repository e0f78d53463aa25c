//! Fetch over HTTP/1.1, and know where each answer ends.
//!
//! TCP carries bytes and no messages. One read(2) may bring half a line, and
//! the next one its other half and more. Where an answer ends is said in the
//! answer itself: by a length, by chunks, by its status, or by nothing, and
//! then it ends with the connection. A client that counts differently from the
//! server takes what follows for something that it is not.
//!
//! Usage: http_get ADDRESS:PORT PATH...
//! See also: read(2); RFC 9112, sections 2 to 9; RFC 9110, section 15

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::Context;

const USAGE: &str = "usage: http_get ADDRESS:PORT PATH...";
/// Status line, fields and line ends of one head.
const LONGEST_HEAD: usize = 8192;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let mut kept = None;
    for path in args {
        let mut input = match kept.take() {
            Some(input) => input,
            None => {
                let conn = TcpStream::connect(address)
                    .with_context(|| format!("connect {address}"))?;
                Input { conn, bytes: Vec::new() }
            }
        };
        println!("GET {path}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        input.conn.write_all(request.as_bytes()).context("write")?;
        match read_answer(&mut input) {
            Ok(answer) => {
                let Answer { status, body, keeps } = answer;
                let text = body.escape_ascii();
                println!("{status}, {} bytes: {text}", body.len());
                // What nobody has asked for must not become the next answer.
                if keeps && !input.bytes.is_empty() {
                    println!("surplus");
                } else if keeps {
                    kept = Some(input);
                }
            }
            Err(failure) => println!("error: {failure}"),
        }
    }
    Ok(())
}

/// A connection, and what has been read from it and not used yet.
struct Input {
    conn: TcpStream,
    bytes: Vec<u8>,
}

/// An answer that has come as a whole.
struct Answer {
    status: u16,
    body: Vec<u8>,
    /// May the connection be used for another request?
    keeps: bool,
}

/// Why there is no answer. The connection is of no use any more.
type Failure = &'static str;

impl Input {
    /// Reads once. What comes is put behind what is there already.
    fn more(&mut self) -> Result<(), Failure> {
        let mut buf = [0; 4096];
        // A reset ends an answer as surely as end-of-file does.
        match self.conn.read(&mut buf) {
            Ok(0) | Err(_) => Err("truncated"),
            Ok(count) => {
                self.bytes.extend(&buf[..count]);
                Ok(())
            }
        }
    }

    /// The next `count` bytes. Room is made for what has come, not for what
    /// somebody says will come.
    fn take(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        while self.bytes.len() < count {
            self.more()?;
        }
        Ok(self.bytes.drain(..count).collect())
    }

    // ANCHOR: line
    /// The next line, without its end; `room` is what it may take at most.
    fn line(&mut self, room: &mut usize) -> Result<String, Failure> {
        let end = loop {
            let end = self.bytes.iter().position(|byte| *byte == b'\n');
            if end.unwrap_or(self.bytes.len()) >= *room {
                return Err("head too long");
            }
            match end {
                Some(end) => break end,
                None => self.more()?,
            }
        };
        *room -= end + 1;
        let line = self.take(end + 1)?;
        let line = String::from_utf8_lossy(&line[..end]).into_owned();
        // A line may end in LF alone (RFC 9112, section 2.2).
        Ok(line.strip_suffix('\r').map_or(line.clone(), str::to_string))
    }
    // ANCHOR_END: line
}

/// Reads the next answer, and takes nothing that is behind its end.
fn read_answer(input: &mut Input) -> Result<Answer, Failure> {
    loop {
        let head = Head::read(input)?;
        // 1xx: the answer itself is still to come (RFC 9110, section 15.2).
        if head.status / 100 != 1 {
            return read_body(input, &head);
        }
    }
}

struct Head {
    status: u16,
    /// HTTP/1.0 closes, unless it says otherwise.
    old: bool,
    /// Names in lower case, values without the white space around them.
    fields: Vec<(String, String)>,
}

impl Head {
    fn read(input: &mut Input) -> Result<Head, Failure> {
        let mut room = LONGEST_HEAD;
        let line = input.line(&mut room)?;
        let (version, rest) = line.split_once(' ').ok_or("bad status line")?;
        let old = match version {
            "HTTP/1.0" => true,
            "HTTP/1.1" => false,
            _ => return Err("bad status line"),
        };
        let code = rest.split(' ').next().unwrap_or_default();
        let status = number(code, 10).filter(|_| code.len() == 3);
        let status = status.ok_or("bad status line")? as u16;
        let mut fields = Vec::new();
        loop {
            let line = input.line(&mut room)?;
            if line.is_empty() {
                return Ok(Head { status, old, fields });
            }
            let (name, value) = line.split_once(':').ok_or("bad field")?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
    }

    /// Each element of the lists that all fields of this name make together
    /// (RFC 9110, section 5.3).
    fn list(&self, name: &str) -> Vec<String> {
        let fields = self.fields.iter().filter(|field| field.0 == name);
        let values = fields.flat_map(|field| field.1.split(','));
        values.map(|value| value.trim().to_ascii_lowercase()).collect()
    }
}

// ANCHOR: body
/// The body, by the rules of RFC 9112, section 6.3, in their order.
fn read_body(input: &mut Input, head: &Head) -> Result<Answer, Failure> {
    let status = head.status;
    let says = |word: &str| head.list("connection").iter().any(|w| w == word);
    let keeps = if head.old { says("keep-alive") } else { !says("close") };

    let codings = head.list("transfer-encoding");
    let mut lengths = head.list("content-length");
    lengths.dedup();
    let body = if matches!(status, 204 | 304) {
        Vec::new()
    } else if !codings.is_empty() && !lengths.is_empty() {
        return Err("two lengths");
    } else if codings.last().is_some_and(|coding| coding == "chunked") {
        read_chunks(input)?
    } else {
        match lengths.as_slice() {
            [length] => input.take(number(length, 10).ok_or("bad length")?)?,
            [] => {
                let rest = input.conn.read_to_end(&mut input.bytes);
                rest.map_err(|_| "truncated")?;
                let body = std::mem::take(&mut input.bytes);
                return Ok(Answer { status, body, keeps: false });
            }
            _ => return Err("two lengths"),
        }
    };
    Ok(Answer { status, body, keeps })
}
// ANCHOR_END: body

/// Chunks, each with its size before it; then fields, as a head has them.
fn read_chunks(input: &mut Input) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        let line = input.line(&mut LONGEST_HEAD.clone())?;
        let size = line.split(';').next().unwrap_or_default().trim_end();
        let size = number(size, 16).ok_or("bad chunk")?;
        if size == 0 {
            break;
        }
        body.extend(input.take(size)?);
        if input.take(2)? != b"\r\n" {
            return Err("bad chunk");
        }
    }
    let mut room = LONGEST_HEAD;
    while !input.line(&mut room)?.is_empty() {}
    Ok(body)
}

/// A number of digits and nothing else: the standard library takes a `+` too.
fn number(text: &str, radix: u32) -> Option<usize> {
    let digits = text.chars().all(|c| c.is_digit(radix));
    if digits { usize::from_str_radix(text, radix).ok() } else { None }
}

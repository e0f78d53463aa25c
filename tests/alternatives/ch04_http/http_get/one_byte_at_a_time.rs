//! A state machine that is fed single bytes, and never has one too many: what
//! it has not read is still in the kernel, where MSG_PEEK sees it.
//!
//! Usage: http_get ADDRESS:PORT PATH...
//! See also: read(2); RFC 9112, sections 2 to 9; RFC 9110, section 15

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::sys::socket::{MsgFlags, recv};

const USAGE: &str = "usage: http_get ADDRESS:PORT PATH...";

enum State {
    StatusLine,
    Fields,
    Bytes(u64),
    UntilEnd,
    Size,
    Chunk(u64),
    ChunkEnd(u8),
    Trailer,
    Done,
}

struct Machine {
    state: State,
    line: Vec<u8>,
    head: usize,
    status: u16,
    keeps: bool,
    chunked: bool,
    lengths: Vec<String>,
    body: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context(USAGE)?;
    let mut kept: Option<TcpStream> = None;
    for path in args {
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => TcpStream::connect(&address).context("connect")?,
        };
        println!("GET {path}");
        let request = format!("GET {path} HTTP/1.1\r\nhost:{address}\r\n\r\n");
        conn.write_all(request.as_bytes()).context("write")?;
        let mut machine = Machine::new();
        match machine.run(&mut conn) {
            Ok(()) => {
                let (status, body) = (machine.status, &machine.body);
                let text = body.escape_ascii();
                println!("{status}, {} bytes: {text}", body.len());
                if machine.keeps && has_more(&conn) {
                    println!("surplus");
                } else if machine.keeps {
                    kept = Some(conn);
                }
            }
            Err(why) => println!("error: {why}"),
        }
    }
    Ok(())
}

/// Is there a byte in the kernel that could be read now?
fn has_more(conn: &TcpStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    matches!(recv(conn.as_raw_fd(), &mut [0], flags), Ok(1))
}

impl Machine {
    fn new() -> Machine {
        Machine {
            state: State::StatusLine,
            line: Vec::new(),
            head: 0,
            status: 0,
            keeps: true,
            chunked: false,
            lengths: Vec::new(),
            body: Vec::new(),
        }
    }

    fn run(&mut self, conn: &mut TcpStream) -> Result<(), &'static str> {
        let mut byte = [0];
        while !matches!(self.state, State::Done) {
            match conn.read(&mut byte) {
                Ok(1) => self.feed(byte[0])?,
                Ok(_) if matches!(self.state, State::UntilEnd) => return Ok(()),
                _ => return Err("truncated"),
            }
        }
        Ok(())
    }

    fn feed(&mut self, byte: u8) -> Result<(), &'static str> {
        match self.state {
            State::Done => Ok(()),
            State::UntilEnd => {
                self.body.push(byte);
                Ok(())
            }
            State::Bytes(left) => {
                self.body.push(byte);
                self.state = match left {
                    1 => State::Done,
                    _ => State::Bytes(left - 1),
                };
                Ok(())
            }
            State::Chunk(left) => {
                self.body.push(byte);
                self.state = match left {
                    1 => State::ChunkEnd(b'\r'),
                    _ => State::Chunk(left - 1),
                };
                Ok(())
            }
            State::ChunkEnd(expected) if byte != expected => Err("bad chunk"),
            State::ChunkEnd(b'\r') => {
                self.state = State::ChunkEnd(b'\n');
                Ok(())
            }
            State::ChunkEnd(_) => {
                self.state = State::Size;
                Ok(())
            }
            _ => self.feed_line(byte),
        }
    }

    fn feed_line(&mut self, byte: u8) -> Result<(), &'static str> {
        self.head += 1;
        if self.head > 8192 {
            return Err("head too long");
        }
        self.line.push(byte);
        if byte != b'\n' {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\n').trim_end_matches('\r');
        match self.state {
            State::StatusLine => self.status_line(line),
            State::Fields if line.is_empty() => self.head_has_ended(),
            State::Fields => self.field(line),
            State::Size => {
                let size = line.split(';').next().unwrap_or_default();
                self.head = 0;
                self.state = match digits(size.trim_end(), 16) {
                    Some(0) => State::Trailer,
                    Some(size) => State::Chunk(size),
                    None => return Err("bad chunk"),
                };
                Ok(())
            }
            _ => {
                if line.is_empty() {
                    self.state = State::Done;
                }
                Ok(())
            }
        }
    }

    fn status_line(&mut self, line: &str) -> Result<(), &'static str> {
        const BAD: &str = "bad status line";
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let (version, code) = match words[..] {
            [version, code, ..] if code.len() == 3 => (version, code),
            _ => return Err(BAD),
        };
        self.keeps = match version {
            "HTTP/1.0" => false,
            "HTTP/1.1" => true,
            _ => return Err(BAD),
        };
        self.status = digits(code, 10).ok_or(BAD)? as u16;
        self.state = State::Fields;
        Ok(())
    }

    fn field(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(':').ok_or("bad field")?;
        let value = value.to_ascii_lowercase();
        for word in value.split(',').map(str::trim) {
            match (name.to_ascii_lowercase().as_str(), word) {
                ("connection", "close") => self.keeps = false,
                ("connection", "keep-alive") => self.keeps = true,
                ("transfer-encoding", "chunked") => self.chunked = true,
                ("content-length", word) => self.lengths.push(word.to_string()),
                _ => (),
            }
        }
        Ok(())
    }

    fn head_has_ended(&mut self) -> Result<(), &'static str> {
        self.lengths.dedup();
        self.state = match (self.status, self.lengths.as_slice()) {
            (100..200, _) => {
                *self = Machine::new();
                return Ok(());
            }
            (204 | 304, _) => State::Done,
            (_, [_, ..]) if self.chunked => return Err("two lengths"),
            (_, [_, _, ..]) => return Err("two lengths"),
            (_, [length]) => match digits(length, 10).ok_or("bad length")? {
                0 => State::Done,
                length => State::Bytes(length),
            },
            (_, []) if self.chunked => State::Size,
            (_, []) => {
                self.keeps = false;
                State::UntilEnd
            }
        };
        self.head = 0;
        Ok(())
    }
}

fn digits(text: &str, radix: u32) -> Option<u64> {
    if text.is_empty() || text.chars().any(|c| !c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(text, radix).ok()
}

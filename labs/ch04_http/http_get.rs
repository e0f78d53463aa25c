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
    #[allow(dead_code)] // Until you use it; the line can go then.
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
}

/// Reads the next answer, and takes nothing that is behind its end.
fn read_answer(input: &mut Input) -> Result<Answer, Failure> {
    // 1. Read the status line, and fields up to the empty line. Lines end in
    //    CRLF; LF alone will do. In more than 8192 bytes without an empty line:
    //    "head too long". Not HTTP/1.0 or HTTP/1.1, or no three digits:
    //    "bad status line". A line without a colon: "bad field". The case of a
    //    name does not matter, nor does the white space around a value.
    // 2. A status of 1xx has no body, and is not the answer yet: go on with 1.
    // 3. Find the end of the body, by the first rule that applies:
    //      status 204 or 304       there is none
    //      Transfer-Encoding and Content-Length    "two lengths"
    //      Transfer-Encoding: chunked              chunks, see 4
    //      Content-Length, twice and different     "two lengths"
    //      Content-Length          so many bytes; not all digits: "bad length"
    //      neither                 whatever comes until end-of-file
    // 4. A chunk: its size in hexadecimal digits, perhaps `;` and something,
    //    CRLF; its bytes, CRLF. The last has size 0, and no bytes; then fields
    //    up to an empty line. Anything else: "bad chunk".
    // 5. End-of-file where more had to come, or an error of read: "truncated".
    // 6. What has been read too far stays in `input`. `keeps`: HTTP/1.1 keeps
    //    the connection unless `Connection` says `close`, HTTP/1.0 closes it
    //    unless it says `keep-alive`; a body until end-of-file leaves nothing.
    todo!("http_get is not started: {} bytes", input.bytes.len())
}

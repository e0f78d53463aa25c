//! The standard library's reader: one `BufReader` for each connection.
//!
//! Usage: http_get ADDRESS:PORT PATH...
//! See also: read(2); RFC 9112, sections 2 to 9; RFC 9110, section 15

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::Context;

const USAGE: &str = "usage: http_get ADDRESS:PORT PATH...";
const LONGEST_HEAD: u64 = 8192;

type Reader = BufReader<TcpStream>;
type Result<T> = std::result::Result<T, &'static str>;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context(USAGE)?;
    let mut kept: Option<Reader> = None;
    for path in args {
        let mut reader = match kept.take() {
            Some(reader) => reader,
            None => BufReader::with_capacity(
                64 * 1024,
                TcpStream::connect(&address).context("connect")?,
            ),
        };
        println!("GET {path}");
        write!(
            reader.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n"
        )
        .context("write")?;
        let (status, body, keeps) = match answer(&mut reader) {
            Ok(answer) => answer,
            Err(why) => {
                println!("error: {why}");
                continue;
            }
        };
        println!("{status}, {} bytes: {}", body.len(), body.escape_ascii());
        match (keeps, reader.buffer().is_empty()) {
            (true, true) => kept = Some(reader),
            (true, false) => println!("surplus"),
            _ => (),
        }
    }
    Ok(())
}

fn answer(reader: &mut Reader) -> Result<(u16, Vec<u8>, bool)> {
    let (mut version, mut status, mut fields) = head(reader)?;
    while (100..200).contains(&status) {
        (version, status, fields) = head(reader)?;
    }
    let has = |name: &str, word: &str| {
        let values = fields.get(name).map(String::as_str).unwrap_or_default();
        values.split(',').any(|value| value.trim() == word)
    };
    let keeps = match version {
        0 => has("connection", "keep-alive"),
        _ => !has("connection", "close"),
    };
    if status == 204 || status == 304 {
        return Ok((status, Vec::new(), keeps));
    }
    let mut body = Vec::new();
    let chunked = has("transfer-encoding", "chunked");
    match fields.get("content-length") {
        Some(_) if chunked => return Err("two lengths"),
        Some(values) => {
            let mut values = values.split(',').map(str::trim);
            let first = values.next().unwrap_or_default();
            if values.any(|value| value != first) {
                return Err("two lengths");
            }
            let length = digits(first, 10).ok_or("bad length")?;
            copy(reader, length, &mut body)?;
        }
        None if chunked => loop {
            let line = line(&mut reader.by_ref().take(LONGEST_HEAD))?;
            let size = line.split(';').next().unwrap_or_default();
            match digits(size.trim_end(), 16).ok_or("bad chunk")? {
                0 => break,
                size => copy(reader, size, &mut body)?,
            }
            let mut end = [0; 2];
            reader.read_exact(&mut end).map_err(|_| "truncated")?;
            if end != *b"\r\n" {
                return Err("bad chunk");
            }
        },
        None => {
            reader.read_to_end(&mut body).map_err(|_| "truncated")?;
            return Ok((status, body, false));
        }
    }
    if chunked {
        let mut bounded = reader.by_ref().take(LONGEST_HEAD);
        while !line(&mut bounded)?.is_empty() {}
    }
    Ok((status, body, keeps))
}

/// The version's last digit, the status, and the fields: values of one name
/// are joined by commas.
fn head(reader: &mut Reader) -> Result<(u8, u16, HashMap<String, String>)> {
    let mut bounded = reader.by_ref().take(LONGEST_HEAD);
    let first = line(&mut bounded)?;
    let version = match first.get(..9) {
        Some("HTTP/1.0 ") => 0,
        Some("HTTP/1.1 ") => 1,
        _ => return Err("bad status line"),
    };
    let code = first.get(9..12).and_then(|code| digits(code, 10));
    let status = code.ok_or("bad status line")? as u16;
    let mut fields = HashMap::<String, String>::new();
    loop {
        let line = line(&mut bounded)?.to_ascii_lowercase();
        if line.is_empty() {
            return Ok((version, status, fields));
        }
        let (name, value) = line.split_once(':').ok_or("bad field")?;
        fields
            .entry(name.to_string())
            .and_modify(|old| *old = format!("{old},{value}"))
            .or_insert_with(|| value.trim().to_string());
    }
}

/// One line; what ends without a line end was cut by the limit, or by the peer.
fn line<R: BufRead>(reader: &mut std::io::Take<R>) -> Result<String> {
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes).map_err(|_| "truncated")?;
    match bytes.pop() {
        Some(b'\n') => {
            let line = String::from_utf8_lossy(&bytes);
            Ok(line.trim_end_matches('\r').to_string())
        }
        _ if reader.limit() == 0 => Err("head too long"),
        _ => Err("truncated"),
    }
}

fn copy(reader: &mut Reader, count: u64, body: &mut Vec<u8>) -> Result<()> {
    match reader.by_ref().take(count).read_to_end(body) {
        Ok(came) if came as u64 == count => Ok(()),
        _ => Err("truncated"),
    }
}

fn digits(text: &str, radix: u32) -> Option<u64> {
    let all = text.chars().all(|c| c.is_digit(radix));
    u64::from_str_radix(text, radix).ok().filter(|_| all)
}

//! Stand between a client and the servers it asks for.
//!
//! The client of a forward proxy knows that it has one: it sends the whole URI,
//! `GET http://www.example.test/`, or `CONNECT` and a port. The proxy finds the
//! server, opens a second connection, and passes each message on as its own:
//! without the fields that were meant for the first connection alone, with a
//! `Via`. And it must not be the door through which strangers come in.
//!
//! Usage: forward_proxy ADDRESS:PORT TUNNEL_PORT
//! See also: http_get.rs; RFC 9110, sections 7.6 and 9.3.6; RFC 9112, section
//! 3.2; getaddrinfo(3), shutdown(2)

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: forward_proxy ADDRESS:PORT TUNNEL_PORT";
#[allow(dead_code)] // Until you use it; the line can go then.
const VIA: &str = "1.1 ernest-laptop";
const LONGEST_HEAD: usize = 8192;
#[allow(dead_code)] // Until you use it; the line can go then.
/// Fields about one connection, not about the message (RFC 9110, section
/// 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&str; 4] =
    ["connection", "keep-alive", "proxy-connection", "te"];

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context(USAGE)?;
    let tunnels: u16 = args.next().context(USAGE)?.parse().context(USAGE)?;
    let listener = TcpListener::bind(&address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    thread::spawn(move || {
        for conn in listener.incoming().flatten() {
            // What happens to one client is no business of the others.
            thread::spawn(move || serve(conn, tunnels));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).context("read")?;
    Ok(())
}

/// Why there is no answer from the server, as a status.
type Refusal = &'static str;
#[allow(dead_code)]
const BAD_REQUEST: Refusal = "400 Bad Request";
#[allow(dead_code)] // Until you use them; the lines can go then.
const FORBIDDEN: Refusal = "403 Forbidden";
#[allow(dead_code)]
const BAD_GATEWAY: Refusal = "502 Bad Gateway";

/// Serves one client: one request after the other, or a tunnel.
fn serve(conn: TcpStream, tunnels: u16) -> io::Result<()> {
    let mut client = Input { conn, bytes: Vec::new() };
    while let Some(request) = Head::read(&mut client)? {
        let words: Vec<&str> = request.line.split(' ').collect();
        let (method, target) = match words[..] {
            [method, target, _] => (method, target),
            _ => ("?", "?"),
        };
        let keeps = !request.list("connection").iter().any(|w| w == "close");
        let name = target.strip_prefix("http://").unwrap_or(target);
        let done = match method {
            "CONNECT" => match tunnel(&mut client, target, tunnels) {
                Ok((there, back)) => {
                    let bytes = format!("{there} bytes there, {back} back");
                    println!("CONNECT {target} 200, {bytes}");
                    return Ok(());
                }
                Err(refusal) => Err(refusal),
            },
            _ => forward(&mut client, &request, method, target),
        };
        let goes_on = match done {
            Ok((status, whole)) => {
                println!("{method} {name} {status}");
                whole
            }
            Err(refusal) => {
                let answer =
                    format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n");
                client.conn.write_all(answer.as_bytes())?;
                println!("{method} {name} {}", &refusal[..3]);
                true
            }
        };
        if !keeps || !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes one request and its answer on: the status, and whether the client's
/// connection can be kept.
fn forward(
    client: &mut Input,
    request: &Head,
    method: &str,
    target: &str,
) -> Result<(String, bool), Refusal> {
    // 1. `target` is `http://HOST[:PORT][/PATH]`; anything else is a
    //    BAD_REQUEST. `open` a connection to it; the port is 80 unless said.
    // 2. Send the request on: its line with the path alone, and `HTTP/1.1`; one
    //    Host, which is the HOST[:PORT] of `target` and not the client's; its
    //    other fields as `for_next_hop` leaves them; and `Connection: close`,
    //    which is your word to the server.
    // 3. Read the head of the answer; none is a BAD_GATEWAY. Send it to the
    //    client as `for_next_hop` leaves it, and then the body: `relay_body`
    //    knows where it ends, and whether the client's connection can be kept.
    let early = client.bytes.len();
    todo!(
        "forward is not started: {method} {target}, {early}, {}",
        request.line
    )
}

/// Opens a connection to `HOST` or `HOST:PORT`, unless it is inside.
#[allow(dead_code)] // Until you use it; the line can go then.
fn open(authority: &str, port: u16) -> Result<Input, Refusal> {
    // 4. Look the host up; `to_socket_addrs` calls getaddrinfo(3). Take its
    //    IPv4 addresses. If one of them is inside: FORBIDDEN. Connect to the
    //    first that answers. No such host, and nobody who answers, are a
    //    BAD_GATEWAY; a port that is no number is a BAD_REQUEST.
    todo!("open is not started: {authority}, {port}")
}

#[allow(dead_code)] // Until you use it; the line can go then.
/// Is it an address of this host, or of the network that the proxy protects?
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
        }
        IpAddr::V6(_) => true,
    }
}

/// Connects the client to a port, and carries bytes both ways until both have
/// ended: how many there, and how many back.
fn tunnel(
    client: &mut Input,
    target: &str,
    tunnels: u16,
) -> Result<(u64, u64), Refusal> {
    // 5. `target` is `HOST:PORT`. Any port but `tunnels` is FORBIDDEN. Open it,
    //    and answer `HTTP/1.1 200 OK`, without any field or body.
    // 6. From here on bytes are bytes: pass on what comes from either side. When
    //    one side has ended, pass its end on (shutdown(2)), and go on with the
    //    other direction until that has ended too. What is in `client.bytes`
    //    has come already.
    let early = client.bytes.len();
    todo!("tunnel is not started: {target}, {tunnels}, {early} bytes")
}

/// A connection, and what has been read from it and not used yet.
struct Input {
    conn: TcpStream,
    bytes: Vec<u8>,
}

impl Input {
    /// Reads once; `false`: there is no more.
    fn more(&mut self) -> io::Result<bool> {
        let mut buf = [0; 4096];
        let count = self.conn.read(&mut buf)?;
        self.bytes.extend(&buf[..count]);
        Ok(count > 0)
    }

    /// Everything up to and with `end`; `None`: end-of-file before anything.
    fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            let at = self.bytes.windows(end.len()).position(|w| w == end);
            if let Some(at) = at {
                return Ok(Some(self.bytes.drain(..at + end.len()).collect()));
            }
            if self.bytes.len() > LONGEST_HEAD {
                return Err(ErrorKind::InvalidData.into());
            }
            if !self.more()? {
                return match self.bytes.is_empty() {
                    true => Ok(None),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    #[allow(dead_code)] // Until you use it; the line can go then.
    /// Passes the next `left` bytes on.
    fn pass(&mut self, mut left: usize, to: &mut TcpStream) -> io::Result<()> {
        while left > 0 {
            if self.bytes.is_empty() && !self.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let count = left.min(self.bytes.len());
            to.write_all(&self.bytes[..count])?;
            self.bytes.drain(..count);
            left -= count;
        }
        Ok(())
    }
}

/// The first line and the fields of a request or an answer.
#[derive(Clone)]
struct Head {
    line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn read(input: &mut Input) -> io::Result<Option<Head>> {
        let Some(bytes) = input.until(b"\r\n\r\n")? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_string();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields =
            fields.map(|(name, value)| (name.into(), value.trim().into()));
        Ok(Some(Head { line, fields: fields.collect() }))
    }

    /// The elements of all fields of this name, in lower case.
    fn list(&self, name: &str) -> Vec<String> {
        let fields =
            self.fields.iter().filter(|f| f.0.eq_ignore_ascii_case(name));
        let words = fields.flat_map(|field| field.1.split(','));
        words.map(|word| word.trim().to_ascii_lowercase()).collect()
    }

    /// What of it goes on to the next connection.
    #[allow(dead_code)] // Until you use it; the line can go then.
    fn for_next_hop(&self) -> Head {
        // 7. Without the HOP_BY_HOP fields, and without those that a
        //    `Connection` field names; in either case upper and lower case are
        //    one. Behind the last, `Via: ` and VIA.
        todo!("for_next_hop is not started: {}", self.line)
    }

    #[allow(dead_code)] // Until you use it; the line can go then.
    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        (text + "\r\n").into_bytes()
    }
}

#[allow(dead_code)] // Until you use it; the line can go then.
/// Passes the body of an answer on, as it is; `false`: only the end of the
/// connection ends it.
fn relay_body(
    from: &mut Input,
    to: &mut Input,
    method: &str,
    head: &Head,
) -> io::Result<bool> {
    let to = &mut to.conn;
    let status = head.line.split(' ').nth(1).unwrap_or_default();
    if method == "HEAD" || status == "204" || status == "304" {
        return Ok(true);
    }
    if head.list("transfer-encoding").iter().any(|word| word == "chunked") {
        loop {
            let line = from.until(b"\r\n")?.unwrap_or_default();
            to.write_all(&line)?;
            let text = String::from_utf8_lossy(&line);
            let size = text.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16);
            match size.map_err(|_| ErrorKind::InvalidData)? {
                0 => break,
                size => from.pass(size + 2, to)?,
            }
        }
        loop {
            let line = from.until(b"\r\n")?.unwrap_or_default();
            to.write_all(&line)?;
            if line.len() <= 2 {
                return Ok(true);
            }
        }
    }
    match head.list("content-length").first().map(|text| text.parse()) {
        Some(Ok(length)) => from.pass(length, to).map(|()| true),
        Some(Err(_)) => Err(ErrorKind::InvalidData.into()),
        None => {
            to.write_all(&std::mem::take(&mut from.bytes))?;
            io::copy(&mut from.conn, to).map(|_| false)
        }
    }
}

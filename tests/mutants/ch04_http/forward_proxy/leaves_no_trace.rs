//! The mistake: no Via is added.
//!
//! Usage: forward_proxy ADDRESS:PORT TUNNEL_PORT
//! See also: http_get.rs; RFC 9110, sections 7.6 and 9.3.6; RFC 9112, section
//! 3.2; getaddrinfo(3), shutdown(2)

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: forward_proxy ADDRESS:PORT TUNNEL_PORT";
const LONGEST_HEAD: usize = 8192;
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
const BAD_REQUEST: Refusal = "400 Bad Request";
const FORBIDDEN: Refusal = "403 Forbidden";
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
    let rest = target.strip_prefix("http://").ok_or(BAD_REQUEST)?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let path = if path.is_empty() { "/" } else { path };
    let mut origin = open(authority, 80)?;

    let mut ours = request.for_next_hop();
    ours.line = format!("{method} {path} HTTP/1.1");
    // Whatever the client's Host says, the URI counts (RFC 9112, section 3.2.2).
    ours.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
    ours.fields.insert(0, ("Host".into(), authority.into()));
    // A real proxy would keep this connection for others.
    ours.fields.push(("Connection".into(), "close".into()));
    origin.conn.write_all(&ours.bytes()).map_err(|_| BAD_GATEWAY)?;

    let answer = Head::read(&mut origin).ok().flatten().ok_or(BAD_GATEWAY)?;
    let status = answer.line.split(' ').nth(1).ok_or(BAD_GATEWAY)?;
    let head = answer.for_next_hop().bytes();
    let whole = client
        .conn
        .write_all(&head)
        .and_then(|()| relay_body(&mut origin, client, method, &answer));
    Ok((status.to_string(), whole.unwrap_or(false)))
}

/// Opens a connection to `HOST` or `HOST:PORT`, unless it is inside.
fn open(authority: &str, port: u16) -> Result<Input, Refusal> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| BAD_REQUEST)?),
        None => (authority, port),
    };
    let found = (host, port).to_socket_addrs().map_err(|_| BAD_GATEWAY)?;
    let addresses: Vec<_> = found.filter(|address| address.is_ipv4()).collect();
    // Asked of the addresses: a name can lead anywhere. And the one that was
    // asked about is the one to connect to: the next answer may be another.
    if addresses.iter().any(|address| is_inside(address.ip())) {
        return Err(FORBIDDEN);
    }
    let conn = TcpStream::connect(&addresses[..]).map_err(|_| BAD_GATEWAY)?;
    Ok(Input { conn, bytes: Vec::new() })
}

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
    let (_, port) = target.rsplit_once(':').ok_or(BAD_REQUEST)?;
    if port.parse() != Ok(tunnels) {
        return Err(FORBIDDEN);
    }
    let origin = open(target, tunnels)?.conn;
    let mut carry = || -> io::Result<(u64, u64)> {
        client.conn.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        // What came right behind the request is the server's.
        (&origin).write_all(&client.bytes)?;
        let early = client.bytes.len() as u64;
        thread::scope(|scope| {
            let there = scope.spawn(|| pass(&client.conn, &origin));
            let back = pass(&origin, &client.conn);
            let there = there.join().unwrap_or(0);
            Ok((early + there, back))
        })
    };
    carry().map_err(|_| BAD_GATEWAY)
}

/// One direction. Its end is passed on, and is not the end of the other.
fn pass(mut from: &TcpStream, mut to: &TcpStream) -> u64 {
    let bytes = io::copy(&mut from, &mut to).unwrap_or(0);
    let _ = to.shutdown(Shutdown::Write); // Who has reset needs no FIN.
    bytes
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
    fn for_next_hop(&self) -> Head {
        let named = self.list("connection");
        let mut next = self.clone();
        next.fields.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !named.contains(&name) && !HOP_BY_HOP.contains(&name.as_str())
        });
        next
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        (text + "\r\n").into_bytes()
    }
}

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

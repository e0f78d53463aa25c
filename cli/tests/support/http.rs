//! Requests as a browser sends them, and as one does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than any answer takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The address in a line that names it: `http://127.0.0.1:PORT`.
pub fn address(line: &str) -> String {
    let at = line.find("http://").unwrap() + "http://".len();
    let end =
        line[at..].find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
    line[at..][..end.unwrap_or(line.len() - at)].to_string()
}

/// A page of a server at `address`.
pub fn get(address: &str, path: &str) -> String {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n"))
}

/// The whole answer to a request's head, which lacks its last, empty line.
pub fn request(address: &str, head: &str) -> String {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{head}Connection: close\r\n\r\n");
    peer.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

//! Requests as a browser sends them, and as one does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// More than any answer takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The address in a line that names it: `http://127.0.0.1:PORT`.
pub fn address(line: &str) -> String {
    let at = line.find("http://").unwrap() + "http://".len();
    let not_ours = |c: char| c != '.' && c != ':' && !c.is_ascii_digit();
    let end = line[at..].find(not_ours);
    line[at..][..end.unwrap_or(line.len() - at)].to_string()
}

/// A page of a server at `address`.
pub fn get(address: &str, path: &str) -> String {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n"), "")
}

/// The whole answer to a request: its head, which lacks its last, empty line,
/// and its body.
pub fn request(address: &str, head: &str, body: &str) -> String {
    let mut answer = Vec::new();
    send(address, head, body).read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn send(address: &str, head: &str, body: &str) -> TcpStream {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    peer.write_all(request.as_bytes()).unwrap();
    peer
}

/// A page that is open in a browser: it has the server's token.
pub struct Page {
    pub address: String,
    token: String,
    name: String,
}

impl Page {
    pub fn open(address: &str, name: &str) -> Page {
        let page = get(address, "/introduction.html");
        let at = page.find("token&quot;:&quot;").expect("a token") + 18;
        let token = page[at..].chars().take_while(char::is_ascii_hexdigit);
        Page {
            address: address.to_string(),
            token: token.collect(),
            name: name.to_string(),
        }
    }

    /// The head of a request of this page.
    pub fn head(&self, method: &str, path: &str) -> String {
        let Page { address, token, name } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n\
             Origin: http://{address}\r\nSec-Fetch-Site: same-origin\r\n\
             X-Lab-Token: {token}\r\nX-Lab-Page: {name}\r\n"
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> String {
        let head = self.head("POST", path);
        request(&self.address, &head, &body.to_string())
    }

    pub fn get(&self, path: &str) -> String {
        request(&self.address, &self.head("GET", path), "")
    }

    /// A stream of events. Dropping it is what a reader does who leaves.
    pub fn stream(&self, method: &str, path: &str, body: &Value) -> Events {
        let head = self.head(method, path);
        let body =
            if body.is_null() { String::new() } else { body.to_string() };
        Events { lines: BufReader::new(send(&self.address, &head, &body)) }
    }
}

/// Server-sent events as they come.
pub struct Events {
    lines: BufReader<TcpStream>,
}

impl Iterator for Events {
    type Item = (String, Value);

    /// The next event; `None`: the stream is over.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut event = None;
        loop {
            let mut line = Vec::new();
            if self.lines.read_until(b'\n', &mut line).unwrap() == 0 {
                return None;
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("event: ") {
                event = Some(name.to_string());
            }
            if let (Some(data), Some(name)) =
                (line.strip_prefix("data: "), &event)
            {
                let data = serde_json::from_str(data).unwrap();
                return Some((name.clone(), data));
            }
        }
    }
}

impl Events {
    /// The next event of this name.
    #[track_caller]
    pub fn wait_for(&mut self, name: &str) -> Value {
        let found = self.find(|(event, _)| event == name);
        found.unwrap_or_else(|| panic!("no event {name}")).1
    }
}

//! The Web server: one page, by the rules of HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! Left out: a Date, so that every run's bytes are the same, and the bodies of
//! requests: a request with one is answered, and then the connection closed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Stop;

/// What `/` is.
pub const PAGE: &str = "\
<!DOCTYPE html>
<html><head><title>www.example.test</title></head>
<body><p>This page crossed a router to reach you.</p></body></html>
";

/// More connections than these are closed at once.
const MOST_CONNECTIONS: usize = 64;
/// Request line and header fields of one request.
const LONGEST_HEAD: usize = 8192;
/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the rest of a refused request is read and thrown away.
const LINGER: Duration = Duration::from_secs(1);

/// Answers whoever connects to any of the listeners.
pub(super) fn serve(listeners: &[TcpListener], stop: &Stop) {
    let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        while let Some(ready) = stop.wait(&fds, Duration::MAX) {
            let Ok((conn, _peer)) = listeners[ready].accept() else { continue };
            if open.fetch_add(1, Ordering::Relaxed) < MOST_CONNECTIONS {
                scope.spawn(|| {
                    talk(conn, stop);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            } else {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
}

/// Answers the requests of one connection, in their order.
fn talk(mut conn: TcpStream, stop: &Stop) {
    // A peer that reads nothing must not keep the server from stopping.
    let _ = conn.set_write_timeout(Some(LINGER));
    let mut input = Vec::new();
    while let Some(request) = next_request(&mut conn, &mut input, stop) {
        let response = Response::to(request.as_deref());
        if conn.write_all(&response.bytes).is_err() {
            return;
        }
        if response.closes {
            break;
        }
    }
    // A close with unread data is a reset, and destroys the answer on its way
    // (RFC 9112, section 9.6): read on until the peer has closed.
    let _ = conn.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    let mut rest = [0; LONGEST_HEAD];
    while read(&mut conn, &mut rest, stop, deadline).is_some() {}
}

/// The next request's line and fields, or `Err` where they do not end. `None`:
/// there is no next one.
fn next_request(
    conn: &mut TcpStream,
    input: &mut Vec<u8>,
    stop: &Stop,
) -> Option<Result<String, ()>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let head: Vec<u8> = input.drain(..end + 4).collect();
            return Some(Ok(String::from_utf8_lossy(&head).into_owned()));
        }
        if input.len() > LONGEST_HEAD {
            return Some(Err(()));
        }
        let mut more = [0; 2048];
        let length = read(conn, &mut more, stop, deadline)?;
        input.extend(&more[..length]);
    }
}

/// Reads what has come. `None`: the peer has closed, time is up, or the server
/// is to stop.
fn read(
    conn: &mut TcpStream,
    buffer: &mut [u8],
    stop: &Stop,
    deadline: Instant,
) -> Option<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    stop.wait(&[conn.as_fd()], left)?;
    conn.read(buffer).ok().filter(|length| *length > 0)
}

struct Response {
    bytes: Vec<u8>,
    /// Does the connection end with it?
    closes: bool,
}

impl Response {
    fn to(head: Result<&str, &()>) -> Response {
        let Ok(head) = head else {
            let status = "431 Request Header Fields Too Large";
            return Response::new(status, status, true, true);
        };
        let Some(request) = Request::parse(head) else {
            let status = "400 Bad Request";
            return Response::new(status, status, true, true);
        };
        let (status, body) = match (request.method, request.path) {
            ("GET" | "HEAD", "/") => ("200 OK", PAGE),
            ("GET" | "HEAD", _) => ("404 Not Found", "404 Not Found\n"),
            _ => ("501 Not Implemented", "501 Not Implemented\n"),
        };
        Response::new(status, body, request.method != "HEAD", request.closes)
    }

    /// To HEAD the length is that of the body which GET would have had (RFC
    /// 9110, section 8.6).
    fn new(status: &str, body: &str, whole: bool, closes: bool) -> Response {
        let kind = if body == PAGE { "text/html" } else { "text/plain" };
        let connection = if closes { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 {status}\r\n\
             Content-Type: {kind}; charset=utf-8\r\n\
             Content-Length: {}\r\n\
             Connection: {connection}\r\n\r\n",
            body.len()
        );
        let body = if whole { body } else { "" };
        Response { bytes: (head + body).into_bytes(), closes }
    }
}

/// What of a request decides its answer.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    closes: bool,
}

impl<'a> Request<'a> {
    /// `None`: this is not HTTP/1.
    fn parse(head: &'a str) -> Option<Request<'a>> {
        let mut lines = head.split("\r\n");
        let words: Vec<&str> = lines.next()?.split(' ').collect();
        let [method, target, version] = words[..] else { return None };
        let old = match version {
            "HTTP/1.0" => true,
            "HTTP/1.1" => false,
            _ => return None,
        };
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase())
        {
            return None;
        }
        let mut fields = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':')?;
            if field.is_empty() || field.contains([' ', '\t']) {
                return None; // RFC 9112, section 5.1
            }
            fields.push((field.to_ascii_lowercase(), value.trim()));
        }
        let has = |name: &str| fields.iter().any(|field| field.0 == name);
        if !old && !has("host") {
            return None; // RFC 9112, section 3.2
        }
        let says = |word: &str| {
            let mut connection =
                fields.iter().filter(|field| field.0 == "connection");
            connection.any(|field| {
                field.1.split(',').any(|w| w.trim().eq_ignore_ascii_case(word))
            })
        };
        let body = has("content-length") || has("transfer-encoding");
        let keeps = if old { says("keep-alive") } else { !says("close") };
        Some(Request { method, path: path(target)?, closes: body || !keeps })
    }
}

/// The path of `/path?query` or of `http://host/path`, which every server must
/// take (RFC 9112, section 3.2.2).
fn path(target: &str) -> Option<&str> {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let path = path.split('?').next()?;
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closes(head: &str) -> Option<bool> {
        Request::parse(head).map(|request| request.closes)
    }

    #[test]
    fn a_connection_is_kept_as_its_version_says() {
        assert_eq!(closes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(false));
        let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
        assert_eq!(closes(asked), Some(true));
        assert_eq!(closes("GET / HTTP/1.0\r\n\r\n"), Some(true));
        let kept = "GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n";
        assert_eq!(closes(kept), Some(false));
    }

    #[test]
    fn nonsense_is_not_a_request() {
        for head in [
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\nHost: a\r\n\r\n",
            "get / HTTP/1.0\r\n\r\n",
            "GET  / HTTP/1.0\r\n\r\n",
            "GET x HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
        ] {
            assert_eq!(Request::parse(head), None, "{head:?}");
        }
    }

    #[test]
    fn an_absolute_target_has_a_path_too() {
        assert_eq!(path("http://www.example.test"), Some("/"));
        assert_eq!(path("http://www.example.test/a?b"), Some("/a"));
        assert_eq!(path("*"), None);
    }
}

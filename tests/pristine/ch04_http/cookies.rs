//! Keep what servers ask to be remembered, and show it to nobody else.
//!
//! HTTP remembers nothing between two requests. A server that wants to know its
//! client again sends `Set-Cookie`, and the client returns the cookie in its
//! `Cookie` field: to this server, or to a whole domain, and below a path. Which
//! requests those are is decided by the client alone, and a server that is not
//! meant to see a cookie relies on that.
//!
//! Usage: cookies ADDRESS:PORT URL...
//! See also: RFC 6265, sections 4.1 and 5; RFC 9110, section 3.3

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::Context;

const USAGE: &str = "usage: cookies ADDRESS:PORT URL...";
/// Domains below which anybody may have a name. Real clients have a list of
/// some 10,000, which is kept at publicsuffix.org.
#[allow(dead_code)] // Until you use it; the line can go then.
const PUBLIC_SUFFIXES: [&str; 2] = ["test", "co.test"];

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context(USAGE)?;
    let mut jar = Jar::default();
    for url in args {
        println!("GET {url}");
        let rest = url.strip_prefix("http://").context("not a http URL")?;
        let (host, path) = rest.split_at(rest.find('/').context("no path")?);
        let cookies = jar.field(host, path);
        let head = get(&address, host, path, &cookies)?;
        for line in head.lines() {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("set-cookie")
            {
                println!("{}", jar.store(host, path, value));
            }
        }
    }
    Ok(())
}

/// One request on a connection of its own, to the one address there is; the
/// head of the answer.
fn get(
    address: &str,
    host: &str,
    path: &str,
    cookies: &str,
) -> anyhow::Result<String> {
    let mut conn = TcpStream::connect(address).context("connect")?;
    let cookie = match cookies {
        "" => String::new(),
        cookies => format!("Cookie: {cookies}\r\n"),
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{cookie}\
         Connection: close\r\n\r\n"
    );
    conn.write_all(request.as_bytes()).context("write")?;
    let mut answer = Vec::new();
    conn.read_to_end(&mut answer).context("read")?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split("\r\n\r\n").next().unwrap_or_default().to_string())
}

/// The cookies. What you keep of each is up to you.
#[derive(Default)]
struct Jar {}

impl Jar {
    /// Takes one Set-Cookie field in, by RFC 6265, sections 5.2 and 5.3; what
    /// became of it.
    fn store(&mut self, host: &str, path: &str, field: &str) -> String {
        // 1. Before the first `;` stand NAME=VALUE, behind it attributes, each
        //    before the next `;`: KEY=VALUE or KEY. White space around names,
        //    keys and values does not count, nor does the case of a key. Of two
        //    attributes of one key the last counts. No `=` before the first
        //    `;`, or no name: return `ignored`.
        // 2. Domain: without the dot that it may begin with, in lower case. If
        //    it is one of PUBLIC_SUFFIXES, and not the host itself: return
        //    `refused NAME: public suffix`. If the host is neither the domain
        //    nor below it: `refused NAME: not for this host`. An IP address is
        //    below nothing. An empty Domain counts as none, and with none the
        //    cookie is for this host alone.
        // 3. Path: with none, or one that does not begin with `/`, it is the
        //    request's path up to its last `/`, and without that; `/` where
        //    there is no other.
        // 4. Max-Age, a number of seconds, perhaps with `-` before it; anything
        //    else counts as none. With 0 or less, one that has this name, domain
        //    and path is removed: return `removed NAME`.
        // 5. Else keep it, in the place of one with the same name, domain and
        //    path, or behind all others. Return `kept NAME: only HOST, PATH` or
        //    `kept NAME: all of DOMAIN, PATH`.
        todo!("cookies is not started: {host} {path} sets {field}")
    }

    /// What the Cookie field of a request says, by section 5.4; empty: there is
    /// none.
    fn field(&self, _host: &str, _path: &str) -> String {
        // 6. Show `NAME=VALUE; NAME=VALUE`: cookies for this host, or for a
        //    domain that it is or is below; of this path, or of one that it is
        //    below, as `/shop/cart` is below `/shop` and `/shop/`, and
        //    `/shopping` is not; not over; and not Secure, which is for https.
        //    The longest path first; of one length, the first that was kept.
        String::new()
    }
}

//! The mistake: a Max-Age that is over already is only remembered.
//!
//! Usage: cookies ADDRESS:PORT URL...
//! See also: RFC 6265, sections 4.1 and 5; RFC 9110, section 3.3

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;

const USAGE: &str = "usage: cookies ADDRESS:PORT URL...";
/// Domains below which anybody may have a name. Real clients have a list of
/// some 10,000, which is kept at publicsuffix.org.
const PUBLIC_SUFFIXES: [&str; 2] = ["test", "co.test"];
/// No cookie is kept for longer: 400 days, in seconds.
const LONGEST: u64 = 400 * 24 * 60 * 60;

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

/// The cookies, in the order in which they were first set.
#[derive(Default)]
struct Jar {
    cookies: Vec<Cookie>,
}

struct Cookie {
    name: String,
    value: String,
    domain: String,
    /// Only for the host that is `domain`, not for those below it.
    host_only: bool,
    path: String,
    secure: bool,
    ends: Option<Instant>,
}

impl Jar {
    /// Takes one Set-Cookie field in, by RFC 6265, sections 5.2 and 5.3; what
    /// became of it.
    fn store(&mut self, host: &str, path: &str, field: &str) -> String {
        let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                (name.trim().to_string(), value.trim().to_string())
            }
            _ => return "ignored".into(),
        };
        let mut cookie = Cookie {
            name: name.clone(),
            value,
            domain: host.to_string(),
            host_only: true,
            path: default_path(path).to_string(),
            secure: false,
            ends: None,
        };
        let mut domain = String::new();
        // Of several attributes of one name the last one counts.
        for attribute in attributes.split(';') {
            let (key, value) =
                attribute.split_once('=').unwrap_or((attribute, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "domain" if !value.is_empty() => {
                    let value = value.strip_prefix('.').unwrap_or(value);
                    domain = value.to_ascii_lowercase();
                }
                "path" if value.starts_with('/') => cookie.path = value.into(),
                "path" => cookie.path = default_path(path).to_string(),
                "max-age" => cookie.ends = end(value).or(cookie.ends),
                "secure" => cookie.secure = true,
                _ => (),
            }
        }
        if PUBLIC_SUFFIXES.contains(&domain.as_str()) && domain != host {
            return format!("refused {name}: public suffix");
        }
        if !domain.is_empty() && !domain_matches(host, &domain) {
            return format!("refused {name}: not for this host");
        }
        if !domain.is_empty() && !PUBLIC_SUFFIXES.contains(&domain.as_str()) {
            (cookie.domain, cookie.host_only) = (domain, false);
        }
        self.put(cookie)
    }

    /// One with the name, domain and path of another takes its place.
    fn put(&mut self, cookie: Cookie) -> String {
        let same = |old: &Cookie| {
            (&old.name, &old.domain, &old.path)
                == (&cookie.name, &cookie.domain, &cookie.path)
        };
        let at = self.cookies.iter().position(same);
        let Cookie { name, domain, path, .. } = &cookie;
        let whom = if cookie.host_only { "only" } else { "all of" };
        let text = format!("kept {name}: {whom} {domain}, {path}");
        match at {
            Some(at) => self.cookies[at] = cookie,
            None => self.cookies.push(cookie),
        }
        text
    }

    /// What the Cookie field of a request says, by section 5.4; empty: there is
    /// none.
    fn field(&self, host: &str, path: &str) -> String {
        let now = Instant::now();
        let mut shown: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| match cookie.host_only {
                true => cookie.domain == host,
                false => domain_matches(host, &cookie.domain),
            })
            .filter(|cookie| path_matches(path, &cookie.path))
            .filter(|cookie| !cookie.secure) // We speak http:// alone.
            .filter(|cookie| cookie.ends.is_none_or(|ends| now < ends))
            .collect();
        // A stable sort: those with paths of one length stay in their order.
        shown.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = shown.iter().map(|c| format!("{}={}", c.name, c.value));
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// Is the host the domain, or below it? An address is below nothing.
fn domain_matches(host: &str, domain: &str) -> bool {
    let below =
        host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
            && host.parse::<IpAddr>().is_err();
    host == domain || below
}

/// Is the path the cookie's, or below it? `/shop` is not above `/shopping`.
fn path_matches(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie).is_some_and(|rest| {
        rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/')
    })
}

/// The path up to its last `/`, and without that, unless it is the only one.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// When a cookie of this Max-Age ends; `None`: this is no Max-Age.
fn end(text: &str) -> Option<Instant> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = match text.starts_with('-') {
        true => 0,
        false => digits.parse().unwrap_or(LONGEST).min(LONGEST),
    };
    Some(Instant::now() + Duration::from_secs(seconds))
}

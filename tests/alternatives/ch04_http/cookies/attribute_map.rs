//! The attributes in a map, the cookies in another: their keys say what a
//! cookie is known by, and a number beside each says when it was first set.
//!
//! Usage: cookies ADDRESS:PORT URL...
//! See also: RFC 6265, sections 4.1 and 5; RFC 9110, section 3.3

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;

const USAGE: &str = "usage: cookies ADDRESS:PORT URL...";
/// Domains below which anybody may have a name. Real clients have a list of
/// some 10,000, which is kept at publicsuffix.org.
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

#[derive(Default)]
struct Jar {
    cookies: BTreeMap<Key, Cookie>,
    set: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    domain: String,
    path: String,
    name: String,
}

struct Cookie {
    value: String,
    number: usize,
    given: bool,
    attributes: HashMap<String, String>,
    since: Instant,
}

impl Jar {
    fn store(&mut self, host: &str, path: &str, field: &str) -> String {
        let mut parts = field.split(';');
        let Some((name, value)) = parts.next().and_then(|p| p.split_once('='))
        else {
            return "ignored".to_string();
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return "ignored".to_string();
        }
        let mut attributes = HashMap::new();
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim().to_lowercase(), value.trim());
            let counts = match key.as_str() {
                "domain" => !value.is_empty(),
                "max-age" => value.parse::<i64>().is_ok(),
                _ => true,
            };
            if counts {
                attributes.insert(key, value.to_string());
            }
        }
        let given = attributes.get("domain").map(|d| d.to_lowercase());
        let given = given.map(|d| d.trim_start_matches('.').to_string());
        let mut is_given = given.is_some();
        if let Some(domain) = given.as_deref() {
            if PUBLIC_SUFFIXES.contains(&domain) {
                if domain != host {
                    return format!("refused {name}: public suffix");
                }
                is_given = false;
            } else if !is_in(host, domain) {
                return format!("refused {name}: not for this host");
            }
        }
        let folder = match path.rsplit_once('/') {
            Some((folder, _)) if !folder.is_empty() => folder,
            _ => "/",
        };
        let path = attributes.get("path").filter(|p| p.starts_with('/'));
        let key = Key {
            domain: given.unwrap_or(host.to_string()),
            path: path.cloned().unwrap_or(folder.to_string()),
            name: name.to_string(),
        };
        let over = attributes.get("max-age").map(|age| !age.starts_with('-'));
        let zero = attributes.get("max-age").is_some_and(|age| {
            age.parse::<i64>().is_ok_and(|seconds| seconds <= 0)
        });
        if over == Some(false) || zero {
            self.cookies.remove(&key);
            return format!("removed {name}");
        }
        self.set += 1;
        let whom = if is_given { "all of" } else { "only" };
        let text = format!("kept {name}: {whom} {}, {}", key.domain, key.path);
        let old = self.cookies.get(&key).map(|cookie| cookie.number);
        let cookie = Cookie {
            value: value.to_string(),
            number: old.unwrap_or(self.set),
            given: is_given,
            attributes,
            since: Instant::now(),
        };
        self.cookies.insert(key, cookie);
        text
    }

    fn field(&self, host: &str, path: &str) -> String {
        let mut shown: Vec<(&Key, &Cookie)> = self.cookies.iter().collect();
        shown.retain(|(key, cookie)| {
            let here =
                host == key.domain || cookie.given && is_in(host, &key.domain);
            let folder = key.path.trim_end_matches('/');
            let below =
                path == key.path || path.starts_with(&format!("{folder}/"));
            let age = cookie.attributes.get("max-age");
            let age = age.and_then(|age| age.parse().ok());
            let fresh = age.is_none_or(|age| {
                cookie.since.elapsed() < Duration::from_secs(age)
            });
            let open = !cookie.attributes.contains_key("secure");
            here && below && fresh && open
        });
        shown.sort_by(|(a, first), (b, second)| {
            let longest = b.path.len().cmp(&a.path.len());
            longest.then(first.number.cmp(&second.number))
        });
        let mut text = String::new();
        for (key, cookie) in shown {
            let sign = if text.is_empty() { "" } else { "; " };
            text += &format!("{sign}{}={}", key.name, cookie.value);
        }
        text
    }
}

fn is_in(host: &str, domain: &str) -> bool {
    let address = host.parse::<IpAddr>().is_ok();
    host == domain || !address && host.ends_with(&format!(".{domain}"))
}

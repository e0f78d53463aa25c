//! Who may ask for what.
//!
//! Programs that a learner wrote are started from here, so nobody but the
//! course's own pages may ask for that. A page of another site runs in the same
//! browser and can send requests to this address. What keeps it out:
//!
//! - `Host` must name this server: a foreign name that suddenly means 127.0.0.1
//!   is not it (DNS rebinding).
//! - `Origin` and `Sec-Fetch-Site`, where a browser sends them, must be ours.
//! - Whatever reads or starts a run needs the token, which stands in our pages
//!   and nowhere else; no other origin can read those.

use std::fs::File;
use std::io::Read;

use anyhow::Context;
use axum::http::{HeaderMap, header};

/// The header that carries the token.
const TOKEN: &str = "x-lab-token";

/// What requests are measured by.
pub struct Guard {
    port: u16,
    token: String,
}

impl Guard {
    /// For the server on this port, with a token of its own.
    ///
    /// # Errors
    ///
    /// /dev/urandom cannot be read.
    pub fn new(port: u16) -> anyhow::Result<Guard> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bytes))
            .context("read /dev/urandom")?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Guard { port, token })
    }

    /// What our own pages are told.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// May this request read a page? If not: why.
    pub fn page(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        self.host(headers)?;
        let mode = text(headers, "sec-fetch-mode");
        let document = text(headers, "sec-fetch-dest") == Some("document");
        // A link from elsewhere may lead here; nothing else may.
        if mode == Some("navigate") && document {
            return Ok(());
        }
        self.site(headers)
    }

    /// May this request start or read a run? If not: why.
    pub fn run(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        self.host(headers)?;
        self.site(headers)?;
        let token = text(headers, TOKEN).unwrap_or_default();
        match same(token, &self.token) {
            true => Ok(()),
            false => Err("the token is missing or wrong: load the page anew"),
        }
    }

    fn host(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let host = text(headers, header::HOST.as_str()).unwrap_or_default();
        match self.is_ours(host) {
            true => Ok(()),
            false => Err("this is no host of that name"),
        }
    }

    /// `127.0.0.1:PORT` or `localhost:PORT`.
    fn is_ours(&self, host: &str) -> bool {
        host.rsplit_once(':').is_some_and(|(name, port)| {
            matches!(name, "127.0.0.1" | "localhost")
                && port == self.port.to_string()
        })
    }

    fn site(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let origin = text(headers, header::ORIGIN.as_str());
        let own = |origin: &str| {
            origin.strip_prefix("http://").is_some_and(|o| self.is_ours(o))
        };
        if origin.is_some_and(|origin| !own(origin)) {
            return Err("another site's page asks");
        }
        match text(headers, "sec-fetch-site") {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) => Err("another site's page asks"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Compares in a time that does not tell how much was right.
fn same(a: &str, b: &str) -> bool {
    let pairs = a.bytes().zip(b.bytes());
    a.len() == b.len() && pairs.fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn our_own_page_may_run() {
        let guard = Guard::new(3000).unwrap();
        let token = guard.token().to_string();
        for host in ["127.0.0.1:3000", "localhost:3000"] {
            let origin = format!("http://{host}");
            let asked = headers(&[
                ("host", host),
                ("origin", &origin),
                ("sec-fetch-site", "same-origin"),
                (TOKEN, &token),
            ]);
            assert_eq!(guard.run(&asked), Ok(()));
            let bare = headers(&[("host", host), (TOKEN, &token)]);
            assert_eq!(guard.run(&bare), Ok(()));
        }
    }

    #[test]
    fn everybody_else_is_refused() {
        let guard = Guard::new(3000).unwrap();
        let token = guard.token().to_string();
        let right = ("host", "127.0.0.1:3000");
        let cases: &[&[(&'static str, &str)]] = &[
            &[(TOKEN, &token)],
            &[("host", "evil.example:3000"), (TOKEN, &token)],
            &[("host", "127.0.0.1:3001"), (TOKEN, &token)],
            &[right],
            &[right, (TOKEN, "")],
            &[right, (TOKEN, &token[1..])],
            &[right, (TOKEN, &token.replace(|_| true, "0"))],
            &[right, (TOKEN, &token), ("origin", "http://evil.example")],
            &[right, (TOKEN, &token), ("origin", "null")],
            &[right, (TOKEN, &token), ("origin", "https://127.0.0.1:3000")],
            &[right, (TOKEN, &token), ("sec-fetch-site", "cross-site")],
            &[right, (TOKEN, &token), ("sec-fetch-site", "same-site")],
        ];
        for case in cases {
            assert!(guard.run(&headers(case)).is_err(), "{case:?}");
        }
    }

    #[test]
    fn a_page_is_read_by_a_link_but_not_by_another_sites_script() {
        let guard = Guard::new(3000).unwrap();
        let from = |mode, dest| {
            headers(&[
                ("host", "localhost:3000"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ])
        };
        assert_eq!(guard.page(&from("navigate", "document")), Ok(()));
        assert!(guard.page(&from("navigate", "iframe")).is_err());
        assert!(guard.page(&from("no-cors", "script")).is_err());
        assert!(guard.page(&from("cors", "empty")).is_err());
    }
}

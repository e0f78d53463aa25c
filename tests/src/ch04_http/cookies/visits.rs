//! The visits: a URL, what may be shown there, and what the answer sets.

use serde::{Deserialize, Serialize};
use testbed::Draw;

/// A request and its answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Visit {
    /// The host of the URL.
    pub host: String,
    /// Its path.
    pub path: String,
    /// What the Cookie field must be; empty: none.
    pub shown: String,
    /// What that is about.
    pub shows: String,
    /// The values of the answer's Set-Cookie fields.
    pub sets: Vec<String>,
    /// What is to be said about them.
    pub said: Vec<String>,
    /// What that is about.
    pub tests: String,
}

impl Visit {
    /// The URL.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }

    /// The answer's bytes.
    pub fn answer(&self) -> String {
        let mut head = String::from("HTTP/1.1 200 OK\r\n");
        for (at, field) in self.sets.iter().enumerate() {
            let name = ["Set-Cookie", "set-cookie", "SET-COOKIE"][at % 3];
            head.push_str(&format!("{name}:{field}\r\n"));
        }
        let body = format!("{}\n", self.path);
        let length = body.len();
        head + &format!(
            "Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    /// One line, without what was drawn.
    pub fn story(&self) -> String {
        let shown = self.shown.split("; ").filter(|pair| !pair.is_empty());
        let said = self.said.iter().map(|line| {
            line.split_once(' ').map_or(line.as_str(), |(word, _)| word)
        });
        let said: Vec<&str> = said.collect();
        format!(
            "{}: {} shown; {}: {}\n",
            self.shows,
            shown.count(),
            self.tests,
            said.join(", ")
        )
    }
}

/// Visits as a user of `lab run` writes them: a URL, and behind `|` what its
/// answer sets.
pub fn given(values: &[String]) -> Vec<Visit> {
    let visits = values.iter().map(|value| {
        let mut parts = value.split('|').map(str::trim);
        let url = parts.next().unwrap_or_default();
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Visit {
            host: host.to_string(),
            path: if path.is_empty() { "/" } else { path }.to_string(),
            sets: parts.map(|part| format!(" {part}")).collect(),
            ..Visit::default()
        }
    });
    visits.collect()
}

/// A visit without cookies, to begin with.
fn visit(host: &str, path: &str) -> Visit {
    Visit { host: host.into(), path: path.into(), ..Visit::default() }
}

impl Visit {
    /// What must be shown, and what that is about.
    fn shown(mut self, shows: &str, shown: impl Into<String>) -> Visit {
        self.shows = shows.into();
        self.shown = shown.into();
        self
    }

    /// What is set and what becomes of it, and what that is about.
    fn sets(mut self, tests: &str, fields: &[(String, String)]) -> Visit {
        self.tests = tests.into();
        for (field, said) in fields {
            self.sets.push(field.clone());
            self.said.push(said.clone());
        }
        self
    }
}

/// The story that is graded.
pub fn visits(draw: &mut Draw) -> Vec<Visit> {
    let base = format!("{}.test", draw.letters(5));
    let other = format!("{}.test", draw.letters(7));
    let www = format!("www.{base}");
    let below = format!("{}.{www}", draw.letters(3));
    let alike = format!("{}{base}", draw.letters(3));
    let shop = format!("/{}", draw.letters(4));
    let deep = format!("{shop}/{}", draw.letters(3));
    let mut name = |begin: &str| format!("{begin}{}", draw.letters(4));
    let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(&mut name);
    let [f, g, h, i, j] = ["f", "g", "h", "i", "j"].map(&mut name);
    let [v, w, x, y, z] = ["v", "w", "x", "y", "z"].map(&mut name);

    let foreign = |name: &str| format!("refused {name}: not for this host");
    const FIRST: &str = "no Path: the folder of the request";
    const ORDER: &str = "the longest path first, then the oldest";
    const SOMEBODY: &str = "a domain of somebody else";
    vec![
        visit(&www, &format!("{shop}/cart")).sets(
            FIRST,
            &[(format!(" {a}={v}"), format!("kept {a}: only {www}, {shop}"))],
        ),
        visit(&www, &format!("{shop}/list")).shown(FIRST, format!("{a}={v}")),
        visit(&www, &shop).shown(FIRST, format!("{a}={v}")),
        visit(&www, &format!("{shop}ping/x"))
            .shown("a path that only begins alike", ""),
        visit(&below, &deep).shown("no Domain: this host alone", "").sets(
            "a Domain: all hosts below it",
            &[(
                format!(" {b}={w}; path=/; DOMAIN=.{}", www.to_uppercase()),
                format!("kept {b}: all of {www}, /"),
            )],
        ),
        visit(&www, &deep).shown(ORDER, format!("{a}={v}; {b}={w}")).sets(
            ORDER,
            &[(
                format!("{c}={x};Path={deep};HttpOnly"),
                format!("kept {c}: only {www}, {deep}"),
            )],
        ),
        visit(&www, &format!("{deep}/y"))
            .shown(ORDER, format!("{c}={x}; {a}={v}; {b}={w}")),
        visit(&base, "/").shown("a Domain: all hosts below it", "").sets(
            "a Domain: all hosts below it",
            &[(
                format!(" {d}={y}; Domain={base}"),
                format!("kept {d}: all of {base}, /"),
            )],
        ),
        visit(&below, "/")
            .shown("a Domain: all hosts below it", format!("{b}={w}; {d}={y}")),
        visit(&alike, "/").shown("a host that only ends alike", "").sets(
            SOMEBODY,
            &[(format!(" {e}={z}; Domain={base}"), foreign(&e))],
        ),
        visit(&other, "/").sets(
            SOMEBODY,
            &[
                (format!(" {e}={z}; Domain={www}"), foreign(&e)),
                (format!(" {f}={z}; Domain=x.{other}"), foreign(&f)),
            ],
        ),
        visit(&other, "/").sets(
            "a domain of everybody",
            &[(
                format!(" {g}={z}; Domain=test"),
                format!("refused {g}: public suffix"),
            )],
        ),
        visit("203.0.113.80", "/").sets(
            "an address is below nothing",
            &[(format!(" {h}={z}; Domain=113.80"), foreign(&h))],
        ),
        // The old one gets a new value, and stays where it was; the new one has
        // the same name and another path.
        visit(&www, &deep)
            .shown(ORDER, format!("{c}={x}; {a}={v}; {b}={w}; {d}={y}"))
            .sets(
                "one name and two paths",
                &[
                    (
                        format!(" {a}={z}; Path={shop}"),
                        format!("kept {a}: only {www}, {shop}"),
                    ),
                    (
                        format!(" {a}={y}; Path=/"),
                        format!("kept {a}: only {www}, /"),
                    ),
                ],
            ),
        visit(&www, &format!("{shop}/z"))
            .shown(
                "one name and two paths",
                format!("{a}={z}; {b}={w}; {d}={y}; {a}={y}"),
            )
            .sets(
                "Max-Age of 0",
                &[
                    (
                        format!(" {b}=; Domain={www}; Path=/; Max-Age=0"),
                        format!("removed {b}"),
                    ),
                    (
                        format!(" {d}={x}; Domain={base}; Max-Age=-1; Path=/"),
                        format!("removed {d}"),
                    ),
                ],
            ),
        visit(&www, &format!("{shop}/z"))
            .shown("Max-Age of 0", format!("{a}={z}; {a}={y}"))
            .sets(
                "Secure, and no https",
                &[(
                    format!(" {i}={v}; Secure; Path=/; Max-Age=86400"),
                    format!("kept {i}: only {www}, /"),
                )],
            ),
        visit(&www, "/")
            .shown("Secure, and no https", format!("{a}={y}"))
            .sets(
                "odd fields",
                &[
                    (format!(" {v}"), "ignored".into()),
                    (format!(" ={w}; Path=/"), "ignored".into()),
                    (
                        format!(
                            "  {j} = \"{x}={y}\" ; Path={deep}; PATH=no; \
                             Domain=; Max-Age=soon; What=ever"
                        ),
                        format!("kept {j}: only {www}, /"),
                    ),
                ],
            ),
        visit(&www, "/")
            .shown("odd fields", format!("{a}={y}; {j}=\"{x}={y}\"")),
    ]
}

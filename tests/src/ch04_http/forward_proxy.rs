//! Grades `forward_proxy`: what goes on to the next connection, and to whom.
//!
//! The scenario is the client on `Kongming20`. In the take `page` it asks for
//! the page of `www.example.test`, then for pages of a server there whose part
//! it plays too, and opens a tunnel. In `refused` it asks for what a proxy must
//! not do. If the machine has curl, it has the last word.

mod judge;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use testbed::{Launch, Profile};

use super::super::ch05_sockets::peer::{Peer, Then};
use super::browser::{Browser, Exchange, hear};
use super::server::Server;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::{Grader, Mutant, Take};
use judge::judge;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "forward_proxy",
    pristine: include_str!("../../pristine/ch04_http/forward_proxy.rs"),
    takes: &[
        Take { name: "page", profile: Profile::Modern },
        Take { name: "refused", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "passes_the_uri", cause: "absolute-form" },
        Mutant { name: "believes_the_host_field", cause: "host-not-replaced" },
        Mutant { name: "leaves_no_trace", cause: "no-via" },
        Mutant { name: "passes_every_field", cause: "hop-by-hop" },
        Mutant { name: "one_and_no_more", cause: "not-kept" },
        Mutant { name: "one_client_at_a_time", cause: "one-at-a-time" },
        Mutant { name: "first_end_ends_both", cause: "tunnel-cut" },
        Mutant { name: "tunnel_to_anywhere", cause: "tunnel-anywhere" },
        Mutant { name: "looks_at_the_name", cause: "inside-by-name" },
        Mutant { name: "silence_is_an_answer", cause: "no-bad-gateway" },
    ],
    alternatives: &["poll_tunnel", "whole_answers"],
};

const PROXY: &str = "proxy";
const WEB: &str = "www.example.test";
const CURL: &str = "/usr/bin/curl";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(LAPTOP)?;
    let tunnels = stage.draw.port();
    stage.fact("address", address.to_string());
    stage.fact("tunnels", tunnels);
    let args = [address.to_string(), tunnels.to_string()];
    let proxy = stage.start(PROXY, LAPTOP, args)?;
    stage.line(proxy, "listening on ")?;
    let mut play = Play { proxy, address, tunnels, told: Vec::new() };
    if !stage.values.is_empty() {
        play.given(stage)?;
    } else if stage.take == "page" {
        play.page(stage)?;
    } else {
        play.refused(stage)?;
    }
    stage.close_stdin(proxy);
    stage.end(proxy)
}

/// The scenario's own part.
struct Play {
    proxy: Role,
    address: SocketAddr,
    tunnels: u16,
    told: Vec<Exchange>,
}

impl Play {
    fn client(&self, stage: &mut Stage) -> Result<Browser, Halt> {
        Browser::connect(stage, KONGMING, self.address)
    }

    /// Asks, waits for the answer, and for what the proxy says about it.
    fn ask(
        &mut self,
        stage: &mut Stage,
        client: &mut Browser,
        kind: &str,
        line: &str,
    ) -> Result<(), Halt> {
        let host = host_of(line);
        let asked = format!("{line}\r\nHost: {host}\r\n\r\n");
        self.begin(stage, client, kind, asked)?;
        self.hear(stage, client)
    }

    fn begin(
        &mut self,
        stage: &mut Stage,
        client: &mut Browser,
        kind: &str,
        asked: String,
    ) -> Result<(), Halt> {
        let line = asked.split(" HTTP/").next().unwrap_or_default();
        stage.step(KONGMING, format!("asks: {line}"))?;
        client.peer.send(&asked);
        let kind = kind.to_string();
        self.told.push(Exchange { kind, asked, ..Exchange::default() });
        stage.fact("told", &self.told);
        Ok(())
    }

    /// Hears the answer to the last request.
    fn hear(
        &mut self,
        stage: &mut Stage,
        client: &mut Browser,
    ) -> Result<(), Halt> {
        let heard = client.answer(stage)?;
        if let Some(last) = self.told.last_mut() {
            last.heard = heard;
        }
        stage.fact("told", &self.told);
        let silent = self.told.last().is_some_and(|last| last.heard.is_empty());
        match silent {
            true => Err(Halt::Missed("waited for an answer".into())),
            false => self.lines(stage, self.told.len()),
        }
    }

    /// Waits until the proxy has told of so many requests.
    fn lines(&self, stage: &mut Stage, count: usize) -> Result<(), Halt> {
        let lines = count + 1;
        stage.patiently(|stage, _| {
            Ok(stage.lines_soon(self.proxy, lines).then_some(()))
        })?;
        Ok(())
    }

    /// What a user of `lab run` asks for, on one connection.
    fn given(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let mut client = self.client(stage)?;
        for value in stage.values.clone() {
            let line = match value.contains(' ') {
                true => format!("{value} HTTP/1.1"),
                false => format!("GET {value} HTTP/1.1"),
            };
            self.ask(stage, &mut client, "given", &line)?;
            let status = self.told.last().map_or("", |last| last.status());
            stage.step(KONGMING, format!("hears {status}"))?;
        }
        if stage.story {
            drop(client);
            stage.frames("fin from Kongming20", 1)?;
        }
        Ok(())
    }

    fn page(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let mut client = self.client(stage)?;
        let page = format!("GET http://{WEB}/ HTTP/1.1");
        self.ask(stage, &mut client, "the page", &page)?;
        let absent = format!("GET http://{WEB}/{} HTTP/1.1", name(stage));
        self.ask(stage, &mut client, "a page that is not there", &absent)?;

        let mut second = self.client(stage)?;
        let kind = "the page for a second client";
        self.ask(stage, &mut second, kind, &page)?;

        let port = stage.draw.port();
        let origin = SocketAddr::new(stage.net.host(WEB)?.ip(), port);
        let mut server = Server::listen(stage, WEB, origin)?;
        let coding = "Transfer-Encoding: chunked\r\nConnection: x-gone, close";
        let (a, b) = (name(stage), name(stage));
        let body = format!("6;x=1\r\n{a}\r\n6\r\n{b}\r\n0\r\n\r\n");
        self.through(stage, &mut client, &mut server, port, coding, &body)?;
        let length =
            "Content-Length: 16\r\nConnection: X-Gone\r\nKeep-Alive: 5";
        let body = format!("{a}\r\n\r\n{b}");
        self.through(stage, &mut client, &mut server, port, length, &body)?;
        self.tunnel(stage, &mut client)
    }

    /// A page of a server that shows what has come to it.
    fn through(
        &mut self,
        stage: &mut Stage,
        client: &mut Browser,
        server: &mut Server,
        port: u16,
        fields: &str,
        body: &str,
    ) -> Result<(), Halt> {
        let path = format!("/{}?{}", name(stage), name(stage));
        let asked = format!(
            "GET http://{WEB}:{port}{path} HTTP/1.1\r\nHost: {}.test\r\n\
             Proxy-Connection: keep-alive\r\nconnection: X-Hop\r\n\
             Keep-Alive: 5\r\nx-hop: 1\r\nX-End: {}\r\n\r\n",
            name(stage),
            name(stage)
        );
        self.begin(stage, client, "a page through the proxy", asked)?;
        let Some(request) = server.request(stage, self.proxy)? else {
            return Err(Halt::Missed("waited for the proxy's request".into()));
        };
        stage.fact(&format!("origin {}", self.told.len()), &request.head);
        let head = format!(
            "HTTP/1.1 200 OK\r\n{fields}\r\nX-Gone: 1\r\nETag: \"x\"\r\n\r\n"
        );
        let (first, second) = body.split_at(body.len() / 2);
        for piece in [&head, first, second] {
            let bytes = piece.as_bytes();
            server.say(stage, request.connection, LAPTOP, bytes)?;
        }
        server.finish(request.connection);
        self.hear(stage, client)
    }

    /// A tunnel, and another client beside it.
    fn tunnel(
        &mut self,
        stage: &mut Stage,
        other: &mut Browser,
    ) -> Result<(), Halt> {
        let end = SocketAddr::new(stage.net.host(WEB)?.ip(), self.tunnels);
        let listener = stage.net.host(WEB)?.at(|| TcpListener::bind(end))?;
        let failed = |err| Halt::Missed(format!("listener on {end}: {err}"));
        let listener = listener.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;

        let mut client = self.client(stage)?;
        let target = format!("{WEB}:{}", self.tunnels);
        let early = name(stage);
        let asked = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{early}"
        );
        self.begin(stage, &mut client, "a tunnel", asked)?;
        let far = stage.look_each_ms(|_, _| Ok(listener.accept().ok()))?;
        let Some((far, _)) = far else {
            return Err(Halt::Missed("waited for the tunnel's end".into()));
        };
        far.set_nonblocking(false).map_err(failed)?;
        let mut far = Peer::over(far)?;
        let heard =
            client.peer.hear(stage, b"HTTP/1.1 200 OK\r\n\r\n".len())?;
        let at = self.told.len() - 1;
        self.told[at].heard = heard.text;
        stage.fact("told", &self.told);
        let mut talk = Talk { ends: Vec::new() };
        let late = name(stage);
        client.peer.send(&late);
        let there = format!("{early}{late}");
        talk.hear(stage, &mut far, "what was sent there", &there, Then::Open)?;

        // With the tunnel open, somebody else is served too.
        let page = format!("GET http://{WEB}/ HTTP/1.1");
        let beside = format!("{page}\r\nHost: {WEB}\r\n\r\n");
        self.begin(stage, other, "a page beside the tunnel", beside)?;
        let heard = other.answer(stage)?;
        self.told[at + 1].heard = heard;
        stage.fact("told", &self.told);

        stage.step(KONGMING, "closes its direction of the tunnel")?;
        client.peer.finish();
        talk.hear(stage, &mut far, "the client's end", "", Then::Fin)?;
        let back = name(stage);
        far.send(&back);
        let open = Then::Open;
        talk.hear(stage, &mut client.peer, "what came back", &back, open)?;
        far.finish();
        talk.hear(stage, &mut client.peer, "the server's end", "", Then::Fin)?;
        self.lines(stage, self.told.len())
    }

    fn refused(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let mut client = self.client(stage)?;
        let victim = stage.draw.port();
        stage.fact("victim", victim);
        let inside = stage.net.host(KONGMING)?.ip();
        let closed = stage.draw.port();
        let nobody = name(stage);
        let path = name(stage);
        for (kind, line) in [
            ("a tunnel to another port", format!("CONNECT {WEB}:80")),
            ("an address inside", format!("GET http://{inside}:{victim}/")),
            ("a name inside", format!("GET http://{KONGMING}:{victim}/")),
            ("this host itself", format!("GET http://127.0.0.1:{victim}/")),
            ("no such name", format!("GET http://{nobody}.example.test/")),
            ("nobody listens", format!("GET http://{WEB}:{closed}/")),
            ("no proxy request", format!("GET /{path}")),
            ("the page after those", format!("GET http://{WEB}")),
        ] {
            let line = format!("{line} HTTP/1.1");
            self.ask(stage, &mut client, kind, &line)?;
        }
        self.curl(stage)
    }

    /// A client that nobody here has written.
    fn curl(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        if !Path::new(CURL).exists() {
            return Ok(());
        }
        let (proxy, page) =
            (self.address.to_string(), format!("http://{WEB}/"));
        let launch = Launch::new("curl", CURL);
        let launch = launch.args(["-sS", "-x", &proxy, &page, &page]);
        let mut curl = stage.net.host(KONGMING)?.start_program(launch)?;
        let ended = stage.patiently(|_, glance| Ok(curl.wait(glance)?))?;
        stage.fact("curl", ended.is_some_and(|exit| exit.is_success()));
        self.lines(stage, self.told.len() + 2)
    }
}

/// What was heard at the two ends of the tunnel.
#[derive(Default)]
struct Talk {
    ends: Vec<(String, String, String)>,
}

impl Talk {
    fn hear(
        &mut self,
        stage: &mut Stage,
        peer: &mut Peer,
        what: &str,
        text: &str,
        then: Then,
    ) -> Result<(), Halt> {
        let count = match then {
            Then::Open => text.len(),
            _ => usize::MAX,
        };
        let heard = hear(stage, peer, count)?;
        let expected = format!("{text} {then:?}");
        let actual = format!("{} {:?}", heard.text, heard.then);
        let wrong = actual != expected;
        self.ends.push((what.to_string(), expected, actual));
        stage.fact("tunnel", &self.ends);
        match wrong {
            true => Err(Halt::Missed(format!("waited for {what}"))),
            false => Ok(()),
        }
    }
}

fn name(stage: &mut Stage) -> String {
    stage.draw.letters(6)
}

/// The Host field of a request that is honest.
fn host_of(line: &str) -> &str {
    let target = line.split(' ').nth(1).unwrap_or_default();
    let rest = target.strip_prefix("http://").unwrap_or(target);
    rest.split('/').next().unwrap_or_default()
}

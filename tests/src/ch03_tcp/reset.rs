//! Grades `reset`: three ways to leave, and what the other end is told.
//!
//! In the take `refuse` nobody listens. In `abort`, `unread`, `close` and
//! `drain` the server leaves first, in that way, and the client then asks its
//! kernel by reads and writes what has become of the connection. Its kernel has
//! the server's last segment before each of them, so that the answers are the
//! same in every run.

use testbed::{Power, Profile, Segment, TcpSocket, TcpState};

use super::wire::{segments, story};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "reset",
    pristine: include_str!("../../pristine/ch03_tcp/reset.rs"),
    takes: &[
        Take { name: "unread", profile: Profile::Modern },
        Take { name: "abort", profile: Profile::Modern },
        Take { name: "close", profile: Profile::Book },
        Take { name: "drain", profile: Profile::Modern },
        Take { name: "refuse", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "tries_again", cause: "tries-again" },
        Mutant { name: "shuts_down", cause: "not-aborted" },
        Mutant { name: "always_lingers", cause: "never-orderly" },
        Mutant { name: "error_is_end_of_file", cause: "reset-taken-for-end" },
        Mutant { name: "returns_the_error", cause: "error-ends-it" },
        Mutant { name: "drops_what_is_unread", cause: "drain-resets" },
        Mutant { name: "waits_for_the_peer", cause: "drain-without-fin" },
        Mutant { name: "dies_of_sigpipe", cause: "crashed" },
    ],
    alternatives: &["raw_calls", "nix_calls"],
};

/// As long in every run: sequence numbers are part of the recorded one.
const TEXT_LENGTH: usize = 5;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?.to_string();
    let texts = [0, 1].map(|_| stage.draw.letters(TEXT_LENGTH));
    // The ACK of data that is followed by RST meets no connection any more, if it
    // has left before the RST came: its answer is one more RST.
    stage.net.host(KONGMING)?.require(Power::ShortWire)?;
    stage.fact("address", &address);
    if stage.take == "refuse" {
        stage.step(KONGMING, format!("nobody listens on {address}"))?;
        let client = stage.start("client", LAPTOP, ["client", &address])?;
        stage.line(client, "connect")?;
        stage.close_stdin(client);
        return stage.end(client);
    }
    let server = stage.start("server", KONGMING, ["server", &address])?;
    stage.line(server, "listening on ")?;
    let client = stage.start("client", LAPTOP, ["client", &address])?;
    stage.line(client, "connected")?;
    stage.line(server, "accepted")?;

    let mut pair = Pair { server, client, texts };
    match stage.take {
        "abort" => pair.abort(stage)?,
        "unread" => pair.unread(stage)?,
        "close" => pair.close(stage)?,
        _ => pair.drain(stage)?,
    }
    stage.close_stdin(server);
    stage.end(server)?;
    stage.close_stdin(client);
    stage.end(client)
}

/// Both programs, and what is written.
struct Pair {
    server: Role,
    client: Role,
    texts: [String; 2],
}

impl Pair {
    /// The server aborts when the client has data that it has not read yet.
    fn abort(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let [text, other] = self.texts.clone();
        self.server_does(stage, &format!("write {text}"))?;
        stage.frames("data from Kongming20", 1)?;
        self.server_does(stage, "abort")?;
        leaves(stage)?;
        for command in ["read", "read", "read", &format!("write {other}")] {
            self.client_does(stage, command)?;
        }
        self.client_does(stage, "close")
    }

    /// The server closes when it has data that it has not read yet.
    fn unread(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let [text, other] = self.texts.clone();
        self.client_does(stage, &format!("write {text}"))?;
        unread(stage)?;
        self.server_does(stage, "close")?;
        leaves(stage)?;
        let write = format!("write {other}");
        for command in [&write, &write, "read"] {
            self.client_does(stage, command)?;
        }
        self.client_does(stage, "close")
    }

    /// The server closes in order, and the client goes on writing.
    fn close(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let [text, other] = self.texts.clone();
        self.server_does(stage, "close")?;
        leaves(stage)?;
        self.client_does(stage, &format!("write {text}"))?;
        let answered = stage.soon("rst from Kongming20", 1)?;
        stage.fact("answered", answered);
        // The RST has left; that it has arrived the client's socket tells.
        stage.sockets(LAPTOP, "the end of the connection", |sockets| {
            sockets.is_empty()
        })?;
        self.client_does(stage, &format!("write {other}"))?;
        self.client_does(stage, "read")?;
        self.client_does(stage, "close")
    }

    /// The server leaves in order though there is unread data, and more comes.
    fn drain(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let [text, other] = self.texts.clone();
        self.client_does(stage, &format!("write {text}"))?;
        unread(stage)?;
        stage.step(KONGMING, "is told: drain")?;
        stage.send(self.server, "drain");
        if !leaves(stage)? {
            return Err(Halt::Missed("waited for the server's FIN".into()));
        }
        self.client_does(stage, "read")?;
        self.client_does(stage, &format!("write {other}"))?;
        stage.frames("data from ernest-laptop", 2)?;
        // Who does not read on has answered it with RST by now.
        stage.idle(self.server)?;
        self.client_does(stage, "close")?;
        stage.line(self.server, "drained ")?;
        stage.soon("fin from ernest-laptop", 1).map(drop)
    }

    fn server_does(&self, stage: &mut Stage, what: &str) -> Result<(), Halt> {
        does(stage, KONGMING, self.server, what)
    }

    fn client_does(&self, stage: &mut Stage, what: &str) -> Result<(), Halt> {
        does(stage, LAPTOP, self.client, what)
    }
}

/// Tells a program what to do, and waits until it says what came of it.
fn does(
    stage: &mut Stage,
    host: &str,
    role: Role,
    what: &str,
) -> Result<(), Halt> {
    stage.step(host, format!("is told: {what}"))?;
    stage.send(role, what);
    let answer = match what.split(' ').next() {
        Some("close") => "closed",
        Some("abort") => "aborted",
        Some("read") => "read: ",
        _ => "write: ",
    };
    stage.line(role, answer).map(drop)
}

/// Waits until all that was written is in the server's receive buffer.
fn unread(stage: &mut Stage) -> Result<(), Halt> {
    stage.sockets(KONGMING, "data that nobody has read", |sockets| {
        sockets.iter().any(|socket| {
            socket.state == TcpState::Established
                && socket.receive_queue == TEXT_LENGTH as u32
        })
    })?;
    Ok(())
}

/// Has the server's FIN or RST come to the client, or does it come soon?
fn leaves(stage: &mut Stage) -> Result<bool, Halt> {
    let open = |sockets: &[TcpSocket]| {
        sockets.iter().any(|s| s.state == TcpState::Established)
    };
    let sockets = stage.sockets_soon(LAPTOP, |sockets| !open(sockets))?;
    stage.fact("left", !open(&sockets));
    Ok(!open(&sockets))
}

/// What the three ends look like decides what the client is told: the refusal
/// first, which is the simplest.
fn judge(performances: &[Performance], judge: &mut Judge) {
    for take in ["refuse", "close", "abort", "unread", "drain"] {
        let found = performances.iter().find(|one| one.take == take);
        let Some(performance) = found else { continue };
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let trace = &performance.trace;
    let sent = segments(trace);
    let begun = judge.deed(
        "a segment is sent",
        !sent.is_empty() || trace.stdout("client").is_empty(),
        "there is no TCP segment on the wire",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge_connect(performance, &sent, judge);
    judge_leaving(performance, &sent, judge);
    judge_answers(performance, &sent, judge);
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    let [server, client] = expected(performance);
    if performance.take != "refuse" {
        judge.printed("output", performance, "server", &server);
        judge.ended_well(performance, "server");
    }
    judge.printed("output", performance, "client", &client);
    judge.ended_well(performance, "client");
    let name = format!("reset-{}", performance.take);
    judge.snapshot("segments", &name, &story(performance));
}

fn judge_connect(
    performance: &Performance,
    sent: &[(String, Segment)],
    judge: &mut Judge,
) {
    let syns: Vec<&Segment> = sent
        .iter()
        .map(|(_, segment)| segment)
        .filter(|segment| segment.flags.syn && !segment.flags.ack)
        .collect();
    let ports: std::collections::HashSet<u16> =
        syns.iter().map(|syn| syn.source.port()).collect();
    judge.check(
        "tries-again",
        "the client connects once, and takes the answer for an answer",
        ports.len() <= 1,
        story(performance),
    );
}

/// How the server left.
fn judge_leaving(
    performance: &Performance,
    sent: &[(String, Segment)],
    judge: &mut Judge,
) {
    let last = sent.iter().find(|(host, segment)| {
        host == KONGMING && (segment.flags.fin || segment.flags.rst)
    });
    let fin = last.map(|(_, segment)| segment.flags.fin);
    let any_rst = sent.iter().any(|(_, segment)| segment.flags.rst);
    let story = story(performance);
    match performance.take.as_str() {
        "abort" => judge.check(
            "not-aborted",
            "`abort` sends RST, and no FIN",
            fin != Some(true),
            story,
        ),
        "close" => judge.check(
            "never-orderly",
            "`close` with nothing unread sends FIN",
            fin != Some(false),
            story,
        ),
        "drain" => {
            let left = performance.facts.get("left");
            judge.check(
                "drain-without-fin",
                "`drain` sends its FIN before the peer has ended",
                left.is_none_or(|left| left == true),
                story.as_str(),
            );
            judge.check(
                "drain-resets",
                "`drain` ends the connection without RST",
                !any_rst,
                story,
            )
        }
        _ => true,
    };
}

/// What the client said that its calls returned.
fn judge_answers(
    performance: &Performance,
    sent: &[(String, Segment)],
    judge: &mut Judge,
) {
    let told = performance.trace.stdout("client");
    let reset = sent.iter().any(|(_, segment)| segment.flags.rst);
    let failed = performance.exits.get("client").copied().flatten();
    let said = performance.trace.stderr("client").join("\n");
    judge.check(
        "error-ends-it",
        "what a call returns is printed, and the client goes on",
        !reset || failed.is_none_or(|exit| exit.is_success()),
        said,
    );
    let [_, expected] = expected(performance);
    let first = expected.iter().zip(&told).find(|(want, got)| want != *got);
    let wrong = first.filter(|(want, got)| {
        want.ends_with("ECONNRESET") && got.ends_with("end of file")
    });
    judge.check(
        "reset-taken-for-end",
        "a reset is told from an end of file",
        wrong.is_none(),
        wrong.map_or(String::new(), |(want, got)| {
            format!("`{got}`, where the kernel said `{want}`")
        }),
    );
}

/// The lines of the server and of the client.
fn expected(performance: &Performance) -> [Vec<String>; 2] {
    let address = performance.text("address").unwrap_or_default();
    let listening = format!("listening on {address}");
    let count = format!("{TEXT_LENGTH} bytes");
    let (read, write) = (format!("read: {count}"), format!("write: {count}"));
    let end = "read: end of file";
    let drained = format!("drained {} bytes", 2 * TEXT_LENGTH);
    let (server, client): (Vec<&str>, Vec<&str>) = match performance
        .take
        .as_str()
    {
        "refuse" => return [vec![], vec!["connect: ECONNREFUSED".into()]],
        "abort" => (
            vec![&write, "aborted"],
            vec![&read, "read: ECONNRESET", end, "write: EPIPE", "closed"],
        ),
        "unread" => (
            vec!["closed"],
            vec![&write, "write: ECONNRESET", "write: EPIPE", end, "closed"],
        ),
        "close" => {
            (vec!["closed"], vec![&write, "write: EPIPE", end, "closed"])
        }
        _ => (vec![&drained], vec![&write, end, &write, "closed"]),
    };
    let lines = |first: &[&str], rest: Vec<&str>| {
        first.iter().copied().chain(rest).map(String::from).collect()
    };
    [lines(&[&listening, "accepted"], server), lines(&["connected"], client)]
}

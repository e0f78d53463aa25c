//! Grades `half_close`: the FIN ends one direction, and the other goes on.
//!
//! In the take `pair` the program is at both ends, and stands still when one
//! half is closed: FIN-WAIT-2 here and CLOSE-WAIT there. In `server` the
//! scenario is the client, and sends its lines in pieces that end where lines do
//! not; in `client` it is the server, and answers in two parts.

use std::net::SocketAddr;

use testbed::{Profile, TcpSocket, TcpState};

use super::wire::{segments, story, stream};
use crate::ch05_sockets::peer::{Heard, Peer, Then, listen};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "half_close",
    pristine: include_str!("../../pristine/ch03_tcp/half_close.rs"),
    takes: &[
        Take { name: "pair", profile: Profile::Modern },
        Take { name: "server", profile: Profile::Modern },
        Take { name: "client", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "drops_a_clone", cause: "no-fin" },
        Mutant { name: "shuts_both", cause: "closes-both" },
        Mutant { name: "end_mark", cause: "end-mark" },
        Mutant { name: "one_read", cause: "answers-too-early" },
        Mutant { name: "reads_once", cause: "half-an-answer" },
        Mutant { name: "loses_the_newline", cause: "lines-run-together" },
        Mutant { name: "closes_at_the_fin", cause: "no-answer" },
    ],
    alternatives: &["raw_calls", "threads"],
};

/// As long in every run: sequence numbers are part of the recorded one.
const WORD_LENGTH: usize = 5;
const WORDS: usize = 3;
/// Lines for a server whose client sends more than one read returns.
const MANY: usize = 2000;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    stage.fact("address", address);
    match stage.take {
        "pair" => pair(stage, address),
        "server" => server(stage, address),
        _ => client(stage, address),
    }
}

/// The program at both ends; `lab run half_close -- LINE...` chooses the lines.
fn pair(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let mut lines = stage.values.clone();
    if lines.is_empty() {
        lines = draw_lines(stage, WORDS);
    }
    stage.fact("lines", &lines);
    let server =
        stage.start("server", KONGMING, ["server", &address.to_string()])?;
    stage.line(server, "listening on ")?;
    let client =
        stage.start("client", LAPTOP, ["client", &address.to_string()])?;
    stage.line(client, "connected")?;
    stage.line(server, "accepted")?;
    for (count, line) in lines.iter().enumerate() {
        stage.step(LAPTOP, format!("is given: {line}"))?;
        stage.send(client, line);
        stage.frames("data from ernest-laptop", count + 1)?;
    }
    // Who answers before the end is about to.
    stage.idle(client)?;
    stage.rests(server)?;
    note_early(stage)?;
    stage.step(LAPTOP, "end of the client's input")?;
    stage.close_stdin(client);
    stage.line(client, "shut down for writing")?;
    let half = |sockets: &[TcpSocket], state| {
        sockets.iter().any(|socket| socket.state == state)
    };
    let there = stage
        .sockets_soon(KONGMING, |sockets| half(sockets, TcpState::CloseWait))?;
    stage.fact("fin", half(&there, TcpState::CloseWait));
    if !half(&there, TcpState::CloseWait) {
        return Err(Halt::Missed("waited for the client's FIN".into()));
    }
    stage.line(server, "end of file after ")?;
    stage.sockets(LAPTOP, "FIN-WAIT-2", |sockets| {
        half(sockets, TcpState::FinWait2) || half(sockets, TcpState::TimeWait)
    })?;
    let sockets = stage.net.host(LAPTOP)?.tcp_sockets()?;
    stage.fact("client_half", sockets);
    stage.idle(server)?;
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    stage.fact("server_half", sockets);
    stage.step(KONGMING, "Enter for the server")?;
    stage.enter(server);
    stage.line(server, "answered")?;
    stage.line(client, "end of file")?;
    stage.end(client)?;
    stage.close_stdin(server);
    stage.end(server)?;
    stage.sockets(LAPTOP, "the end of the connection", |sockets| {
        sockets.iter().all(|socket| socket.state == TcpState::TimeWait)
    })?;
    Ok(())
}

/// A client whose pieces are no lines, and whose last line has no newline.
fn server(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let lines = draw_lines(stage, MANY);
    stage.fact("lines", &lines);
    let text = lines.join("\n");
    let cut = text.len() / 2 + 1;
    let server =
        stage.start("server", KONGMING, ["server", &address.to_string()])?;
    stage.line(server, "listening on ")?;
    let port = stage.draw.port();
    let mut peer = Peer::connect(stage, LAPTOP, port, address)?;
    stage.line(server, "accepted")?;
    peer.send(&text[..cut]);
    is_read(stage, LAPTOP, KONGMING)?;
    stage.rests(server)?;
    note_early(stage)?;
    peer.send(&text[cut..]);
    peer.finish();
    stage.line(server, "end of file after ")?;
    stage.enter(server);
    let heard = peer.hear(stage, usize::MAX)?;
    stage.fact("heard", heard);
    stage.line(server, "answered")?;
    stage.close_stdin(server);
    stage.end(server)
}

/// A server that answers when it has the FIN, in two parts.
fn client(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let lines = draw_lines(stage, WORDS);
    stage.fact("lines", &lines);
    let listener = listen(stage, KONGMING, address)?;
    let client =
        stage.start("client", LAPTOP, ["client", &address.to_string()])?;
    stage.line(client, "connected")?;
    let mut peer = Peer::accept(stage, &listener)?;
    for line in &lines {
        stage.send(client, line);
    }
    stage.close_stdin(client);
    stage.line(client, "shut down for writing")?;
    let heard = peer.hear(stage, usize::MAX)?;
    let ended = heard.then == Then::Fin;
    stage.fact("heard", heard);
    stage.fact("fin", ended);
    if !ended {
        return Err(Halt::Missed("waited for the client's FIN".into()));
    }
    let answer: String =
        sorted(&lines).iter().map(|l| format!("{l}\n")).collect();
    let cut = WORD_LENGTH + 3;
    peer.send(&answer[..cut]);
    is_read(stage, KONGMING, LAPTOP)?;
    stage.idle(client)?;
    peer.send(&answer[cut..]);
    peer.finish();
    stage.line(client, "end of file")?;
    stage.end(client)
}

/// Waits until all that one host has sent has been read on the other.
fn is_read(stage: &mut Stage, from: &str, to: &str) -> Result<(), Halt> {
    let live = |sockets: &[TcpSocket], queue: fn(&TcpSocket) -> u32| {
        let mut ends = sockets.iter().filter(|s| s.state != TcpState::Listen);
        ends.all(|socket| queue(socket) == 0)
    };
    stage.sockets(from, "acknowledged data", |s| live(s, |s| s.send_queue))?;
    stage.sockets(to, "data that is read", |s| live(s, |s| s.receive_queue))?;
    Ok(())
}

fn draw_lines(stage: &mut Stage, count: usize) -> Vec<String> {
    (0..count).map(|_| stage.draw.letters(WORD_LENGTH)).collect()
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    lines
}

/// What the server has said before its client's FIN.
fn note_early(stage: &mut Stage) -> Result<(), Halt> {
    let trace = stage.net.trace()?;
    let said = trace.stdout("server");
    let sent = segments(&trace);
    let answered =
        sent.iter().any(|(host, segment)| host == KONGMING && segment.data > 0);
    let early = said.get(2).map(|line| (*line).to_string());
    let early = early.or_else(|| answered.then(|| "an answer".to_string()));
    stage.fact("early", &early);
    match early {
        Some(what) => Err(Halt::Missed(format!(
            "waited for the server to wait for the client's FIN, had `{what}`"
        ))),
        None => Ok(()),
    }
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let sent = segments(&performance.trace);
    let silent = performance
        .exits
        .keys()
        .all(|program| performance.trace.stdout(program).len() < 2);
    let begun = judge.deed(
        "a segment is sent",
        !sent.is_empty() || silent,
        "there is no TCP segment on the wire",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    match performance.take.as_str() {
        "client" => judge_client(performance, judge),
        "server" => judge_server(performance, judge),
        _ => judge_pair(performance, judge),
    }
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    for (program, lines) in expected(performance) {
        if performance.exits.contains_key(program) {
            judge.printed("output", performance, program, &lines);
            judge.ended_well(performance, program);
        }
    }
    if performance.take == "pair" {
        judge.snapshot("segments", "half_close", &halves(performance));
    }
}

fn judge_client(performance: &Performance, judge: &mut Judge) {
    judge_request(performance, judge);
    judge_fin(performance, judge);
    let lines = lines(performance);
    let printed = performance.trace.stdout("client");
    let answer: Vec<&str> = printed
        .iter()
        .filter_map(|line| line.strip_prefix("answer: "))
        .collect();
    let over = printed.contains(&"end of file");
    let wanted = sorted(&lines);
    judge.check(
        "half-an-answer",
        "the client reads the answer to its end",
        !over || wanted == answer,
        side_by_side(&wanted, &answer),
    );
}

/// What was typed is on the wire, line by line, and nothing else.
fn judge_request(performance: &Performance, judge: &mut Judge) {
    let sent = stream(&performance.trace, LAPTOP);
    let sent = String::from_utf8_lossy(&sent).into_owned();
    let lines = lines(performance);
    let typed: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (typed, sent): (Vec<&str>, Vec<&str>) =
        (typed.split('\n').collect(), sent.split('\n').collect());
    judge.check(
        "end-mark",
        "the client sends what was typed, and nothing else",
        typed.starts_with(&sent),
        side_by_side(&typed, &sent),
    );
}

fn judge_server(performance: &Performance, judge: &mut Judge) {
    judge_early(performance, judge);
    let Some(heard) = heard(performance) else { return };
    let wanted = sorted(&lines(performance));
    let came: Vec<&str> = heard.text.lines().collect();
    let first = wanted.iter().zip(&came).position(|(want, got)| want != got);
    let at = first.unwrap_or(wanted.len().min(came.len())).saturating_sub(1);
    let few = |lines: &[&str]| -> Vec<String> {
        lines.iter().skip(at).take(4).map(|line| (*line).into()).collect()
    };
    let all: Vec<&str> = wanted.iter().map(String::as_str).collect();
    judge.check(
        "lines-run-together",
        "the server sends each line back, sorted, with its newline",
        wanted == came && heard.text.ends_with('\n'),
        format!(
            "from line {}:\n{}",
            at + 1,
            side_by_side(&few(&all), &few(&came))
        ),
    );
}

fn judge_pair(performance: &Performance, judge: &mut Judge) {
    judge_early(performance, judge);
    judge_request(performance, judge);
    judge_fin(performance, judge);
    let story = story(performance);
    let answered = performance.trace.stdout("server").contains(&"answered");
    judge.check(
        "no-answer",
        "the server answers after its client's FIN",
        !answered || !stream(&performance.trace, KONGMING).is_empty(),
        story.as_str(),
    );
    let sockets = performance.sockets("client_half");
    let kept = sockets
        .iter()
        .any(|socket| socket.state == TcpState::FinWait2 && socket.inode != 0);
    let sent = segments(&performance.trace);
    let reset =
        sent.iter().any(|(host, segment)| host == LAPTOP && segment.flags.rst);
    judge.check(
        "closes-both",
        "the client keeps the direction of the answer",
        !reset && (kept || sockets.is_empty()),
        story,
    );
}

fn judge_early(performance: &Performance, judge: &mut Judge) {
    let early = performance.text("early");
    judge.check(
        "answers-too-early",
        "the server waits for its client's FIN",
        early.is_none(),
        format!(
            "before the client's FIN: {}\n{}",
            early.unwrap_or_default(),
            story(performance)
        ),
    );
}

fn judge_fin(performance: &Performance, judge: &mut Judge) {
    let fin = performance.facts.get("fin");
    judge.check(
        "no-fin",
        "the client's FIN is sent when it says so",
        fin.is_none_or(|fin| fin == true),
        story(performance),
    );
}

/// How one half was closed, the states in between, and the answer. How many
/// segments carry it, and whether the second FIN is in one of them, is left open.
fn halves(performance: &Performance) -> String {
    let mut text = String::new();
    for line in story(performance).lines() {
        text.push_str(&format!("{line}\n"));
        if line.contains(" FIN ") {
            break;
        }
    }
    for (fact, host) in [("client_half", LAPTOP), ("server_half", KONGMING)] {
        for socket in performance.sockets(fact) {
            if socket.state != TcpState::Listen {
                text.push_str(&format!("{host:<14} {}\n", socket.state));
            }
        }
    }
    let answer = stream(&performance.trace, KONGMING);
    text + &format!("{KONGMING:<14} sends {} bytes\n", answer.len())
}

fn lines(performance: &Performance) -> Vec<String> {
    let value = performance.facts.get("lines").cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn heard(performance: &Performance) -> Option<Heard> {
    let value = performance.facts.get("heard").cloned()?;
    serde_json::from_value(value).ok()
}

/// What each program is to print.
fn expected(performance: &Performance) -> [(&'static str, Vec<String>); 2] {
    let address = performance.text("address").unwrap_or_default();
    let lines = lines(performance);
    let last = usize::from(performance.take != "server");
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let bytes = bytes - 1 + last;
    let mut client: Vec<String> =
        vec!["connected".into(), "shut down for writing".into()];
    let answer = sorted(&lines).into_iter();
    client.extend(answer.map(|line| format!("answer: {line}")));
    client.push("end of file".into());
    let server = vec![
        format!("listening on {address}"),
        "accepted".into(),
        format!("end of file after {bytes} bytes"),
        "answered".into(),
    ];
    [("server", server), ("client", client)]
}

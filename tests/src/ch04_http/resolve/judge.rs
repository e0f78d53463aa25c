//! The judge: what was found out, and what was asked for that.

use std::collections::HashMap;

use super::liar::name_of;
use super::{LOSSY, PROGRAM, Wanted};
use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance};

pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
    let story: String = performances.iter().map(story).collect();
    judge.snapshot("story", "resolve", &story);
}

fn wanted(performance: &Performance, role: &str) -> Vec<Wanted> {
    let value = performance.facts.get(role).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let queries = queries(performance);
    let begun = judge.deed(
        "a name server is asked",
        !queries.is_empty(),
        "no datagram went from ernest-laptop to a port 53",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    for role in [PROGRAM, LOSSY] {
        let lines = performance.trace.stdout(role);
        let all = wanted(performance, role);
        for Wanted { kind, name, result, .. } in &all {
            let head = format!("{name}: ");
            let mut said = lines.iter().filter_map(|l| l.strip_prefix(&*head));
            let said = said.next();
            judge.check(
                cause(kind),
                &format!("{kind}: {name} is {result}"),
                said == Some(result),
                format!(
                    "expected {result}\nactual   {}\n{}",
                    said.unwrap_or("nothing"),
                    asked(&queries, name)
                ),
            );
            if !judge.content() {
                return; // Whatever follows may follow from that.
            }
        }
        for Wanted { kind, name, queries: right, .. } in &all {
            let count = count(&queries, name);
            // The server that is not there has no frames of its own.
            let cause = match (*right, count > *right) {
                (0, _) => "asked-in-vain",
                (_, true) => "asks-again",
                _ => "not-retried",
            };
            judge.check(
                cause,
                &format!("{kind}: the queries for {name} are {right}"),
                count == *right,
                asked(&queries, name),
            );
        }
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    for role in [PROGRAM, LOSSY] {
        let all = wanted(performance, role);
        let lines = all.iter().map(|w| format!("{}: {}", w.name, w.result));
        let lines: Vec<String> = lines.collect();
        judge.printed("output", performance, role, &lines);
        judge.ended_well(performance, role);
    }
}

/// A query that follows another of its name after so long was sent because the
/// time was up: on a busy machine an answer may be later than the program's
/// patience, and the program is right to ask again.
const OVERDUE: u64 = 250_000_000;

/// The name of each query, but for those that repeat one that was overdue and
/// not lost.
fn queries(performance: &Performance) -> Vec<String> {
    let frames = performance.trace.frames().filter(|(event, frame)| {
        let packet = frame.packet();
        event.host == LAPTOP
            && packet.protocol() == "udp"
            && packet.ports().is_some_and(|(_, to)| to == 53)
    });
    let mut names = Vec::new();
    let mut before: HashMap<String, (u64, bool)> = HashMap::new();
    for (event, frame) in frames {
        let Some(name) = name_of(frame.packet().data()) else { continue };
        let answered = !is_unanswered(performance, &name);
        let lost = frame.delivered_ns.is_none();
        let last = before.insert(name.clone(), (event.t_ns, lost));
        let excused = last.is_some_and(|(then, lost)| {
            answered && !lost && event.t_ns - then >= OVERDUE
        });
        if !excused {
            names.push(name);
        }
    }
    names
}

/// Is it the name that the server never answers for?
fn is_unanswered(performance: &Performance, name: &str) -> bool {
    let all = wanted(performance, PROGRAM);
    all.iter().any(|wanted| wanted.name == name && wanted.kind == "silence")
}

/// How many queries there are for a name.
fn count(queries: &[String], name: &str) -> usize {
    let wanted = name.to_ascii_lowercase();
    queries.iter().filter(|query| **query == wanted).count()
}

fn asked(queries: &[String], name: &str) -> String {
    match count(queries, name) {
        0 => format!("no server was asked for {name}"),
        1 => format!("a server was asked for {name} once"),
        times => format!("servers were asked for {name} {times} times"),
    }
}

/// What it means that a name of this kind is not found out right.
fn cause(kind: &str) -> &'static str {
    match kind {
        "two lines of /etc/hosts" => "one-address",
        "an alias" => "alias",
        "a name that both have" => "dns-first",
        "a name in a comment" => "comment-taken",
        "two addresses" => "addresses",
        "no such name" | "a name without an address" => "no-name",
        "the first query is lost" | "a server that cannot say" => "not-retried",
        "another number" => "wrong-number",
        "another sender" => "wrong-sender",
        "another name" => "wrong-name",
        "silence" => "silence",
        _ => "second-server",
    }
}

/// The takes, without what was drawn.
fn story(performance: &Performance) -> String {
    let queries = queries(performance);
    let mut text = String::new();
    for role in [PROGRAM, LOSSY] {
        for Wanted { kind, name, result, .. } in wanted(performance, role) {
            let result = match result.split_once('(') {
                Some((addresses, by)) => {
                    let count = addresses.split_whitespace().count();
                    format!("{count} by {}", by.trim_end_matches(')'))
                }
                None => result,
            };
            let count = count(&queries, &name);
            text.push_str(&format!("{kind}: {result}, {count} queries\n"));
        }
    }
    text
}

//! What must have come of it.

use serde::de::DeserializeOwned;

use super::{FORKS, Holder};
use crate::verdict::{Judge, Performance};

/// What a pipe takes as a whole (pipe(7)), 4096 bytes on Linux.
const PIPE_BUF: u64 = 4096;
/// A record, as the stub has it.
const RECORD: u64 = 1000;

pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() || performance.missed.is_some() {
            return;
        }
    }
    let story: String = performances.iter().map(story).collect();
    judge
        .about(&Performance { take: String::new(), ..performances[0].clone() });
    judge.snapshot("story", "pipe_ipc", &story);
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout("pipe_ipc").is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let args: Vec<String> = fact(performance, "args").unwrap_or_default();
    let expected = expected(&args);
    let forks = FORKS.iter().map(|name| performance.called("pipe_ipc", name));
    judge.deed(
        "a process is made",
        forks.sum::<usize>() > 0 || performance.missed.is_some(),
        "no fork(2), and no other call that makes a process",
    );
    let wanted = match args.first().map(String::as_str) {
        Some("collect") => expected.len().saturating_sub(2),
        _ => 1,
    };
    let children = performance.number("children").unwrap_or_default() as usize;
    let cause =
        if children > 0 { "one-after-the-other" } else { "no-children" };
    judge.check(
        cause,
        "the children work side by side",
        !performance.facts.contains_key("children") || children >= wanted,
        format!("at least {wanted} are needed; there were {children}"),
    );
    judge_alone(performance, judge);
    judge_end(performance, judge);
    judge_gone(performance, judge);
    judge_records(performance, &expected, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge.printed("output", performance, "pipe_ipc", &expected);
    judge.ended_well(performance, "pipe_ipc");
}

/// What the parent has to tell nobody else tells as well.
fn judge_alone(performance: &Performance, judge: &mut Judge) {
    let printed = performance.trace.stdout("pipe_ipc");
    let answer = |line: &&&str| {
        line.starts_with("answer of ") || line.contains(" records, ")
    };
    let told: Vec<&str> = printed.iter().filter(answer).copied().collect();
    judge.check(
        "child-runs-on",
        "only the parent tells what it has read",
        told.len() <= 1,
        told.join("\n"),
    );
}

/// Nobody waits for what cannot come.
fn judge_end(performance: &Performance, judge: &mut Judge) {
    let holders: Vec<Holder> = fact(performance, "holders").unwrap_or_default();
    if holders.is_empty() {
        return;
    }
    let autopsy = performance.autopsies.get("pipe_ipc");
    let full = autopsy.is_some_and(|text| text.contains("that is full"));
    let both = |one: &Holder| one.reads.iter().any(|n| one.writes.contains(n));
    let (parent, children) = holders.split_at(1);
    let child_reads = |number: &usize| {
        children.iter().any(|child| child.reads.contains(number))
    };
    // Only who writes to it could read it.
    let own = |one: &Holder| {
        let mine = one.reads.iter().filter(|n| one.writes.contains(n));
        let others = |n: &&usize| {
            let reads = holders.iter().filter(|other| other.reads.contains(n));
            reads.count() > 1
        };
        mine.filter(|n| !others(n)).count() > 0
    };
    let (cause, name) = if full && holders.iter().any(own) {
        ("writer-keeps-end", "who writes to a pipe cannot read it")
    } else if full {
        ("both-full", "somebody reads while somebody writes")
    } else if children.iter().any(both) {
        ("filter-keeps-end", "a child has no end open that it does not use")
    } else if parent.iter().any(both) {
        ("reader-keeps-end", "the parent has no end open that it does not use")
    } else if parent.iter().any(|p| p.writes.iter().any(child_reads)) {
        ("not-closed", "the parent closes the pipe when it has written all")
    } else {
        return;
    };
    let open: String = holders.iter().map(describe).collect();
    let evidence =
        format!("all of them sleep, and nothing will wake them{open}");
    judge.check(cause, name, false, evidence);
}

/// Which ends a process has open.
fn describe(Holder { name, reads, writes }: &Holder) -> String {
    let list = |numbers: &[usize]| {
        let some: Vec<String> = numbers.iter().map(usize::to_string).collect();
        match numbers {
            [] => "nothing".to_string(),
            [one] => format!("pipe {one}"),
            _ => format!("pipes {}", some.join(" and ")),
        }
    };
    let (reads, writes) = (list(reads), list(writes));
    format!("\n{name}: can read from {reads}, and write to {writes}")
}

/// Whoever writes to a pipe that nobody reads has to live with it.
fn judge_gone(performance: &Performance, judge: &mut Judge) {
    let exit = performance.exits.get("pipe_ipc").copied().flatten();
    let Some(exit) = exit.filter(|_| performance.take == "gone") else {
        return;
    };
    let said = performance.trace.stderr("pipe_ipc").join("\n");
    judge.check(
        "dies-of-epipe",
        "it goes on when its reader is gone",
        exit.is_success(),
        format!("{exit}\n{said}").trim_end(),
    );
    let printed = performance.trace.stdout("pipe_ipc");
    let answered = printed.iter().find(|line| line.starts_with("answer of "));
    judge.check(
        "reads-all-first",
        "the filter answers while it reads, and reads no more than it answers",
        !printed.contains(&"all sent"),
        format!(
            "{}\n{}\nall sent, though the filter was to end before that",
            printed.first().copied().unwrap_or_default(),
            answered.copied().unwrap_or_default(),
        ),
    );
}

/// A record is one write, and not one read.
fn judge_records(
    performance: &Performance,
    expected: &[String],
    judge: &mut Judge,
) {
    if performance.take != "collect" {
        return;
    }
    let writes: Vec<Vec<u64>> = fact(performance, "writes").unwrap_or_default();
    let told = |line: &&&str| line.contains(" records, ");
    let printed = performance.trace.stdout("pipe_ipc");
    let printed = printed.iter().find(told).copied().unwrap_or_default();
    let lengths = writes.iter().zip(1..).map(|(lengths, writer)| {
        let first: Vec<String> =
            lengths.iter().take(4).map(u64::to_string).collect();
        let more = if lengths.len() > 4 { " ..." } else { "" };
        format!("\nwriter {writer} wrote, in bytes: {}{more}", first.join(" "))
    });
    let evidence = format!("{printed}{}", lengths.collect::<String>());
    let lengths = || writes.iter().flatten();
    judge.check(
        "torn",
        "each record goes into the pipe in one write",
        lengths().all(|length| *length >= RECORD),
        evidence.as_str(),
    );
    judge.check(
        "too-long",
        "no write is longer than the pipe takes as a whole",
        lengths().all(|length| *length <= PIPE_BUF),
        format!("PIPE_BUF is {PIPE_BUF}\n{evidence}"),
    );
    let right = expected.get(1).map_or("", String::as_str);
    judge.check(
        "read-is-not-a-record",
        "the reader finds the records in what it has read",
        printed.is_empty() || printed == right,
        format!(
            "expected {right}\nactual   {printed}\n\
             many records were there before the first read"
        ),
    );
}

/// The lines that these arguments ask for.
fn expected(args: &[String]) -> Vec<String> {
    let number = |at: usize| {
        let text = args.get(at).map_or("", String::as_str);
        text.parse::<usize>().unwrap_or_default()
    };
    if args.first().is_some_and(|role| role == "collect") {
        let (writers, records) = (number(1), number(2));
        let mut lines = vec![
            format!("collecting from {writers} writers"),
            format!("{} records, 0 torn", writers * records),
        ];
        let ended = |n| format!("writer {n} ended with status 0");
        lines.extend((1..=writers).map(ended));
        return lines;
    }
    let (lines, keep) = (number(1), number(2));
    let answered = lines.min(keep);
    let word = args.get(3).map_or("", String::as_str);
    let last = format!("{word} {answered}").to_uppercase();
    let sent = if keep < lines { "reader is gone (EPIPE)" } else { "all sent" };
    vec![
        format!("sending {lines} lines"),
        format!("answer of {answered} lines, the last: {last:.<63}"),
        sent.to_string(),
        "filter ended with status 0".to_string(),
    ]
}

/// The lines without what was drawn.
fn story(performance: &Performance) -> String {
    let args: Vec<String> = fact(performance, "args").unwrap_or_default();
    let word = args.get(3).map_or("", String::as_str).to_uppercase();
    let mut lines: Vec<String> = Vec::new();
    for line in performance.trace.stdout("pipe_ipc") {
        let mut text = String::new();
        for character in line.trim_end_matches('.').chars() {
            match character.is_ascii_digit() {
                true if text.ends_with('N') => {}
                true => text.push('N'),
                false => text.push(character),
            }
        }
        if !word.is_empty() {
            text = text.replace(&word, "WORD");
        }
        lines.push(text);
    }
    lines.dedup(); // As many writers as were drawn.
    format!("{}:\n{}\n", performance.take, lines.join("\n"))
}

fn fact<T: DeserializeOwned>(
    performance: &Performance,
    name: &str,
) -> Option<T> {
    let value = performance.facts.get(name)?.clone();
    serde_json::from_value(value).ok()
}

//! What must have come of it.

use super::Look;
use crate::verdict::{Judge, Performance, side_by_side};

/// Set in a futex's operation: for the threads of one process (futex(2)).
const PRIVATE: u64 = 128;

fn read<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    fact: &str,
) -> Vec<T> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    let [performance] = performances else { return };
    let counter: Vec<Look> = read(performance, "counter");
    let ring: Vec<Look> = read(performance, "ring");
    let sized = ["ftruncate", "fallocate"].iter();
    let made = counter.iter().any(|look| !look.mapped.is_empty());
    let sizes: usize =
        sized.map(|call| performance.called("counter", call)).sum();
    let begun = judge.deed(
        "it makes an object, and gives it a size",
        made || sizes > 0,
        "no object in /dev/shm, and no call of ftruncate(2) was seen",
    );
    if !begun {
        return;
    }
    for (role, looks) in [("counter", &counter), ("ring", &ring)] {
        let busy = performance.restless.iter().any(|it| it.program == role);
        judge.check(
            "burns-cpu",
            &format!("{role}: who has to wait sleeps"),
            !busy,
            "somebody was never asleep while another was at work",
        );
        if looks.is_empty() {
            continue;
        }
        judge_mapping(performance, role, looks, judge);
        if role == "counter" {
            judge_counter(performance, looks, judge);
        } else {
            judge_ring(performance, judge);
        }
        if !performance.facts.contains_key(&format!("left by {role}")) {
            continue;
        }
        let left: Vec<String> = read(performance, &format!("left by {role}"));
        judge.check(
            "left-behind",
            &format!("{role} leaves nothing in /dev/shm"),
            left.is_empty(),
            "after its end the object was still there",
        );
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_output(performance, judge);
    judge.snapshot("story", "shared_memory", &summary(&counter, &ring));
}

/// Is it the object's memory, and everybody's?
fn judge_mapping(
    performance: &Performance,
    role: &str,
    looks: &[Look],
    judge: &mut Judge,
) {
    let Some(look) = looks.first() else { return };
    let ended = matches!(performance.exits.get(role), Some(Some(_)));
    if ended && look.inside == 0 {
        return; // Nobody was there to have it mapped.
    }
    judge.check(
        "not-mapped",
        &format!("{role} maps the object that it is told to make"),
        !look.mapped.is_empty(),
        "no process has a file in /dev/shm of this name in its memory",
    );
    judge.check(
        "map-private",
        &format!("{role} maps the object so that all have the same memory"),
        look.mapped.iter().all(|mode| mode.ends_with('s')),
        format!(
            "/proc/PID/maps: expected rw-s; actual {}",
            look.mapped.join(", ")
        ),
    );
    // Who waits for a private futex is not woken from another process.
    let calls = performance.trace.calls().map(|(_, call)| call);
    let private = calls
        .filter(|it| it.program == role && it.name == "futex")
        .any(|it| it.args[1] & PRIVATE != 0);
    let stuck = performance.missed.is_some()
        && !performance.facts.contains_key(&format!("left by {role}"));
    judge.check(
        "private-futex",
        &format!("{role} is woken from another process"),
        !(stuck && private),
        "futex was called with FUTEX_PRIVATE_FLAG, and nobody woke who slept",
    );
}

fn judge_counter(performance: &Performance, looks: &[Look], judge: &mut Judge) {
    let entries = performance.number("processes").unwrap_or(0)
        * performance.number("rounds").unwrap_or(0);
    let most = looks.iter().map(|look| look.inside).max().unwrap_or(0);
    let printed = performance.trace.stdout("counter");
    let last = printed.last().copied().unwrap_or_default();
    let right = last == format!("counter {entries}");
    judge.check(
        if right { "burns-cpu" } else { "no-lock" },
        "one process at a time reads and writes, and the others sleep",
        most <= 1,
        format!(
            "{most} were at sched_yield at once\n\
             expected at the end: counter {entries}; actual: {last}"
        ),
    );
    let nobody = looks.last().is_some_and(|look| look.inside == 0);
    judge.check(
        "lock-stays-locked",
        "when one has written, another reads",
        !nobody,
        format!(
            "{} of {entries} additions, and then all slept",
            looks.len().saturating_sub(1)
        ),
    );
    let wrong = looks
        .iter()
        .zip(0u64..)
        .find(|(look, done)| look.number.is_some_and(|number| number != *done));
    let evidence = wrong.map(|(look, done)| {
        let number = look.number.unwrap_or_default();
        format!("after {done} additions the object's first 8 bytes: {number}")
    });
    judge.check(
        "counter-elsewhere",
        "the object has the counter in it",
        wrong.is_none() || most > 1,
        evidence.unwrap_or_default(),
    );
}

/// The words of the lines that begin so.
fn told<'a>(performance: &'a Performance, word: &str) -> Vec<&'a str> {
    let lines = performance.trace.stdout("ring").into_iter();
    lines.filter_map(|line| line.strip_prefix(word)).collect()
}

fn judge_ring(performance: &Performance, judge: &mut Judge) {
    let capacity = performance.number("capacity").unwrap_or(0) as usize;
    let lines: Vec<String> = read(performance, "lines");
    let printed = performance.trace.stdout("ring").into_iter().skip(1);
    let first = printed.take_while(|line| !line.starts_with("got "));
    let ahead = first.filter(|line| line.starts_with("put ")).count();
    let evidence = format!(
        "slots: {capacity}; put while the reader had its first line in use, \
         expected: {}; actual: {ahead}",
        capacity + 1
    );
    judge.check(
        "overwrites",
        "who fills the ring waits when it is full",
        ahead <= capacity + 1,
        evidence.clone(),
    );
    judge.check(
        "slots-unused",
        "it fills every slot before it waits",
        ahead > capacity || performance.missed.is_some(),
        evidence,
    );
    let got = told(performance, "got ");
    let is_begun = lines.iter().zip(&got).all(|(line, got)| line == got);
    let put = told(performance, "put ").len();
    let exit = performance.exits.get("ring").copied();
    let (runs, ended) = match exit.flatten() {
        None => (exit.is_some(), false),
        Some(exit) => (false, exit.is_success()),
    };
    let stopped = performance.missed.is_some() && got.len() < lines.len();
    // Who put lines and ended in good order says that all are through.
    let excused = stopped && !(ended && put > 0);
    judge.check(
        "lines-lost",
        "every line comes out of the ring, in order",
        got == lines || (excused && is_begun),
        side_by_side(&lines, &got),
    );
    judge.check(
        if put == 0 { "nothing-put" } else { "ring-stands-still" },
        "the ring goes on until all lines are through",
        !(stopped && runs),
        format!("put: {put}; got: {}", got.len()),
    );
    judge.check(
        "not-told-to-end",
        "ring ends when all lines are through",
        performance.missed.is_none() || !runs || stopped,
        format!("put: {put}; got: {}; it goes on waiting", got.len()),
    );
}

fn judge_output(performance: &Performance, judge: &mut Judge) {
    let names: Vec<String> = read(performance, "names");
    let heads = names.iter().map(|name| format!("shared memory {name}"));
    let heads: Vec<String> = heads.collect();
    let entries = performance.number("processes").unwrap_or(0)
        * performance.number("rounds").unwrap_or(0);
    let mut expected = heads[..heads.len().min(1)].to_vec();
    expected.push(format!("counter {entries}"));
    judge.printed("output", performance, "counter", &expected);
    // Who prints first, `put` or `got`, is the scheduler's affair.
    let put = told(performance, "put ");
    let lines: Vec<String> = read(performance, "lines");
    let printed = performance.trace.stdout("ring");
    let count = 1 + 2 * lines.len();
    let first = printed.first().copied() == heads.get(1).map(String::as_str);
    judge.check(
        "output",
        "ring prints what the stub asks for",
        first && put == lines && printed.len() == count,
        side_by_side(&lines, &put),
    );
    judge.ended_well(performance, "counter");
    judge.ended_well(performance, "ring");
}

/// What was found at the first turn of each.
fn summary(counter: &[Look], ring: &[Look]) -> String {
    let mut text = String::new();
    for (role, looks) in [("counter", counter), ("ring", ring)] {
        let Some(look) = looks.first() else { continue };
        let Look { inside, mapped, .. } = look;
        let mapped = mapped.join(", ");
        text.push_str(&format!("{role}: held {inside}, mapped {mapped}\n"));
    }
    text
}

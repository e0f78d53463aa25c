//! What must have come of it.

use testbed::trace::CallEvent;

use super::{Look, Set};
use crate::verdict::{Judge, Performance};

/// semctl's command that removes (sys/ipc.h).
const IPC_RMID: u64 = 0;

/// What the judge knows of a performance.
struct Seen<'a> {
    performance: &'a Performance,
    processes: usize,
    rounds: usize,
    looks: Vec<Look>,
    /// The calls of the run, and whether the first process made them.
    calls: Vec<(bool, &'a CallEvent)>,
    /// The first look after the kill.
    killed_at: Option<usize>,
}

impl<'a> Seen<'a> {
    fn of(performance: &'a Performance) -> Seen<'a> {
        let number = |fact| performance.number(fact).map(|n| n as usize);
        let parent = performance.number("parent").unwrap_or_default();
        let calls = performance.trace.calls().map(|(_, call)| call);
        Seen {
            performance,
            processes: number("processes").unwrap_or_default(),
            rounds: number("rounds").unwrap_or_default(),
            looks: read(performance, "looks"),
            calls: calls
                .map(|call| (u64::from(call.tid) == parent, call))
                .collect(),
            killed_at: number("killed_at"),
        }
    }

    fn called(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.performance.called("sysv_sem", name) > 0)
    }

    /// How many children ended by themselves before this one of the calls.
    fn exits_before(&self, at: usize) -> usize {
        let calls = self.calls[..at].iter();
        let exits = calls.filter(|(is_parent, call)| {
            !is_parent && call.name == "exit_group"
        });
        exits.count()
    }

    fn first_removal(&self) -> Option<usize> {
        self.calls.iter().position(|(_, call)| {
            call.name == "semctl" && call.args[2] & 0xff == IPC_RMID
        })
    }

    /// The lines about the section.
    fn turns(&self) -> Vec<(&'a str, &'a str)> {
        let lines = self.performance.trace.stdout("sysv_sem").into_iter();
        let turns = lines.filter_map(|line| line.split_once(' '));
        turns.filter(|turn| ["enters", "leaves"].contains(&turn.1)).collect()
    }

    /// How often somebody has entered.
    fn entries(&self, number: &str) -> usize {
        let turns = self.turns().into_iter();
        turns.filter(|turn| *turn == (number, "enters")).count()
    }

    /// Did the scenario kill it? It has entered, then, and not left.
    fn was_killed(&self, number: &str) -> bool {
        let turns = self.turns().into_iter();
        let left = turns.filter(|turn| *turn == (number, "leaves")).count();
        self.killed_at.is_some() && self.entries(number) > left
    }

    /// How many are in the section, by these lines.
    fn said_inside(&self) -> usize {
        let turns = self.turns();
        let (enters, leaves): (Vec<&(&str, &str)>, Vec<_>) =
            turns.iter().partition(|turn| turn.1 == "enters");
        enters.len().saturating_sub(leaves.len())
    }
}

fn read<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    fact: &str,
) -> Vec<T> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        if performance.trace.stdout("sysv_sem").is_empty() {
            continue; // Nothing was claimed; what was missed is told later.
        }
        let seen = Seen::of(performance);
        let begun = judge.deed(
            "it makes a semaphore set",
            seen.called(&["semget"]),
            "no call of semget(2) was seen",
        );
        if !begun {
            continue;
        }
        judge.check(
            "no-children",
            "it starts processes",
            seen.called(&["fork", "vfork", "clone", "clone3"]),
            "no process but the first was seen",
        );
        judge_set(&seen, judge);
        judge_turns(&seen, judge);
        judge_end(&seen, judge);
        if performance.take == "killed" {
            judge_rounds(&seen, judge);
        }
        if performance.missed.is_none() {
            judge_lines(&seen, judge);
        }
    }
}

/// Who can find the set, and what is in it.
fn judge_set(seen: &Seen, judge: &mut Judge) {
    let gets = seen.calls.iter().filter(|(_, call)| call.name == "semget");
    let modes: Vec<u64> = gets.map(|(_, it)| it.args[2] & 0o777).collect();
    let open = modes.iter().find(|mode| *mode & 0o077 != 0);
    judge.check(
        "open-to-others",
        "other users cannot take the semaphore",
        open.is_none(),
        format!("semget was given the mode {:04o}", open.unwrap_or(&0)),
    );
    let removed_after = seen.first_removal().map(|at| seen.exits_before(at));
    let killed = usize::from(seen.killed_at.is_some());
    let ended = removed_after.map_or(seen.processes, |ended| ended + killed);
    if seen.performance.take == "killed" {
        judge.check(
            "removed-too-early",
            "the set is there as long as a child is",
            ended >= seen.processes,
            format!(
                "semctl IPC_RMID came when {ended} of {} children had ended",
                seen.processes
            ),
        );
    }
    let Some(look) = seen.looks.first() else { return };
    let keys: Vec<&str> = look.sets.iter().map(|s| s.key.as_str()).collect();
    judge.check(
        "own-sets",
        "all processes have the same set",
        keys.len() <= 1,
        format!("the host has {} semaphore sets", keys.len()),
    );
    judge.check(
        "has-a-key",
        "no other program can come upon the set by its key",
        keys.iter().all(|key| *key == "private"),
        format!(
            "key expected: private (IPC_PRIVATE); actual: {}",
            keys.join(", ")
        ),
    );
    judge.check(
        "no-semop",
        "the children ask the semaphore",
        seen.called(&["semop", "semtimedop"]),
        "no call of semop(2) was seen",
    );
    let value = seen.performance.number("value").unwrap_or(1);
    let cause = if value == 0 { "starts-at-zero" } else { "starts-too-high" };
    judge.check(
        cause,
        "the semaphore lets one process in",
        value == 1,
        format!(
            "its value expected: 1; actual, before the first semop: {value}"
        ),
    );
}

/// Who is in the section whenever everybody sleeps: of the looks, the first
/// that is not as it should be, or the one after the kill.
fn judge_turns(seen: &Seen, judge: &mut Judge) {
    let turns = match seen.performance.take.as_str() {
        "told" => 1,
        _ => seen.looks.len(),
    };
    let mut looks = seen.looks.iter().take(turns);
    let wrong = looks.position(|look| !look.is_fine());
    let at = wrong.or(seen.killed_at).unwrap_or(0);
    let Some(look) = seen.looks.get(at) else { return };
    let Look { inside, waiting, elsewhere, .. } = look;
    let after_kill = seen.killed_at == Some(at);
    let mut evidence =
        format!("in the section: {inside}; asleep in semop: {waiting}");
    if !elsewhere.is_empty() {
        let elsewhere = elsewhere.join(", ");
        evidence.push_str(&format!("; asleep elsewhere: {elsewhere}"));
    }
    if let Some(value) = look.value() {
        evidence.push_str(&format!("; the semaphore: {value}"));
    }
    let spins = *inside > 1 && seen.said_inside() == 1;
    judge.check(
        "does-not-sleep",
        "who has to wait sleeps in semop",
        elsewhere.is_empty() && !spins,
        match spins {
            true => format!("{inside} are at sched_yield, 1 said `enters`"),
            false => evidence.clone(),
        },
    );
    if *inside + *waiting == 0 {
        return; // All have ended: their lines tell more.
    }
    if after_kill {
        judge.check(
            "no-undo",
            "when the one in the section is killed, another enters",
            *inside > 0,
            evidence.clone(),
        );
    }
    let cause = match inside {
        0 => "nobody-enters",
        _ if after_kill || look.ended > 0 => "undo-one-way",
        _ if at > 0 => "released-too-often",
        _ => "two-inside",
    };
    judge.check(
        cause,
        "one process is in the section, and no other can enter",
        look.is_fine(),
        format!("turn {}: {evidence}", at + 1),
    );
}

/// What is left.
fn judge_end(seen: &Seen, judge: &mut Judge) {
    let performance = seen.performance;
    let told = performance.take == "told";
    let after_end: Vec<Set> = read(performance, "left");
    let after_word = seen.looks.get(1).filter(|_| told);
    let left = after_word.map_or(&after_end, |look| &look.sets);
    judge.check(
        if told { "left-when-told" } else { "left-behind" },
        "no semaphore set is left on the host",
        left.is_empty() && after_end.is_empty(),
        "`ipcs -s` still shows the set",
    );
    let running = performance.number("running").unwrap_or(0);
    judge.check(
        "outlived",
        "no child is left when the program ends",
        running == 0,
        format!("{running} processes were still there"),
    );
}

/// Each enters as often as it was asked to, unless it was killed meanwhile or
/// the run stopped while some were still there.
fn judge_rounds(seen: &Seen, judge: &mut Judge) {
    let missed = seen.performance.missed.is_some();
    let last = seen.looks.last();
    if missed && last.is_none_or(|look| look.inside + look.waiting > 0) {
        return;
    }
    let numbers = (1..=seen.processes).map(|number| number.to_string());
    let wrong: Vec<String> = numbers
        .map(|number| (seen.entries(&number), number))
        .filter(|(entries, number)| {
            *entries != seen.rounds && !seen.was_killed(number)
        })
        .map(|(entries, number)| format!("{number} entered {entries} times"))
        .collect();
    judge.check(
        "rounds",
        "each process enters as often as it was asked to",
        wrong.is_empty(),
        format!("rounds: {}\n{}", seen.rounds, wrong.join("\n")),
    );
}

/// What was printed. Whose turn it is, is the kernel's affair.
fn judge_lines(seen: &Seen, judge: &mut Judge) {
    let performance = seen.performance;
    let lines = performance.trace.stdout("sysv_sem");
    let told = performance.take == "told";
    let failed: Vec<&str> =
        lines.iter().filter(|it| it.ends_with(" failed")).copied().collect();
    let said = performance.trace.stderr("sysv_sem").join("\n");
    judge.check(
        "removal-fails",
        "a child that finds the set removed ends without an error",
        !told || failed.is_empty(),
        format!("{}\n{said}", failed.join("\n")),
    );
    let id = seen.looks.first().and_then(|look| look.sets.first());
    let id = id.map_or(String::new(), |set| set.id.to_string());
    let mut expected = vec![format!("semaphore set {id}")];
    let turns = seen.turns();
    let numbers: Vec<String> =
        (1..=seen.processes).map(|number| number.to_string()).collect();
    let turn = |turn: &(&str, &str)| format!("{} {}", turn.0, turn.1);
    if told {
        expected.extend(turns.first().map(turn));
        expected.extend(["told to end", "removed"].map(String::from));
        expected.extend(turns.get(1).map(turn));
    } else {
        expected.extend(turns.iter().map(turn));
        expected.push("removed".to_string());
    }
    expected.extend(numbers.iter().map(
        |number| match seen.was_killed(number) {
            true => format!("{number} was killed"),
            false => format!("{number} ended"),
        },
    ));
    judge.printed("output", performance, "sysv_sem", &expected);
    judge.ended_well(performance, "sysv_sem");
    let name = format!("sysv_sem-{}", performance.take);
    judge.snapshot("story", &name, &summary(seen));
}

/// Where everybody was, with the number of processes as N.
fn summary(seen: &Seen) -> String {
    let mut text = String::new();
    let after = if seen.performance.take == "told" {
        ("the set removed", Some(1))
    } else {
        ("the owner killed", seen.killed_at)
    };
    for (name, at) in [("the first turn", Some(0)), after] {
        let Some(look) = at.and_then(|at| seen.looks.get(at)) else { continue };
        let waiting = match seen.processes - look.waiting {
            _ if look.waiting == 0 => "0".to_string(),
            less => format!("N-{less}"),
        };
        let sets = look.sets.len();
        text.push_str(&format!(
            "{name}: in the section {}, in semop {waiting}, sets {sets}\n",
            look.inside
        ));
    }
    text
}

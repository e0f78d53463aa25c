//! Grades `shared_memory`: no update lost, no slot overwritten, nothing left.
//!
//! Whoever adds to the counter is held between its read and its write, and the
//! others get all the time they want: they have to sleep until it has written.
//! The reader of the ring is held with its first line while more lines come
//! than the ring has slots for; then it uses one line after another.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testbed::{Calls, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "shared_memory",
    pristine: include_str!("../../pristine/ch13_processes/shared_memory.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "never_unlinked", cause: "left-behind" },
        Mutant { name: "mapped_private", cause: "map-private" },
        Mutant { name: "no_lock", cause: "no-lock" },
        Mutant { name: "lock_of_one_process", cause: "private-futex" },
        Mutant { name: "nobody_waits_for_room", cause: "overwrites" },
        Mutant { name: "no_ftruncate", cause: "crashed" },
    ],
    alternatives: &["mutex_and_conditions", "std_file"],
};

const YIELD: &str = "sched_yield";
const WATCHED: [&str; 4] = ["futex", "ftruncate", "fallocate", "exit_group"];
/// Set in a futex's operation: for the threads of one process (futex(2)).
const PRIVATE: u64 = 128;
/// How long until another look at processes that end.
const GLANCE: Duration = Duration::from_millis(1);

/// What is found while somebody is held and the others sleep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    /// How many are held.
    inside: usize,
    /// The first number in the object; `None`: the object cannot be seen.
    number: Option<u64>,
    /// How every process has mapped the object, `rw-s` or `rw-p`.
    mapped: Vec<String>,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let [name, other] = [(); 2].map(|()| format!("/{}", stage.draw.letters(6)));
    let drawn = [3..=4, 2..=3, 2..=4].map(|range| stage.draw.count(range));
    let value = |at: usize| stage.values.get(at).and_then(|it| it.parse().ok());
    let [processes, rounds, capacity] =
        [0, 1, 2].map(|at| value(at).unwrap_or(drawn[at]));
    stage.fact("names", [&name, &other]);
    for (fact, number) in
        [("processes", processes), ("rounds", rounds), ("capacity", capacity)]
    {
        stage.fact(fact, number);
    }
    let args = [processes.to_string(), rounds.to_string()];
    let args = ["counter", &name, &args[0], &args[1]].map(String::from);
    let counter = start(stage, "counter", args.to_vec())?;
    let mut looks = Vec::new();
    let entries = (processes * rounds) as usize;
    let counted = count(stage, counter, (&name, entries), &mut looks);
    stage.fact("counter", &looks);
    counted?;
    end(stage, counter)?;

    let args = ["ring".to_string(), other.clone(), capacity.to_string()];
    let ring = start(stage, "ring", args.to_vec())?;
    let lines: Vec<String> =
        (0..2 * capacity + 3).map(|_| stage.draw.letters(5)).collect();
    stage.fact("lines", &lines);
    let mut looks = Vec::new();
    let passed = pass(stage, ring, (&other, &lines), &mut looks);
    stage.fact("ring", &looks);
    passed?;
    end(stage, ring)
}

fn start(
    stage: &mut Stage,
    role: &str,
    args: Vec<String>,
) -> Result<Role, Halt> {
    let program = stage.start_with(role, KONGMING, args, |launch| {
        launch.hold(&[YIELD]).watch(&WATCHED)
    })?;
    stage.line(program, "shared memory ")?;
    Ok(program)
}

/// Lets one process after another write what it has made of what it read.
fn count(
    stage: &mut Stage,
    role: Role,
    (name, entries): (&str, usize),
    looks: &mut Vec<Look>,
) -> Result<(), Halt> {
    for _ in 0..entries {
        let look = look(stage, role, name)?;
        let inside = look.inside;
        let before = looks.last().map(|last: &Look| last.inside);
        if before != Some(inside) {
            stage
                .step(KONGMING, format!("between read and write: {inside}"))?;
        }
        looks.push(look);
        match inside {
            0 => {
                let what = "waited for a process at its sched_yield";
                return Err(Halt::Missed(what.into()));
            }
            1 => drop(calls(stage, role)?.release_one(YIELD)),
            // Lost already; how much, the last line tells.
            _ => break,
        }
    }
    calls(stage, role)?.let_go(YIELD);
    stage.line(role, "counter ").map(drop)
}

/// Fills the ring while the reader has its first line, and then lets it use one
/// after another.
fn pass(
    stage: &mut Stage,
    role: Role,
    (name, lines): (&str, &[String]),
    looks: &mut Vec<Look>,
) -> Result<(), Halt> {
    for line in lines {
        stage.send(role, line);
    }
    for _ in lines {
        let look = look(stage, role, name)?;
        let inside = look.inside;
        if looks.is_empty() {
            stage.step(KONGMING, "the reader has its first line in use")?;
        }
        looks.push(look);
        if inside == 0 {
            let what = "waited for the reader to use a line";
            return Err(Halt::Missed(what.into()));
        }
        calls(stage, role)?.release_one(YIELD);
    }
    stage.close_stdin(role);
    Ok(())
}

fn end(stage: &mut Stage, role: Role) -> Result<(), Halt> {
    stage.end(role)?;
    let objects = stage.net.host(KONGMING)?.ipc()?.into_iter();
    let left: Vec<String> = objects.map(|object| object.name).collect();
    let fact = format!("left by {}", stage.program(role).name());
    stage.fact(&fact, left);
    Ok(())
}

/// Waits until somebody is held and everybody else sleeps, and looks round.
fn look(stage: &mut Stage, role: Role, name: &str) -> Result<Look, Halt> {
    stage.patiently(|stage, glance| {
        let came = calls(stage, role)?.wait_held(YIELD, 1, glance);
        let program = stage.program(role);
        Ok((came || program.has_closed_its_output()).then_some(()))
    })?;
    wait_for_deaths(stage, role)?;
    stage.idle(role)?;
    let file = format!("/dev/shm{name}");
    let host = stage.net.host(KONGMING)?;
    let bytes = host.at(move || fs::read(file))?.ok();
    let number = bytes.as_ref().and_then(|bytes| {
        Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?))
    });
    let mut mapped = Vec::new();
    for process in stage.program(role).processes()? {
        let maps = fs::read_to_string(format!("/proc/{}/maps", process.pid));
        let file = format!("/dev/shm{name}");
        let mine = maps.unwrap_or_default();
        let mine = mine.lines().filter(|line| line.contains(&file));
        mapped.extend(mine.filter_map(|line| {
            line.split_whitespace().nth(1).map(String::from)
        }));
    }
    mapped.sort();
    mapped.dedup();
    Ok(Look { inside: calls(stage, role)?.held().len(), number, mapped })
}

/// Who has come to its end is gone; a zombie is.
fn wait_for_deaths(stage: &mut Stage, role: Role) -> Result<(), Halt> {
    stage.patiently(|stage, _| {
        let log = calls(stage, role)?.log();
        let ending =
            |pid| log.iter().any(|it| it.tid == pid && it.name == "exit_group");
        let mut processes = stage.program(role).processes()?.into_iter();
        let live =
            processes.any(|one| ending(one.pid as u32) && !one.is_zombie());
        if live {
            std::thread::sleep(GLANCE); // The kernel has no event for this.
        }
        Ok((!live).then_some(()))
    })?;
    Ok(())
}

fn calls(stage: &Stage, role: Role) -> Result<Calls, Halt> {
    let calls = stage.program(role).calls().cloned();
    let unwatched = || testbed::Error::new("the program is not watched");
    calls.ok_or_else(|| unwatched().into())
}

fn read<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    fact: &str,
) -> Vec<T> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn judge(performances: &[Performance], judge: &mut Judge) {
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
    judge.check(
        "no-lock",
        "one process at a time reads and writes the counter",
        most <= 1,
        format!(
            "{most} had read it when none had written\n\
             expected at the end: counter {entries}; actual: {last}"
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
    // The reader may free a slot when it has a copy, or when that is used.
    judge.check(
        "overwrites",
        "who fills the ring waits when it is full",
        ahead <= capacity + 1,
        format!(
            "slots: {capacity}; put while the reader had its first line in \
             use: {ahead}"
        ),
    );
    let room = ahead >= capacity || performance.missed.is_some();
    judge.check(
        "slots-unused",
        "it fills every slot before it waits",
        room,
        format!("slots: {capacity}; put before it waited: {ahead}"),
    );
    let got = told(performance, "got ");
    let is_begun = lines.iter().zip(&got).all(|(line, got)| line == got);
    let stopped = performance.missed.is_some() && got.len() < lines.len();
    judge.check(
        "lines-lost",
        "every line comes out of the ring, in order",
        got == lines || (stopped && is_begun),
        side_by_side(&lines, &got),
    );
    judge.check(
        "ring-stands-still",
        "the ring goes on until all lines are through",
        !stopped,
        format!("put: {}; got: {}", told(performance, "put ").len(), got.len()),
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

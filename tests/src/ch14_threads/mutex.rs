//! Grades `mutex`: one thread in the section, and none that waits for ever.
//!
//! The schedule is the scenario's. Every thread that offers the processor, by
//! sched_yield(2), is held there until all the others sleep; then one of them
//! is let go on. The thread with the lowest number is the slow one: the others
//! make several steps to each of its own, so that what it has read is old when
//! it writes, and what it holds is what the others want.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use testbed::{Call, Calls, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "mutex",
    pristine: include_str!("../../pristine/ch14_threads/mutex.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "one_after_another", cause: "one-at-a-time" },
        Mutant { name: "a_lock_for_each", cause: "nobody-waits" },
        Mutant { name: "guard_not_kept", cause: "unlocked-too-early" },
        Mutant { name: "only_the_giver_locked", cause: "money-lost" },
        Mutant { name: "opposite_order", cause: "deadlock" },
        Mutant { name: "one_lock_at_a_time", cause: "half-done" },
    ],
    alternatives: &["try_and_back_off", "raw_pthreads", "mutex_of_balances"],
};

const YIELD: &str = "sched_yield";
const WATCHED: [&str; 3] = ["futex", "clone", "clone3"];
/// More than any right program needs: 5 threads, 5 rounds, two calls each.
const MOST_STEPS: usize = 100;
/// So many steps of the others to one of the slow thread.
const OTHERS: usize = 5;

/// What a program is seen to do with the schedule that it is given.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sight {
    /// Threads that it made.
    made: usize,
    /// Threads besides the first one that there were when all slept at first.
    threads: usize,
    /// At each step, how many of them were held at sched_yield(2).
    held: Vec<usize>,
    /// How often each thread called sched_yield(2).
    yields: Vec<usize>,
    /// A thread did not sleep though it had to wait.
    busy: bool,
    /// A line for each thread that slept when nobody was held any more: what
    /// it waits for.
    stuck: Vec<String>,
}

impl Sight {
    fn most_held(&self) -> usize {
        self.held.iter().copied().max().unwrap_or(0)
    }
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let drawn = [3..=5, 4..=5, 10..=49, 50..=99];
    let drawn = drawn.map(|range| stage.draw.count(range).to_string());
    let values = match stage.values.as_slice() {
        [] => drawn.to_vec(),
        values => values.to_vec(),
    };
    stage.fact("values", &values);
    let value = |at: usize| values.get(at).cloned().unwrap_or_default();

    let args = ["counter".to_string(), value(0), value(1)];
    let sight = play(stage, "counter", args.to_vec(), "balance ")?;
    if sight.most_held() > 1 {
        let what = "waited for a counter with one thread at a time in `add`";
        return Err(Halt::Missed(what.into()));
    }
    let args = ["transfer".to_string(), value(1), value(2), value(3)];
    play(stage, "transfer", args.to_vec(), "alice ")?;
    Ok(())
}

/// Starts a program, gives it its schedule, and waits for its last line.
fn play(
    stage: &mut Stage,
    role: &str,
    args: Vec<String>,
    last: &str,
) -> Result<Sight, Halt> {
    let program = stage.start_with(role, KONGMING, args, |launch| {
        launch.watch(&WATCHED).hold(&[YIELD])
    })?;
    let Some(calls) = stage.program(program).calls().cloned() else {
        return Err(Halt::Missed("waited for watched calls".into()));
    };
    let mut sight = Sight::default();
    let driven = drive(stage, program, &calls, &mut sight);
    sight.made = calls.count("clone") + calls.count("clone3");
    stage.fact(role, &sight);
    driven?;
    if !sight.stuck.is_empty() {
        return Err(Halt::Missed(format!("waited for {role} to go on")));
    }
    stage.line(program, last)?;
    stage.end(program)?;
    sight.yields = yields(&calls);
    stage.fact(role, &sight);
    Ok(sight)
}

fn yields(calls: &Calls) -> Vec<usize> {
    let mut each = BTreeMap::new();
    for call in calls.log().iter().filter(|call| call.name == YIELD) {
        *each.entry(call.tid).or_default() += 1;
    }
    each.into_values().collect()
}

fn drive(
    stage: &mut Stage,
    program: Role,
    calls: &Calls,
    sight: &mut Sight,
) -> Result<(), Halt> {
    // Before it begins a program sleeps as well.
    let begun = stage.patiently(|stage, glance| {
        let begun = calls.wait_count(YIELD, 1, glance)
            || stage.program(program).has_closed_its_output();
        Ok(begun.then_some(()))
    })?;
    if begun.is_none() {
        return Err(Halt::Missed(format!("waited for a call of {YIELD}")));
    }
    let mut slow = None;
    for step in 1..=MOST_STEPS {
        all_sleep(stage, program, sight)?;
        let held = calls.held();
        if step == 1 {
            let threads = stage.program(program).threads()?.len();
            sight.threads = threads.saturating_sub(1);
        }
        let first = held.iter().map(|call| call.tid).min();
        let Some(first) = first else { break };
        note(stage, &held, sight)?;
        let slow = *slow.get_or_insert(first);
        let (mut slow, mut others): (Vec<_>, Vec<_>) =
            held.iter().partition(|call| call.tid == slow);
        if step % (OTHERS + 1) == 0 {
            std::mem::swap(&mut slow, &mut others);
        }
        if let Some(next) = others.first().or(slow.first()) {
            calls.release(next);
        }
    }
    calls.let_go(YIELD);
    all_sleep(stage, program, sight)?;
    sight.stuck = stuck(stage, program, calls)?;
    Ok(())
}

/// Waits until nothing more happens by itself.
fn all_sleep(
    stage: &mut Stage,
    program: Role,
    sight: &mut Sight,
) -> Result<(), Halt> {
    sight.busy = !stage.idle(program)?;
    match sight.busy {
        true => Err(Halt::Missed("waited for every thread to sleep".into())),
        false => Ok(()),
    }
}

/// Puts down who is held, when that is not what it was.
fn note(stage: &Stage, held: &[Call], sight: &mut Sight) -> Result<(), Halt> {
    if sight.held.last() != Some(&held.len()) {
        let asleep = sight.threads.saturating_sub(held.len());
        let text = format!("{} at sched_yield, {asleep} asleep", held.len());
        stage.step(KONGMING, format!("threads: {text}"))?;
    }
    sight.held.push(held.len());
    Ok(())
}

/// The threads that are left though nobody is held, and what they wait for.
fn stuck(
    stage: &Stage,
    program: Role,
    calls: &Calls,
) -> Result<Vec<String>, Halt> {
    let log = calls.log();
    let mut letters = BTreeMap::new();
    let mut lines = Vec::new();
    let pid = stage.program(program).pid();
    let threads = stage.program(program).threads()?;
    let workers = threads.iter().filter(|thread| thread.tid != pid);
    for (at, thread) in workers.enumerate() {
        let last = log.iter().rev().find(|call| call.tid == thread.tid);
        let place = match last.filter(|call| is_wait(call)) {
            Some(call) => {
                let next = char::from(b'A' + (letters.len() % 26) as u8);
                let letter = letters.entry(call.args[0]).or_insert(next);
                format!("in futex(2), for lock {letter}")
            }
            None => "in another call than futex(2)".to_string(),
        };
        lines.push(format!("thread {} sleeps {place}", at + 1));
    }
    Ok(lines)
}

/// FUTEX_WAIT, FUTEX_LOCK_PI or FUTEX_WAIT_BITSET, whatever flags they have.
fn is_wait(call: &Call) -> bool {
    call.name == "futex" && [0, 6, 9].contains(&(call.args[1] & 0x7f))
}

/// What the program was to do.
struct Task {
    threads: usize,
    rounds: i64,
    there: i64,
    back: i64,
}

fn task(performance: &Performance) -> Task {
    let values = performance.facts.get("values").cloned().unwrap_or_default();
    let values: Vec<String> =
        serde_json::from_value(values).unwrap_or_default();
    let number = |at: usize| -> i64 {
        values.get(at).and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    Task {
        threads: number(0).max(0) as usize,
        rounds: number(1),
        there: number(2),
        back: number(3),
    }
}

fn sight(performance: &Performance, role: &str) -> Option<Sight> {
    let value = performance.facts.get(role)?.clone();
    serde_json::from_value(value).ok()
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let task = task(performance);
    let Some(counter) = sight(performance, "counter") else { return };
    if performance.trace.stdout("counter").is_empty() && counter.made == 0 {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    judge.deed(
        "threads are made",
        counter.made > 0,
        "the program never called clone(2)",
    );
    let ended = performance.exits.get("counter").is_some_and(Option::is_some);
    let printed = performance.trace.stdout("counter");
    let balance = printed.iter().any(|line| line.starts_with("balance"));
    if ended && !balance && counter.held.is_empty() {
        return; // The program ended with its threads: none came to the lock.
    }
    let at_once = task.threads;
    together(judge, "counter", &counter, at_once);
    judge_counter(performance, judge, &counter, &task);
    let Some(transfer) = sight(performance, "transfer") else { return };
    together(judge, "transfer", &transfer, 2);
    judge_transfer(performance, judge, &transfer, &task);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let Task { threads, rounds, there, back } = task;
    let alice = rounds * (back - there);
    let lines = [
        format!("{threads} threads add {rounds} times"),
        format!("balance {}", threads as i64 * rounds),
    ];
    judge.printed("output", performance, "counter", &lines);
    judge.ended_well(performance, "counter");
    let lines = [
        format!("2 threads transfer {rounds} times"),
        format!("alice {alice}, bob {}", -alice),
    ];
    judge.printed("output", performance, "transfer", &lines);
    judge.ended_well(performance, "transfer");
    if judge.content() {
        let text = format!(
            "counter: at most {} at sched_yield\ntransfer: nobody stuck\n",
            counter.most_held(),
        );
        judge.snapshot("story", "mutex", &text);
    }
}

/// All the threads are there, use the calls that the stub came with, and sleep
/// when they have to wait.
fn together(judge: &mut Judge, role: &str, sight: &Sight, threads: usize) {
    judge.check(
        "never-asleep",
        &format!("the threads of {role} sleep until they can have a lock"),
        !sight.busy,
        match sight.held.len() {
            MOST_STEPS => {
                "in step with each other two threads take a lock, \
                           give it back and try again, without end"
            }
            _ => {
                "with the others held at sched_yield(2), a thread used the \
                  processor and never slept"
            }
        },
    );
    judge.check(
        "no-window",
        &format!("{role} uses `add` and `lock` as the stub has them"),
        !sight.held.is_empty(),
        "no thread of it ever called sched_yield(2)",
    );
    judge.check(
        "one-at-a-time",
        &format!("{role} has all its threads at once"),
        sight.threads >= threads || sight.held.is_empty(),
        format!(
            "{threads} were asked for; when all slept there were {}",
            sight.threads
        ),
    );
}

fn judge_counter(
    performance: &Performance,
    judge: &mut Judge,
    sight: &Sight,
    task: &Task,
) {
    let right = task.threads as i64 * task.rounds;
    let said = line(performance, "counter", "balance ");
    let first = sight.held.first().copied().unwrap_or(0);
    // With a schedule like this nobody comes through by luck.
    let spins = said == right.to_string();
    judge.check(
        if spins { "never-asleep" } else { "nobody-waits" },
        "whoever comes second sleeps until the lock is free",
        first <= 1,
        format!(
            "{first} threads stand in the section together, and {} sleep\n\
             expected balance {right}\nactual   balance {said}",
            sight.threads.saturating_sub(first)
        ),
    );
    judge.check(
        "unlocked-too-early",
        "one thread at a time is between the lock and the end of `add`",
        sight.most_held() <= 1,
        "the second to come slept at first; then it came in while the first \
         was still there, and read what that had not yet written",
    );
    judge.check(
        "never-unlocked",
        "every thread of counter comes to its end",
        sight.stuck.is_empty(),
        sight.stuck.join("\n"),
    );
    if performance.facts.contains_key("transfer") {
        let yields: usize = sight.yields.iter().sum();
        let least = task.threads * task.rounds.max(0) as usize;
        judge.check(
            "additions-missing",
            "every addition goes through `add`",
            yields >= least,
            format!("{least} additions, {yields} calls of sched_yield"),
        );
    }
}

fn judge_transfer(
    performance: &Performance,
    judge: &mut Judge,
    sight: &Sight,
    task: &Task,
) {
    judge.check(
        "deadlock",
        "transfer comes to its end in any order of its threads",
        sight.stuck.is_empty(),
        format!(
            "each thread had been let go on, and nobody is held; now\n{}",
            sight.stuck.join("\n")
        ),
    );
    let said = line(performance, "transfer", "alice ");
    let alice = task.rounds * (task.back - task.there);
    let right = format!("{alice}, bob {}", -alice);
    if !said.is_empty() {
        judge.check(
            "money-lost",
            "what one account gives, the other gets",
            said == right,
            format!("expected alice {right}\nactual   alice {said}"),
        );
        judge.check(
            "half-done",
            "both accounts are locked until both have been changed",
            !is_half_done(sight, task.rounds),
            "both threads were in the midst of a transfer at the same time, \
             and neither had to wait for the other or to try again",
        );
    }
}

/// Two threads in the midst of a transfer, and neither was kept out or had to
/// try again: then neither had both locks. `lock` and `add` make four calls of
/// sched_yield(2) in a transfer, `add` alone two.
fn is_half_done(sight: &Sight, rounds: i64) -> bool {
    let rounds = rounds.max(0) as usize;
    let never_again = |calls: usize| sight.yields == [calls * rounds; 2];
    sight.most_held() > 1 && (never_again(4) || never_again(2))
}

/// What follows `prefix` in a line of the program; nothing if there is none.
fn line(performance: &Performance, role: &str, prefix: &str) -> String {
    let printed = performance.trace.stdout(role);
    let said = printed.iter().find_map(|line| line.strip_prefix(prefix));
    said.unwrap_or_default().to_string()
}

//! Grades `threads`: all at once, each with its stack, its data and its total.
//!
//! The threads are counted in /proc while they wait at their gate, and again
//! when all but one should have gone. Their stacks are seen as they are mapped:
//! a thread's creator calls mmap(2) for one and then clone(2).

use std::collections::BTreeMap;

use testbed::{Profile, ThreadInfo};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "threads",
    pristine: include_str!("../../pristine/ch14_threads/threads.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "one_after_another", cause: "one-at-a-time" },
        Mutant { name: "default_stack", cause: "stack-ignored" },
        Mutant { name: "one_total_for_all", cause: "shared-total" },
        Mutant { name: "join_with_question_mark", cause: "panic-spreads" },
        Mutant { name: "main_keeps_the_shares", cause: "freed-elsewhere" },
        Mutant { name: "joins_the_background", cause: "waits-for-background" },
    ],
    alternatives: &["scoped", "raw_pthreads", "channel_gate"],
};

/// A stack is mapped with what the C library adds: guard pages of up to 64 KiB,
/// and room for its own data.
const ADDED: u64 = 256 << 10;
/// MAP_ANONYMOUS, as mmap(2) has it on every architecture but alpha and mips.
const ANONYMOUS: u64 = 0x20;
const BACKGROUND: &str = "background";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut args = stage.values.clone();
    if args.len() < 2 {
        args = draw_args(stage);
    }
    stage.fact("stack", args[0].parse::<u64>().unwrap_or_default());
    stage.fact("shares", &args[1..]);
    let workers = args.len() - 1;

    let watched = ["mmap", "clone", "clone3"];
    let program = stage
        .start_with("threads", KONGMING, args, |start| start.watch(&watched))?;
    let played = play(stage, program, workers);
    let stacks = stacks(stage, program);
    stage.fact("stacks", stacks);
    played
}

fn play(stage: &mut Stage, program: Role, workers: usize) -> Result<(), Halt> {
    stage.line(program, "background started")?;
    let started = stage.line(program, &format!("{workers} workers started"));
    // A thread gives itself its name once it runs.
    stage.idle(program)?;
    look(stage, program, "at the gate")?;
    let ended = has_ended(stage, program)?;
    stage.fact("ended at the gate", ended);
    let sizes: Vec<String> =
        stacks(stage, program).iter().map(u64::to_string).collect();
    let sizes = sizes.join(", ");
    stage.step(KONGMING, format!("stacks, bytes mapped: {sizes}"))?;
    started?;
    stage.step(KONGMING, "a line for the program")?;
    stage.enter(program);
    stage.line(program, "background is at work")?;
    stage.idle(program)?;
    // Who joins is woken a moment before the thread has gone from /proc.
    stage.look_each_ms(|stage, _| {
        let threads = stage.program(program).threads()?;
        Ok((threads.len() <= 2).then_some(()))
    })?;
    look(stage, program, "at the end")?;
    let ended = has_ended(stage, program)?;
    stage.fact("ended before its input", ended);
    stage.step(KONGMING, "end of the program's input")?;
    stage.close_stdin(program);
    stage.end(program)
}

/// A process that has ended stays in /proc until it is waited for.
fn has_ended(stage: &Stage, program: Role) -> Result<bool, Halt> {
    let threads = stage.program(program).threads()?;
    Ok(threads.iter().all(|thread| thread.state == 'Z'))
}

/// Puts down the names of the threads that there are.
fn look(stage: &mut Stage, program: Role, when: &str) -> Result<(), Halt> {
    let program = stage.program(program);
    let names = names(program.pid(), &program.threads()?);
    stage.step(KONGMING, format!("threads: {}", names.join(", ")))?;
    stage.fact(when, names);
    Ok(())
}

/// The first thread is called after the program's file; here it is `main`.
fn names(pid: u32, threads: &[ThreadInfo]) -> Vec<String> {
    let (main, mut others): (Vec<_>, Vec<_>) =
        threads.iter().partition(|thread| thread.tid == pid);
    others.sort_by(|a, b| a.name.cmp(&b.name));
    let others = others.iter().map(|thread| thread.name.clone());
    main.iter().map(|_| "main".to_string()).chain(others).collect()
}

/// A size that no library has by default, and three to five shares, one of
/// which begins with a word that is no number.
fn draw_args(stage: &mut Stage) -> Vec<String> {
    let draw = &mut stage.draw;
    let stack = draw.count(4..=15) << 16;
    let shares = draw.count(3..=5);
    let bad = draw.count(1..=shares);
    let mut args = vec![stack.to_string()];
    for share in 1..=shares {
        let count = draw.count(2..=4);
        let mut words: Vec<String> =
            (0..count).map(|_| draw.count(10..=99).to_string()).collect();
        if share == bad {
            words[0] = draw.letters(6);
        }
        args.push(words.join(","));
    }
    args
}

/// For each thread that was made, what its creator had mapped just before.
fn stacks(stage: &Stage, program: Role) -> Vec<u64> {
    let calls = stage.program(program).calls();
    let calls = calls.map(|calls| calls.log()).unwrap_or_default();
    let mut mapped = BTreeMap::new();
    let mut stacks = Vec::new();
    for call in calls {
        if call.name != "mmap" {
            stacks.push(mapped.remove(&call.tid).unwrap_or(0));
        } else if call.args[3] & ANONYMOUS != 0 {
            mapped.insert(call.tid, call.args[1]);
        }
    }
    stacks
}

/// What a right program does with a share.
enum Outcome {
    Counted(u64),
    Panicked(String),
}

fn outcome(share: &str) -> Outcome {
    let mut total = 0;
    for word in share.split(',') {
        match word.parse::<u64>() {
            Ok(number) => total += number,
            Err(_) => return Outcome::Panicked(format!("{word} is no number")),
        }
    }
    Outcome::Counted(total)
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout("threads").is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let shares: Vec<String> = list(performance, "shares");
    let made: Vec<u64> = list(performance, "stacks");
    judge.deed(
        "threads are made",
        !made.is_empty(),
        "the program never called clone(2)",
    );
    let ended = performance.facts.get("ended at the gate");
    if ended.and_then(|ended| ended.as_bool()) == Some(true) {
        return; // Its threads went with `main`: the end is what was missed.
    }
    judge_start(performance, judge, shares.len(), &made);
    if !judge.content() || !performance.facts.contains_key("at the gate") {
        return;
    }
    judge_panic(performance, judge);
    judge_totals(performance, judge, &shares);
    if performance.facts.contains_key("at the end") {
        judge_end(performance, judge);
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_output(performance, judge, &shares);
    judge.ended_well(performance, "threads");
    if judge.content() {
        let text = normalised(performance, &shares);
        judge.snapshot("story", "threads", &text);
    }
}

fn judge_start(
    performance: &Performance,
    judge: &mut Judge,
    workers: usize,
    made: &[u64],
) {
    let threads: Vec<String> = list(performance, "at the gate");
    if threads.is_empty() {
        return;
    }
    let others = threads.iter().filter(|name| !is_known(name)).count();
    let mut expected = vec!["main".to_string(), BACKGROUND.to_string()];
    expected.extend((1..=workers).map(|number| format!("worker-{number}")));
    let evidence = format!(
        "expected {}\nactual   {}",
        expected.join(", "),
        threads.join(", ")
    );
    judge.check(
        "one-at-a-time",
        "all the workers are there when the program says so",
        others >= workers || threads.len() > workers + 1,
        &*evidence,
    );
    judge.check(
        "background-gone",
        "background is there too",
        threads.len() != workers + 1 || threads.iter().any(|n| n == BACKGROUND),
        &*evidence,
    );
    judge.check(
        "names",
        "background and the workers have the names that were asked for",
        threads == expected,
        evidence,
    );
    let stack = performance.number("stack").unwrap_or_default();
    // Nothing is mapped for a thread that gets the stack of one that has ended.
    let fits =
        |size: &&u64| (stack..=stack + ADDED).contains(*size) || **size == 0;
    let mapped: Vec<String> = made.iter().map(u64::to_string).collect();
    judge.check(
        "stack-ignored",
        "each worker has a stack of the size that was asked for",
        made.iter().filter(fits).count() >= workers,
        format!(
            "asked for {stack} bytes; mapped for the threads: {}",
            mapped.join(", ")
        ),
    );
}

fn is_known(name: &str) -> bool {
    name == "main" || name == BACKGROUND
}

/// What main does about the worker that panics.
fn judge_panic(performance: &Performance, judge: &mut Judge) {
    let said = performance.trace.stderr("threads");
    let panicked = said.iter().any(|line| line.contains("panicked"));
    let exit = performance.exits.get("threads").copied().flatten();
    let failed = exit.filter(|exit| !exit.is_success());
    let printed = performance.trace.stdout("threads");
    let mut story = printed.iter().filter(|line| !is_freed(line));
    let last = story.next_back().copied().unwrap_or_default();
    judge.check(
        "panic-spreads",
        "after a worker's panic the others and main go on",
        !panicked || failed.is_none(),
        failed.map_or(String::new(), |exit| {
            format!("after the line `{last}` the program ended with {exit}")
        }),
    );
}

fn judge_totals(
    performance: &Performance,
    judge: &mut Judge,
    shares: &[String],
) {
    let printed = performance.trace.stdout("threads");
    let (mut all, mut most, mut wrong) = (0, 0, String::new());
    for (number, share) in (1..).zip(shares) {
        let begin = format!("worker-{number} counted ");
        let said = printed.iter().find_map(|line| line.strip_prefix(&*begin));
        let said = said.and_then(|said| said.parse::<u64>().ok());
        let (Outcome::Counted(right), Some(said)) = (outcome(share), said)
        else {
            continue;
        };
        (all, most) = (all + right, most.max(said));
        if said != right {
            wrong += &format!("worker-{number}: {right}, not {said}\n");
        }
    }
    let name = "each worker returns the total of its own share";
    // Whoever adds last has seen what everybody else has added.
    if !wrong.is_empty() && most >= all {
        let evidence = format!("a worker returned all that was added: {all}");
        judge.check("shared-total", name, false, evidence);
    } else {
        judge.check("totals", name, wrong.is_empty(), wrong.trim_end());
    }
}

fn judge_end(performance: &Performance, judge: &mut Judge) {
    let freed: Vec<String> = freed(performance);
    let mut expected: Vec<String> = list::<String>(performance, "shares")
        .iter()
        .enumerate()
        .map(|(at, _)| format!("share {0} freed by worker-{0}", at + 1))
        .collect();
    expected.sort();
    judge.check(
        "freed-elsewhere",
        "each worker frees its share, and nobody that of background",
        freed == expected,
        side_by_side(&expected, &freed),
    );
    let ended = performance.facts.get("ended before its input");
    judge.check(
        "ends-early",
        "the process is there until its input ends",
        ended.and_then(|ended| ended.as_bool()) != Some(true),
        "it had ended after its last line, with its input still open",
    );
    let threads: Vec<String> = list(performance, "at the end");
    judge.check(
        "background-gone",
        "background is still there when all workers have gone",
        threads.iter().any(|name| name == BACKGROUND),
        format!("threads: {}", threads.join(", ")),
    );
    judge.check(
        "workers-left",
        "no worker is left when main has joined them",
        threads.len() <= 2,
        format!("threads: {}", threads.join(", ")),
    );
    let ended = performance.exits.get("threads").copied().flatten();
    judge.check(
        "waits-for-background",
        "the process ends with main, whatever background does",
        ended.is_some(),
        "its input has ended, and the process is still there",
    );
}

/// The lines about freed shares: threads print them, in no order.
fn freed(performance: &Performance) -> Vec<String> {
    let printed = performance.trace.stdout("threads");
    let lines = printed.iter().filter(|line| is_freed(line));
    let mut lines: Vec<String> = lines.map(ToString::to_string).collect();
    lines.sort();
    lines
}

fn is_freed(line: &str) -> bool {
    line.starts_with("share ")
}

fn judge_output(
    performance: &Performance,
    judge: &mut Judge,
    shares: &[String],
) {
    let mut expected = vec![
        "background started".to_string(),
        format!("{} workers started", shares.len()),
    ];
    let mut all = 0;
    for (at, share) in shares.iter().enumerate() {
        let worker = at + 1;
        expected.push(match outcome(share) {
            Outcome::Counted(total) => {
                all += total;
                format!("worker-{worker} counted {total}")
            }
            Outcome::Panicked(message) => {
                format!("worker-{worker} panicked: {message}")
            }
        });
    }
    expected.push(format!("main counted {all}"));
    expected.push("background is at work".to_string());
    let printed = performance.trace.stdout("threads");
    let printed: Vec<&str> =
        printed.into_iter().filter(|line| !is_freed(line)).collect();
    judge.check(
        "output",
        "threads prints what the stub asks for",
        printed == expected,
        side_by_side(&expected, &printed),
    );
}

fn list<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    fact: &str,
) -> Vec<T> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// Who was there when, for any number of workers.
fn normalised(performance: &Performance, shares: &[String]) -> String {
    let mut text = String::new();
    for when in ["at the gate", "at the end"] {
        let threads: Vec<String> = list(performance, when);
        let (workers, others): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|name| name.starts_with("worker-"));
        text.push_str(&format!("{when}: {}", others.join(", ")));
        match workers.len() {
            0 => text.push('\n'),
            some if some == shares.len() => {
                text.push_str(", all the workers\n");
            }
            some => text.push_str(&format!(", {some} workers\n")),
        }
    }
    text
}

//! Grades `pipe_ipc`: pipes that come to their end, and do not stand still.
//!
//! Four takes. `filter`: a few lines, so that only a forgotten copy of an end
//! can stop it. `much`: more than two pipes hold. `gone`: the filter ends
//! before it has read all. `collect`: several writers, each held at every write
//! and let go one after the other, while nobody reads: two writes to a record
//! are torn apart for certain, and the first read finds many records.

mod judge;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use testbed::{Call, Descriptor, DescriptorKind, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "pipe_ipc",
    pristine: include_str!("../../pristine/ch13_processes/pipe_ipc.rs"),
    takes: &[
        Take { name: "filter", profile: Profile::Modern },
        Take { name: "much", profile: Profile::Modern },
        Take { name: "gone", profile: Profile::Modern },
        Take { name: "collect", profile: Profile::Modern },
    ],
    scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "ignores_the_count", cause: "output" },
        Mutant { name: "filter_keeps_its_writer", cause: "filter-keeps-end" },
        Mutant { name: "parent_keeps_the_answer", cause: "reader-keeps-end" },
        Mutant { name: "parent_keeps_the_question", cause: "not-closed" },
        Mutant { name: "writes_all_then_reads", cause: "both-full" },
        Mutant { name: "dies_of_epipe", cause: "dies-of-epipe" },
        Mutant { name: "reads_all_first", cause: "reads-all-first" },
        Mutant { name: "sender_keeps_the_reader", cause: "writer-keeps-end" },
        Mutant { name: "two_writes", cause: "torn" },
        Mutant { name: "writes_through_a_buffer", cause: "too-long" },
        Mutant { name: "one_read_a_record", cause: "read-is-not-a-record" },
    ],
    alternatives: &["poll_and_writev", "std_thread"],
};

/// The calls that make a process, or a thread.
const FORKS: &[&str] = &["clone", "clone3", "fork", "vfork"];
/// More steps than any program needs that writes records; one that writes byte
/// after byte is let go then.
const MOST_STEPS: usize = 300;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    match stage.take {
        "collect" => collect(stage),
        _ => filter(stage),
    }
}

fn filter(stage: &mut Stage) -> Result<(), Halt> {
    let few = stage.draw.count(3..=9);
    let many = stage.draw.count(3500..=4000);
    let word = stage.draw.letters(6);
    let (lines, keep) = match stage.take {
        "filter" => (few, few + 2),
        "much" => (many, many + 2),
        _ => (many, few),
    };
    let drawn = [lines.to_string(), keep.to_string(), word];
    let mut args = vec!["filter".to_string()];
    args.extend(arguments(stage, drawn));
    stage.fact("args", &args);

    let program = stage.start_with("pipe_ipc", KONGMING, args, |launch| {
        launch.watch(FORKS).hold(&["exit_group"])
    })?;
    // Whoever has done its part stands at its end, and can be counted. The
    // parent itself may go.
    wait_held(stage, program, "exit_group")?;
    stage.idle(program)?;
    let parent = stage.program(program).pid();
    if let Some(calls) = stage.program(program).calls() {
        let held = calls.held();
        held.iter().filter(|call| call.tid == parent).for_each(|call| {
            calls.release(call);
        });
    }
    stage.line(program, "sending ")?;
    count_children(stage, program)?;
    if let Some(calls) = stage.program(program).calls() {
        calls.let_go("exit_group");
    }
    end(stage, program)
}

fn collect(stage: &mut Stage) -> Result<(), Halt> {
    let (writers, records) =
        (stage.draw.count(3..=4), stage.draw.count(9..=10));
    let drawn = [writers.to_string(), records.to_string()];
    let mut args = vec!["collect".to_string()];
    args.extend(arguments(stage, drawn));
    stage.fact("args", &args);

    let program = stage.start_with("pipe_ipc", KONGMING, args, |launch| {
        launch.watch(FORKS).watch(&["read", "readv"]).hold(&["write", "writev"])
    })?;
    // The first write of a right program is its line.
    wait_held(stage, program, "write")?;
    if let Some(calls) = stage.program(program).calls() {
        calls.hold("read");
        calls.hold("readv");
    }
    take_turns(stage, program)?;
    end(stage, program)
}

/// What the user gave, or what was drawn.
fn arguments(
    stage: &Stage,
    drawn: impl IntoIterator<Item = String>,
) -> Vec<String> {
    match stage.values.as_slice() {
        [] => drawn.into_iter().collect(),
        given => given.to_vec(),
    }
}

fn wait_held(stage: &mut Stage, program: Role, name: &str) -> Result<(), Halt> {
    stage.patiently(|stage, glance| {
        let calls = stage.program(program).calls();
        let held = calls.is_none_or(|c| c.wait_held(name, 1, glance));
        let ended = stage.program(program).has_closed_its_output();
        Ok((held || ended).then_some(()))
    })?;
    Ok(())
}

fn count_children(stage: &mut Stage, program: Role) -> Result<(), Halt> {
    let own = stage.program(program).pid() as i32;
    let processes = stage.program(program).processes()?;
    let children = processes.iter().filter(|one| one.parent == own).count();
    stage.fact("children", children);
    Ok(())
}

/// Lets the writers write in turn, a call each, and lets nobody read before.
fn take_turns(stage: &mut Stage, program: Role) -> Result<(), Halt> {
    let parent = stage.program(program).pid();
    let mut last = 0;
    let mut counted = false;
    for _ in 0..MOST_STEPS {
        stage.idle(program)?;
        let Some(calls) = stage.program(program).calls().cloned() else {
            break;
        };
        let mut held = calls.held();
        held.retain(|call| call.name.starts_with("write"));
        held.sort_by_key(|call| call.thread);
        if let Some(line) = held.iter().find(|call| call.tid == parent) {
            calls.release(line);
            continue;
        }
        let next = held.iter().find(|call| call.thread > last);
        let Some(next) = next.or(held.first()) else { break };
        if !counted {
            count_children(stage, program)?;
            counted = true;
        }
        last = next.thread;
        calls.release(next);
    }
    let step = "every writer has written; now the reader may read";
    stage.step(KONGMING, step)?;
    if let Some(calls) = stage.program(program).calls() {
        for name in ["write", "writev", "read", "readv"] {
            calls.let_go(name);
        }
    }
    Ok(())
}

/// Waits for the end, and puts down what the judge needs: who has written what,
/// and, where the end does not come, who holds which end of which pipe.
fn end(stage: &mut Stage, program: Role) -> Result<(), Halt> {
    let ended = stage.end(program);
    let parent = stage.program(program).pid();
    if let Some(calls) = stage.program(program).calls() {
        let writes = writes(&calls.log(), parent);
        stage.fact("writes", writes);
    }
    if ended.is_err() {
        let holders = holders(stage, program)?;
        stage.fact("holders", holders);
    }
    ended
}

/// The lengths of each writer's writes, but for those to its output.
fn writes(log: &[Call], parent: u32) -> Vec<Vec<u64>> {
    let mut by_thread = BTreeMap::<u32, Vec<u64>>::new();
    for call in log {
        let output = call.args[0] as i32 <= 2;
        if call.name == "write" && call.tid != parent && !output {
            by_thread.entry(call.thread).or_default().push(call.args[2]);
        }
    }
    by_thread.into_values().collect()
}

/// A process, and which ends of which pipes it has open.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holder {
    name: String,
    /// The numbers of the pipes, counted from 1.
    reads: Vec<usize>,
    writes: Vec<usize>,
}

fn holders(stage: &Stage, program: Role) -> Result<Vec<Holder>, Halt> {
    let host = stage.net.host(KONGMING)?;
    let parent = stage.program(program).pid() as i32;
    let mut processes = stage.program(program).processes()?;
    processes.retain(|process| !process.is_zombie());
    processes.sort_by_key(|process| (process.pid != parent, process.pid));
    let mut all = Vec::new();
    for (at, process) in processes.iter().enumerate() {
        let Ok(mut ends) = host.descriptors_of(process.pid) else {
            continue; // It has ended just now.
        };
        ends.retain(|one| one.kind == DescriptorKind::Pipe);
        let name = match process.pid == parent {
            true => "parent".to_string(),
            false => format!("child {at}"),
        };
        all.push((name, ends));
    }
    // The others lead to whoever started the program.
    let mut pipes = Vec::new();
    for end in all.iter().flat_map(|(_, ends)| ends) {
        if end.number > 2 && end.readable && !pipes.contains(&end.inode) {
            pipes.push(end.inode);
        }
    }
    let numbers = |ends: &[Descriptor], readable: bool| -> Vec<usize> {
        let wanted = ends.iter().filter(|end| end.readable == readable);
        let place = |end: &Descriptor| {
            let at = pipes.iter().position(|inode| *inode == end.inode);
            at.map(|at| at + 1)
        };
        wanted.filter_map(place).collect()
    };
    let holders = all.into_iter().map(|(name, ends)| Holder {
        name,
        reads: numbers(&ends, true),
        writes: numbers(&ends, false),
    });
    Ok(holders.collect())
}

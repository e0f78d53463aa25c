//! Grades `shared_memory`: no update lost, no slot overwritten, nothing left.
//!
//! Whoever adds to the counter is held between its read and its write, and the
//! others get all the time they want: they have to sleep until it has written.
//! The reader of the ring is held with its first line while more lines come
//! than the ring has slots for; then it uses one line after another.

mod judging;

use std::fs;

use serde::{Deserialize, Serialize};
use testbed::{Calls, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "shared_memory",
    pristine: include_str!("../../pristine/ch13_processes/shared_memory.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge: judging::judge,
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
const FORKS: [&str; 4] = ["fork", "vfork", "clone", "clone3"];
const WATCHED: [&str; 4] = ["futex", "ftruncate", "fallocate", "exit_group"];

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
    let counted = count(stage, counter, (&name, processes, rounds), &mut looks);
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
        launch.hold(&[YIELD]).hold(&FORKS).watch(&WATCHED)
    })?;
    stage.line(program, "shared memory ")?;
    // One child after another: what is not there when the first one needs it
    // comes too late.
    loop {
        stage.idle(program)?;
        let mut held = calls(stage, program)?.held();
        held.retain(|call| FORKS.contains(&call.name));
        for call in &held {
            calls(stage, program)?.release(call);
        }
        if held.is_empty() || stage.left().is_zero() {
            break;
        }
    }
    for name in FORKS {
        calls(stage, program)?.let_go(name);
    }
    Ok(program)
}

/// Lets one process after another write what it has made of what it read.
fn count(
    stage: &mut Stage,
    role: Role,
    (name, processes, rounds): (&str, u64, u64),
    looks: &mut Vec<Look>,
) -> Result<(), Halt> {
    let mut lost = 0;
    for _ in 0..processes * rounds {
        if lost == rounds {
            break;
        }
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
            // All write what they have made of the same number.
            _ => {
                calls(stage, role)?.release_all(YIELD);
                lost += 1;
            }
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
        if looks.len() == 1 {
            // The end comes while the ring is full: it, too, needs a slot.
            stage.close_stdin(role);
        }
        calls(stage, role)?.release_one(YIELD);
    }
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
    if !stage.idle(role)? {
        return Err(Halt::Missed("waited for every process to sleep".into()));
    }
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
    stage.look_each_ms(|stage, _| {
        let log = calls(stage, role)?.log();
        let ending =
            |pid| log.iter().any(|it| it.tid == pid && it.name == "exit_group");
        let mut processes = stage.program(role).processes()?.into_iter();
        let live =
            processes.any(|one| ending(one.pid as u32) && !one.is_zombie());
        Ok((!live).then_some(()))
    })?;
    Ok(())
}

fn calls(stage: &Stage, role: Role) -> Result<Calls, Halt> {
    let calls = stage.program(role).calls().cloned();
    let unwatched = || testbed::Error::new("the program is not watched");
    calls.ok_or_else(|| unwatched().into())
}

//! Grades `sysv_sem`: one process at a time, whoever is killed, nothing left.
//!
//! Every child is held at its first semop, and let go on in the order of the
//! numbers: the first stands held in the section, at its sched_yield, when the
//! others come to the semaphore. From there on the schedule is ours. In the
//! first take the owner is killed in the section and the others go through it
//! one by one; in the second the program is told to end while they wait.

mod judging;

use serde::{Deserialize, Serialize};
use testbed::{Call, Calls, IpcKind, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "sysv_sem",
    pristine: include_str!("../../pristine/ch13_processes/sysv_sem.rs"),
    takes: &[
        Take { name: "killed", profile: Profile::Modern },
        Take { name: "told", profile: Profile::Modern },
    ],
    scenario,
    judge: judging::judge,
    mutants: &[
        Mutant { name: "no_undo", cause: "no-undo" },
        Mutant { name: "set_for_each_child", cause: "own-sets" },
        Mutant { name: "fixed_key", cause: "has-a-key" },
        Mutant { name: "value_left_at_zero", cause: "starts-at-zero" },
        Mutant { name: "value_of_two", cause: "starts-too-high" },
        Mutant { name: "undo_on_one_way", cause: "undo-one-way" },
        Mutant { name: "released_twice", cause: "released-too-often" },
        Mutant { name: "removed_by_a_child", cause: "removed-too-early" },
        Mutant { name: "never_removed", cause: "left-behind" },
        Mutant { name: "told_and_gone", cause: "left-when-told" },
    ],
    alternatives: &["raw_calls", "exec_children"],
};

/// Where children are held before the schedule is ours, and in the section.
const HELD: [&str; 3] = ["semop", "semtimedop", "sched_yield"];
/// What else tells the story. Ends are among it because who ends may wake
/// another: nobody is taken for idle meanwhile.
const WATCHED: [&str; 8] = [
    "semget",
    "semctl",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "exit",
    "exit_group",
];
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// What there was when everybody slept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    /// How many stood in the section, at sched_yield.
    inside: usize,
    /// How many slept in semop.
    waiting: usize,
    /// Where the other children were, by the call.
    elsewhere: Vec<String>,
    /// How many had ended by themselves.
    ended: usize,
    sets: Vec<Set>,
}

impl Look {
    /// One has the section, and the others sleep where they should.
    fn is_fine(&self) -> bool {
        let free = self.value().unwrap_or(0) > 0;
        self.inside == 1 && self.elsewhere.is_empty() && !free
    }

    /// The semaphore's value; `None`: there is not just one.
    fn value(&self) -> Option<u32> {
        match self.sets.as_slice() {
            [Set { values, .. }] if values.len() == 1 => Some(values[0]),
            _ => None,
        }
    }
}

/// A semaphore set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    id: i32,
    key: String,
    values: Vec<u32>,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let drawn = [stage.draw.count(3..=5), stage.draw.count(2..=3)];
    let before = stage.draw.count(1..=drawn[0]) as usize;
    let value = |at: usize| stage.values.get(at).and_then(|it| it.parse().ok());
    let [processes, rounds] = [0, 1].map(|at| value(at).unwrap_or(drawn[at]));
    stage.fact("processes", processes);
    stage.fact("rounds", rounds);
    let args = [processes.to_string(), rounds.to_string()];
    let program = stage.start_with("sysv_sem", KONGMING, args, |launch| {
        launch.hold(&HELD).watch(&WATCHED)
    })?;
    stage.fact("parent", stage.program(program).pid());
    stage.line(program, "semaphore set ")?;
    let mut looks = Vec::new();
    let played = gather(stage, program, processes as usize).and_then(|()| {
        match stage.take {
            "killed" => {
                let entries = (processes * rounds) as usize;
                let plan = (before.min(entries), rounds as usize, entries);
                kill_the_owner(stage, program, plan, &mut looks)
            }
            _ => tell_to_end(stage, program, &mut looks),
        }
    });
    stage.fact("looks", &looks);
    played?;
    stage.end(program)?;
    let left = look(stage, program)?;
    stage.fact("left", left.sets);
    let running = stage.program(program).processes()?.len();
    stage.fact("running", running);
    Ok(())
}

/// Waits until every child stands at its first call, and lets them go on one
/// after another, each until it sleeps.
fn gather(stage: &mut Stage, role: Role, count: usize) -> Result<(), Halt> {
    let parent = stage.program(role).pid();
    let all = stage.look_each_ms(|stage, glance| {
        let calls = calls(stage, role)?;
        stage.program(role).wait_idle(glance)?;
        let (own, children): (Vec<Call>, Vec<Call>) =
            calls.held().into_iter().partition(|call| call.tid == parent);
        // The parent may give the semaphore its value with a semop, too.
        let released = own.iter().filter(|call| calls.release(call)).count();
        let all = released == 0 && children.len() >= count;
        let ended = stage.program(role).has_closed_its_output();
        Ok((all || ended).then_some(()))
    })?;
    if all.is_none() {
        let text = format!("waited for {count} children at the semaphore");
        return Err(Halt::Missed(text));
    }
    let value = look(stage, role)?.value();
    stage.fact("value", value);
    let mut first = held(stage, role);
    first.sort_by_key(|call| call.tid);
    for call in first.iter().filter(|call| call.name != "sched_yield") {
        calls(stage, role)?.release(call);
        stage.idle(role)?;
    }
    for name in ["semop", "semtimedop"] {
        calls(stage, role)?.let_go(name);
    }
    stage.idle(role)?;
    Ok(())
}

/// Lets them go through the section one by one, and kills one on the way.
fn kill_the_owner(
    stage: &mut Stage,
    role: Role,
    (before, rounds, mut entries): (usize, usize, usize),
    looks: &mut Vec<Look>,
) -> Result<(), Halt> {
    let mut entered = 0;
    while entered < entries {
        let owner = alone(stage, role, looks)?;
        entered += 1;
        if entered == before {
            stage.step(KONGMING, "SIGKILL for who is in the section")?;
            let earlier = turns(stage, role, owner.tid);
            stage.fact("killed_at", looks.len());
            // What it has left of its rounds, nobody makes up for.
            entries -= rounds.saturating_sub(earlier);
            stage.net.host(KONGMING)?.signal(owner.tid as i32, SIGKILL)?;
            wait_for_deaths(stage, role, &[owner.tid])?;
        } else {
            calls(stage, role)?.release(&owner);
        }
        stage.idle(role)?;
    }
    calls(stage, role)?.let_go("sched_yield");
    Ok(())
}

/// How often this process has come to its sched_yield.
fn turns(stage: &Stage, role: Role, tid: u32) -> usize {
    let log = calls(stage, role).map_or(Vec::new(), |calls| calls.log());
    let is_turn = |call: &&Call| call.tid == tid && call.name == "sched_yield";
    log.iter().filter(is_turn).count()
}

/// Tells the program to end while one is in the section and the others wait.
fn tell_to_end(
    stage: &mut Stage,
    role: Role,
    looks: &mut Vec<Look>,
) -> Result<(), Halt> {
    alone(stage, role, looks)?;
    stage.step(KONGMING, "SIGTERM for the program")?;
    stage.program(role).signal(SIGTERM)?;
    let said = stage.line(role, "removed");
    stage.idle(role)?;
    note(stage, role, looks)?;
    said?;
    calls(stage, role)?.let_go("sched_yield");
    Ok(())
}

/// Waits until somebody is in the section, and nobody else at work; it must be
/// one alone. Who it is.
fn alone(
    stage: &mut Stage,
    role: Role,
    looks: &mut Vec<Look>,
) -> Result<Call, Halt> {
    stage.patiently(|stage, glance| {
        let came = calls(stage, role)?.wait_held("sched_yield", 1, glance);
        let program = stage.program(role);
        Ok((came || program.has_closed_its_output()).then_some(()))
    })?;
    // Who ends has nothing more to do, but the kernel has: SEM_UNDO.
    let ending = ending(stage, role);
    wait_for_deaths(stage, role, &ending)?;
    stage.idle(role)?;
    note(stage, role, looks)?;
    let mut inside = held(stage, role);
    inside.retain(|call| call.name == "sched_yield");
    match inside.len() {
        1 => Ok(inside.remove(0)),
        some => Err(Halt::Missed(format!(
            "waited for one process in the section, and found {some}"
        ))),
    }
}

fn calls(stage: &Stage, role: Role) -> Result<Calls, Halt> {
    let calls = stage.program(role).calls().cloned();
    let unwatched = || testbed::Error::new("the program is not watched");
    calls.ok_or_else(|| unwatched().into())
}

fn held(stage: &Stage, role: Role) -> Vec<Call> {
    calls(stage, role).map_or(Vec::new(), |calls| calls.held())
}

/// Waits until these processes have ended; a zombie has.
fn wait_for_deaths(
    stage: &mut Stage,
    role: Role,
    pids: &[u32],
) -> Result<(), Halt> {
    stage.look_each_ms(|stage, _| {
        let mut processes = stage.program(role).processes()?.into_iter();
        let live = processes.any(|process| {
            pids.contains(&(process.pid as u32)) && !process.is_zombie()
        });
        Ok((!live).then_some(()))
    })?;
    Ok(())
}

/// The children that have come to their end, by themselves.
fn ending(stage: &Stage, role: Role) -> Vec<u32> {
    let parent = stage.program(role).pid();
    let log = stage.program(role).calls().map(|calls| calls.log());
    let ends = log
        .unwrap_or_default()
        .into_iter()
        .filter(|call| call.tid != parent && call.name.starts_with("exit"));
    ends.map(|call| call.tid).collect()
}

/// Looks, and writes a step when what there is to see has changed.
fn note(stage: &Stage, role: Role, looks: &mut Vec<Look>) -> Result<(), Halt> {
    let look = look(stage, role)?;
    let seen = |look: &Look| (look.inside, look.waiting);
    if looks.last().map(seen) != Some(seen(&look)) {
        let Look { inside, waiting, .. } = look;
        let text = format!("in the section {inside}, in semop {waiting}");
        stage.step(KONGMING, text)?;
    }
    looks.push(look);
    Ok(())
}

/// Looks where every child is, and at the host's semaphore sets.
fn look(stage: &Stage, role: Role) -> Result<Look, Halt> {
    let host = stage.net.host(KONGMING)?;
    let ended = ending(stage, role).len();
    let mut look = Look { ended, ..Look::default() };
    let parent = stage.program(role).pid() as i32;
    let inside = held(stage, role);
    for finding in host.autopsy(stage.program(role))?.threads {
        let held = inside.iter().find(|one| one.tid as i32 == finding.pid);
        let call = finding.call.map_or(String::new(), |call| call.name);
        match held.map_or(call.as_str(), |held| held.name) {
            _ if finding.pid == parent || finding.state == 'Z' => {}
            "sched_yield" => look.inside += 1,
            "semop" | "semtimedop" => look.waiting += 1,
            other => look.elsewhere.push(other.to_string()),
        }
    }
    let sets = host.ipc()?.into_iter();
    let sets = sets.filter(|object| object.kind == IpcKind::SemaphoreSet);
    look.sets = sets
        .map(|it| Set { id: it.id, key: it.name, values: it.values })
        .collect();
    Ok(look)
}

//! Threads of a program, one step at a time, and what is seen on the way.
//!
//! Whoever calls sched_yield(2) is held there until it is let go on. Between
//! two steps everything sleeps: a step has been taken when nothing more comes
//! of it, and the same steps give the same run.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use testbed::{Call, Calls};

use crate::stage::{Halt, Role, Stage};
use crate::verdict::{Judge, Performance};

/// Where threads are held between their steps.
pub const GATE: &str = "sched_yield";
/// What has to be watched besides, for the answers given here.
pub const WATCHED: [&str; 7] = [
    "futex",
    "read",
    "write",
    "clone",
    "clone3",
    "nanosleep",
    "clock_nanosleep",
];
/// Who comes to the gate more often than this without sleeping, never sleeps.
const MOST_LOOKS: usize = 12;
/// How long something at work may stay at work.
const PATIENCE: Duration = Duration::from_secs(2);
const SEEN: &str = "seen";

/// Something that had to be so at that point of the story.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    cause: String,
    name: String,
    ok: bool,
    evidence: String,
}

/// A program that is led step by step.
pub struct Steps {
    program: Role,
    calls: Calls,
    /// Its first thread, by the number that /proc has for it.
    pub main: u32,
    seen: Vec<Seen>,
}

impl Steps {
    /// Leads a program that was started with its calls watched and held.
    pub fn new(stage: &Stage, program: Role) -> Result<Steps, Halt> {
        let running = stage.program(program);
        let main = running.pid();
        let Some(calls) = running.calls().cloned() else {
            return Err(Halt::Missed("waited for watched calls".into()));
        };
        Ok(Steps { program, calls, main, seen: Vec::new() })
    }

    /// Its calls.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Waits until everything sleeps or is held. A futex(2) call that is held
    /// and not to be kept goes on.
    pub fn settle(
        &self,
        stage: &mut Stage,
        keep: impl Fn(&Call) -> bool,
    ) -> Result<(), Halt> {
        loop {
            let limit = PATIENCE * stage.slack;
            if !stage.program(self.program).wait_idle(limit)? {
                stage.fact("busy", true);
                let what = "waited for every thread to sleep";
                return Err(Halt::Missed(what.into()));
            }
            let held = self.calls.held().into_iter();
            let mut others =
                held.filter(|call| call.name == "futex" && !keep(call));
            match others.next() {
                Some(call) => self.calls.release(&call),
                None => return Ok(()),
            };
        }
    }

    /// The threads besides the first one that stand at the gate, in the order
    /// in which they were made.
    pub fn at_gate(&self) -> Vec<u32> {
        let held = self.calls.held().into_iter();
        let at_gate =
            held.filter(|call| call.name == GATE && call.tid != self.main);
        let mut threads: Vec<u32> = at_gate.map(|call| call.tid).collect();
        threads.sort_unstable();
        threads
    }

    /// Where a thread is held at a call.
    pub fn held(&self, thread: u32, name: &str) -> Option<Call> {
        let held = self.calls.held().into_iter();
        let mut held =
            held.filter(|call| call.tid == thread && call.name == name);
        held.next()
    }

    /// Is it at the gate?
    pub fn waits_at_gate(&self, thread: u32) -> bool {
        self.held(thread, GATE).is_some()
    }

    /// Lets a thread through the gate once, if it stands there.
    pub fn let_in_once(
        &self,
        stage: &mut Stage,
        thread: u32,
        keep: impl Fn(&Call) -> bool,
    ) -> Result<(), Halt> {
        if let Some(call) = self.held(thread, GATE) {
            self.calls.release(&call);
        }
        self.settle(stage, keep)
    }

    /// Lets a thread through the gate until it has printed something, sleeps,
    /// or has come there too often: how many lines it has printed.
    pub fn let_in(
        &self,
        stage: &mut Stage,
        thread: u32,
        keep: impl Fn(&Call) -> bool,
    ) -> Result<usize, Halt> {
        let before = self.writes(thread);
        for _ in 0..MOST_LOOKS {
            let wrote = self.writes(thread) > before;
            if wrote || !self.waits_at_gate(thread) {
                break;
            }
            self.let_in_once(stage, thread, &keep)?;
        }
        Ok(self.writes(thread) - before)
    }

    /// How often a thread has written: each line is a write(2).
    pub fn writes(&self, thread: u32) -> usize {
        let is_write =
            |call: &&Call| call.tid == thread && call.name == "write";
        self.calls.log().iter().filter(is_write).count()
    }

    /// The watched call that a thread made last.
    pub fn last_call(&self, thread: u32) -> Option<&'static str> {
        let log = self.calls.log();
        log.iter().rev().find(|call| call.tid == thread).map(|call| call.name)
    }

    /// The threads besides the first one that there are.
    pub fn others(&self, stage: &Stage) -> Result<Vec<u32>, Halt> {
        let threads = stage.program(self.program).threads()?;
        let alive = threads.iter().filter(|thread| {
            thread.tid != self.main && !matches!(thread.state, 'X' | 'Z')
        });
        Ok(alive.map(|thread| thread.tid).collect())
    }

    /// Puts down what had to be so; where it is not, the story ends here.
    pub fn saw(
        &mut self,
        stage: &mut Stage,
        what: (&str, &str),
        ok: bool,
        evidence: impl Into<String>,
    ) -> Result<(), Halt> {
        match self.note(stage, what, ok, evidence) {
            true => Ok(()),
            false => Err(Halt::Missed(format!("waited for this: {}", what.1))),
        }
    }

    /// The same where the story can go on. Who sleeps for a time has another
    /// trouble, and what is so at one moment may not be so at the next.
    pub fn note(
        &mut self,
        stage: &mut Stage,
        (cause, name): (&str, &str),
        ok: bool,
        evidence: impl Into<String>,
    ) -> bool {
        let mut seen = Seen {
            cause: cause.into(),
            name: name.into(),
            ok,
            evidence: evidence.into(),
        };
        if self.timed() > 0 {
            seen = Seen {
                cause: "polls".into(),
                name: "who waits sleeps until it is woken".into(),
                ok: false,
                evidence: "a thread slept for a time, and not until it is \
                           woken: futex(2) with a timeout, or nanosleep(2)"
                    .into(),
            };
        }
        let ok = seen.ok;
        self.seen.push(seen);
        stage.fact(SEEN, &self.seen);
        ok
    }

    /// Calls that sleep for a time.
    fn timed(&self) -> usize {
        let log = self.calls.log();
        let timed = log.iter().filter(|call| match call.name {
            "futex" => is_wait(call) && call.args[3] != 0,
            name => name.ends_with("nanosleep"),
        });
        timed.count()
    }
}

/// FUTEX_WAIT or FUTEX_WAIT_BITSET, whatever flags they have.
pub fn is_wait(call: &Call) -> bool {
    call.name == "futex" && [0, 9].contains(&(call.args[1] & 0x7f))
}

/// FUTEX_WAKE or FUTEX_WAKE_BITSET.
pub fn is_wake(call: &Call) -> bool {
    call.name == "futex" && [1, 10].contains(&(call.args[1] & 0x7f))
}

/// Judges what was seen of a program, in the order of the story; its text.
pub fn judge_seen(
    performance: &Performance,
    program: &str,
    judge: &mut Judge,
) -> String {
    let seen = performance.facts.get(SEEN).cloned().unwrap_or_default();
    let seen: Vec<Seen> = serde_json::from_value(seen).unwrap_or_default();
    let mut text = String::new();
    let said = performance.trace.stderr(program).join("\n");
    for Seen { cause, name, ok, mut evidence } in seen {
        if !ok && !said.is_empty() {
            evidence.push_str(&format!("\nit said: {said}"));
        }
        judge.check(&cause, &name, ok, evidence);
        text.push_str(&format!("{name}\n"));
    }
    if performance.facts.contains_key("busy") {
        let name = "every thread sleeps while it waits";
        let evidence = "a thread that had to wait used the processor, and \
                        did not sleep";
        judge.check("burns-cpu", name, false, evidence);
    }
    text
}

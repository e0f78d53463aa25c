//! Grades `condvar`: nobody sleeps through a line, or through the end.
//!
//! The schedule is the scenario's (see `steps`): who takes the lock next, what
//! happens while a thread has looked and does not sleep yet, and who comes
//! first after a wake-up. Where main stands is told by its last system call:
//! read(2) once it has put a line, futex(2) while it waits for room.

mod judge;

use testbed::{Call, Profile};

use super::steps::{GATE, Steps, WATCHED, is_wait, is_wake};
use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "condvar",
    pristine: include_str!("../../pristine/ch14_threads/condvar.rs"),
    takes: &[
        Take { name: "lines to the end", profile: Profile::Modern },
        Take { name: "no line", profile: Profile::Modern },
    ],
    scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "looks_then_locks", cause: "lost-wake-up" },
        Mutant { name: "waits_once", cause: "stolen-wake-up" },
        Mutant { name: "wakes_main_never", cause: "main-not-woken" },
        Mutant { name: "one_for_all", cause: "one-for-all" },
        Mutant { name: "prints_with_the_lock", cause: "lock-held" },
        Mutant { name: "closed_is_empty", cause: "lines-left" },
        Mutant { name: "closes_beside_the_lock", cause: "closed-unlocked" },
        Mutant { name: "wakes_one_at_the_end", cause: "sleeps-on" },
        Mutant { name: "waits_with_a_timeout", cause: "polls" },
    ],
    alternatives: &["wait_while", "one_condvar", "raw_pthreads"],
};

const NO_LINE: &str = "no line";
/// A queue that is looked at in more steps than this is looked at by nobody.
const MOST_ROUNDS: usize = 3;

/// A run: the program, its consumers, and the lines that main was given.
struct Run {
    program: Role,
    steps: Steps,
    room: usize,
    consumers: Vec<u32>,
    sent: Vec<String>,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let (room, consumers) = (stage.draw.count(2..=4), stage.draw.count(2..=4));
    let given = |at: usize| stage.values.get(at)?.parse::<u64>().ok();
    let room = given(0).unwrap_or(room).max(1);
    let consumers = given(1).unwrap_or(consumers).max(1);
    stage.fact("room", room);
    stage.fact("consumers", consumers);

    let args = [room.to_string(), consumers.to_string()];
    let program = stage.start_with("condvar", KONGMING, args, |launch| {
        launch.watch(&WATCHED).hold(&[GATE])
    })?;
    stage.line(program, &format!("{consumers} consumers"))?;
    let steps = Steps::new(stage, program)?;
    steps.settle(stage, nothing)?;
    stage.fact("threads", steps.others(stage)?.len());
    let mut run = Run {
        program,
        consumers: steps.at_gate(),
        steps,
        room: room as usize,
        sent: Vec::new(),
    };
    run.meet(stage, consumers as usize)?;
    let played = match stage.take {
        NO_LINE => run.close_while_all_sleep(stage),
        _ => run.play(stage),
    };
    stage.fact("sent", &run.sent);
    played
}

/// No futex(2) call is to be held.
fn nothing(_: &Call) -> bool {
    false
}

impl Run {
    /// Every consumer has come to the queue's lock.
    fn meet(&mut self, stage: &mut Stage, count: usize) -> Result<(), Halt> {
        let came = self.consumers.len();
        let evidence = format!("{came} of {count} called sched_yield(2) there");
        let what = ("no-window", "every consumer begins at the queue's `lock`");
        self.steps.saw(stage, what, came == count, evidence)
    }

    fn play(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        stage.step(KONGMING, "all consumers stand before the lock")?;
        let first = self.consumers[0];
        self.look_and_sleep(stage, first)?;
        if let Some(&second) = self.consumers.get(1) {
            self.steal(stage, first, second)?;
            self.wake(stage, first)?;
        }
        self.fill(stage)?;
        self.make_room(stage, first)?;
        self.close(stage, first)?;
        stage.end(self.program)
    }

    /// A line comes after each of the looks that a consumer takes before it
    /// sleeps; one that looks once sleeps after it.
    fn look_and_sleep(
        &mut self,
        stage: &mut Stage,
        consumer: u32,
    ) -> Result<(), Halt> {
        for round in 1..=MOST_ROUNDS {
            for _ in 0..round {
                self.steps.let_in_once(stage, consumer, nothing)?;
            }
            let awake = self.steps.waits_at_gate(consumer);
            let alive = self.steps.others(stage)?.contains(&consumer);
            let what = ("does-not-wait", "an empty queue is not the end");
            let evidence = "consumer 1 has looked at the empty queue, and its \
                            thread has ended";
            self.steps.saw(stage, what, alive, evidence)?;
            stage
                .step(KONGMING, "consumer 1 has looked: the queue is empty")?;
            if awake {
                self.look_twice(stage, consumer)?;
            } else {
                return self.wake(stage, consumer);
            }
        }
        Ok(())
    }

    /// It has looked, and takes the lock again before it sleeps.
    fn look_twice(
        &mut self,
        stage: &mut Stage,
        consumer: u32,
    ) -> Result<(), Halt> {
        let line = self.put(stage)?;
        let wrote = self.steps.let_in(stage, consumer, nothing)?;
        let evidence = format!(
            "consumer 1 had found no line, and stood before the lock once \
             more\nmain put `{line}`, and woke \
             whoever slept: nobody did yet\nconsumer 1 went on and fell \
             asleep, and `{line}` is in the queue"
        );
        let what = (
            "lost-wake-up",
            "a line that comes between the look and the sleep is taken",
        );
        self.steps.saw(stage, what, wrote > 0, evidence)
    }

    /// A line comes for a consumer that sleeps.
    fn wake(&mut self, stage: &mut Stage, consumer: u32) -> Result<(), Halt> {
        self.steps.let_in(stage, consumer, nothing)?;
        let before = self.steps.writes(consumer);
        let line = self.put(stage)?;
        if self.steps.writes(consumer) == before {
            self.steps.let_in(stage, consumer, nothing)?;
        }
        let wrote = self.steps.writes(consumer) > before;
        let evidence = format!(
            "consumer 1 sleeps; main has put `{line}` and waits for its next \
             line; consumer 1 sleeps on"
        );
        let what =
            ("not-woken", "a line that is put wakes a consumer that sleeps");
        self.steps.saw(stage, what, wrote, evidence)
    }

    /// One consumer is about to sleep, with its lock given back. It is woken,
    /// and another takes the line before it can look.
    fn steal(
        &mut self,
        stage: &mut Stage,
        sleeper: u32,
        thief: u32,
    ) -> Result<(), Halt> {
        let calls = self.steps.calls().clone();
        let sleeps = move |call: &Call| call.tid == sleeper && is_wait(call);
        calls.hold("futex");
        self.steps.let_in(stage, sleeper, sleeps)?;
        let awake = self.steps.waits_at_gate(sleeper);
        let what = ("burns-cpu", "a consumer sleeps while the queue is empty");
        let evidence = "it takes the lock again and again, and finds no line";
        self.steps.saw(stage, what, !awake, evidence)?;

        let line = self.put_with(stage, sleeps)?;
        let wrote = self.steps.let_in(stage, thief, sleeps)?;
        let what = ("stuck", "a consumer that comes by takes the line");
        let evidence =
            format!("`{line}` is in the queue; consumer 2 did not take it");
        self.steps.saw(stage, what, wrote > 0, evidence)?;
        stage.line(self.program, "consumer ")?;
        stage.step(KONGMING, "consumer 1 is awake, and has come too late")?;

        calls.let_go("futex");
        self.steps.settle(stage, nothing)?;
        let wrote = self.steps.let_in(stage, sleeper, nothing)?;
        let alive = self.steps.others(stage)?.contains(&sleeper);
        let mut evidence = format!(
            "consumer 1 was about to sleep; main put `{line}` and woke it; \
             consumer 2 came first and took `{line}`\n"
        );
        evidence.push_str(match (wrote, alive) {
            (0, true) => "",
            (_, true) => "then consumer 1 printed a line",
            (_, false) => "then the thread of consumer 1 ended",
        });
        let what =
            ("stolen-wake-up", "who wakes up and finds no line sleeps again");
        self.steps.saw(stage, what, wrote == 0 && alive, evidence)
    }

    /// Lines without anybody who takes them, until main waits.
    fn fill(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let (room, main) = (self.room, self.steps.main);
        let mut put = 0;
        while put <= room {
            self.send(stage);
            // The last one in one step only: main may be between look and
            // sleep then, and a consumer comes.
            self.steps.settle(stage, nothing)?;
            self.steps.let_in_once(stage, main, nothing)?;
            if put < room {
                self.steps.let_in(stage, main, nothing)?;
            }
            if !self.main_reads() {
                break;
            }
            put += 1;
        }
        let more = if put > room { " and more" } else { "" };
        let evidence = format!(
            "there is room for {room}, and nobody takes any: main put \
             {put}{more} before it waited"
        );
        let what = ("room", "main waits when the queue is full, not before");
        self.steps.saw(stage, what, put == room, evidence)?;
        stage.step(KONGMING, format!("{room} lines in the queue: main waits"))
    }

    /// A consumer takes a line, and main waits for room.
    fn make_room(
        &mut self,
        stage: &mut Stage,
        consumer: u32,
    ) -> Result<(), Halt> {
        let (calls, main) = (self.steps.calls().clone(), self.steps.main);
        let asleep = !self.steps.waits_at_gate(main);
        self.sleeps_apart(stage, consumer);
        calls.hold("write");
        self.steps.let_in(stage, consumer, nothing)?;
        let prints = self.steps.held(consumer, "write").is_some();
        let what = ("stuck", "a consumer takes a line from a full queue");
        self.steps.saw(stage, what, prints, "it never printed one")?;
        self.steps.let_in(stage, main, nothing)?;
        let at_once = self.main_reads();
        calls.let_go("write");
        self.steps.settle(stage, nothing)?;
        self.steps.let_in(stage, main, nothing)?;
        let later = self.main_reads();
        stage.step(KONGMING, "consumer 1 took a line: main goes on")?;

        let took = "main waits for room; consumer 1 takes a line out";
        let evidence = format!("{took}; main still waits");
        let what = match asleep {
            true => ("main-not-woken", "who makes room wakes main"),
            false => ("lost-wake-up", "main does not sleep when there is room"),
        };
        self.steps.saw(stage, what, later, evidence)?;
        let evidence = format!(
            "{took}, and is held at write(2), with which it prints; main does \
             not go on before that is done"
        );
        let what = ("lock-held", "the lock is free while a consumer prints");
        self.steps.note(stage, what, at_once, evidence);
        Ok(())
    }

    /// Does main sleep where no consumer does? If not, it takes more than one
    /// wake-up to be sure that the right thread has it.
    fn sleeps_apart(&mut self, stage: &mut Stage, consumer: u32) {
        let log = self.steps.calls().log();
        let waits = |thread: u32| {
            let own = move |call: &&Call| call.tid == thread && is_wait(call);
            log.iter().rev().filter(own).map(|call| call.args[0])
        };
        // Main sleeps there now. The consumer may have waited for the lock
        // since, if main was slow to give it back.
        let place = waits(self.steps.main).next();
        let shared = place.is_some_and(|at| waits(consumer).any(|w| w == at));
        let mut wakes = log.iter().filter(|call| {
            is_wake(call) && Some(call.args[0]) == place && call.args[2] == 1
        });
        let evidence = "main sleeps for room where consumers sleep for lines, \
                        and FUTEX_WAKE wakes one of those that sleep there: it \
                        may be another consumer, and main sleeps on";
        let what = ("one-for-all", "a wake-up reaches who it is meant for");
        let ok = !shared || wakes.next().is_none();
        self.steps.note(stage, what, ok, evidence);
    }

    /// The end of the input, with lines in the queue and nobody asleep.
    fn close(&mut self, stage: &mut Stage, first: u32) -> Result<(), Halt> {
        let main = self.steps.main;
        stage.step(KONGMING, "end of the program's input")?;
        stage.close_stdin(self.program);
        self.steps.settle(stage, nothing)?;
        let evidence = "the input is at its end, and main has not come to \
                        `lock`: a consumer that has looked and does not sleep \
                        yet would never hear of it";
        let what =
            ("closed-unlocked", "main closes the queue while it has the lock");
        let comes = self.steps.waits_at_gate(main);
        self.steps.note(stage, what, comes, evidence);
        self.steps.let_in(stage, main, nothing)?;
        for _ in 0..=self.room {
            self.steps.let_in(stage, first, nothing)?;
            self.steps.let_in(stage, main, nothing)?;
        }
        self.all_end(stage)
    }

    /// The end of the input, with an empty queue and everybody asleep.
    fn close_while_all_sleep(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        for consumer in self.consumers.clone() {
            self.steps.let_in(stage, consumer, nothing)?;
        }
        let awake = self.steps.at_gate();
        let what = ("burns-cpu", "consumers sleep while the queue is empty");
        let evidence = "they take the lock again and again, and find no line";
        self.steps.saw(stage, what, awake.is_empty(), evidence)?;
        stage.step(KONGMING, "all consumers sleep; the input ends")?;
        stage.close_stdin(self.program);
        self.steps.settle(stage, nothing)?;
        self.all_end(stage)?;
        stage.end(self.program)
    }

    /// Everybody goes on; no consumer must be left.
    fn all_end(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        self.steps.calls().let_go(GATE);
        self.steps.settle(stage, nothing)?;
        let (all, left) =
            (self.consumers.len(), self.steps.others(stage)?.len());
        let evidence = format!(
            "the input is at its end, and nothing is left to take: {left} of \
             {all} consumers sleep for ever"
        );
        let what = ("sleeps-on", "every consumer hears of the end");
        self.steps.saw(stage, what, left == 0, evidence)
    }

    fn put(&mut self, stage: &mut Stage) -> Result<String, Halt> {
        self.put_with(stage, nothing)
    }

    /// Has main put a line for which there is room.
    fn put_with(
        &mut self,
        stage: &mut Stage,
        keep: impl Fn(&Call) -> bool,
    ) -> Result<String, Halt> {
        let line = self.send(stage);
        self.steps.settle(stage, &keep)?;
        self.steps.let_in(stage, self.steps.main, &keep)?;
        let evidence = format!("there is room for `{line}`, and main waits");
        let what = ("stuck", "main puts a line for which there is room");
        let done = self.main_reads();
        self.steps.saw(stage, what, done, evidence)?;
        Ok(line)
    }

    fn send(&mut self, stage: &mut Stage) -> String {
        let line = stage.draw.letters(5);
        stage.send(self.program, &line);
        self.sent.push(line.clone());
        line
    }

    /// Has main done with its last line?
    fn main_reads(&self) -> bool {
        self.steps.last_call(self.steps.main) == Some("read")
    }
}

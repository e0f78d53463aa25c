//! Grades `semaphore`: no call when it is free, no busy waiting, nobody lost.
//!
//! The schedule is the scenario's (see `steps`): a thread stands at
//! sched_yield(2) when it has looked at the value and has not acted on it, and
//! while it is in. Calls of futex(2) are held too, so that a thread has decided
//! to sleep and does not sleep yet, or has posted and not woken anybody yet.

use testbed::{Call, Profile};

use super::steps::{self, GATE, Steps, WATCHED, is_wait, is_wake};
use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "semaphore",
    pristine: include_str!("../../pristine/ch14_threads/semaphore.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "wakes_always", cause: "call-when-free" },
        Mutant { name: "loads_and_stores", cause: "too-many-in" },
        Mutant { name: "spins", cause: "burns-cpu" },
        Mutant { name: "expects_what_is_there", cause: "lost-wake-up" },
        Mutant { name: "wakes_nobody", cause: "nobody-woken" },
        Mutant { name: "wakes_then_adds", cause: "woken-too-early" },
        Mutant { name: "woken_is_in", cause: "not-looked-again" },
        Mutant { name: "wakes_at_zero_only", cause: "wake-forgotten" },
    ],
    alternatives: &["waiters_bit", "what_exchange_found", "fetch_update"],
};

/// So many wait outside in the story, each with a part of its own.
const OUTSIDE: u64 = 5;
/// Who is let go on more often than this without coming in or sleeping, never
/// will.
const MOST_STEPS: usize = 24;

/// A run: the program, and which of its threads are in.
struct Run {
    program: Role,
    steps: Steps,
    value: usize,
    inside: Vec<u32>,
    outside: Vec<u32>,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let (value, more) = (stage.draw.count(2..=3), stage.draw.count(0..=1));
    let rounds = stage.draw.count(20..=60);
    let given = |at: usize| stage.values.get(at)?.parse::<u64>().ok();
    let value = given(0).unwrap_or(value).max(1);
    let threads = given(1).unwrap_or(value + OUTSIDE + more);
    let rounds = given(2).unwrap_or(rounds);
    let values = [value, threads, rounds];
    stage.fact("values", values);

    let watched = [&WATCHED[..], &[GATE]].concat();
    let args = values.map(|value| value.to_string());
    let program = stage.start_with("semaphore", KONGMING, args, |launch| {
        launch.watch(&watched)
    })?;
    stage.line(program, &format!("{rounds} rounds alone"))?;
    let mut run = Run {
        program,
        steps: Steps::new(stage, program)?,
        value: value as usize,
        inside: Vec::new(),
        outside: Vec::new(),
    };
    run.alone(stage, rounds as usize)?;
    run.gather(stage, threads as usize)?;
    run.race(stage)?;
    if run.outside.len() >= OUTSIDE as usize {
        run.about_to_sleep(stage)?;
        run.too_late(stage)?;
        run.two_leave(stage)?;
    }
    run.all_out(stage)?;
    run.lock(stage, threads as usize)?;
    run.counted(stage)?;
    stage.end(program)
}

/// Of futex(2), only what wakes goes on by itself.
fn sleepers(call: &Call) -> bool {
    is_wait(call)
}

/// Every call of futex(2) goes on by itself.
fn nothing(_: &Call) -> bool {
    false
}

impl Run {
    /// What one thread did with a semaphore that nobody else used.
    fn alone(&mut self, stage: &mut Stage, rounds: usize) -> Result<(), Halt> {
        let calls = self.steps.calls();
        let (looks, futexes) = (calls.count(GATE), calls.count("futex"));
        let what = ("no-window", "`wait` reads the value by `look`");
        let evidence = format!("{rounds} waits, {looks} looks");
        let ok = looks >= rounds;
        stage.step(
            KONGMING,
            format!("{rounds} rounds: {futexes} calls of futex"),
        )?;
        self.steps.note(stage, what, ok, evidence);
        let what = ("call-when-free", "no system call while nobody waits");
        let evidence = format!(
            "one thread alone waited and posted {rounds} times, and called \
             futex(2) {futexes} times"
        );
        self.steps.note(stage, what, futexes == 0, evidence);
        Ok(())
    }

    /// All threads have looked at the value, and none has acted on it.
    fn gather(&mut self, stage: &mut Stage, count: usize) -> Result<(), Halt> {
        self.steps.calls().hold(GATE);
        stage.enter(self.program);
        stage.line(self.program, &format!("{count} threads want"))?;
        self.steps.settle(stage, nothing)?;
        // Not before: while threads are made, they wait for the C library's
        // own locks, as malloc(3) has them.
        self.steps.calls().hold("futex");
        let threads = self.steps.others(stage)?.len();
        stage.fact("threads", threads);
        self.outside = self.steps.at_gate();
        let came = self.outside.len();
        let what = ("no-window", "every thread looks at the value by `look`");
        let evidence = format!("{came} of {count} called sched_yield(2)");
        self.steps.saw(stage, what, came == count, evidence)
    }

    /// Each takes one step with the value that it has seen; then so many come
    /// in as may.
    fn race(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        stage.step(KONGMING, "all threads have seen the same value")?;
        for thread in self.outside.clone() {
            self.steps.let_in_once(stage, thread, sleepers)?;
        }
        self.sort();
        self.count(
            stage,
            ("too-many-in", "who has seen an old value does not come in by it"),
            "all threads had seen the same value before any of them took 1 off",
        )?;
        for thread in self.outside.clone() {
            if self.inside.len() < self.value {
                self.go(stage, thread, sleepers)?;
                self.sort();
            }
        }
        let (inside, value) = (self.inside.len(), self.value);
        let what = ("stuck", "as many threads come in as may");
        let evidence = format!("{value} may be in, and {inside} are");
        self.steps.saw(stage, what, inside == value, evidence)?;
        stage.step(KONGMING, format!("{value} threads are in"))?;
        for thread in self.outside.clone() {
            self.steps.let_in_once(stage, thread, sleepers)?;
        }
        self.sort();
        self.count(
            stage,
            ("too-many-in", "no more threads come in than may"),
            "the value was 0",
        )
    }

    /// One that has decided to sleep, and one that has seen 0, while somebody
    /// leaves.
    fn about_to_sleep(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let (first, second) = (self.outside[0], self.outside[1]);
        self.steps.let_in(stage, first, sleepers)?;
        let awake = self.steps.waits_at_gate(first);
        let what = ("burns-cpu", "a thread that may not come in sleeps");
        let evidence = "it looks at the value again and again, and does not \
                        call futex(2)";
        self.steps.saw(stage, what, !awake, evidence)?;

        let name = "who is about to sleep does not when the value has changed";
        for (thread, place) in [
            (first, "had called futex(2), and did not sleep yet"),
            (second, "had looked, and had not called futex(2) yet"),
        ] {
            stage.step(KONGMING, format!("one thread {place}; one leaves"))?;
            self.leave(stage, sleepers)?;
            self.go(stage, thread, sleepers)?;
            let ok = self.steps.writes(thread) > 0;
            let evidence = format!(
                "a thread had seen 0 and {place}\nanother one left: the value \
                 is 1\nthe first one went on, and sleeps for ever"
            );
            self.steps.saw(stage, ("lost-wake-up", name), ok, evidence)?;
            self.sort();
        }
        Ok(())
    }

    /// One that sleeps is woken, and another one has come first.
    fn too_late(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let (sleeper, thief) = (self.outside[0], self.outside[1]);
        self.go(stage, sleeper, sleepers)?;
        let poster = self.inside[0];
        let keep = move |call: &Call| {
            is_wait(call) || (is_wake(call) && call.tid == poster)
        };
        self.leave(stage, keep)?;
        let wake = self.steps.held(poster, "futex");
        let what = ("nobody-woken", "who leaves wakes one that sleeps");
        let evidence = "a thread slept in futex(2); another one left, and did \
                        not call futex(2) to wake it";
        self.steps.saw(stage, what, wake.is_some(), evidence)?;

        self.go(stage, thief, keep)?;
        let came = self.steps.writes(thief) > 0;
        let what = ("woken-too-early", "who leaves adds 1 before it wakes");
        let evidence = "a thread that leaves has called FUTEX_WAKE, and the \
                        value is still 0: who is woken now sees 0 and sleeps \
                        again";
        self.steps.saw(stage, what, came, evidence)?;
        stage.step(KONGMING, "one is awake, and has come too late")?;
        if let Some(call) = wake {
            self.steps.calls().release(&call);
        }
        self.steps.settle(stage, sleepers)?;
        let awake = self.steps.waits_at_gate(sleeper)
            || self.steps.held(sleeper, "futex").is_some()
            || self.steps.writes(sleeper) > 0;
        let what = ("nobody-woken", "the wake-up reaches one that sleeps");
        let evidence = "a thread slept in futex(2); another one left and \
                        called futex(2) to wake it, and it sleeps on";
        self.steps.saw(stage, what, awake, evidence)?;
        self.go(stage, sleeper, sleepers)?;
        self.sort();
        self.count(
            stage,
            ("not-looked-again", "who is woken looks again"),
            "a thread was woken for a place that another one had taken",
        )
    }

    /// Two leave before the first that is woken has come in.
    fn two_leave(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        for thread in self.outside.clone() {
            self.go(stage, thread, sleepers)?;
        }
        let leaving = self.value.min(2);
        for _ in 0..leaving {
            self.leave(stage, sleepers)?;
        }
        stage
            .step(KONGMING, format!("{leaving} left; who is woken comes in"))?;
        for thread in self.outside.clone() {
            self.go(stage, thread, sleepers)?;
        }
        self.sort();
        let (inside, value) = (self.inside.len(), self.value);
        let what = ("wake-forgotten", "each one that leaves lets another in");
        let evidence = format!(
            "{leaving} left one after the other, while the one woken first had \
             looked and was not in yet: {inside} of {value} that may are in, \
             and the others sleep"
        );
        self.steps.saw(stage, what, inside == value, evidence)
    }

    /// Everybody comes in and leaves.
    fn all_out(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        self.steps.calls().let_go(GATE);
        self.steps.calls().let_go("futex");
        self.steps.settle(stage, nothing)?;
        let left = self.steps.others(stage)?.len();
        let what = ("wake-forgotten", "every thread comes in and leaves");
        let evidence = format!("nobody is in, and {left} threads sleep");
        self.steps.saw(stage, what, left == 0, evidence)?;
        stage.line(self.program, "all are out")?;
        Ok(())
    }

    /// While one thread counts, the others sleep.
    fn lock(&mut self, stage: &mut Stage, count: usize) -> Result<(), Halt> {
        self.steps.calls().hold(GATE);
        stage.enter(self.program);
        stage.line(self.program, &format!("{count} threads count"))?;
        self.steps.settle(stage, nothing)?;
        let threads = self.steps.at_gate();
        let what = ("no-window", "every thread comes to the lock");
        let evidence = format!("{} of {count} looked", threads.len());
        self.steps.saw(stage, what, threads.len() == count, evidence)?;
        for (at, thread) in threads.iter().enumerate() {
            self.steps.let_in_once(stage, *thread, nothing)?;
            if at > 0 {
                self.steps.let_in(stage, *thread, nothing)?;
            }
        }
        let awake = self.steps.at_gate().len();
        let what = ("lock-stays-locked", "one thread gets the lock");
        let evidence = format!("all {count} threads sleep");
        self.steps.saw(stage, what, awake > 0, evidence)?;
        let what = ("lock-lets-two", "while one has the lock the others sleep");
        let evidence = format!("{awake} of {count} threads do not sleep");
        self.steps.saw(stage, what, awake <= 1, evidence)?;
        stage.step(KONGMING, "one thread has the lock, the others sleep")?;
        self.steps.calls().let_go(GATE);
        Ok(())
    }

    /// All have had the lock.
    fn counted(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let said = stage.line(self.program, "counted ");
        let what = ("lock-stays-locked", "who leaves lets another have it");
        let evidence = "the threads were let go on, and did not come to an end";
        self.steps.note(stage, what, said.is_ok(), evidence);
        said.map(drop)
    }

    /// Lets a thread go on until it is in, or sleeps.
    fn go(
        &self,
        stage: &mut Stage,
        thread: u32,
        keep: impl Fn(&Call) -> bool,
    ) -> Result<(), Halt> {
        for _ in 0..MOST_STEPS {
            let futex = self.steps.held(thread, "futex");
            let held = futex.or_else(|| self.steps.held(thread, GATE));
            let Some(call) = held.filter(|_| self.steps.writes(thread) == 0)
            else {
                break;
            };
            self.steps.calls().release(&call);
            self.steps.settle(stage, &keep)?;
        }
        Ok(())
    }

    /// Has the one leave that has been in for longest.
    fn leave(
        &mut self,
        stage: &mut Stage,
        keep: impl Fn(&Call) -> bool,
    ) -> Result<(), Halt> {
        let thread = self.inside.remove(0);
        self.steps.let_in_once(stage, thread, keep)
    }

    /// Who has printed that it is in, is in.
    fn sort(&mut self) {
        let (came, outside) = std::mem::take(&mut self.outside)
            .into_iter()
            .partition(|thread| self.steps.writes(*thread) > 0);
        self.outside = outside;
        let mut came: Vec<u32> = came;
        self.inside.append(&mut came);
    }

    fn count(
        &mut self,
        stage: &mut Stage,
        what: (&str, &str),
        why: &str,
    ) -> Result<(), Halt> {
        let (inside, value) = (self.inside.len(), self.value);
        let evidence = format!("{why}: {value} may be in, and {inside} are");
        self.steps.saw(stage, what, inside <= value, evidence)
    }
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if let Some(threads) = performance.number("threads") {
        let name = "there are threads when the program says so";
        if !judge.deed(name, threads > 0, "it has no thread besides main") {
            return;
        }
    }
    let text = steps::judge_seen(performance, "semaphore", judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_output(performance, judge);
    judge.ended_well(performance, "semaphore");
    if judge.content() {
        judge.snapshot("story", "semaphore", &text);
    }
}

/// In which order the threads came in and left is open.
fn judge_output(performance: &Performance, judge: &mut Judge) {
    let values = performance.facts.get("values").cloned().unwrap_or_default();
    let values: [u64; 3] = serde_json::from_value(values).unwrap_or_default();
    let [value, threads, rounds] = values;
    let printed = performance.trace.stdout("semaphore");
    let counted = format!("counted {}", threads * rounds);
    let said = printed.iter().find(|line| line.starts_with("counted "));
    judge.check(
        "counts-lost",
        "under the lock no addition is lost",
        said == Some(&&*counted),
        format!("expected {counted}\nactual   {}", said.unwrap_or(&"nothing")),
    );
    let mut visits: Vec<String> = (1..=threads)
        .flat_map(|k| ["in", "out"].map(|at| format!("thread {k} is {at}")))
        .collect();
    visits.sort();
    let mut expected = vec![
        format!("{rounds} rounds alone"),
        format!("{threads} threads want to be in, {value} may"),
    ];
    expected.append(&mut visits);
    expected.push("all are out".into());
    expected.push(format!("{threads} threads count {rounds} each"));
    expected.push(counted);
    let (mut actual, others): (Vec<&str>, Vec<&str>) =
        printed.iter().copied().partition(|line| line.starts_with("thread "));
    actual.sort_unstable();
    let (first, last) = others.split_at(others.len().min(2));
    let actual = [first, &actual, last].concat();
    judge.check(
        "output",
        "semaphore prints what the stub asks for",
        expected == actual,
        side_by_side(&expected, &actual),
    );
}

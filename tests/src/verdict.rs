//! What a grader says: named checks with evidence, and for a failure its cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use testbed::trace::What;
use testbed::{Exit, Power, TcpSocket, Trace};

use crate::causes;
use crate::generated::Script;
use crate::{catalogue, filter};

/// How the tale of a wait in vain ends where the program will say no more.
pub(crate) const HAS_GONE: &str = ", which has closed its output";
/// What a Rust program's exit status is after a panic.
const PANICKED: i32 = 101;
/// What `todo!` says.
const TODO: &str = "not yet implemented";

/// One performance of a scenario: everything that was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Performance {
    /// Which take it was.
    pub take: String,
    /// What happened.
    pub trace: Trace,
    /// How each program ended; `None`: it had to be killed at the end.
    pub exits: BTreeMap<String, Option<Exit>>,
    /// What the scenario drew and measured, by name.
    pub facts: BTreeMap<String, Value>,
    /// What it waited for in vain, if anything: it then stopped there.
    pub missed: Option<String>,
    /// For each program that was still running then: where its threads sat.
    #[serde(default)]
    pub autopsies: BTreeMap<String, String>,
    /// Programs that did not sleep though they had nothing to do.
    #[serde(default)]
    pub restless: Vec<Restless>,
    /// Each program's words and its input, in the order of their starts.
    #[serde(default)]
    pub scripts: Vec<Script>,
    /// How many times slower than usual the machine was; 1: it was not.
    #[serde(default)]
    pub slack: u32,
    /// What was asked of the hosts that hosts on other machines have not got.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<Power>,
}

/// A program that does not sleep in the kernel while it has nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restless {
    /// Its role.
    pub program: String,
    /// `burns-cpu` or `polls`.
    pub cause: String,
    /// What was seen.
    pub evidence: String,
}

impl Performance {
    /// A number that the scenario put down.
    pub fn number(&self, fact: &str) -> Option<u64> {
        self.facts.get(fact)?.as_u64()
    }

    /// A text that the scenario put down.
    pub fn text(&self, fact: &str) -> Option<&str> {
        self.facts.get(fact)?.as_str()
    }

    /// How often a program made a system call that was watched.
    pub fn called(&self, program: &str, name: &str) -> usize {
        let calls = self.trace.calls().map(|(_, call)| call);
        calls
            .filter(|call| call.program == program && call.name == name)
            .count()
    }

    /// Sockets that the scenario put down.
    pub fn sockets(&self, fact: &str) -> Vec<TcpSocket> {
        let value = self.facts.get(fact).cloned().unwrap_or_default();
        serde_json::from_value(value).unwrap_or_default()
    }
}

/// A grader's word on one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The lab's name.
    pub lab: String,
    /// Whose program it was.
    pub subject: String,
    /// The word.
    pub verdict: Word,
    /// For a failure, the first failed check's cause: a stable short name.
    pub cause: Option<String>,
    /// The checks, in the order of the story.
    pub checks: Vec<Check>,
    /// What it took, without the compiler.
    pub millis: u64,
    /// Replays the run.
    pub seed: u64,
    /// What the cause means, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// The name of the known mistake that the run looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks_like: Option<String>,
    /// Where time played a part and the machine was slow: that it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Each program's words and its input, for who compares subjects.
    #[serde(skip)]
    pub scripts: Vec<Script>,
    /// What it asked of its hosts that hosts on other machines have not got.
    #[serde(skip)]
    pub asked: BTreeSet<Power>,
    /// What is to be known about the grading itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The hash of the learner's text that was judged.
    #[serde(skip)]
    pub text: Option<String>,
}

impl Verdict {
    /// Why it was refused, for a snapshot: the cause, and the check that gave
    /// it with its evidence. Of several programs that print without end, which
    /// one is stopped first is chance.
    pub fn refusal(&self) -> String {
        let cause = self.cause.as_deref().unwrap_or("not refused");
        let mut text = format!("{}: {cause}\n", self.subject);
        if cause == "prints-without-end" {
            return text;
        }
        if let Some(check) = self.checks.iter().find(|check| !check.ok) {
            text.push_str(&format!("  NOT {}\n", check.name));
            for line in filter::without_lots(&check.evidence).lines() {
                let line = without_states(line);
                text.push_str(format!("      {line}").trim_end());
                text.push('\n');
            }
        }
        text
    }
}

/// A segment's line without the states beside it: where two things happen at
/// once, which state is seen first is chance.
fn without_states(line: &str) -> &str {
    let arrow = ['◀', '─', '▶'];
    match (line.find(arrow), line.rfind(arrow)) {
        (Some(from), Some(to)) => {
            line[from..].split_at(to - from + '─'.len_utf8()).0
        }
        _ => line,
    }
}

/// The possible verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Right.
    Pass,
    /// Wrong, and the cause says why.
    Fail,
    /// The file is the stub as it was shipped.
    NotStarted,
    /// The network lost a frame by itself: the run says nothing.
    Void,
    /// This machine cannot run it; the one check says what to do.
    CannotRun,
}

impl Word {
    /// As JSON has it.
    pub fn name(self) -> String {
        self.to_string().replace(' ', "_")
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Word::Pass => "pass",
            Word::Fail => "fail",
            Word::NotStarted => "not started",
            Word::Void => "void",
            Word::CannotRun => "cannot run",
        })
    }
}

/// One thing that had to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What had to be so, as a sentence about the program.
    pub name: String,
    /// Was it?
    pub ok: bool,
    /// What was seen.
    pub evidence: String,
}

/// Collects the checks of one verdict.
#[derive(Debug, Default)]
pub struct Judge {
    /// The checks so far.
    pub checks: Vec<Check>,
    /// The cause of the first that failed.
    pub cause: Option<String>,
    /// Causes that were named and are not in the table.
    pub(crate) unknown: Vec<String>,
    /// Whether an author's INSTA_UPDATE may record the run that is judged.
    pub(crate) may_record: bool,
    /// What is to be known about the grading itself.
    pub(crate) notes: Vec<String>,
    lab: String,
    take: String,
}

impl Judge {
    /// A judge for this lab.
    pub fn new(lab: &str) -> Judge {
        Judge { lab: lab.to_string(), ..Judge::default() }
    }

    /// From here on the checks are about this take.
    pub fn about(&mut self, performance: &Performance) {
        self.take = performance.take.clone();
    }

    /// Adds a check. `cause` is what it means if it is the first to fail.
    pub fn check(
        &mut self,
        cause: &str,
        name: &str,
        ok: bool,
        evidence: impl Into<String>,
    ) -> bool {
        if causes::find(&self.lab, cause).is_none() {
            self.unknown.push(cause.to_string());
        }
        let name = match self.take.as_str() {
            "" => name.to_string(),
            take => format!("{name} ({take})"),
        };
        // A panic names its file: where the course lies says nothing.
        let root = format!("{}/", catalogue::root().display());
        let evidence = evidence.into().replace(&root, "");
        self.checks.push(Check { name, ok, evidence });
        if !ok && self.cause.is_none() {
            self.cause = Some(cause.to_string());
        }
        ok
    }

    /// Have all checks so far been passed?
    pub fn content(&self) -> bool {
        self.cause.is_none()
    }

    /// Says something about the grading itself, once.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The program did something of what its lines tell: the first check of
    /// every grader, and the one that a mere reciter fails.
    pub fn deed(
        &mut self,
        name: &str,
        done: bool,
        evidence: impl Into<String>,
    ) -> bool {
        self.check("only-words", name, done, evidence)
    }

    /// `program` printed exactly these lines.
    pub fn printed(
        &mut self,
        cause: &str,
        performance: &Performance,
        program: &str,
        expected: &[String],
    ) -> bool {
        let printed = performance.trace.stdout(program);
        let evidence = side_by_side(expected, &printed);
        let name = format!("{program} prints what the stub asks for");
        self.check(cause, &name, expected == printed, evidence)
    }

    /// `program` ended by itself, with status 0.
    pub fn ended_well(
        &mut self,
        performance: &Performance,
        program: &str,
    ) -> bool {
        let exit = performance.exits.get(program).copied().flatten();
        let said = performance.trace.stderr(program).join("\n");
        let (cause, evidence) = match exit {
            None => {
                let autopsy = performance.autopsies.get(program);
                let autopsy = autopsy.cloned().unwrap_or_default();
                ("never-ended", format!("it was still running\n{autopsy}"))
            }
            Some(exit) => ("exit-status", format!("{exit}\n{said}")),
        };
        let ok = exit.is_some_and(Exit::is_success);
        let name = format!("{program} ends by itself, with status 0");
        self.check(cause, &name, ok, evidence.trim_end())
    }

    /// There is something to judge: no program stopped at its `todo!`, and none
    /// printed without end.
    pub(crate) fn is_a_try(&mut self, performance: &Performance) -> bool {
        self.about(performance);
        performance.exits.iter().all(|(program, exit)| {
            let stderr = performance.trace.stderr(program).join("\n");
            let todo = stderr.contains(TODO);
            if todo {
                let name = format!("{program} gets past its `todo!`");
                self.check("todo-reached", &name, false, stderr.as_str());
            }
            let crashed =
                matches!(exit, Some(Exit::Code(PANICKED) | Exit::Signal(_)));
            if crashed && !todo {
                let name = format!("{program} does not crash");
                let evidence = exit.map_or(String::new(), |e| e.to_string());
                let evidence = format!("{evidence}\n{stderr}");
                self.check("crashed", &name, false, evidence);
            }
            let flood = *exit == Some(Exit::TooMuchOutput);
            if flood {
                let name = format!("{program} stops printing");
                let evidence = Exit::TooMuchOutput.to_string();
                self.check("prints-without-end", &name, false, evidence);
            }
            !todo && !flood && !crashed
        }) && self.began(performance)
    }

    /// Some program said a word.
    fn began(&mut self, performance: &Performance) -> bool {
        let mute = |program: &String| {
            performance.trace.stdout(program).is_empty()
                && performance.trace.stderr(program).is_empty()
        };
        if !performance.exits.keys().all(mute) {
            return true;
        }
        let stuck = performance.exits.values().any(Option::is_none);
        let cause = if stuck { "hangs" } else { "silent" };
        let missed = performance.missed.as_deref().unwrap_or_default();
        let evidence = format!("{missed}\n{}", describe_ends(performance));
        let name = "the program prints a line";
        self.check(cause, name, false, evidence.trim_start())
    }

    /// The last check of every performance: the scenario was not left waiting.
    /// What a grader knows to be a mistake has its own check before.
    pub(crate) fn went_to_its_end(&mut self, performance: &Performance) {
        self.about(performance);
        let name = "the run goes as the scenario says";
        let Some(missed) = &performance.missed else {
            self.check("deadline", name, true, "");
            return;
        };
        let stuck = performance.exits.values().any(Option::is_none);
        // Who has ended is not who hangs, though the other one waits for it.
        let gone = missed.ends_with(HAS_GONE);
        let cause = match stuck && !gone {
            true => "deadline",
            false => "stopped-early",
        };
        let evidence = format!("{missed}\n{}", describe_ends(performance));
        self.check(cause, name, false, evidence);
    }

    /// Nobody used the processor while there was nothing to do.
    pub(crate) fn slept(&mut self, performance: &Performance) {
        self.about(performance);
        for Restless { program, cause, evidence } in &performance.restless {
            let name = format!("{program} sleeps while it waits");
            self.check(cause, &name, false, evidence.as_str());
        }
    }
}

impl Performance {
    /// Did a program stop at its `todo!`?
    pub(crate) fn reached_todo(&self) -> bool {
        let stopped = |program: &String| {
            self.trace.stderr(program).join("\n").contains(TODO)
        };
        self.exits.keys().any(stopped)
    }

    /// The TCP segments and the states beside them, without clock and ports.
    pub fn segments(&self) -> String {
        let Ok(mut trace) = self.trace.select("tcp") else {
            return String::new();
        };
        trace.events.retain(|event| matches!(event.what, What::Frame(_)));
        trace.to_text()
    }
}

/// How every program ended and the last that it said.
fn describe_ends(performance: &Performance) -> String {
    let lines = performance.exits.iter().map(|(program, exit)| {
        let autopsy = performance.autopsies.get(program);
        let end = match exit {
            None => match autopsy {
                Some(autopsy) => format!("was still running\n{autopsy}"),
                None => "was still running".to_string(),
            },
            Some(exit) => format!("ended with {exit}"),
        };
        let said = performance.trace.stderr(program);
        let said =
            said.last().map_or(String::new(), |last| format!(": {last}"));
        format!("{program} {end}{said}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Expected and actual lines, the first difference marked with `>`.
pub fn side_by_side<A: AsRef<str>, B: AsRef<str>>(
    expected: &[A],
    actual: &[B],
) -> String {
    let width = expected.iter().map(|line| line.as_ref().chars().count());
    let width = width.max().unwrap_or(0).max("expected".len());
    let mut text = format!("  {:<width$}   actual", "expected");
    let mut marked = false;
    for at in 0..expected.len().max(actual.len()) {
        let want = expected.get(at).map_or("", |line| line.as_ref());
        let got = actual.get(at).map_or("", |line| line.as_ref());
        let differs = want != got && !marked;
        marked |= differs;
        let mark = if differs { '>' } else { ' ' };
        text.push_str(&format!("\n{mark} {want:<width$} | {got}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_marked() {
        let text = side_by_side(&["one", "two", "x"], &["one", "three"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  one      | one");
        assert_eq!(lines[2], "> two      | three");
        assert_eq!(lines[3], "  x        | ");
    }

    #[test]
    fn the_cause_is_that_of_the_first_failure() {
        let mut judge = Judge::new("handshake");
        judge.check("output", "first", true, "");
        judge.check("segments", "second", false, "");
        judge.check("no-such-cause", "third", false, "");
        assert_eq!(judge.cause.as_deref(), Some("segments"));
        assert_eq!(judge.unknown, ["no-such-cause"]);
    }
}

//! A subject in, a verdict out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use testbed::machine::Reach;
use testbed::{Backend, Draw};

use crate::catalogue::{Lab, root};
use crate::compile::{self, Built};
use crate::generated::{self, Kind};
use crate::hash::hash;
use crate::perform::{Failure, Request, perform};
use crate::subject::Subject;
use crate::verdict::{Check, Judge, Performance, Verdict, Word};
use crate::{Grader, causes, filter, progress};

/// Has every program traced, for tests that it behaves the same then.
const SYSCALLS: &str = "LAB_SYSCALLS";

/// How to grade.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Replays a run.
    pub seed: Option<u64>,
    /// This backend and no other.
    pub backend: Option<Backend>,
    /// The machines, of the backend that is those.
    pub machines: Option<Reach>,
    /// Hears what is going on.
    pub hear: Option<fn(Phase)>,
}

/// What takes its time in a grading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The compiler works.
    Compiling,
    /// The scenario plays.
    Performing,
}

/// Grades one subject: builds it, performs every take, judges.
///
/// # Errors
///
/// Something is wrong with the course itself: cargo cannot be run, a file is
/// missing. Whatever is wrong with the program or with the machine is a
/// verdict.
pub fn grade(
    lab: &Lab,
    subject: &Subject,
    options: &Options,
) -> anyhow::Result<Verdict> {
    let seed = options.seed.unwrap_or_else(Draw::fresh_seed);
    let mut verdict = Verdict {
        lab: lab.id.clone(),
        subject: subject.to_string(),
        verdict: Word::NotStarted,
        cause: None,
        checks: Vec::new(),
        millis: 0,
        seed,
        means: None,
        looks_like: None,
        doubt: None,
        scripts: Vec::new(),
        asked: BTreeSet::new(),
        notes: Vec::new(),
        text: None,
    };
    let hear = |phase| options.hear.map_or((), |hear| hear(phase));
    if *subject == Subject::Lab {
        verdict.text = progress::text_of(lab)?;
    }
    let grader = lab.grader()?;
    if is_pristine(lab, grader, subject)? {
        return Ok(verdict);
    }
    hear(Phase::Compiling);
    let binary = match build(lab, subject)? {
        Built::Ok(binary) => binary,
        Built::Err(message) => {
            let mut judge = Judge::new(&lab.id);
            let name = "the program compiles";
            judge.check("does-not-compile", name, false, message);
            conclude(grader, judge, &mut verdict);
            return Ok(verdict);
        }
    };
    // The clock starts after the build.
    hear(Phase::Performing);
    let start = Instant::now();
    let performed = match subject {
        Subject::Generated(kind) => {
            perform_generated(grader, *kind, &binary, seed, options)
        }
        _ => perform_all(grader, |_| Ok(binary.clone()), seed, options),
    };
    match performed {
        Ok(performances) => {
            let may_record = *subject == Subject::Solution;
            judge(grader, &performances, may_record, &mut verdict)?;
        }
        Err(err) => match err.downcast::<Failure>() {
            Ok(failure) => cannot_run(&failure, &mut verdict),
            Err(bug) => return Err(bug),
        },
    }
    verdict.millis = start.elapsed().as_millis() as u64;
    Ok(verdict)
}

/// Is the learner's file, or the file in its place, the stub as it is shipped
/// or was shipped by an earlier course?
pub fn is_pristine(
    lab: &Lab,
    grader: &Grader,
    subject: &Subject,
) -> anyhow::Result<bool> {
    if !matches!(subject, Subject::Lab | Subject::File(_)) {
        return Ok(false);
    }
    let path = root().join(subject.source(lab));
    let text = fs::read(&path)
        .with_context(|| format!("read {}", path.display()))
        .map_err(|err| match subject {
            Subject::Lab if !path.exists() => {
                err.context(format!("`lab reset {}` brings it back", lab.id))
            }
            _ => err,
        })?;
    let stubs = || progress::entry(lab).map(|entry| entry.stubs);
    Ok(text == grader.pristine.as_bytes() || stubs()?.contains(&hash(&text)))
}

/// The binary to perform with; for what is generated, the one to learn from.
fn build(lab: &Lab, subject: &Subject) -> anyhow::Result<Built> {
    match subject {
        Subject::Generated(_) => compile::build(lab, &Subject::Solution),
        subject => compile::build(lab, subject),
    }
}

/// The takes side by side: each waits for the kernel more than it works.
fn perform_all(
    grader: &'static Grader,
    binary: impl Fn(usize) -> anyhow::Result<PathBuf>,
    seed: u64,
    options: &Options,
) -> anyhow::Result<Vec<Performance>> {
    let mut requests = Vec::new();
    for (at, take) in grader.takes.iter().enumerate() {
        requests.push(Request {
            lab: grader.id.to_string(),
            take: take.name.to_string(),
            binary: binary(at)?,
            profile: take.profile,
            backend: options.backend,
            machines: options.machines.clone(),
            seed,
            syscalls: std::env::var_os(SYSCALLS).is_some(),
            ..Request::default()
        });
    }
    if options.machines.is_some() {
        // A machine is one run's at a time.
        return requests.iter().map(|one| perform(one, |_, _| ())).collect();
    }
    std::thread::scope(|scope| {
        let takes: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(|| perform(request, |_, _| ())))
            .collect();
        let performances = takes.into_iter().map(|take| match take.join() {
            Ok(performance) => performance,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        performances.collect()
    })
}

/// The same with a program that is made for each take.
fn perform_generated(
    grader: &'static Grader,
    kind: Kind,
    solution: &Path,
    seed: u64,
    options: &Options,
) -> anyhow::Result<Vec<Performance>> {
    let learnt = match kind {
        Kind::Parrot => {
            let solution = |_| Ok(solution.to_path_buf());
            perform_all(grader, solution, seed, options)?
        }
        _ => Vec::new(),
    };
    let made = |at: usize| {
        let name = format!("{}-{}-{seed}-{at}", grader.id, kind.name());
        generated::write(kind, &name, learnt.get(at))
    };
    perform_all(grader, made, seed, options)
}

fn judge(
    grader: &Grader,
    performances: &[Performance],
    may_record: bool,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let losses: Vec<&str> = performances
        .iter()
        .flat_map(|performance| &performance.trace.losses)
        .map(String::as_str)
        .collect();
    if !losses.is_empty() {
        verdict.verdict = Word::Void;
        let name = "the network loses nothing by itself".to_string();
        let evidence = losses.join("\n");
        verdict.checks.push(Check { name, ok: false, evidence });
        return Ok(());
    }
    let mut judge = Judge::new(grader.id);
    judge.may_record = may_record;
    // What stands before the first `todo!` is judged before the `todo!` is.
    let done = performances.iter().take_while(|one| !one.reached_todo());
    let (done, rest) = performances.split_at(done.count());
    if done.iter().all(|one| judge.is_a_try(one)) {
        if !done.is_empty() {
            (grader.judge)(done, &mut judge);
        }
        done.iter().for_each(|one| judge.went_to_its_end(one));
        done.iter().for_each(|one| judge.slept(one));
        if let Some(stopped) = rest.first() {
            judge.is_a_try(stopped);
        }
    }
    ensure!(
        judge.unknown.is_empty(),
        "tests/causes.toml has no [{}.{}]",
        grader.id,
        judge.unknown.join("], [")
    );
    conclude(grader, judge, verdict);
    verdict.asked =
        performances.iter().flat_map(|one| &one.asked).copied().collect();
    verdict.doubt = doubt(performances, verdict);
    verdict.scripts = performances.iter().flat_map(filter::scripts).collect();
    Ok(())
}

/// Causes that come from what did not happen in time.
const OF_TIME: [&str; 5] =
    ["burns-cpu", "deadline", "hangs", "never-ended", "polls"];
/// A machine so many times slower than usual may be at fault itself.
const DOUBTFUL_SLACK: u32 = 4;

fn doubt(performances: &[Performance], verdict: &Verdict) -> Option<String> {
    let cause = verdict.cause.as_deref()?;
    let slack = performances.iter().map(|one| one.slack).max()?;
    (slack >= DOUBTFUL_SLACK && OF_TIME.contains(&cause)).then(|| {
        format!(
            "the machine was {slack} times slower than usual: every wait was \
             made longer by that, but grade again when it is quieter"
        )
    })
}

fn conclude(grader: &Grader, judge: Judge, verdict: &mut Verdict) {
    verdict.verdict = if judge.content() { Word::Pass } else { Word::Fail };
    if let Some(cause) = &judge.cause {
        verdict.means =
            causes::find(grader.id, cause).map(|known| known.means.clone());
        let known = grader.mutants.iter().find(|m| m.cause == cause);
        verdict.looks_like = known.map(|mutant| mutant.name.to_string());
    }
    verdict.cause = judge.cause;
    verdict.notes = judge.notes;
    verdict.checks = judge.checks;
}

fn cannot_run(failure: &Failure, verdict: &mut Verdict) {
    verdict.verdict = Word::CannotRun;
    verdict.cause = Some("machine".into());
    let name = "this machine can run two hosts".to_string();
    let evidence = failure.to_string();
    verdict.checks.push(Check { name, ok: false, evidence });
}

//! A subject in, a verdict out.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use testbed::{Backend, Draw};

use crate::Grader;
use crate::catalogue::{Lab, root};
use crate::compile::{self, Built};
use crate::perform::{Failure, Request, perform};
use crate::subject::Subject;
use crate::verdict::{Check, Judge, Performance, Verdict, Word};

/// How to grade.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Replays a run.
    pub seed: Option<u64>,
    /// This backend and no other.
    pub backend: Option<Backend>,
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
        looks_like: None,
    };
    let grader = lab.grader()?;
    if is_pristine(lab, grader, subject)? {
        return Ok(verdict);
    }
    let binary = match compile::build(lab, subject)? {
        Built::Ok(binary) => binary,
        Built::Err(message) => {
            verdict.verdict = Word::Fail;
            verdict.cause = Some("does-not-compile".into());
            let name = "the program compiles".to_string();
            verdict.checks.push(Check { name, ok: false, evidence: message });
            return Ok(verdict);
        }
    };
    // The clock starts after the build.
    let start = Instant::now();
    match perform_all(grader, &binary, seed, options) {
        Ok(performances) => judge(grader, &performances, &mut verdict),
        Err(err) => match err.downcast::<Failure>() {
            Ok(failure) => cannot_run(&failure, &mut verdict),
            Err(bug) => return Err(bug),
        },
    }
    verdict.millis = start.elapsed().as_millis() as u64;
    Ok(verdict)
}

/// Is the learner's file, or the file in its place, the stub as shipped?
pub fn is_pristine(
    lab: &Lab,
    grader: &Grader,
    subject: &Subject,
) -> anyhow::Result<bool> {
    if !matches!(subject, Subject::Lab | Subject::File(_)) {
        return Ok(false);
    }
    let path = root().join(subject.source(lab));
    let text = fs::read_to_string(&path)
        .map_err(|err| anyhow::anyhow!("read {}: {err}", path.display()))?;
    Ok(text == grader.pristine)
}

/// The takes side by side: each waits for the kernel more than it works.
fn perform_all(
    grader: &'static Grader,
    binary: &std::path::Path,
    seed: u64,
    options: &Options,
) -> anyhow::Result<Vec<Performance>> {
    std::thread::scope(|scope| {
        let takes: Vec<_> = grader
            .takes
            .iter()
            .map(|take| {
                let request = Request {
                    lab: grader.id.to_string(),
                    take: take.name.to_string(),
                    binary: PathBuf::from(binary),
                    profile: take.profile,
                    backend: options.backend,
                    seed,
                    ..Request::default()
                };
                scope.spawn(move || perform(&request, |_, _| ()))
            })
            .collect();
        let performances = takes.into_iter().map(|take| match take.join() {
            Ok(performance) => performance,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        performances.collect()
    })
}

fn judge(grader: &Grader, performances: &[Performance], verdict: &mut Verdict) {
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
        return;
    }
    let mut judge = Judge::default();
    if performances.iter().all(|one| judge.is_a_try(one)) {
        (grader.judge)(performances, &mut judge);
        performances.iter().for_each(|one| judge.went_to_its_end(one));
    }
    verdict.verdict = if judge.content() { Word::Pass } else { Word::Fail };
    verdict.looks_like = judge.cause.as_ref().and_then(|cause| {
        let known = grader.mutants.iter().find(|m| m.cause == cause)?;
        Some(known.mistake.to_string())
    });
    verdict.cause = judge.cause;
    verdict.checks = judge.checks;
}

fn cannot_run(failure: &Failure, verdict: &mut Verdict) {
    verdict.verdict = Word::CannotRun;
    verdict.cause = Some("machine".into());
    let name = "this machine can run two hosts".to_string();
    let evidence = failure.to_string();
    verdict.checks.push(Check { name, ok: false, evidence });
}

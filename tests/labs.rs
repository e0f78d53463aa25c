//! `cargo test`: grades the reference programs and the learner's labs.
//!
//!     cargo test              every lab
//!     cargo test backlog      one lab
//!
//! A lab that is not started is listed as ignored. Mutants and alternatives are
//! `lab verify`'s.

use std::process::ExitCode;

use graders::catalogue::{self, Lab};
use graders::grade::{Options, grade, is_pristine};
use graders::subject::Subject;
use graders::verdict::{Verdict, Word};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    graders::first_of_all();
    let arguments = Arguments::from_args();
    let labs = catalogue::all().expect("labs/labs.toml is a catalogue");
    let mut trials = Vec::new();
    let mut not_started = 0;
    for lab in &labs {
        trials.push(trial(lab, Subject::Solution));
        let grader = lab.grader().expect("every lab has a grader");
        let pristine = is_pristine(lab, grader, &Subject::Lab);
        let pristine = pristine.unwrap_or(false);
        not_started += usize::from(pristine);
        trials.push(trial(lab, Subject::Lab).with_ignored_flag(pristine));
    }
    let graded = labs.len() - not_started;
    println!("\nlabs: {graded} started, {not_started} not started (ignored)");
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(lab: &Lab, subject: Subject) -> Trial {
    let name = format!("{}/{}::{subject}", lab.chapter, lab.id);
    let lab = lab.clone();
    Trial::test(name, move || {
        let verdict = grade(&lab, &subject, &Options::default());
        let verdict = verdict.map_err(|err| format!("{err:#}"))?;
        match verdict.verdict {
            Word::Pass => Ok(()),
            // `--ignored` asks for the stubs too: they are what they should be.
            Word::NotStarted => Ok(()),
            _ => Err(Failed::from(tell(&lab, &verdict))),
        }
    })
}

/// The verdict's failed checks, as `lab check` would show them.
fn tell(lab: &Lab, verdict: &Verdict) -> String {
    let cause = verdict.cause.as_deref().unwrap_or("none");
    let mut text = format!("{}: {} ({cause})\n", lab.id, verdict.verdict);
    for check in verdict.checks.iter().filter(|check| !check.ok) {
        text.push_str(&format!("\n{}\n{}\n", check.name, check.evidence));
    }
    if let Some(means) = &verdict.means {
        text.push_str(&format!("\n{cause}: {means}\n"));
    }
    if let Some(doubt) = &verdict.doubt {
        text.push_str(&format!("\n{doubt}\n"));
    }
    text.push_str(&format!(
        "\nreplay: lab check {} --seed {}",
        lab.id, verdict.seed
    ));
    text
}

//! `lab verify`: the graders themselves are graded.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use graders::catalogue::{self, Lab, root};
use graders::compile::build_course;
use graders::generated::Kind;
use graders::grade::Options;
use graders::snapshot;
use graders::subject::Subject;
use graders::verdict::{Verdict, Word};
use serde::Serialize;
use testbed::Backend;

use crate::check::grade_all;
use crate::machines::{self, Place};
use crate::names::LabName;
use crate::style;

/// The first round is performed with this seed, and its mutants' causes and
/// evidence are compared with the recorded ones.
const RECORDED_SEED: u64 = 1;
/// Ports from here on are a kernel's choice (ip_local_port_range).
const EPHEMERAL: u16 = 32768;

/// Arguments of `lab verify`.
#[derive(Args)]
pub struct Verify {
    /// The labs' names; without any, every lab
    #[arg(value_parser = LabName, hide_possible_values = true)]
    labs: Vec<String>,
    /// Judge everything so many times
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// As JSON: {"summary":{"labs","solutions_passed","stubs_not_started",
    /// "mutants","generated_mutants","mutants_refused","mutants_right_cause",
    /// "alternatives","alternatives_accepted","look_alikes",
    /// "evidence_differs","needs_differ","flaky","seconds"},
    /// "results":[as in check]}
    #[arg(long)]
    json: bool,
    /// Where the hosts are, and nowhere else
    #[arg(long, value_enum)]
    on: Option<Place>,
}

/// What was found, each subject counted once, as it did at its worst.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Summary {
    labs: usize,
    solutions_passed: usize,
    stubs_not_started: usize,
    mutants: usize,
    /// How many of them are generated.
    generated_mutants: usize,
    mutants_refused: usize,
    mutants_right_cause: usize,
    alternatives: usize,
    alternatives_accepted: usize,
    /// Labs with a written mutant that prints just what the solution prints.
    look_alikes: usize,
    /// Labs of which a mutant was refused with other evidence than recorded.
    evidence_differs: usize,
    /// Labs whose `machines_lack` is not what the solution asked of its hosts.
    needs_differ: usize,
    /// Subjects with different verdicts or causes in different repeats.
    flaky: usize,
    /// What it all took, without the build.
    seconds: f64,
}

impl Summary {
    fn is_good(&self) -> bool {
        self.solutions_passed == self.labs
            && self.stubs_not_started == self.labs
            && self.mutants_refused == self.mutants
            && self.mutants_right_cause == self.mutants
            && self.alternatives_accepted == self.alternatives
            && self.look_alikes == self.labs
            && self.evidence_differs == 0
            && self.needs_differ == 0
            && self.flaky == 0
    }
}

impl Verify {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut labs = catalogue::find(&self.labs)?;
        if self.on == Some(Place::Vagrant) && self.labs.is_empty() {
            labs.retain(|lab| machines::lacking(lab).is_none());
        }
        let machines = machines::reach(self.on, &labs)?;
        let subjects = subjects(&labs)?;
        build_course()?;
        let start = Instant::now();
        let mut verdicts = Vec::new();
        for round in 0..self.repeat.max(1) {
            let seed = (round == 0).then_some(RECORDED_SEED);
            let backend = self.on.map(Backend::from);
            let machines = machines.clone();
            let options =
                Options { seed, backend, machines, ..Options::default() };
            let round = grade_all(&subjects, &options, |task, verdict| {
                let (lab, subject) = task;
                let wrong = !as_it_should(lab, subject, verdict)?;
                let text = line(lab, subject, verdict, wrong);
                match self.json {
                    true if wrong => eprint!("{text}"),
                    false if wrong || self.repeat <= 1 => print!("{text}"),
                    _ => {}
                }
                Ok(())
            })?;
            verdicts.extend(round);
        }
        let mut summary = summarise(&labs, &subjects, &verdicts)?;
        let first = &verdicts[..subjects.len()];
        let without = without_look_alike(&subjects, first);
        summary.look_alikes = labs.len() - without.len();
        for lab in without {
            eprintln!("{lab}: no mutant prints what the solution prints");
        }
        summary.seconds = start.elapsed().as_secs_f64();
        for (lab, difference) in evidence(&labs, &subjects, first) {
            summary.evidence_differs += 1;
            eprintln!("{lab}: not refused as recorded\n{difference}");
        }
        for (lab, asked) in needs(&subjects, first) {
            summary.needs_differ += 1;
            eprintln!("{lab}: machines_lack = {asked} in labs/labs.toml");
        }
        if self.json {
            let all = serde_json::json!({
                "summary": summary,
                "results": verdicts,
            });
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            print_summary(&summary, verdicts.len());
        }
        Ok(match summary.is_good() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Everything there is to judge about these labs.
fn subjects(labs: &[Lab]) -> anyhow::Result<Vec<(Lab, Subject)>> {
    let mut subjects = Vec::new();
    for lab in labs {
        let grader = lab.grader()?;
        let mut add = |subject| subjects.push((lab.clone(), subject));
        add(Subject::Solution);
        add(stub(lab));
        for (kind, _) in Kind::ALL {
            add(Subject::Generated(kind));
        }
        for mutant in grader.mutants {
            add(Subject::Mutant(mutant.name.to_string()));
        }
        for alternative in grader.alternatives {
            add(Subject::Alternative(alternative.to_string()));
        }
    }
    Ok(subjects)
}

/// The stub as shipped, wherever the learner's own file is by now.
fn stub(lab: &Lab) -> Subject {
    let file = lab.source();
    let file = file.strip_prefix("labs").unwrap_or(&file);
    Subject::File(root().join("tests/pristine").join(file))
}

/// Is this the verdict that the subject must get?
fn as_it_should(
    lab: &Lab,
    subject: &Subject,
    verdict: &Verdict,
) -> anyhow::Result<bool> {
    Ok(match subject {
        Subject::Lab | Subject::Solution | Subject::Alternative(_) => {
            verdict.verdict == Word::Pass
        }
        Subject::File(_) => verdict.verdict == Word::NotStarted,
        Subject::Mutant(_) | Subject::Generated(_) => {
            right_cause(lab, subject, verdict)?
        }
    })
}

fn right_cause(
    lab: &Lab,
    subject: &Subject,
    verdict: &Verdict,
) -> anyhow::Result<bool> {
    let mutants = lab.grader()?.mutants.iter();
    let written =
        mutants.map(|one| (Subject::Mutant(one.name.to_string()), one.cause));
    let generated = Kind::ALL.into_iter();
    let generated =
        generated.map(|(kind, cause)| (Subject::Generated(kind), cause));
    let expected = written
        .chain(generated)
        .find(|(mutant, _)| mutant == subject)
        .map(|(_, cause)| cause);
    Ok(verdict.verdict == Word::Fail && verdict.cause.as_deref() == expected)
}

fn summarise(
    labs: &[Lab],
    subjects: &[(Lab, Subject)],
    verdicts: &[Verdict],
) -> anyhow::Result<Summary> {
    let mut summary = Summary { labs: labs.len(), ..Summary::default() };
    for (at, (lab, subject)) in subjects.iter().enumerate() {
        let mut good = true;
        let mut refused = true;
        let repeats: Vec<&Verdict> =
            verdicts.iter().skip(at).step_by(subjects.len()).collect();
        for verdict in &repeats {
            good &= as_it_should(lab, subject, verdict)?;
            refused &= verdict.verdict == Word::Fail;
        }
        let word = |v: &Verdict| (v.verdict, v.cause.clone());
        let same = repeats.windows(2).all(|two| word(two[0]) == word(two[1]));
        summary.flaky += usize::from(!same);
        match subject {
            Subject::Solution => summary.solutions_passed += usize::from(good),
            Subject::Lab | Subject::File(_) => {
                summary.stubs_not_started += usize::from(good);
            }
            Subject::Mutant(_) | Subject::Generated(_) => {
                summary.mutants += 1;
                summary.generated_mutants +=
                    usize::from(matches!(subject, Subject::Generated(_)));
                summary.mutants_refused += usize::from(refused);
                summary.mutants_right_cause += usize::from(good);
            }
            Subject::Alternative(_) => {
                summary.alternatives += 1;
                summary.alternatives_accepted += usize::from(good);
            }
        }
    }
    Ok(summary)
}

/// The labs without a written mutant whose every line is the solution's.
fn without_look_alike(
    subjects: &[(Lab, Subject)],
    verdicts: &[Verdict],
) -> Vec<String> {
    let both = || subjects.iter().zip(verdicts);
    let solutions =
        both().filter(|((_, subject), _)| *subject == Subject::Solution);
    let without = solutions.filter(|((lab, _), solution)| {
        !both().any(|((of, subject), verdict)| {
            lab.id == of.id
                && matches!(subject, Subject::Mutant(_))
                && same_words(verdict, solution)
        })
    });
    without.map(|((lab, _), _)| lab.id.clone()).collect()
}

fn same_words(one: &Verdict, other: &Verdict) -> bool {
    let words = |verdict: &Verdict| -> Vec<Vec<String>> {
        let scripts = verdict.scripts.iter();
        let mut words: Vec<Vec<String>> =
            scripts.map(|script| unmeasured(&script.lines)).collect();
        words.iter_mut().for_each(|lines| lines.sort());
        words
    };
    words(one) == words(other)
}

/// Lines without what differs from run to run and says nothing about who has
/// printed it: what is measured, a number with a point in it, and the port of an
/// address where a kernel has chosen it (ip_local_port_range).
fn unmeasured(lines: &[String]) -> Vec<String> {
    let without = |word: &str| -> String {
        let bare = word.trim_end_matches(',');
        let measured = |c: char| c.is_ascii_digit() || c == '.';
        match bare.parse::<SocketAddr>() {
            Ok(name) if name.port() >= EPHEMERAL => format!("{}:#", name.ip()),
            _ if word.contains('.') && word.chars().all(measured) => "#".into(),
            _ => word.to_string(),
        }
    };
    let lines = lines
        .iter()
        .map(|line| line.split(' ').map(without).collect::<Vec<_>>().join(" "));
    lines.collect()
}

/// For each lab whose mutants were refused otherwise than recorded: how.
fn evidence(
    labs: &[Lab],
    subjects: &[(Lab, Subject)],
    verdicts: &[Verdict],
) -> Vec<(String, String)> {
    let refusals = |id: &str| -> String {
        let both = subjects.iter().zip(verdicts);
        let mutants = both.filter(|((lab, subject), _)| {
            let (Subject::Mutant(_) | Subject::Generated(_)) = subject else {
                return false;
            };
            lab.id == id
        });
        mutants.map(|(_, verdict)| verdict.refusal()).collect()
    };
    let labs = labs.iter().filter_map(|lab| {
        let name = format!("{}-mutants", lab.id);
        let difference = snapshot::difference(&name, &refusals(&lab.id))?;
        Some((lab.id.clone(), difference))
    });
    labs.collect()
}

/// For each lab of which the catalogue says otherwise: what its solution asked
/// of its hosts that hosts on other machines have not got.
fn needs(
    subjects: &[(Lab, Subject)],
    verdicts: &[Verdict],
) -> Vec<(String, String)> {
    let both = subjects.iter().zip(verdicts);
    let differ = both.filter_map(|((lab, subject), verdict)| {
        let other = *subject == Subject::Solution
            && verdict.verdict == Word::Pass
            && verdict.asked != lab.machines_lack;
        let asked = serde_json::to_string(&verdict.asked).unwrap_or_default();
        other.then(|| (lab.id.clone(), asked.replace(',', ", ")))
    });
    differ.collect()
}

/// A verdict's line, and where it is not as it should be, why.
fn line(
    lab: &Lab,
    subject: &Subject,
    verdict: &Verdict,
    wrong: bool,
) -> String {
    let mark = if wrong { style::bad("NOT") } else { style::good("ok ") };
    let subject = match subject {
        Subject::File(_) => "stub".to_string(),
        other => other.to_string(),
    };
    let cause = verdict.cause.as_deref().unwrap_or("");
    let word = verdict.verdict.to_string();
    let mut text =
        format!("{mark} {:<12} {subject:<32} {word:<12} {cause}\n", lab.id);
    if wrong {
        for check in verdict.checks.iter().filter(|check| !check.ok) {
            text.push_str(&format!("    {}\n", check.name));
            for line in check.evidence.lines() {
                text.push_str(&format!("      {line}\n"));
            }
        }
        text.push_str(&format!("    seed {}\n", verdict.seed));
    }
    text
}

fn print_summary(summary: &Summary, verdicts: usize) {
    println!();
    let Summary { labs, seconds, .. } = summary;
    println!("{verdicts} verdicts on {labs} labs in {seconds:.1} s");
    let labs = summary.labs;
    println!("solutions passed        {} of {labs}", summary.solutions_passed);
    println!("stubs not started       {} of {labs}", summary.stubs_not_started);
    let mutants = summary.mutants;
    println!(
        "mutants refused         {} of {mutants}",
        summary.mutants_refused
    );
    println!(
        "  with their own cause  {} of {mutants}",
        summary.mutants_right_cause
    );
    println!(
        "alternatives accepted   {} of {}",
        summary.alternatives_accepted, summary.alternatives
    );
    println!("labs with a look-alike  {} of {labs}", summary.look_alikes);
    println!("labs with other evidence {}", summary.evidence_differs);
    println!("labs with other needs    {}", summary.needs_differ);
    println!("flaky                   {}", summary.flaky);
}

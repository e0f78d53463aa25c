//! `lab check`: verdicts, for people and for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, bail};
use clap::Args;
use graders::catalogue::{self, Lab};
use graders::grade::{Options, grade};
use graders::progress;
use graders::subject::Subject;
use graders::verdict::{Verdict, Word};
use testbed::Backend;

use crate::machines::{self, Place};
use crate::names::LabName;
use crate::{board, style, watch};

/// Verdicts under way at once: each waits more than it works.
const AT_ONCE: usize = 8;

/// Arguments of `lab check`.
#[derive(Args)]
pub struct CheckArgs {
    /// The labs' names; without any, every lab
    #[arg(value_parser = LabName, hide_possible_values = true)]
    labs: Vec<String>,
    /// Grade this source file in place of the lab's own; may be given several
    /// times
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Grade a known mistake in place of the lab's own file, one of those that
    /// the lab's page speaks of
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    mistake: Option<String>,
    /// As JSON: {"results":[{"lab","subject","verdict","cause","checks",
    /// "millis","seed"}]}
    #[arg(long)]
    json: bool,
    /// Write the verdicts to a file as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Where the hosts are, and nowhere else
    #[arg(long, value_enum)]
    on: Option<Place>,
    /// Repeat a run: its ports, payloads and counts
    #[arg(long)]
    seed: Option<u64>,
}

impl CheckArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut labs = catalogue::find(&self.labs)?;
        if self.on == Some(Place::Vagrant) && self.labs.is_empty() {
            labs.retain(|lab| machines::lacking(lab).is_none());
        }
        let tasks = self.tasks(labs.clone())?;
        let options = Options {
            seed: self.seed,
            backend: self.on.map(Backend::from),
            machines: machines::reach(self.on, &labs)?,
            hear: watch::is_watched().then_some(watch::tell_phase),
        };
        if watch::is_watched() {
            watch::end_with_the_watcher();
        }
        let verdicts =
            grade_all(&tasks, &options, |(lab, subject), verdict| {
                put_down(lab, verdict);
                if !self.json {
                    print!("{}", tell(lab, subject, verdict));
                }
                Ok(())
            })?;
        if self.json {
            let all = serde_json::json!({ "results": verdicts });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        if let Some(path) = &self.junit {
            fs::write(path, junit(&verdicts))
                .with_context(|| format!("write {}", path.display()))?;
        }
        let passed = verdicts.iter().all(|v| v.verdict == Word::Pass);
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What the book shows: one verdict, with this seed, if the command names
    /// no other.
    pub fn verdict(self, seed: u64) -> anyhow::Result<Verdict> {
        let tasks = self.tasks(catalogue::find(&self.labs)?)?;
        let [(lab, subject)] = tasks.as_slice() else {
            bail!("one program is graded");
        };
        let backend = self.on.map(Backend::from);
        let seed = self.seed.or(Some(seed));
        grade(lab, subject, &Options { seed, backend, ..Options::default() })
    }

    fn tasks(&self, mut labs: Vec<Lab>) -> anyhow::Result<Vec<(Lab, Subject)>> {
        if let Some(name) = &self.mistake {
            let Ok([lab]) = <[Lab; 1]>::try_from(labs) else {
                bail!("--mistake needs one lab: lab check LAB --mistake NAME");
            };
            let known = lab.grader()?.mutants;
            if !known.iter().any(|mutant| mutant.name == name) {
                let names: Vec<&str> = known.iter().map(|m| m.name).collect();
                bail!(
                    "{} has no mistake `{name}`; there are: {}",
                    lab.id,
                    names.join(", ")
                );
            }
            return Ok(vec![(lab, Subject::Mutant(name.clone()))]);
        }
        if self.file.is_empty() {
            return Ok(labs
                .into_iter()
                .map(|lab| (lab, Subject::Lab))
                .collect());
        }
        if self.labs.len() != 1 {
            bail!("--file needs one lab: lab check LAB --file PATH");
        }
        let lab = labs.remove(0);
        let here = std::env::current_dir().context("getcwd")?;
        let file = |path: &PathBuf| {
            let path = here.join(path);
            if !path.is_file() {
                bail!("{} is not a file", path.display());
            }
            Ok((lab.clone(), Subject::File(path)))
        };
        self.file.iter().map(file).collect()
    }
}

/// A verdict is not lost where progress cannot be written.
fn put_down(lab: &Lab, verdict: &Verdict) {
    let Some(text) = &verdict.text else { return };
    if let Err(err) = progress::record(lab, text, verdict) {
        eprintln!("{} progress is not kept: {err:#}", style::odd("note:"));
    }
}

/// Grades tasks side by side. `done` hears of each in the order of the tasks.
pub fn grade_all(
    tasks: &[(Lab, Subject)],
    options: &Options,
    mut done: impl FnMut(&(Lab, Subject), &Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Verdict>> {
    let next = Mutex::new(0..tasks.len());
    let (sender, finished) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let at_once = match options.machines {
            Some(_) => 1, // A machine is one run's at a time.
            None => AT_ONCE,
        };
        for _ in 0..at_once.min(tasks.len()) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let at = next.lock().map(|mut next| next.next());
                    let Ok(Some(at)) = at else { return };
                    let (lab, subject) = &tasks[at];
                    let result = grade(lab, subject, options);
                    if sender.send((at, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early: Vec<Option<Verdict>> = vec![None; tasks.len()];
        let mut verdicts = Vec::new();
        for (at, result) in finished {
            early[at] = Some(result?);
            while let Some(verdict) =
                early.get_mut(verdicts.len()).and_then(Option::take)
            {
                done(&tasks[verdicts.len()], &verdict)?;
                verdicts.push(verdict);
            }
        }
        Ok(verdicts)
    })
}

/// A verdict for a person.
fn tell(lab: &Lab, subject: &Subject, verdict: &Verdict) -> String {
    let word = verdict.verdict.to_string();
    let word = match verdict.verdict {
        Word::Pass => style::good(&word),
        Word::Fail | Word::CannotRun => style::bad(&word),
        Word::NotStarted | Word::Void => style::odd(&word),
    };
    let file = subject.source(lab);
    let mut text = String::new();
    let took = format!("{} ms, seed {}", verdict.millis, verdict.seed);
    let took = if verdict.verdict == Word::NotStarted {
        String::new()
    } else {
        style::dim(&took)
    };
    let _ = writeln!(text, "{} {word}  {took}", style::strong(&lab.id));
    if verdict.verdict == Word::NotStarted {
        let _ = writeln!(text, "  {} is the stub as shipped", file.display());
        text.push_str(&what_helps(lab, subject, verdict));
        return text;
    }
    for check in &verdict.checks {
        let mark =
            if check.ok { style::good("ok ") } else { style::bad("NOT") };
        let _ = writeln!(text, "  {mark} {}", check.name);
        if !check.ok {
            for line in check.evidence.lines() {
                let _ = writeln!(text, "        {line}");
            }
        }
    }
    if let Some(cause) = &verdict.cause {
        let _ = writeln!(text, "  cause: {}", style::bad(cause));
    }
    if let Some(means) = &verdict.means {
        let _ = writeln!(text, "  {means}");
    }
    if let Some(mistake) = &verdict.looks_like {
        let _ = writeln!(text, "  it looks like a known mistake: {mistake}");
    }
    if let Some(doubt) = &verdict.doubt {
        let _ = writeln!(text, "  {} {doubt}", style::odd("doubt:"));
    }
    for note in &verdict.notes {
        let _ = writeln!(text, "  {} {note}", style::odd("note:"));
    }
    text.push_str(&what_helps(lab, subject, verdict));
    text
}

/// The command for whoever does not know what to do next; of the learner's own
/// program only.
fn what_helps(lab: &Lab, subject: &Subject, verdict: &Verdict) -> String {
    if *subject != Subject::Lab {
        return String::new();
    }
    let id = &lab.id;
    let (order, does) = match verdict.verdict {
        Word::Pass => ("solution", "shows the reference beside yours"),
        Word::Fail => ("hint", "helps, a rung at a time"),
        Word::NotStarted => ("hint", "helps to begin"),
        Word::Void | Word::CannotRun => return String::new(),
    };
    let line = format!("  `cargo lab {order} {id}` {does}\n");
    match board::left_behind(lab) {
        Some(note) if verdict.verdict == Word::NotStarted => {
            format!("{line}  {note}\n")
        }
        _ => line,
    }
}

/// As CI servers read it.
fn junit(verdicts: &[Verdict]) -> String {
    let count = |word| verdicts.iter().filter(|v| v.verdict == word).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuite name=\"lab check\" tests=\"{}\" failures=\"{}\" \
         errors=\"{}\" skipped=\"{}\">",
        verdicts.len(),
        count(Word::Fail),
        count(Word::Void) + count(Word::CannotRun),
        count(Word::NotStarted),
    );
    for verdict in verdicts {
        let _ = writeln!(
            text,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{}\
             </testcase>",
            escape(&verdict.lab),
            escape(&verdict.subject),
            verdict.millis as f64 / 1000.0,
            outcome(verdict),
        );
    }
    text.push_str("</testsuite>\n");
    text
}

fn outcome(verdict: &Verdict) -> String {
    let tag = match verdict.verdict {
        Word::Pass => return String::new(),
        Word::NotStarted => return "<skipped/>".to_string(),
        Word::Fail => "failure",
        Word::Void | Word::CannotRun => "error",
    };
    let failed = verdict.checks.iter().filter(|check| !check.ok);
    let mut told: String = failed
        .map(|check| format!("{}\n{}\n", check.name, check.evidence))
        .collect();
    if let Some(doubt) = &verdict.doubt {
        let _ = writeln!(told, "{doubt}");
    }
    let cause = verdict.cause.as_deref().unwrap_or("void");
    format!("<{tag} message=\"{}\">{}</{tag}>", escape(cause), escape(&told))
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .map(|c| match c {
            '&' => "&amp;".to_string(),
            '<' => "&lt;".to_string(),
            '>' => "&gt;".to_string(),
            '"' => "&quot;".to_string(),
            other => other.to_string(),
        })
        .collect()
}

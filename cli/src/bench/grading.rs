//! What grading costs: from a learner's save to the verdict, and all labs.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use graders::catalogue::{self, Lab, root};
use graders::compile::{build_course, target_dir};
use graders::grade::Options;
use graders::subject::Subject;
use graders::verdict::Word;
use serde::Serialize;

use crate::check::grade_all;

/// Where an edit is made that the compiler cannot pass over.
const MAIN: &str = "fn main() -> anyhow::Result<()> {\n";
/// Saves of each lab.
const SAVES: usize = 3;

/// The figures, with their units in their names.
#[derive(Debug, Serialize)]
pub struct Figures {
    labs: usize,
    /// From a changed source to the verdict, the compiler's work included:
    /// the median over every lab's saves.
    pub edit_to_verdict_ms: f64,
    /// The lab whose saves took longest, and its median.
    pub slowest: String,
    /// The slowest lab's median.
    pub slowest_ms: f64,
    /// All labs graded, as `lab check` does once they are built.
    pub all_labs_s: f64,
}

/// Grades the reference programs as a learner's files.
pub fn measure() -> anyhow::Result<Figures> {
    let labs = catalogue::all()?;
    build_course()?;
    let mut all = Vec::new();
    let mut slowest = (Duration::ZERO, String::new());
    for lab in &labs {
        let saves = saves(lab)?;
        let median = super::median(saves.clone());
        slowest = slowest.max((median, lab.id.clone()));
        all.extend(saves);
    }
    let tasks: Vec<(Lab, Subject)> =
        labs.iter().map(|lab| (lab.clone(), Subject::Solution)).collect();
    let start = Instant::now();
    let verdicts = grade_all(&tasks, &Options::default(), |_, _| Ok(()))?;
    let all_labs_s = start.elapsed().as_secs_f64();
    ensure!(
        verdicts.iter().all(|verdict| verdict.verdict == Word::Pass),
        "a reference program did not pass: lab verify"
    );
    Ok(Figures {
        labs: labs.len(),
        edit_to_verdict_ms: millis(super::median(all)),
        slowest_ms: millis(slowest.0),
        slowest: slowest.1,
        all_labs_s,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time from each save of a lab's file to its verdict.
fn saves(lab: &Lab) -> anyhow::Result<Vec<Duration>> {
    let source = root().join(Subject::Solution.source(lab));
    let source = fs::read_to_string(&source)
        .with_context(|| format!("read {}", source.display()))?;
    let dir = target_dir().join("bench");
    fs::create_dir_all(&dir)
        .with_context(|| format!("mkdir {}", dir.display()))?;
    let file = dir.join(&lab.id).with_extension("rs");
    let mut times = Vec::new();
    // The first has the compiler start from nothing, which an edit does not.
    for save in 0..=SAVES {
        let edit = format!("{MAIN}    std::hint::black_box({save});\n");
        let edited = source.replace(MAIN, &edit);
        ensure!(edited != source, "{}: no `{}`", lab.id, MAIN.trim_end());
        fs::write(&file, edited)
            .with_context(|| format!("write {}", file.display()))?;
        let start = Instant::now();
        let status = Command::new("/proc/self/exe")
            .args(["check", &lab.id, "--file"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("exec /proc/self/exe")?;
        times.push(start.elapsed());
        ensure!(status.success(), "lab check {}: {status}", lab.id);
    }
    times.remove(0);
    Ok(times)
}

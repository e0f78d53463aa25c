//! `lab errno`: what each call can say, made on purpose on this kernel.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use graders::errnos::test::{Finding, Options, test};
use graders::errnos::{self, Row};
use testbed::Backend;

use crate::names::ErrnoName;
use crate::probing::{side_by_side, wrapped};
use crate::run::On;
use crate::style;

/// Where the text of a row begins.
const INDENT: usize = 25;
/// What returns later than this, in milliseconds, has waited for something.
const WAITED: u64 = 100;

/// Arguments of `lab errno`.
#[derive(Args)]
#[command(after_help = "With calls and errnos, these errnos of these calls. \
    Exit status 1: this kernel differs from the table.")]
pub struct Errno {
    /// Calls (connect) and errnos (ETIMEDOUT); without any, the whole table
    #[arg(
        value_name = "CALL|ERRNO",
        value_parser = ErrnoName,
        hide_possible_values = true
    )]
    names: Vec<String>,
    /// As JSON: {"errnos":[{"call","errno","given","got","confirmed","after",
    /// "cause","cure","source","lab","millis"}]}
    #[arg(long)]
    json: bool,
    /// The backend that carries the frames, and no other
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Repeat a run: its ports
    #[arg(long)]
    seed: Option<u64>,
}

impl Errno {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let asked = errnos::find(&self.names)?;
        let mut call = String::new();
        let findings = findings(&asked, &self.options(), |row, finding| {
            if self.json {
                return;
            }
            if call != row.call {
                call = row.call.clone();
                println!("{}\n", style::strong(&call));
            }
            println!("{}", tell(finding));
        })?;
        if self.json {
            let all = serde_json::json!({ "errnos": findings });
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            println!("{}", summary(&findings));
        }
        let good = findings.iter().all(|finding| finding.confirmed);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What the book shows: all of it, with this seed.
    ///
    /// # Errors
    ///
    /// This kernel is not as the table says.
    pub fn recorded(&self, seed: u64) -> anyhow::Result<Vec<Finding>> {
        let asked = errnos::find(&self.names)?;
        let seed = self.seed.or(Some(seed));
        let options = Options { seed, ..self.options() };
        let findings = findings(&asked, &options, |_, _| {})?;
        for finding in &findings {
            let Finding { call, errno, got, .. } = finding;
            ensure!(finding.confirmed, "{call} {errno}: {got}");
        }
        Ok(findings)
    }

    fn options(&self) -> Options {
        Options { backend: self.on.map(Backend::from), seed: self.seed }
    }
}

fn findings(
    asked: &[&Row],
    options: &Options,
    mut done: impl FnMut(&Row, &Finding),
) -> anyhow::Result<Vec<Finding>> {
    let done = |row: &&Row, finding: &Finding| done(row, finding);
    side_by_side(asked, "errnos", |row| test(row, options), done)
}

/// A row for a person: the errno, what was tried, then what to make of it.
fn tell(finding: &Finding) -> String {
    let errno = format!("{:<16}", finding.errno);
    let (errno, tried) = match finding.confirmed {
        true => (style::good(&errno), "seen"),
        false => (style::bad(&errno), "DIFFERS"),
    };
    let mut seen = match finding.confirmed {
        true => finding.given.clone(),
        false if finding.given.is_empty() => finding.got.clone(),
        false => format!("{}, to {}", finding.got, finding.given),
    };
    if finding.after >= WAITED {
        let after = finding.after as f64 / 1000.0;
        let _ = write!(seen, "; after {after:.1} s");
    }
    let mut text = String::new();
    let mut say = |first: &str, what: &str, said: &str| {
        let said = wrapped(said, INDENT);
        let _ = writeln!(text, "{first} {what:<7} {said}");
    };
    say(&errno, tried, &seen);
    let blank = " ".repeat(16);
    say(&blank, "cause", &finding.cause);
    say(&blank, "cure", &finding.cure);
    say(&blank, "source", &finding.source);
    if let Some(lab) = &finding.lab {
        say(&blank, "lab", lab);
    }
    text
}

fn summary(findings: &[Finding]) -> String {
    let differ: Vec<String> = findings
        .iter()
        .filter(|finding| !finding.confirmed)
        .map(|finding| format!("{} {}", finding.call, finding.errno))
        .collect();
    let mut calls: Vec<&str> =
        findings.iter().map(|finding| finding.call.as_str()).collect();
    calls.dedup();
    let mut text = format!(
        "{} errnos of {}; {} seen in this run on Linux {}",
        findings.len(),
        match calls.len() {
            1 => calls[0].to_string(),
            calls => format!("{calls} calls"),
        },
        findings.len() - differ.len(),
        testbed::kernel_release(),
    );
    if !differ.is_empty() {
        let differ = format!("differ: {}", differ.join(", "));
        let _ = write!(text, "\n{}", style::bad(&differ));
    }
    text
}

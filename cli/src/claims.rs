//! `lab claims`: what the text of 2013 says, tested on this kernel.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use graders::claims::test::{Finding, Options, test};
use graders::claims::{self, Claim, Word};
use testbed::Backend;

use crate::names::ClaimName;
use crate::probing::{side_by_side, wrapped};
use crate::run::On;
use crate::style;

/// Where the text of a line begins.
const INDENT: usize = 18;

/// Arguments of `lab claims`.
#[derive(Args)]
#[command(
    after_help = "Exit status 1: this kernel differs from the table, or \
    a probe that was to fail did not."
)]
pub struct Claims {
    /// Claims (3.3-5), sections (3.3) or chapters (3); without any, all
    #[arg(value_parser = ClaimName, hide_possible_values = true)]
    claims: Vec<String>,
    /// As JSON: {"claims":[{"id","verdict","evidence","correction","lab",
    /// "confirmed","says","source","breaks","broken","millis"}]}
    #[arg(long)]
    json: bool,
    /// Wait for the kernel's longest timers, which are otherwise shortened or
    /// read: a minute or two
    #[arg(long)]
    slow: bool,
    /// Have each probe of a claim that holds fail as well: by a setting, a rule
    /// of the wire or another deed
    #[arg(long)]
    prove: bool,
    /// The backend that carries the frames, and no other
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Repeat a run: its ports and payloads
    #[arg(long)]
    seed: Option<u64>,
}

impl Claims {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let asked = claims::find(&self.claims)?;
        let mut chapter = String::new();
        let findings = findings(&asked, &self.options(), |claim, finding| {
            if self.json {
                return;
            }
            if chapter != claim.chapter() {
                chapter = claim.chapter().to_string();
                println!("{}\n", style::strong(&format!("Chapter {chapter}")));
            }
            println!("{}", tell(finding));
        })?;
        if self.json {
            let all = serde_json::json!({ "claims": findings });
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            println!("{}", summary(&findings));
        }
        let good = findings.iter().all(Finding::is_good);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What the book shows: all of it, with this seed.
    ///
    /// # Errors
    ///
    /// This kernel is not as the table says.
    pub fn recorded(&self, seed: u64) -> anyhow::Result<Vec<Finding>> {
        let asked = claims::find(&self.claims)?;
        let seed = self.seed.or(Some(seed));
        let options = Options { seed, ..self.options() };
        let findings = findings(&asked, &options, |_, _| {})?;
        for finding in &findings {
            let Finding { id, evidence, .. } = finding;
            ensure!(finding.is_good(), "claim {id}: {evidence}");
        }
        Ok(findings)
    }

    fn options(&self) -> Options {
        Options {
            slow: self.slow,
            prove: self.prove,
            backend: self.on.map(Backend::from),
            seed: self.seed,
        }
    }
}

fn findings(
    asked: &[&Claim],
    options: &Options,
    mut done: impl FnMut(&Claim, &Finding),
) -> anyhow::Result<Vec<Finding>> {
    let done = |claim: &&Claim, finding: &Finding| done(claim, finding);
    side_by_side(asked, "claims", |claim| test(claim, options), done)
}

/// A finding for a person: the claim, then what there is to say of it.
fn tell(finding: &Finding) -> String {
    let word = format!("{:<10}", finding.verdict.name());
    let word = match finding.verdict {
        Word::Holds => style::good(&word),
        Word::Changed | Word::Untestable => style::odd(&word),
        Word::Never => style::bad(&word),
    };
    let mut text = String::new();
    let says = wrapped(&finding.says, INDENT);
    let _ = writeln!(text, "{:<6} {word} {says}", finding.id);
    let mut say = |what: &str, said: &str| {
        let _ = writeln!(text, "       {what:<10} {}", wrapped(said, INDENT));
    };
    match finding.confirmed {
        Some(true) => say("seen", &finding.evidence),
        Some(false) => {
            say(
                "DIFFERS",
                &format!("this kernel differs: {}", finding.evidence),
            );
        }
        None => {}
    }
    if let Some(broken) = &finding.broken {
        let how = finding.breaks.as_deref().unwrap_or_default();
        let fails = if broken.failed { "fails" } else { "DOES NOT FAIL" };
        say(fails, &format!("when {how}: {}", broken.evidence));
    }
    if let Some(right) = &finding.correction {
        say("right", right);
    }
    if let Some(source) = &finding.source {
        say("source", source);
    }
    if let Some(lab) = &finding.lab {
        say("lab", lab);
    }
    text
}

fn summary(findings: &[Finding]) -> String {
    let count = |word| findings.iter().filter(|f| f.verdict == word).count();
    let seen = findings.iter().filter(|f| f.confirmed.is_some()).count();
    let differ: Vec<&str> = findings
        .iter()
        .filter(|finding| !finding.is_good())
        .map(|finding| finding.id.as_str())
        .collect();
    let mut text = format!(
        "{} claims: {} hold, {} have changed, {} were never so, {} cannot be \
         tested; {seen} seen in this run on Linux {}",
        findings.len(),
        count(Word::Holds),
        count(Word::Changed),
        count(Word::Never),
        count(Word::Untestable),
        testbed::kernel_release(),
    );
    let broken = findings.iter().filter_map(|f| f.broken.as_ref());
    let failed = broken.clone().filter(|broken| broken.failed).count();
    if failed > 0 {
        let all = broken.count();
        let _ = write!(text, ", {failed} of {all} seen to fail");
    }
    if !differ.is_empty() {
        let differ = differ.join(", ");
        let _ = write!(text, "\n{}", style::bad(&format!("differ: {differ}")));
    }
    text
}

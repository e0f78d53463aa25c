//! What programs printed and graders said, as text.

use anyhow::{Context, bail, ensure};
use graders::verdict::Performance;

use super::facts;
use super::page::{Settings, escape};
use super::recording::{Recording, Refusal};
use super::story::{self, Item, Kind};

/// The lines of a recording that a page shows, as HTML.
///
/// Of a run all output and all steps, the latter in brackets; with `of=PROGRAM`
/// the output of that program alone. Of a refused program the first check that
/// it does not pass with its evidence; with `evidence` the evidence alone.
///
/// # Errors
///
/// There is nothing to show.
pub fn lines(
    recording: &Recording,
    settings: &Settings<'_>,
) -> anyhow::Result<String> {
    let text = match &recording.refusal {
        Some(refusal) => refused(refusal, settings)?,
        None => said(run(recording, settings)?, settings)?,
    };
    ensure!(!text.trim().is_empty(), "nothing was printed");
    Ok(format!(
        "<pre class=\"transcript\"><code class=\"language-text\">{}\n</code>\
         </pre>\n",
        text.trim_end()
    ))
}

/// Of several runs the first of which `run='FACT = VALUE'` is true.
///
/// # Errors
///
/// There is none.
pub fn run<'a>(
    recording: &'a Recording,
    settings: &Settings<'_>,
) -> anyhow::Result<&'a Performance> {
    let Some(condition) = settings.get("run") else { return recording.run() };
    for run in &recording.runs {
        if facts::holds_in(run, condition)? {
            return Ok(run);
        }
    }
    bail!("of {} runs none has {condition}", recording.runs.len())
}

fn refused(
    refusal: &Refusal,
    settings: &Settings<'_>,
) -> anyhow::Result<String> {
    settings.only(&["evidence"])?;
    let check = refusal.checks.iter().find(|check| !check.ok);
    let check = check.context("the program was not refused")?;
    if settings.has("evidence") {
        return Ok(escape(&check.evidence));
    }
    let name = escape(&check.name);
    let mut text = format!("<strong>NOT</strong> {name}\n");
    for line in check.evidence.lines() {
        text.push_str(format!("    {}", escape(line)).trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn said(run: &Performance, settings: &Settings<'_>) -> anyhow::Result<String> {
    let mut known = story::KNOWN.to_vec();
    known.extend(["of=", "errors", "numbered"]);
    settings.only(&known)?;
    let items = story::tell(run, settings)?;
    let mut programs = run.exits.keys();
    let one = programs.next().is_some() && programs.next().is_none();
    let of = settings.get("of");
    if let Some(of) = of {
        let there = run.exits.contains_key(of);
        ensure!(there, "the run has no program `{of}`");
    }
    let line = |item: &Item| match &item.kind {
        Kind::Output { program, error } => {
            let shown = of.is_none_or(|of| program == of)
                && (!error || of.is_none() || settings.has("errors"));
            let name = if one || of.is_some() {
                String::new()
            } else {
                format!("{program}: ")
            };
            shown.then(|| format!("{name}{}\n", escape(&item.text)))
        }
        Kind::Step if of.is_none() => Some(beside("step", "[", item, "]")),
        Kind::Call { .. } if of.is_none() => {
            Some(beside("call", "(", item, ")"))
        }
        _ => None,
    };
    Ok(items.iter().filter_map(line).collect())
}

/// What happened beside the output, in brackets and less loud.
fn beside(class: &str, open: &str, item: &Item, close: &str) -> String {
    let text = escape(&item.text);
    format!("<span class=\"{class}\">{open}{text}{close}</span>\n")
}

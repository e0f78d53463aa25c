//! `lab record`: runs what the book's pages show, and keeps what came of it.
//!
//! The commands are the pages' own: each `console NAME` block is one. They run
//! the reference program, with seed 1 unless the block says another.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser};
use graders::catalogue::{self, Lab};
use graders::verdict::Word;

use crate::book::expand::Page;
use crate::book::orders::Order;
use crate::book::page::split;
use crate::book::recording::{
    APART, Recording, Refusal, Shelf, Stamp, numbers_of,
};
use crate::book::{self, expand};
use crate::names::LabName;
use crate::{Cli, style};

/// Arguments of `lab record`.
#[derive(Args)]
#[command(after_help = "Read the difference before you commit it: the pages \
    speak of these very runs, and `lab book build` fails where they no longer \
    do.")]
pub struct Record {
    /// The labs' names, `claims` for what `lab claims` finds, `errnos` for what
    /// `lab errno` finds; without any, all of it
    #[arg(value_parser = LabName, hide_possible_values = true)]
    labs: Vec<String>,
    /// Only these recordings
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Keep nothing: fail where a run no longer does what a page says of it
    #[arg(long)]
    check: bool,
}

impl Record {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (mut apart, names): (Vec<String>, Vec<String>) =
            self.labs.iter().cloned().partition(|name| is_apart(name));
        let labs = match names.is_empty() && !apart.is_empty() {
            true => Vec::new(),
            false => catalogue::find(&names)?,
        };
        if self.labs.is_empty() {
            apart = APART.iter().map(ToString::to_string).collect();
        }
        let root = catalogue::root();
        std::env::set_current_dir(root)
            .with_context(|| format!("chdir {}", root.display()))?;
        let kept = root.join("book/recordings");
        if !self.check {
            fs::create_dir_all(&kept)
                .with_context(|| format!("mkdir {}", kept.display()))?;
            self.record(&labs, &apart, &kept)?;
            return Ok(ExitCode::SUCCESS);
        }
        let fresh = tempfile::tempdir().context("mkdtemp")?;
        copy(&kept, fresh.path())?;
        self.record(&labs, &apart, fresh.path())?;
        compare(&kept, fresh.path())
    }

    fn record(
        &self,
        labs: &[Lab],
        apart: &[String],
        folder: &Path,
    ) -> anyhow::Result<()> {
        let shelf = Shelf::new(folder.to_path_buf());
        let stamp = stamp()?;
        let pages = book::pages()?;
        // The pages that show these are no lab's.
        for page in pages.iter().filter(|page| page.lab.is_none()) {
            for order in page.orders()? {
                if !apart.contains(&order.name) {
                    continue;
                }
                let start = Instant::now();
                let recording = carry_out(&order, &stamp)
                    .with_context(|| order.place.clone())?;
                keep(&recording, &shelf.file_apart(&order.name))?;
                println!("{}  {}", order.name, style::dim(&took(start)));
            }
        }
        for lab in labs {
            let page = pages.iter().find(|page| page.lab.as_ref() == Some(lab));
            let Some(page) = page else { continue };
            let orders = page.orders()?;
            for order in &orders {
                if !self.only.is_empty() && !self.only.contains(&order.name) {
                    continue;
                }
                let start = Instant::now();
                let recording = carry_out(order, &stamp)
                    .with_context(|| order.place.clone())?;
                keep(&recording, &shelf.file(lab, &order.name))?;
                let (id, name) = (&lab.id, &order.name);
                println!("{id}/{name}  {}", style::dim(&took(start)));
            }
            clear(lab, page, &orders, &shelf)?;
        }
        Ok(())
    }
}

/// Is it a recording that is no lab's?
fn is_apart(name: &str) -> bool {
    APART.contains(&name)
}

fn keep(recording: &Recording, file: &Path) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("mkdir {}", folder.display()))?;
    }
    fs::write(file, recording.to_text()?)
        .with_context(|| format!("write {}", file.display()))
}

fn took(start: Instant) -> String {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}

/// Removes the recordings of a lab that its page has no longer.
fn clear(
    lab: &Lab,
    page: &Page,
    orders: &[Order],
    shelf: &Shelf,
) -> anyhow::Result<()> {
    let any = shelf.file(lab, "any");
    let Some(folder) = any.parent().filter(|folder| folder.is_dir()) else {
        return Ok(());
    };
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let of = |order: &Order| shelf.file(lab, &order.name) == file;
        if !orders.iter().any(of) {
            fs::remove_file(&file)
                .with_context(|| format!("unlink {}", file.display()))?;
            let page = page.path.display();
            println!("removed {}: {page} has it no longer", file.display());
        }
    }
    Ok(())
}

/// Runs a command as often as it says.
fn carry_out(order: &Order, stamp: &Stamp) -> anyhow::Result<Recording> {
    let words = split(&order.command)?;
    let mut recording = Recording {
        command: order.command.clone(),
        stamp: stamp.clone(),
        runs: Vec::new(),
        refusal: None,
        findings: Vec::new(),
        errnos: Vec::new(),
        sum: String::new(),
    };
    for seed in (order.seed..).take(order.times as usize) {
        let words = ["lab"].into_iter().chain(words.iter().map(String::as_str));
        let command = Cli::try_parse_from(words)?.command;
        match command {
            Some(crate::Command::Run(run)) => {
                let mut run = run.performance_of_solution(seed)?;
                // What was said is in the trace; which words a program was
                // started with is the command's.
                run.scripts.clear();
                let losses = &run.trace.losses;
                ensure!(losses.is_empty(), "void: {}", losses.join("; "));
                recording.runs.push(run);
            }
            Some(crate::Command::Check(check)) => {
                let verdict = check.verdict(seed)?;
                let word = verdict.verdict;
                ensure!(word == Word::Fail, "the verdict is {word}");
                recording.refusal = Some(Refusal {
                    cause: verdict.cause.unwrap_or_default(),
                    checks: verdict.checks,
                });
            }
            Some(crate::Command::Claims(claims)) => {
                recording.findings = claims.recorded(seed)?;
            }
            Some(crate::Command::Errno(errno)) => {
                recording.errnos = errno.recorded(seed)?;
            }
            _ => bail!(
                "only `lab run`, `check`, `claims` and `errno` are recorded"
            ),
        }
    }
    Ok(recording)
}

/// What the pages say of fresh runs against what they say of those kept.
fn compare(kept: &Path, fresh: &Path) -> anyhow::Result<ExitCode> {
    let pages = book::pages()?;
    let said = |folder: &Path| {
        let shelf = Shelf::new(folder.to_path_buf());
        let all = book::expand_all(&pages, catalogue::root(), &shelf)?;
        let promises = all.into_iter().flat_map(|(_, page)| page.promises);
        Ok::<Vec<expand::Promise>, anyhow::Error>(promises.collect())
    };
    let before = said(kept)?;
    let now = said(fresh).context("the pages no longer fit fresh runs")?;
    let mut broken = 0;
    for (before, now) in before.iter().zip(&now) {
        if before.value != now.value {
            broken += 1;
            println!(
                "{}: `{}` was {}, and is {}",
                before.place, before.fact, before.value, now.value
            );
        }
    }
    println!("{} promises, {broken} broken", before.len());
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in
        fs::read_dir(from).with_context(|| format!("{}", from.display()))?
    {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// This machine and this day.
fn stamp() -> anyhow::Result<Stamp> {
    let kernel = numbers_of(&testbed::kernel_release());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = now.map_or(0, |now| now.as_secs() / 86_400);
    let said = Command::new("rustc").arg("--version").output();
    let said = said.context("rustc --version")?.stdout;
    let said = String::from_utf8_lossy(&said);
    let rustc = said.split(' ').nth(1).context("rustc says no version")?;
    Ok(Stamp {
        kernel,
        date: date(days as i64),
        lab: env!("CARGO_PKG_VERSION").to_string(),
        rustc: rustc.to_string(),
    })
}

/// The Gregorian date of a day, counted from 1970-01-01.
fn date(mut days: i64) -> String {
    let leap =
        |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_778), "2026-11-21");
        assert_eq!(date(20_819), "2027-01-01");
    }
}

//! The board: what there is, and how far the learner is.

use std::process::ExitCode;

use clap::Args;
use graders::catalogue::{self, Lab};
use graders::progress::{self, State};
use serde::Serialize;

use crate::style;

/// Arguments of `lab list`.
#[derive(Args)]
pub struct List {
    /// As JSON: {"labs":[{"id","chapter","title","minutes","state","needs",
    /// "machines_lack"}]}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    lab: Lab,
    state: State,
}

impl List {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&json()?)?);
        } else {
            print!("{}", text()?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `lab` without a command.
pub fn show() -> anyhow::Result<ExitCode> {
    let rows = rows(catalogue::all()?)?;
    print!("{}", board(&rows));
    println!();
    match rows.iter().find(|row| row.state != State::Passed) {
        None => println!("Every lab is passed."),
        Some(Row { lab, .. }) => {
            print!("{}", what_to_do(lab));
            println!("  run     cargo run -- run {}", lab.id);
            println!("  grade   cargo run -- check {}", lab.id);
            println!("  or both cargo run -- watch   grades each save");
        }
    }
    if let Some(problem) = testbed::Backend::tap_problem() {
        println!();
        let note = format!(
            "The hosts run on the pkt backend, since tap is not to be had: {}.",
            problem.what()
        );
        println!("{}", style::dim(&note));
        println!(
            "{}",
            style::dim("`cargo run -- doctor` says what that means.")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// A lab's page and its file.
pub fn what_to_do(lab: &Lab) -> String {
    let mut text = format!(
        "Next: {} ({})\n  read    {}\n  write   {}\n",
        style::strong(&lab.id),
        lab.title,
        lab.page().display(),
        lab.source().display()
    );
    if let Some(note) = left_behind(lab) {
        text.push_str(&format!("  note    {note}\n"));
    }
    text
}

/// Says where the learner's program of a lab that was renamed has stayed, and
/// how it gets to its place.
pub fn left_behind(lab: &Lab) -> Option<String> {
    let old = progress::left_behind(lab)?;
    if !matches!(progress::state(lab), Ok(State::NotStarted)) {
        return None;
    }
    let (old, new) = (old.display(), lab.source());
    Some(format!(
        "{old} is yours, from before this lab was called {}: `mv {old} {}`",
        lab.id,
        new.display()
    ))
}

/// Of these labs the first after this one that is not passed yet, from the top again at
/// the end.
pub fn next(
    labs: Vec<Lab>,
    after: Option<&Lab>,
) -> anyhow::Result<Option<Lab>> {
    let mut rows = rows(labs)?;
    let here = |row: &Row| Some(&row.lab.id) == after.map(|lab| &lab.id);
    let start = rows.iter().position(here).map_or(0, |at| at + 1);
    rows.rotate_left(start);
    let mut open = rows.into_iter().filter(|row| row.state != State::Passed);
    Ok(open.next().map(|row| row.lab))
}

fn rows(labs: Vec<Lab>) -> anyhow::Result<Vec<Row>> {
    // Only to know them again after an upgrade: not worth an error.
    let _ = progress::note_stubs(&labs);
    let rows = labs.into_iter().map(|lab| {
        let state = progress::state(&lab)?;
        Ok(Row { lab, state })
    });
    rows.collect()
}

/// The board for machines: `{"labs":[...]}`, as `lab list --json` has it.
pub fn json() -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::json!({ "labs": rows(catalogue::all()?)? }))
}

/// The board, as it is printed.
pub fn text() -> anyhow::Result<String> {
    Ok(board(&rows(catalogue::all()?)?))
}

fn board(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut line = |said: String| {
        text.push_str(&said);
        text.push('\n');
    };
    let mut chapter = "";
    for Row { lab, state } in rows {
        if chapter != lab.chapter {
            chapter = &lab.chapter;
            line(style::strong(&heading(chapter)));
        }
        let state = match state {
            State::NotStarted => style::dim("·          "),
            State::InProgress => style::odd("in progress"),
            State::Passed => style::good("passed     "),
        };
        let Lab { id, minutes, title, .. } = lab;
        line(format!("  {state} {id:<14} {minutes:>3} min  {title}"));
        if let Some(note) = left_behind(lab) {
            line(format!("              {note}"));
        }
    }
    let passed = rows.iter().filter(|row| row.state == State::Passed).count();
    line(format!("\n{passed} of {} labs passed", rows.len()));
    text
}

/// `ch05_sockets` reads `Chapter 5: sockets`.
fn heading(chapter: &str) -> String {
    let (number, topic) = chapter.split_once('_').unwrap_or(("", chapter));
    let number = number.trim_start_matches("ch").trim_start_matches('0');
    format!("Chapter {number}: {}", topic.replace('_', " "))
}

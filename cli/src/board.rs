//! The board: what there is, and how far the learner is.

use std::process::ExitCode;

use clap::Args;
use graders::catalogue::{self, Lab};
use serde::Serialize;

use crate::progress::{self, State};
use crate::style;

/// Arguments of `lab list`.
#[derive(Args)]
pub struct List {
    /// As JSON: {"labs":[{"id","chapter","title","minutes","state","needs"}]}
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
        let rows = rows()?;
        if self.json {
            let all = serde_json::json!({ "labs": rows });
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            print_board(&rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `lab` without a command.
pub fn show() -> anyhow::Result<ExitCode> {
    let rows = rows()?;
    print_board(&rows);
    println!();
    match rows.iter().find(|row| row.state != State::Passed) {
        None => println!("Every lab is passed."),
        Some(Row { lab, .. }) => {
            println!("Next: {} ({})", style::strong(&lab.id), lab.title);
            println!("  read    {}", lab.page().display());
            println!("  write   {}", lab.source().display());
            println!("  run     cargo run -- run {}", lab.id);
            println!("  grade   cargo run -- check {}", lab.id);
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

fn rows() -> anyhow::Result<Vec<Row>> {
    let rows = catalogue::all()?.into_iter().map(|lab| {
        let state = progress::state(&lab)?;
        Ok(Row { lab, state })
    });
    rows.collect()
}

fn print_board(rows: &[Row]) {
    let mut chapter = "";
    for Row { lab, state } in rows {
        if chapter != lab.chapter {
            chapter = &lab.chapter;
            println!("{}", style::strong(&heading(chapter)));
        }
        let state = match state {
            State::NotStarted => style::dim("·          "),
            State::InProgress => style::odd("in progress"),
            State::Passed => style::good("passed     "),
        };
        let Lab { id, minutes, title, .. } = lab;
        println!("  {state} {id:<14} {minutes:>3} min  {title}");
    }
    let passed = rows.iter().filter(|row| row.state == State::Passed).count();
    println!("\n{passed} of {} labs passed", rows.len());
}

/// `ch05_sockets` reads `Chapter 5: sockets`.
fn heading(chapter: &str) -> String {
    let (number, topic) = chapter.split_once('_').unwrap_or(("", chapter));
    let number = number.trim_start_matches("ch").trim_start_matches('0');
    format!("Chapter {number}: {}", topic.replace('_', " "))
}

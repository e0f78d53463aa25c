//! `lab book`: the book, in which every transcript, figure and number comes
//! from a recorded run.
//!
//! In reading order: [`recording`] is what a run left behind; [`facts`] asks it,
//! [`story`] tells it, [`figures`] and [`transcript`] show it; [`page`] finds
//! the blocks of a page and [`expand`] fills them in; [`build`] makes the book.

mod build;
mod card;
mod chrome;
mod claims;
mod code;
mod errnos;
pub mod expand;
pub mod facts;
pub mod figures;
mod links;
pub mod orders;
pub mod page;
mod predict;
pub mod recording;
pub mod story;
mod transcript;
mod two_machines;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, Subcommand};
use mdbook_preprocessor::{Preprocessor, parse_input};

use crate::style;

pub use build::{Lab, below, build, expand_all, folder, pages, sources};

/// Arguments of `lab book`.
#[derive(Args)]
pub struct Book {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the book from the pages and the recorded runs
    Build {
        /// Where to; target/book of the checkout unless said
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
        /// The book: its book.toml, src and recordings; the course's unless said
        #[arg(long, value_name = "FOLDER")]
        book: Option<PathBuf>,
        /// Build it whatever is wrong with it, and say what
        #[arg(long)]
        draft: bool,
    },
    /// Fill in the pages for a stock mdbook: its [preprocessor.lab]
    Preprocess {
        #[command(subcommand)]
        question: Option<Question>,
    },
}

#[derive(Subcommand)]
enum Question {
    /// Is this renderer supported? Exit status 0: yes
    Supports {
        /// `html`, or another
        renderer: String,
    },
}

impl Book {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.task {
            Task::Build { to, book, draft } => {
                let to = to.unwrap_or_else(folder);
                let start = Instant::now();
                let book = book.unwrap_or_else(sources);
                let built = build(&book, &to, draft)?;
                let took = start.elapsed().as_secs_f64();
                println!("{}/index.html", to.display());
                let said = format!("{} pages in {took:.1} s", built.pages);
                println!("{}", style::dim(&said));
                for problem in &built.problems {
                    eprintln!("{}", style::bad(problem));
                }
                let ok = built.problems.is_empty();
                Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Task::Preprocess { question: Some(question) } => {
                let Question::Supports { renderer } = question;
                Ok(ExitCode::from(u8::from(renderer != "html")))
            }
            Task::Preprocess { question: None } => {
                let (context, book) = parse_input(io::stdin())?;
                let book = Lab::default().run(&context, book)?;
                serde_json::to_writer(io::stdout(), &book)
                    .context("write the book to standard output")?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

//! `lab hint`: the next rung, keyed to the last failure.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use graders::catalogue::{self, Lab};
use graders::causes::{self, Cause, NOT_STARTED};
use graders::progress::{self, State};
use graders::verdict::Word;
use serde::Serialize;

use crate::names::LabName;
use crate::{board, style};

/// Arguments of `lab hint`.
#[derive(Args)]
#[command(after_help = "The hints belong to the cause of the last failure. \
    Each call shows one more; once all are shown, it shows them all again.")]
pub struct HintArgs {
    /// The lab's name; without one, the lab that was checked last
    #[arg(value_parser = LabName, hide_possible_values = true)]
    lab: Option<String>,
    /// As JSON: {"lab","about","cause","means","rung","of","hints","left"}
    ///
    /// about: this | older | nothing, the text that the hint is about. hints: those shown so far, the
    /// last of them new unless all had been shown; left: what to do when there
    /// is no other.
    #[arg(long)]
    json: bool,
}

impl HintArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let lab = match &self.lab {
            Some(name) => {
                catalogue::find(std::slice::from_ref(name))?.remove(0)
            }
            None => last_or_next()?,
        };
        let hint = Hint::next(&lab)?;
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&hint)?),
            false => print!("{}", hint.tell()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn last_or_next() -> anyhow::Result<Lab> {
    if let Some(lab) = progress::last_checked()? {
        return Ok(lab);
    }
    let lab = board::next(catalogue::all()?, None)?;
    lab.context("every lab is passed: name the one you mean, `lab hint LAB`")
}

/// Which text a hint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum About {
    /// The learner's file as it stands.
    This,
    /// The file has changed since it was checked.
    Older,
    /// It was never checked, or is the stub.
    Nothing,
}

/// One answer of `lab hint`.
#[derive(Clone, Debug, Serialize)]
pub struct Hint {
    lab: String,
    about: About,
    /// Null: there is nothing to hint at.
    cause: Option<String>,
    means: String,
    /// How many of `of` are shown.
    rung: usize,
    of: usize,
    hints: Vec<String>,
    /// What there is besides hints; empty while there are more.
    left: Vec<String>,
    #[serde(skip)]
    again: bool,
}

impl Hint {
    /// Goes one rung further.
    ///
    /// # Errors
    ///
    /// The learner's file or the progress cannot be read or written.
    pub fn next(lab: &Lab) -> anyhow::Result<Hint> {
        let last = progress::entry(lab)?.last;
        let state = progress::state(lab)?;
        let last = match (state, last) {
            (State::Passed, _) => {
                return Ok(Hint::none(lab, About::This, passed(lab)));
            }
            (State::NotStarted, _) | (_, None) => {
                return Hint::rung(lab, About::Nothing, NOT_STARTED);
            }
            (State::InProgress, Some(last)) => last,
        };
        let same = progress::text_of(lab)?.as_ref() == Some(&last.text);
        let about = if same { About::This } else { About::Older };
        match &last.cause {
            Some(cause) if causes::find(&lab.id, cause).is_some() => {
                Hint::rung(lab, about, cause)
            }
            _ if last.was(Word::NotStarted) => {
                Hint::rung(lab, About::Nothing, NOT_STARTED)
            }
            _ => Ok(Hint::none(lab, about, check_again(lab))),
        }
    }

    fn none(lab: &Lab, about: About, left: String) -> Hint {
        Hint {
            lab: lab.id.clone(),
            about,
            cause: None,
            means: String::new(),
            rung: 0,
            of: 0,
            hints: Vec::new(),
            left: vec![left],
            again: false,
        }
    }

    fn rung(lab: &Lab, about: About, cause: &str) -> anyhow::Result<Hint> {
        let nothing = Cause::default();
        let known = causes::find(&lab.id, cause).unwrap_or(&nothing);
        let of = known.hints.len();
        let next = progress::next_hint(lab, cause, of)?;
        let rung = next.unwrap_or(of);
        Ok(Hint {
            lab: lab.id.clone(),
            about,
            cause: Some(cause.to_string()),
            means: known.means.clone(),
            rung,
            of,
            hints: known.hints[..rung].to_vec(),
            left: if rung == of { what_is_left(lab) } else { Vec::new() },
            again: next.is_none(),
        })
    }

    /// For a person: what the cause means, then the new rung.
    pub fn tell(&self) -> String {
        let Some(cause) = &self.cause else {
            return format!("{}: {}\n", self.lab, self.left.join("\n"));
        };
        let lab = style::strong(&self.lab);
        let mut text = match self.about {
            About::Nothing => format!("{lab} is not checked yet\n"),
            _ => format!("{lab} failed for {}\n", style::bad(cause)),
        };
        if self.about == About::Older {
            let said = "the file has changed since; this is about the text \
                        that was checked last";
            text.push_str(&format!("  {}\n", style::odd(said)));
        }
        if !self.means.is_empty() {
            text.push_str(&format!("  {}\n", self.means));
        }
        let new = if self.again { 0 } else { self.rung - 1 };
        for (at, hint) in self.hints.iter().enumerate().skip(new) {
            let (number, of) = (at + 1, self.of);
            let head = format!("hint {number} of {of} for `{cause}`");
            text.push_str(&format!("\n{}\n  {hint}\n", style::strong(&head)));
        }
        if !self.left.is_empty() {
            text.push_str("\nThat is all of them. What is left:\n");
            for way in &self.left {
                text.push_str(&format!("  {way}\n"));
            }
        }
        text
    }
}

fn passed(lab: &Lab) -> String {
    format!(
        "passed, there is nothing to hint at; `cargo lab solution {}` shows \
         the reference beside yours",
        lab.id
    )
}

fn check_again(lab: &Lab) -> String {
    format!(
        "the last verdict was no failure of your program as it stands: \
         `cargo lab check {}`",
        lab.id
    )
}

fn what_is_left(lab: &Lab) -> Vec<String> {
    vec![
        format!("read the page again: {}", lab.page().display()),
        format!(
            "`cargo lab run {} --solution` shows the run as it should go",
            lab.id
        ),
    ]
}

//! `lab solution`: other right programs beside the learner's own.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use graders::catalogue::{self, Lab, root};
use graders::progress;
use graders::subject::Subject;

use crate::names::LabName;
use crate::style;

/// The width of a program, and of what stands between two.
const PROGRAM: usize = 82;
/// Between two columns.
const GUTTER: &str = " │ ";

/// Arguments of `lab solution`.
#[derive(Args)]
#[command(after_help = "Exit status 1: the lab has not been passed yet.")]
pub struct SolutionArgs {
    /// The lab's name
    #[arg(value_parser = LabName, hide_possible_values = true)]
    lab: String,
    /// Show it before a pass
    #[arg(long)]
    spoil: bool,
}

impl SolutionArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let lab = catalogue::find(std::slice::from_ref(&self.lab))?.remove(0);
        match show(&lab, self.spoil)? {
            Ok(text) => {
                print!("{text}");
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => {
                eprint!("{refusal}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// The programs, or why they are not shown yet.
pub fn show(lab: &Lab, spoil: bool) -> anyhow::Result<Result<String, String>> {
    if !spoil && progress::entry(lab)?.passed.is_empty() {
        return Ok(Err(format!(
            "{id} has not passed yet: `cargo lab check {id}` says what is \
             missing,\n`cargo lab hint {id}` helps. (--spoil shows it all the \
             same.)\n",
            id = lab.id
        )));
    }
    let mut others = vec![("the reference", Subject::Solution)];
    others.extend(lab.grader()?.alternatives.iter().map(|name| {
        ("an alternative", Subject::Alternative(name.to_string()))
    }));
    let others: Vec<Program> = others
        .into_iter()
        .map(|(what, subject)| read(what, &subject.source(lab)))
        .collect::<anyhow::Result<_>>()?;
    let own = read("yours", &lab.source())?;
    Ok(Ok(match columns() {
        Some(width) if width >= 2 * PROGRAM => {
            let pair = |other| beside(&own, other, (width - 3) / 2);
            others.iter().map(pair).collect()
        }
        _ => std::iter::once(&own).chain(&others).map(alone).collect(),
    }))
}

/// A program to show.
struct Program {
    /// Whose it is, where it is, and the first line of its head.
    head: [String; 2],
    text: String,
}

fn read(what: &str, file: &Path) -> anyhow::Result<Program> {
    let path = root().join(file);
    let text =
        fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let text = String::from_utf8_lossy(&text).replace('\t', "    ");
    let title = title(&text);
    let head = [format!("{what}: {}", file.display()), title];
    Ok(Program { head, text })
}

/// The first sentence of a program's head; as much of it as there is.
fn title(text: &str) -> String {
    let head = text.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<&str> =
        head.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let head = head.join(" ");
    let end = head.find(". ").map_or(head.len(), |at| at + 1);
    head[..end].to_string()
}

fn alone(program: &Program) -> String {
    let [whose, title] = &program.head;
    let rule = "─".repeat(PROGRAM - 2);
    let text = &program.text;
    format!("{rule}\n{}\n{title}\n{rule}\n{text}\n", style::strong(whose))
}

/// Two programs in columns of this width.
fn beside(left: &Program, right: &Program, width: usize) -> String {
    let rule = "─".repeat(width);
    let mut text = format!("{rule}─┬─{rule}\n");
    for (left, right) in left.head.iter().zip(&right.head) {
        rows(&fold(left, width), &fold(right, width), width, &mut text);
    }
    text.push_str(&format!("{rule}─┼─{rule}\n"));
    let folded = |program: &Program| -> Vec<String> {
        program.text.lines().flat_map(|line| fold(line, width)).collect()
    };
    rows(&folded(left), &folded(right), width, &mut text);
    text + "\n"
}

fn rows(left: &[String], right: &[String], width: usize, text: &mut String) {
    for at in 0..left.len().max(right.len()) {
        let cell = |side: &[String]| side.get(at).cloned().unwrap_or_default();
        let row = format!("{:<width$}{GUTTER}{}", cell(left), cell(right));
        text.push_str(row.trim_end());
        text.push('\n');
    }
}

/// A line in pieces that fit.
fn fold(line: &str, width: usize) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    match chars.is_empty() {
        true => vec![String::new()],
        false => chars.chunks(width).map(String::from_iter).collect(),
    }
}

/// The width of the terminal, if standard output is one.
fn columns() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(whose: &str, text: &str) -> Program {
        Program { head: [whose.into(), title(text)], text: text.into() }
    }

    #[test]
    fn the_title_is_the_first_sentence_of_the_head() {
        let text = "//! One: a\n//! b c. Two\n//! three.\n//!\n//! Four.\n";
        assert_eq!(title(text), "One: a b c.");
        assert_eq!(title("fn main() {}"), "");
    }

    #[test]
    fn columns_keep_every_character() {
        let left = program("yours", "//! L.\n12345678901234\n\nx");
        let right = program("other", "//! R.\ny");
        let text = beside(&left, &right, 10);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "yours      │ other");
        assert_eq!(lines[2], "L.         │ R.");
        assert_eq!(lines[5], "1234567890 │ y");
        assert_eq!(lines[6], "1234       │");
        assert_eq!(lines[8], "x          │");
    }
}

//! Recorded runs: what the book's figures, transcripts and numbers come from.
//!
//! A recording is one file, `book/recordings/CHAPTER/LAB/NAME.json`, written by
//! `lab record` from the command that the page shows under that name. What came
//! of the claims is in `book/recordings/claims.json`, of the errnos in
//! `errnos.json` beside it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fmt, fs};

use anyhow::{Context, bail, ensure};
use graders::catalogue::Lab;
use graders::claims::test::Finding;
use graders::errnos::test::Finding as ErrnoFinding;
use graders::hash::hash;
use graders::verdict::{Check, Performance};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use testbed::Trace;

/// The name of the claims' recording, and of the order to make it.
pub const CLAIMS: &str = "claims";
/// The same for the errnos.
pub const ERRNOS: &str = "errnos";
/// Recordings that are no lab's: a page without a lab orders them.
pub const APART: &[&str] = &[CLAIMS, ERRNOS];

/// Everything that one command said, and what it was said on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The command as the page shows it, without `cargo lab`.
    pub command: String,
    /// When and on what.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// What `lab run` saw, once or several times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Performance>,
    /// What `lab check` said of a wrong program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// What `lab claims` found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What `lab errno` found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errnos: Vec<ErrnoFinding>,
    /// The hash of all the rest: an edit by hand shows.
    #[serde(default)]
    pub sum: String,
}

/// Where a recording comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The kernel's release, without what a distribution adds to it.
    pub kernel: String,
    /// The day, in UTC: `2026-11-21`.
    pub date: String,
    /// The version of `lab`.
    pub lab: String,
    /// The version of the compiler.
    pub rustc: String,
}

/// A wrong program's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The cause's short name.
    pub cause: String,
    /// The checks, in their order.
    pub checks: Vec<Check>,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recorded on Linux {}, {}", self.kernel, self.date)
    }
}

impl Recording {
    /// The first run.
    ///
    /// # Errors
    ///
    /// It is a verdict and no run.
    pub fn run(&self) -> anyhow::Result<&Performance> {
        self.runs.first().context("this recording is a verdict and has no run")
    }

    /// The trace of the first run.
    ///
    /// # Errors
    ///
    /// As [`Recording::run`].
    pub fn trace(&self) -> anyhow::Result<&Trace> {
        Ok(&self.run()?.trace)
    }

    /// The text of its file: a line for each event, so that a difference can
    /// be read.
    ///
    /// # Errors
    ///
    /// None that plain structs can have.
    pub fn to_text(&self) -> anyhow::Result<String> {
        let mut whole = self.clone();
        whole.sum = whole.true_sum()?;
        let mut text = String::new();
        lay_out(&serde_json::to_value(&whole)?, 0, &mut text);
        text.push('\n');
        Ok(text)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a recording, or was edited by hand.
    pub fn read(file: &Path) -> anyhow::Result<Recording> {
        let text = fs::read_to_string(file)?;
        let recording: Recording = serde_json::from_str(&text)
            .with_context(|| format!("{} is no recording", file.display()))?;
        Ok(recording)
    }

    /// Was it written by a run, every byte of it?
    pub fn is_whole(&self) -> bool {
        self.true_sum().is_ok_and(|sum| sum == self.sum)
    }

    fn true_sum(&self) -> anyhow::Result<String> {
        let mut bare = self.clone();
        bare.sum = String::new();
        Ok(hash(serde_json::to_string(&bare)?.as_bytes()))
    }
}

/// JSON with a line for each value that is deep inside or short.
fn lay_out(value: &Value, depth: usize, text: &mut String) {
    const DEEP: usize = 5;
    const SHORT: usize = 70;
    let line = value.to_string();
    let ends = match value {
        Value::Array(list) if !list.is_empty() => ('[', ']'),
        Value::Object(fields) if !fields.is_empty() => ('{', '}'),
        _ => return text.push_str(&line),
    };
    if depth >= DEEP || line.len() <= SHORT {
        return text.push_str(&line);
    }
    let indent = format!("\n{}", " ".repeat(depth + 1));
    let parts: Vec<(Option<&String>, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (Some(key), value)).collect()
        }
        Value::Array(list) => list.iter().map(|value| (None, value)).collect(),
        _ => Vec::new(),
    };
    text.push(ends.0);
    for (at, (key, value)) in parts.into_iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        text.push_str(&indent);
        if let Some(key) = key {
            text.push_str(&format!("{}: ", Value::from(key.as_str())));
        }
        lay_out(value, depth + 1, text);
    }
    text.push_str(&format!("\n{}{}", " ".repeat(depth), ends.1));
}

/// The recordings of a book, read as they are asked for.
pub struct Shelf {
    folder: PathBuf,
    read: RefCell<HashMap<PathBuf, Rc<Recording>>>,
}

impl Shelf {
    /// Those in this folder, `book/recordings` or one like it.
    pub fn new(folder: PathBuf) -> Shelf {
        Shelf { folder, read: RefCell::default() }
    }

    /// Where a recording's file is.
    pub fn file(&self, lab: &Lab, name: &str) -> PathBuf {
        let folder = self.folder.join(&lab.chapter).join(&lab.id);
        folder.join(name).with_extension("json")
    }

    /// Where one of those is that are no lab's.
    pub fn file_apart(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("json")
    }

    /// The recording of a page's name, and of what its command is.
    ///
    /// # Errors
    ///
    /// There is none, with the command that makes it; it cannot be read; it was
    /// edited by hand.
    pub fn take(&self, lab: &Lab, name: &str) -> anyhow::Result<Rc<Recording>> {
        let named = format!("{}/{name}", lab.id);
        self.whole(self.file(lab, name), &named, &lab.id)
    }

    /// One of those that are no lab's, see [`APART`].
    ///
    /// # Errors
    ///
    /// As [`Shelf::take`].
    pub fn take_apart(&self, name: &str) -> anyhow::Result<Rc<Recording>> {
        self.whole(self.file_apart(name), name, name)
    }

    fn whole(
        &self,
        file: PathBuf,
        name: &str,
        order: &str,
    ) -> anyhow::Result<Rc<Recording>> {
        if let Some(recording) = self.read.borrow().get(&file) {
            return Ok(recording.clone());
        }
        if !file.is_file() {
            bail!(
                "there is no recording `{name}`; `cargo lab record {order}` \
                 makes it"
            );
        }
        let recording = Rc::new(Recording::read(&file)?);
        ensure!(
            recording.is_whole(),
            "the recording `{name}` was edited by hand; `cargo lab record \
             {order}` makes it anew"
        );
        self.read.borrow_mut().insert(file, recording.clone());
        Ok(recording)
    }

    /// The files that no page names: each a sentence.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn unnamed(
        &self,
        named: &BTreeSet<(String, String)>,
    ) -> anyhow::Result<Vec<String>> {
        let mut unnamed = Vec::new();
        let chapters = entries(&self.folder)?;
        for chapter in chapters.into_iter().filter(|path| path.is_dir()) {
            for lab in entries(&chapter)? {
                let id = name_of(&lab);
                for file in entries(&lab)? {
                    let name = name_of(&file.with_extension(""));
                    if !named.contains(&(id.clone(), name)) {
                        let file = file.display();
                        unnamed.push(format!("{file}: no page names it"));
                    }
                }
            }
        }
        Ok(unnamed)
    }
}

/// A kernel's release without what a distribution adds to it.
pub fn numbers_of(release: &str) -> String {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    release[..end.unwrap_or(release.len())].to_string()
}

/// The last part of a path.
pub fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.display().to_string())
}

/// What is in a folder, by name.
///
/// # Errors
///
/// It cannot be read.
pub fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("{}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

//! How far the learner is: one file, `.lab/progress.json`, that git ignores.
//!
//! A pass belongs to the text that passed: when the file changes, the lab is in
//! progress again, and when the old text comes back, it is passed again. Texts
//! are known by their hashes, so progress outlives an upgrade of the course.
//! What is kept under a lab's former name counts for it.
//!
//! A course may only ever add fields: those that it does not know it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalogue::{self, Lab, root};
pub use crate::hash::hash;
use crate::verdict::{Verdict, Word};

/// The version of the file; another one only if fields change their meaning.
const VERSION: u32 = 1;

/// How far a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The file is the stub as it was shipped, now or earlier.
    NotStarted,
    /// It has been changed.
    InProgress,
    /// This very text has passed.
    Passed,
}

#[derive(Default, Serialize, Deserialize)]
struct Progress {
    #[serde(default)]
    version: u32,
    /// The lab that was checked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_lab: Option<String>,
    #[serde(default)]
    labs: BTreeMap<String, Entry>,
    /// Version 0 had one hash a lab here.
    #[serde(default, skip_serializing)]
    passed: BTreeMap<String, String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// What is known of one lab.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Hashes of the texts that passed.
    #[serde(default)]
    pub passed: BTreeSet<String>,
    /// The last verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// For each cause how many of its hints have been shown.
    #[serde(default)]
    pub hints: BTreeMap<String, usize>,
    /// Hashes of the stubs that the course has shipped.
    #[serde(default)]
    pub stubs: BTreeSet<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A verdict that was put down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Last {
    /// The hash of the text it is about.
    pub text: String,
    /// Its word, as in JSON.
    pub verdict: String,
    /// For a failure its cause.
    #[serde(default)]
    pub cause: Option<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl Last {
    /// Was this the word?
    pub fn was(&self, word: Word) -> bool {
        self.verdict == word.name()
    }
}

/// How far this lab is. A file that is not there can be had again as the stub.
///
/// # Errors
///
/// The learner's file or the progress cannot be read.
pub fn state(lab: &Lab) -> anyhow::Result<State> {
    let Some(text) = read(&root().join(lab.source()))? else {
        return Ok(State::NotStarted);
    };
    let (entry, now) = (entry(lab)?, hash(&text));
    Ok(if text == lab.grader()?.pristine.as_bytes() {
        State::NotStarted
    } else if entry.passed.contains(&now) {
        State::Passed
    } else if entry.stubs.contains(&now) {
        State::NotStarted
    } else {
        State::InProgress
    })
}

/// What is known of this lab, under any of its names.
///
/// # Errors
///
/// The progress cannot be read.
pub fn entry(lab: &Lab) -> anyhow::Result<Entry> {
    Ok(load()?.entry(lab))
}

/// The lab that was checked last, if it is still there.
///
/// # Errors
///
/// The progress cannot be read.
pub fn last_checked() -> anyhow::Result<Option<Lab>> {
    let Some(name) = load()?.last_lab else { return Ok(None) };
    let mut labs = catalogue::all()?.into_iter();
    Ok(labs.find(|lab| lab.id == name || lab.formerly.contains(&name)))
}

/// Puts a verdict down, about the text of this hash.
///
/// # Errors
///
/// The progress cannot be read or written.
pub fn record(lab: &Lab, text: &str, verdict: &Verdict) -> anyhow::Result<()> {
    let stub = hash(lab.grader()?.pristine.as_bytes());
    change(|progress| {
        progress.last_lab = Some(lab.id.clone());
        let entry = progress.entry_mut(lab);
        entry.stubs.insert(stub);
        if verdict.verdict == Word::Pass {
            entry.passed.insert(text.to_string());
        }
        let last = entry.last.get_or_insert_default();
        last.text = text.to_string();
        last.verdict = verdict.verdict.name();
        last.cause = verdict.cause.clone();
    })
}

/// Takes the next of `of` hints for this cause: its number, from 1; `None`:
/// they have all been shown.
///
/// # Errors
///
/// The progress cannot be read or written.
pub fn next_hint(
    lab: &Lab,
    cause: &str,
    of: usize,
) -> anyhow::Result<Option<usize>> {
    let mut next = None;
    change(|progress| {
        let shown = &mut progress.entry_mut(lab).hints;
        let shown = shown.entry(cause.to_string()).or_default();
        if *shown < of {
            *shown += 1;
            next = Some(*shown);
        }
    })?;
    Ok(next)
}

/// Remembers the stubs as they are shipped today, for the day of an upgrade.
///
/// # Errors
///
/// The progress cannot be read or written.
pub fn note_stubs(labs: &[Lab]) -> anyhow::Result<()> {
    let mut stubs = Vec::new();
    for lab in labs {
        stubs.push((lab, hash(lab.grader()?.pristine.as_bytes())));
    }
    let progress = load()?;
    let known =
        |(lab, stub): &(&Lab, String)| progress.entry(lab).stubs.contains(stub);
    if stubs.iter().all(known) {
        return Ok(());
    }
    change(|progress| {
        for (lab, stub) in stubs {
            progress.entry_mut(lab).stubs.insert(stub);
        }
    })
}

/// A file of the learner's from before the lab got its name, relative to the
/// checkout.
pub fn left_behind(lab: &Lab) -> Option<PathBuf> {
    let chapters = fs::read_dir(root().join("labs")).ok()?.flatten();
    let chapters: Vec<PathBuf> = chapters.map(|entry| entry.path()).collect();
    let files = lab.formerly.iter().flat_map(|name| {
        let file = format!("{name}.rs");
        chapters.iter().map(move |chapter| chapter.join(&file))
    });
    let mut files = files.filter(|file| file.is_file());
    Some(files.next()?.strip_prefix(root()).ok()?.to_path_buf())
}

/// The hash of the learner's file; `None`: there is no file.
///
/// # Errors
///
/// It cannot be read.
pub fn text_of(lab: &Lab) -> anyhow::Result<Option<String>> {
    Ok(read(&root().join(lab.source()))?.as_deref().map(hash))
}

impl Progress {
    /// What is known under every name of the lab; today's counts for more.
    fn entry(&self, lab: &Lab) -> Entry {
        let mut entry = self.labs.get(&lab.id).cloned().unwrap_or_default();
        for former in lab.formerly.iter().filter_map(|id| self.labs.get(id)) {
            entry.passed.extend(former.passed.iter().cloned());
            entry.stubs.extend(former.stubs.iter().cloned());
            entry.last = entry.last.or_else(|| former.last.clone());
            for (cause, shown) in &former.hints {
                entry.hints.entry(cause.clone()).or_insert(*shown);
            }
        }
        entry
    }

    /// The same, to be changed under today's name. An older course finds its
    /// own where it was.
    fn entry_mut(&mut self, lab: &Lab) -> &mut Entry {
        let entry = self.entry(lab);
        let place = self.labs.entry(lab.id.clone()).or_default();
        *place = entry;
        place
    }
}

/// Changes the file, one process after the other.
fn change(how: impl FnOnce(&mut Progress)) -> anyhow::Result<()> {
    let path = path();
    let dir = path.parent().context("progress file without a folder")?;
    fs::create_dir_all(dir)
        .with_context(|| format!("mkdir {}", dir.display()))?;
    let lock = path.with_extension("lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("flock {}", lock.display()))?;
    let mut progress = load()?;
    how(&mut progress);
    progress.version = progress.version.max(VERSION);
    let text = serde_json::to_vec_pretty(&progress)?;
    // Whole or not at all: another terminal may read it meanwhile.
    let new = path.with_extension("new");
    write(&new, &text).with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, &path)
        .with_context(|| format!("rename {}", path.display()))?;
    drop(lock);
    Ok(())
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    // Before the name points at it: a machine may stop in between.
    file.sync_all()
}

fn load() -> anyhow::Result<Progress> {
    let path = path();
    let Some(text) = read(&path)? else { return Ok(Progress::default()) };
    let mut progress: Progress =
        serde_json::from_slice(&text).with_context(|| {
            format!("parse {} (move it away to start anew)", path.display())
        })?;
    for (lab, text) in std::mem::take(&mut progress.passed) {
        progress.labs.entry(lab).or_default().passed.insert(text);
    }
    Ok(progress)
}

/// A file's bytes; `None`: there is no file.
fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => {
            Err(err).with_context(|| format!("read {}", path.display()))
        }
    }
}

fn path() -> PathBuf {
    root().join(".lab/progress.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(id: &str, formerly: &[&str]) -> Lab {
        let mut lab = catalogue::all().unwrap().remove(0);
        lab.id = id.to_string();
        lab.formerly = formerly.iter().map(|id| id.to_string()).collect();
        lab
    }

    #[test]
    fn what_a_newer_course_added_is_kept() {
        let text = r#"{"version": 7, "crown": [1], "labs": {"backlog":
            {"passed": ["a"], "speed": 3, "last":
            {"text": "a", "verdict": "bliss", "cause": null, "by": "x"}}}}"#;
        let mut progress: Progress = serde_json::from_str(text).unwrap();
        progress.entry_mut(&lab("backlog", &[])).stubs.insert("s".into());
        let kept = serde_json::to_value(&progress).unwrap();
        assert_eq!(kept["crown"], serde_json::json!([1]));
        assert_eq!(kept["version"], 7);
        let backlog = &kept["labs"]["backlog"];
        assert_eq!(backlog["speed"], 3);
        assert_eq!(backlog["last"]["by"], "x");
        assert_eq!(backlog["last"]["verdict"], "bliss");
    }

    #[test]
    fn a_former_name_counts_and_todays_counts_for_more() {
        let text = r#"{"labs": {
            "queue": {"passed": ["a"], "stubs": ["s"],
                "hints": {"accepts": 2, "output": 1},
                "last": {"text": "a", "verdict": "pass"}},
            "backlog": {"passed": ["b"], "hints": {"accepts": 1}}}}"#;
        let progress: Progress = serde_json::from_str(text).unwrap();
        let entry = progress.entry(&lab("backlog", &["queue"]));
        assert_eq!(Vec::from_iter(entry.passed), ["a", "b"]);
        assert_eq!(Vec::from_iter(entry.stubs), ["s"]);
        assert_eq!(entry.hints["accepts"], 1);
        assert_eq!(entry.hints["output"], 1);
        assert!(entry.last.unwrap().was(Word::Pass));
        let alone = progress.entry(&lab("backlog", &[]));
        assert_eq!(Vec::from_iter(alone.passed), ["b"]);
    }
}

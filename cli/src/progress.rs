//! What has been passed: one file, `.lab/progress.json`, that git ignores.
//!
//! A pass belongs to the text that passed: when the file changes, the lab is in
//! progress again, and when the old text comes back, it is passed again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use graders::catalogue::{Lab, root};
use graders::grade::is_pristine;
use graders::subject::Subject;
use serde::{Deserialize, Serialize};

/// How far a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The file is the stub as it was shipped.
    NotStarted,
    /// It has been changed.
    InProgress,
    /// This very text has passed.
    Passed,
}

#[derive(Default, Serialize, Deserialize)]
struct Progress {
    /// For each lab the hash of the text that passed.
    passed: BTreeMap<String, String>,
}

/// How far this lab is.
pub fn state(lab: &Lab) -> anyhow::Result<State> {
    if is_pristine(lab, lab.grader()?, &Subject::Lab)? {
        return Ok(State::NotStarted);
    }
    let passed = load()?.passed.get(&lab.id).cloned();
    let now = hash(&source(lab)?);
    Ok(if passed == Some(now) { State::Passed } else { State::InProgress })
}

/// Puts a pass down.
pub fn passed(lab: &Lab) -> anyhow::Result<()> {
    let mut progress = load()?;
    progress.passed.insert(lab.id.clone(), hash(&source(lab)?));
    let path = path();
    let dir = path.parent().context("progress file without a folder")?;
    fs::create_dir_all(dir)
        .with_context(|| format!("mkdir {}", dir.display()))?;
    // Whole or not at all: another terminal may read it meanwhile.
    let new = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, serde_json::to_string_pretty(&progress)?)
        .with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, &path)
        .with_context(|| format!("rename {}", path.display()))
}

fn load() -> anyhow::Result<Progress> {
    let path = path();
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| {
            format!("parse {} (delete it to start anew)", path.display())
        }),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            Ok(Progress::default())
        }
        Err(err) => {
            Err(err).with_context(|| format!("read {}", path.display()))
        }
    }
}

fn path() -> PathBuf {
    root().join(".lab/progress.json")
}

fn source(lab: &Lab) -> anyhow::Result<String> {
    let path = root().join(lab.source());
    fs::read_to_string(&path)
        .with_context(|| format!("read {}", path.display()))
}

/// FNV-1a, 64 bits: the same in every version of the course.
fn hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

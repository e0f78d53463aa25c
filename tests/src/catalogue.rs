//! Which labs there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use testbed::Power;

use crate::{GRADERS, Grader};

/// A lab as `labs/labs.toml` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    /// The name: of the command, the file and the page.
    pub id: String,
    /// The folder, `ch05_sockets`.
    pub chapter: String,
    /// What the reader does.
    pub title: String,
    /// What a reader who knows Rust and not the topic needs.
    pub minutes: u32,
    /// What it takes beyond two hosts and an ordinary program.
    pub needs: Vec<Need>,
    /// What it takes that hosts on other machines have not got: it is not run
    /// there.
    #[serde(default)]
    pub machines_lack: BTreeSet<Power>,
    /// Names that it had in earlier versions of the course: what the learner
    /// did under them counts.
    #[serde(default, skip_serializing)]
    pub formerly: Vec<String>,
}

/// What a lab may take beyond two hosts and an ordinary program. Every run
/// makes it for itself: the machine need not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The router, and behind it a DNS server and a Web server.
    Internet,
    /// Raw sockets and packet sockets: its programs have CAP_NET_RAW.
    RawSockets,
}

impl Need {
    /// For people.
    pub fn meaning(self) -> &'static str {
        match self {
            Need::Internet => "the router and the small internet behind it",
            Need::RawSockets => "raw sockets, which each run allows it",
        }
    }
}

#[derive(Deserialize)]
struct Catalogue {
    lab: Vec<Lab>,
}

/// Every lab, in the order of the course.
///
/// # Errors
///
/// The catalogue that was built in is not one: a bug that `cargo test` finds.
pub fn all() -> anyhow::Result<Vec<Lab>> {
    let text = include_str!("../../labs/labs.toml");
    let catalogue: Catalogue =
        toml::from_str(text).context("parse labs/labs.toml")?;
    Ok(catalogue.lab)
}

/// The labs of these names; all labs for no names.
///
/// # Errors
///
/// A name that is not a lab's, with those that are nearest.
pub fn find(names: &[String]) -> anyhow::Result<Vec<Lab>> {
    let all = all()?;
    if names.is_empty() {
        return Ok(all);
    }
    names.iter().map(|name| one(&all, name)).collect()
}

fn one(all: &[Lab], name: &str) -> anyhow::Result<Lab> {
    if let Some(lab) = all.iter().find(|lab| lab.id == name) {
        return Ok(lab.clone());
    }
    let near = |lab: &&Lab| {
        similar::TextDiff::from_chars(name, &lab.id).ratio() > 0.6
            || lab.id.contains(name)
    };
    let near: Vec<&str> =
        all.iter().filter(near).map(|lab| lab.id.as_str()).collect();
    match near.as_slice() {
        [] => bail!("there is no lab `{name}`; `lab list` shows them all"),
        near => bail!(
            "there is no lab `{name}`; did you mean {}?",
            near.join(" or ")
        ),
    }
}

impl Lab {
    /// How it is graded.
    ///
    /// # Errors
    ///
    /// There is no grader: a bug that `cargo test` finds.
    pub fn grader(&self) -> anyhow::Result<&'static Grader> {
        let found = GRADERS.iter().find(|grader| grader.id == self.id);
        found.copied().with_context(|| format!("no grader for `{}`", self.id))
    }

    /// The learner's file, relative to the checkout.
    pub fn source(&self) -> PathBuf {
        Path::new("labs")
            .join(&self.chapter)
            .join(&self.id)
            .with_extension("rs")
    }

    /// The page about it, relative to the checkout.
    pub fn page(&self) -> PathBuf {
        let chapter = self.chapter.replace('_', "-");
        Path::new("book/src").join(chapter).join(&self.id).with_extension("md")
    }
}

/// The checkout that this program was built in.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_told_the_right_one() {
        let said = find(&["backlok".into()]).unwrap_err().to_string();
        assert!(said.contains("did you mean backlog?"), "{said}");
        let said = find(&["xyz".into()]).unwrap_err().to_string();
        assert!(said.contains("lab list"), "{said}");
    }

    #[test]
    fn every_lab_has_a_grader_and_every_grader_a_lab() {
        let labs: Vec<String> =
            all().unwrap().into_iter().map(|lab| lab.id).collect();
        let graders: Vec<&str> = GRADERS.iter().map(|g| g.id).collect();
        assert_eq!(labs, graders);
    }

    #[test]
    fn a_former_name_belongs_to_one_lab() {
        let labs = all().unwrap();
        let mut names: Vec<&String> = labs.iter().map(|lab| &lab.id).collect();
        names.extend(labs.iter().flat_map(|lab| &lab.formerly));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}

//! What the text of 2013 says, sentence by sentence, and what this kernel does.
//!
//! `tests/claims.toml` has every claim with its verdict. A claim that a run can
//! show has a probe: a small scenario in a process and a network of its own,
//! which does the thing with plain sockets and bare frames, and says what it
//! saw. Where no run can show it, the table names the source.
//!
//! A probe can fail. Where a claim holds, the table says what makes it fail (a
//! setting, a rule of the wire, another deed), and [`test::prove`] sees it do so.
//!
//! - `ground`: what probes stand on: sockets, frames, settings
//! - `bytes`: frames made by hand, and read by hand
//! - one module a chapter: the probes
//! - [`test`]: a claim in, a finding out

mod bytes;
mod ch01;
mod ch02;
mod ch03;
mod ch04;
mod ch05;
mod ground;
pub mod test;

use std::sync::OnceLock;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use testbed::Profile;

use crate::perform::{Request, Scenario};
use crate::stage::Halt;
use ground::Ground;

/// A sentence of the text, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Chapter, section and number: `3.3-5`.
    pub id: String,
    /// What the text says, in our words.
    pub says: String,
    /// Is it so?
    pub verdict: Word,
    /// What is right instead, or more precisely; only what holds may lack it.
    pub right: Option<String>,
    /// The RFC's section, the man page, the commit, for what no run can show.
    pub source: Option<String>,
    /// The lab that shows it.
    pub lab: Option<String>,
    /// What makes the probe of a claim that holds fail.
    pub breaks: Option<Break>,
}

/// What is to be said of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It is so.
    Holds,
    /// It was so.
    Changed,
    /// It was not so then either.
    Never,
    /// Two hosts on a wire cannot show it, nor does a source settle it.
    Untestable,
}

impl Word {
    /// The word itself.
    pub fn name(self) -> &'static str {
        match self {
            Word::Holds => "holds",
            Word::Changed => "changed",
            Word::Never => "never",
            Word::Untestable => "untestable",
        }
    }
}

/// What makes a probe fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Break {
    /// Settings, `net.ipv4.tcp_sack=0`, on every host, one after the other.
    Sysctl(String),
    /// A rule of the wire.
    Wire(String),
    /// What a program does otherwise.
    Deed(String),
}

impl Break {
    /// As one would say it after "fails when".
    pub fn tell(&self) -> String {
        match self {
            Break::Sysctl(settings) => settings.replace(' ', ", "),
            Break::Wire(rule) => format!("the wire has the rule `{rule}`"),
            Break::Deed(deed) => deed.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Table {
    claim: Vec<Claim>,
}

/// Every claim, in the order of the text.
///
/// # Errors
///
/// The table that was built in is not one: a bug that `cargo test` finds.
pub fn all() -> anyhow::Result<&'static [Claim]> {
    static TABLE: OnceLock<Vec<Claim>> = OnceLock::new();
    if let Some(claims) = TABLE.get() {
        return Ok(claims);
    }
    let text = include_str!("../../claims.toml");
    let table: Table = toml::from_str(text).context("tests/claims.toml")?;
    Ok(TABLE.get_or_init(|| table.claim))
}

/// The claims of these ids (`3.3-5`), sections (`3.3`) and chapters (`3`); all
/// claims for none.
///
/// # Errors
///
/// Nothing of the table has that name.
pub fn find(names: &[String]) -> anyhow::Result<Vec<&'static Claim>> {
    let all = all()?;
    for name in names {
        if !all.iter().any(|claim| claim.is_of(name)) {
            let chapters = chapters(all);
            bail!(
                "there is no claim `{name}`; say a chapter ({chapters}), a \
                 section like 3.3 or a claim like 3.3-5"
            );
        }
    }
    let asked = |claim: &&Claim| {
        names.is_empty() || names.iter().any(|name| claim.is_of(name))
    };
    Ok(all.iter().filter(asked).collect())
}

fn chapters(all: &[Claim]) -> String {
    let mut chapters: Vec<&str> = all.iter().map(Claim::chapter).collect();
    chapters.dedup();
    chapters.join(", ")
}

impl Claim {
    /// The chapter's number.
    pub fn chapter(&self) -> &str {
        self.id.split('.').next().unwrap_or_default()
    }

    fn is_of(&self, name: &str) -> bool {
        let section = self.id.split('-').next().unwrap_or_default();
        [self.id.as_str(), section, self.chapter()].contains(&name)
    }

    /// How it is tested, if a run can show it.
    pub fn probe(&self) -> Option<&'static Probe> {
        probes().find(|probe| probe.claim == self.id)
    }
}

/// How a claim is tested.
pub struct Probe {
    /// The claim's id.
    pub claim: &'static str,
    /// Whether the router and the small internet are needed.
    pub internet: bool,
    /// How the kernel is to behave.
    pub profile: Profile,
    /// What is done, and what was seen.
    play: fn(&mut Ground<'_>) -> Result<Seen, Halt>,
}

impl Probe {
    /// A probe between the two hosts, with the kernel's own behaviour.
    const fn lan(
        claim: &'static str,
        play: fn(&mut Ground<'_>) -> Result<Seen, Halt>,
    ) -> Probe {
        Probe { claim, internet: false, profile: Profile::Modern, play }
    }

    /// The same with the kernel told to behave as in 2013.
    const fn with_book_profile(mut self) -> Probe {
        self.profile = Profile::Book;
        self
    }

    /// The same with the router and the small internet.
    const fn with_internet(mut self) -> Probe {
        self.internet = true;
        self
    }
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Was it as the claim says?
    pub(crate) claimed: bool,
    /// Was it as the table says is right instead?
    pub(crate) instead: bool,
    /// What it was, as a sentence.
    pub(crate) evidence: String,
}

impl Seen {
    /// For a claim that holds.
    fn so(claimed: bool, evidence: impl Into<String>) -> Seen {
        Seen { claimed, instead: false, evidence: evidence.into() }
    }

    /// For a claim that does not: was it as claimed, was it as is right?
    fn other(
        claimed: bool,
        instead: bool,
        evidence: impl Into<String>,
    ) -> Seen {
        Seen { claimed, instead, evidence: evidence.into() }
    }

    /// Is it as this verdict says?
    fn confirms(&self, word: Word) -> bool {
        match word {
            Word::Holds => self.claimed,
            _ => self.instead && !self.claimed,
        }
    }
}

/// Every probe, in the order of the claims.
pub fn probes() -> impl Iterator<Item = &'static Probe> {
    [ch01::PROBES, ch02::PROBES, ch03::PROBES, ch04::PROBES, ch05::PROBES]
        .into_iter()
        .flatten()
}

/// The name of a probe's usual take.
const PLAIN: &str = "plain";
/// Of the one with what must make it fail.
const BROKEN: &str = "broken";
/// What the scenario puts down for [`test`].
const SEEN: &str = "seen";

/// The scenario of a probe, if that is what is asked for.
pub(crate) fn scenario(
    request: &Request,
) -> testbed::Result<Option<(Scenario, &'static str)>> {
    let Some(probe) = probes().find(|probe| probe.claim == request.lab) else {
        return Ok(None);
    };
    let claims = all().map_err(|err| testbed::Error::new(err.to_string()))?;
    let claim = claims.iter().find(|claim| claim.id == probe.claim);
    let broken = request.take == BROKEN;
    let breaks =
        claim.and_then(|claim| claim.breaks.as_ref()).filter(|_| broken);
    let slow = request.slow;
    let scenario: Scenario = Box::new(move |stage| {
        let mut ground = Ground::prepare(stage, breaks, slow)?;
        let seen = (probe.play)(&mut ground)?;
        stage.fact(SEEN, seen);
        Ok(())
    });
    Ok(Some((scenario, if broken { BROKEN } else { PLAIN })))
}

//! A claim in, a finding out.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use testbed::Backend;

use super::{BROKEN, Claim, PLAIN, Probe, Seen, Word};
use crate::ground;
use crate::perform::Request;

/// How claims are tested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Wait for the kernel's longest timers: minutes.
    pub slow: bool,
    /// Have each probe of a claim that holds fail, too.
    pub prove: bool,
    /// This backend and no other.
    pub backend: Option<Backend>,
    /// What is drawn from.
    pub seed: Option<u64>,
}

/// What came of a claim. Its fields are those of `lab claims --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The claim's id.
    pub id: String,
    /// What the text says.
    pub says: String,
    /// The table's verdict.
    pub verdict: Word,
    /// What this run saw; where no run can show it, the source.
    pub evidence: String,
    /// What is right instead, or more precisely.
    pub correction: Option<String>,
    /// The lab that shows it.
    pub lab: Option<String>,
    /// Whether this run agrees with the verdict; `null`: there is no run.
    pub confirmed: Option<bool>,
    /// Where it can be read.
    pub source: Option<String>,
    /// What makes the probe fail.
    pub breaks: Option<String>,
    /// What was seen then, and whether it did fail; if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// How long it took.
    pub millis: u64,
}

/// What a probe saw with something that must make it fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Did it fail?
    pub failed: bool,
    /// What was seen.
    pub evidence: String,
}

impl Finding {
    /// Is there nothing to object to: the kernel agrees with the table, and a
    /// probe that was to fail has failed?
    pub fn is_good(&self) -> bool {
        let failed = self.broken.as_ref().is_none_or(|broken| broken.failed);
        self.confirmed != Some(false) && failed
    }
}

/// Tests a claim on this kernel.
///
/// # Errors
///
/// A [`crate::perform::Failure`] when this machine cannot run it.
pub fn test(claim: &Claim, options: &Options) -> anyhow::Result<Finding> {
    let start = Instant::now();
    let mut finding = Finding {
        id: claim.id.clone(),
        says: claim.says.clone(),
        verdict: claim.verdict,
        evidence: claim.source.clone().unwrap_or_default(),
        correction: claim.right.clone(),
        lab: claim.lab.clone(),
        confirmed: None,
        source: claim.source.clone(),
        breaks: claim.breaks.as_ref().map(|breaks| breaks.tell()),
        broken: None,
        millis: 0,
    };
    if let Some(probe) = claim.probe() {
        let seen = play(probe, PLAIN, options)?;
        finding.confirmed = Some(seen.confirms(claim.verdict));
        finding.evidence = seen.evidence;
        if options.prove && claim.breaks.is_some() {
            let seen = play(probe, BROKEN, options)?;
            finding.broken = Some(Broken {
                failed: !seen.confirms(claim.verdict),
                evidence: seen.evidence,
            });
        }
    }
    finding.millis = start.elapsed().as_millis() as u64;
    Ok(finding)
}

fn play(probe: &Probe, take: &str, options: &Options) -> anyhow::Result<Seen> {
    let request = Request {
        lab: probe.claim.to_string(),
        take: take.to_string(),
        internet: probe.internet,
        profile: probe.profile,
        backend: options.backend,
        seed: options.seed.unwrap_or_else(testbed::Draw::fresh_seed),
        story: true, // Kernel timers are waited for.
        slow: options.slow,
        ..Request::default()
    };
    let seen: Result<Seen, String> = ground::play(&request)?;
    Ok(seen.unwrap_or_else(|why| Seen::other(false, false, why)))
}

//! What a call can say: each errno that a program meets, made on purpose.
//!
//! `tests/errnos.toml` has a row for each call and errno: what it means for the
//! kernel, and what a program does about it. Each row has a probe: a small
//! scenario in a process and a network of its own, in which that call returns
//! that errno. The call's name is told by what made it, not by the table, so a
//! row is confirmed by just this errno of just this call.
//!
//! - `names`: socket, socketpair, bind, listen, getsockname, getpeername
//! - `open`: accept, connect
//! - `transfer`: send to close
//! - `options`: getsockopt, setsockopt
//! - `lookup`: getaddrinfo
//! - `tools`: what several of them need
//! - [`test`]: a row in, a finding out

mod lookup;
mod names;
mod open;
mod options;
pub mod test;
mod tools;
mod transfer;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use anyhow::{Context, bail};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::ground::{Ground, SEEN};
use crate::perform::{Request, Scenario};
use crate::stage::Halt;
use crate::sys::calls::{Error, Returned};

/// What a call can say, and what is to be made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The call, by the name of its man page.
    pub call: String,
    /// What it says: an errno, or an error code of getaddrinfo(3).
    pub errno: String,
    /// What has happened, from the kernel's point of view.
    pub cause: String,
    /// What the program does about it.
    pub cure: String,
    /// Where it can be read.
    pub source: String,
    /// The lab that meets it.
    pub lab: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    errno: Vec<Row>,
}

/// Every row, call by call.
///
/// # Errors
///
/// The table that was built in is not one: a bug that `cargo test` finds.
pub fn all() -> anyhow::Result<&'static [Row]> {
    static TABLE: OnceLock<Vec<Row>> = OnceLock::new();
    if let Some(rows) = TABLE.get() {
        return Ok(rows);
    }
    let text = include_str!("../../errnos.toml");
    let table: Table = toml::from_str(text).context("tests/errnos.toml")?;
    Ok(TABLE.get_or_init(|| table.errno))
}

/// The rows of these calls (`connect`) and errnos (`ETIMEDOUT`): with both,
/// these errnos of these calls; without any, all of them.
///
/// # Errors
///
/// Nothing of the table has that name, or no call of those says that.
pub fn find(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let all = all()?;
    let (mut of, mut which) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        let errno = name.to_uppercase();
        if all.iter().any(|row| row.call == *name) {
            of.insert(name.clone());
        } else if all.iter().any(|row| row.errno == errno) {
            which.insert(errno);
        } else {
            bail!(
                "the table has no call and no errno `{name}`; its calls are {}",
                calls().join(", ")
            );
        }
    }
    let asked = |row: &&Row| {
        (of.is_empty() || of.contains(&row.call))
            && (which.is_empty() || which.contains(&row.errno))
    };
    let found: Vec<&Row> = all.iter().filter(asked).collect();
    if found.is_empty() {
        bail!("the table has no row for `{}`", names.join(" "));
    }
    Ok(found)
}

/// The calls, in the order of the table.
pub fn calls() -> Vec<&'static str> {
    let mut calls: Vec<&str> = Vec::new();
    for row in all().unwrap_or_default() {
        if !calls.contains(&row.call.as_str()) {
            calls.push(&row.call);
        }
    }
    calls
}

impl Row {
    /// `connect ETIMEDOUT`
    pub fn name(&self) -> String {
        format!("{} {}", self.call, self.errno)
    }

    /// How it is made.
    pub fn probe(&self) -> Option<&'static Probe> {
        probes().find(|probe| probe.name() == self.name())
    }
}

/// How a call is brought to say something.
pub struct Probe {
    /// The call.
    pub call: &'static str,
    /// What it is to say.
    pub errno: &'static str,
    /// Whether the router and the small internet are needed.
    pub internet: bool,
    /// What is done, and what came of the call.
    play: fn(&mut Ground<'_>) -> Result<Got, Halt>,
}

impl Probe {
    /// A probe between the two hosts.
    const fn of(
        call: &'static str,
        errno: &'static str,
        play: fn(&mut Ground<'_>) -> Result<Got, Halt>,
    ) -> Probe {
        Probe { call, errno, internet: false, play }
    }

    /// The same with the router and the small internet.
    const fn with_internet(mut self) -> Probe {
        self.internet = true;
        self
    }

    /// The name of its row.
    pub fn name(&self) -> String {
        format!("{} {}", self.call, self.errno)
    }
}

/// What came of the one call that a probe is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Got {
    /// The call that was made.
    pub(crate) call: String,
    /// What it said; `None`: it succeeded.
    pub(crate) errno: Option<String>,
    /// What it was given, and under which circumstances.
    pub(crate) given: String,
    /// How long it took, in milliseconds.
    pub(crate) after: u64,
}

impl Returned {
    /// Tells what the call was given.
    fn given(self, given: impl Into<String>) -> Got {
        Got {
            call: self.call.to_string(),
            errno: self.value.err().map(name_of),
            given: given.into(),
            after: self.took.as_millis() as u64,
        }
    }
}

/// The names of netdb.h, from -1 downward: glibc's and musl's numbers.
const EAI: &[&str] = &[
    "EAI_BADFLAGS",
    "EAI_NONAME",
    "EAI_AGAIN",
    "EAI_FAIL",
    "EAI_NODATA",
    "EAI_FAMILY",
    "EAI_SOCKTYPE",
    "EAI_SERVICE",
    "EAI_ADDRFAMILY",
    "EAI_MEMORY",
    "EAI_SYSTEM",
    "EAI_OVERFLOW",
];

/// What an error is called.
fn name_of(error: Error) -> String {
    match error {
        Error::Errno(number) => format!("{:?}", Errno::from_raw(number)),
        Error::Eai(number) => {
            let at = usize::try_from(-1 - number).ok();
            let name = at.and_then(|at| EAI.get(at));
            name.map_or(format!("EAI {number}"), ToString::to_string)
        }
    }
}

/// Every probe, in the order of the table.
pub fn probes() -> impl Iterator<Item = &'static Probe> {
    [
        names::PROBES,
        open::PROBES,
        transfer::PROBES,
        options::PROBES,
        lookup::PROBES,
    ]
    .into_iter()
    .flatten()
}

/// The name of a probe's only take.
const TAKE: &str = "errno";

/// The scenario of a probe, if that is what is asked for.
pub(crate) fn scenario(request: &Request) -> Option<(Scenario, &'static str)> {
    let probe = probes().find(|probe| probe.name() == request.lab)?;
    let scenario: Scenario = Box::new(move |stage| {
        let mut ground = Ground { stage, broken: false, slow: false };
        let got = (probe.play)(&mut ground)?;
        stage.fact(SEEN, got);
        Ok(())
    });
    Some((scenario, TAKE))
}

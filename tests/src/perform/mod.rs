//! A performance seen from outside: its process started, heard, and ended.
//!
//! A scenario plays in a process of its own, this same program started again,
//! because namespaces are entered before the first thread. The request goes to
//! its standard input, which stays open for orders to the wire: when it closes,
//! whoever asked has gone and the process ends, with all that it has started. Its
//! standard output carries messages. Each of these is one JSON value a line:
//!
//! ```text
//! {"lab":"handshake",...}             the request, first
//! {"order":"cut"}                     an order, any time later
//! {"order":"drop syn from ernest-laptop"}
//!
//! {"Ok":{"up":...}}                   a message
//! {"Err":{"what":...}}                why there will be no other
//! ```

mod order;
mod play;
mod show;

use std::path::PathBuf;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use testbed::machine::Reach;
use testbed::trace::Event;
use testbed::{Backend, Profile, Trace};

use crate::verdict::Performance;

pub use order::{ORDERS, Order};
pub(crate) use play::{Scenario, play_if_asked};
pub use show::{Orders, Show};

/// The hidden first argument of a process that plays a scenario.
const PLAY: &str = "__play";

/// What is to be performed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// The lab's name, the claim's, or a call's and an errno's; empty for a network where nothing is
    /// performed.
    pub lab: String,
    /// Which take of its grader.
    pub take: String,
    /// The program.
    pub binary: PathBuf,
    /// Whether the router and the small internet are there as well, though no
    /// lab takes them.
    pub internet: bool,
    /// How the kernel is to behave.
    pub profile: Profile,
    /// Which backend, if not what the machine has.
    pub backend: Option<Backend>,
    /// The machines, of the backend that is those.
    #[serde(default)]
    pub machines: Option<Reach>,
    /// What ports, payloads and counts are drawn from.
    pub seed: u64,
    /// Values for the program in place of those drawn.
    pub values: Vec<String>,
    /// Rules for the wire, armed before the scenario starts.
    pub rules: Vec<String>,
    /// System calls of its programs that are to be in the trace.
    #[serde(default)]
    pub calls: Vec<String>,
    /// Whether every system call of its programs is to be in the trace.
    #[serde(default)]
    pub syscalls: bool,
    /// Whether there is time for the kernel's timers; see [`crate::stage::Stage::story`].
    pub story: bool,
    /// Whether events are to be reported as they happen.
    pub live: bool,
    /// Whether a person gives orders meanwhile: the scenario then pauses before
    /// its steps, and waits longer; see [`crate::stage::Stage::pause`].
    #[serde(default)]
    pub console: bool,
    /// Whether the kernel's longest timers are waited for: minutes.
    #[serde(default)]
    pub slow: bool,
}

/// What the process reports, or why it cannot.
type Report = Result<Message, Failure>;

/// What is heard of a performance.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// The network is up: the trace before anything has happened.
    Up(Box<Trace>),
    /// Something has happened; if the request is a live one.
    Event(Event),
    /// An order could not be carried out: it names a host that is not there.
    Refused(Failure),
    /// The end: what was seen.
    Performance(Box<Performance>),
}

/// A failure of the testbed, as it crosses from the process that had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The call that failed, with its operand and errno.
    pub what: String,
    /// The likely cause.
    pub cause: Option<String>,
    /// The exact cure.
    pub cure: Option<String>,
}

impl From<&testbed::Error> for Failure {
    fn from(err: &testbed::Error) -> Failure {
        Failure {
            what: err.what(),
            cause: err.likely_cause().map(str::to_string),
            cure: err.exact_cure().map(str::to_string),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  likely cause: {cause}")?;
        }
        if let Some(cure) = &self.cure {
            write!(f, "\n  cure: {cure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Performs a request, and calls `hear` with each event while it happens, if
/// the request is a live one; the trace is then as it was before any event.
///
/// # Errors
///
/// A [`Failure`] when this machine cannot run it; anything else is a bug here.
pub fn perform(
    request: &Request,
    mut hear: impl FnMut(&Trace, &Event),
) -> anyhow::Result<Performance> {
    let mut blank = None;
    for message in Show::start(request)? {
        match message? {
            Message::Up(trace) => blank = Some(trace),
            Message::Event(event) => {
                if let Some(blank) = &blank {
                    hear(blank, &event);
                }
            }
            Message::Refused(failure) => return Err(failure.into()),
            Message::Performance(performance) => return Ok(*performance),
        }
    }
    bail!("the performance ended without a report")
}

/// A network that is up and where nothing is performed, until it is dropped.
pub struct Idle {
    _show: Show,
    /// The trace before anything has happened: what the world is.
    pub blank: Trace,
    /// The process that holds it; its door has this number.
    pub pid: u32,
}

impl Idle {
    /// Brings a network up, for a shell on its hosts.
    ///
    /// # Errors
    ///
    /// As [`perform`].
    pub fn start(request: &Request) -> anyhow::Result<Idle> {
        let mut show = Show::start(request)?;
        match show.next().transpose()? {
            Some(Message::Up(blank)) => {
                let pid = show.pid();
                Ok(Idle { _show: show, blank: *blank, pid })
            }
            other => bail!("an idle network reported {other:?}"),
        }
    }
}

//! What a scenario may ask of its network that hosts on other machines have not.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A thing that only a host of this machine can do: who asks a host on another
/// one for it gets an error, and [`crate::Testbed::asked`] tells what has been
/// asked for, so that it can be said before a run.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// [`crate::Host::at`] and [`crate::Host::thread`].
    OwnSockets,
    /// [`crate::Host::write_own`].
    Files,
    /// Neighbours, routes, addresses, frames that no kernel would send.
    Tables,
    /// Descriptors, IPC objects, the programs' directory, signals by number.
    Processes,
    /// A program's watched calls while it runs: counted, waited for, held.
    Calls,
    /// Segments that are sent right after one another are on a real network at
    /// the same time, and cross those of the other end.
    ShortWire,
    /// More hosts than ernest-laptop and Kongming20.
    MoreHosts,
}

impl Power {
    /// For people, after "needs".
    pub fn meaning(self) -> &'static str {
        match self {
            Power::OwnSockets => "sockets of the grader's own on a host",
            Power::Files => "files in /etc that are a host's own",
            Power::Tables => "a host's routes, neighbours or bare frames",
            Power::Processes => "a look at what a host's processes hold",
            Power::Calls => "system calls held in their midst",
            Power::ShortWire => "a wire so short that no segments cross",
            Power::MoreHosts => "the router and the hosts behind it",
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}

/// What has been asked for so far; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<BTreeSet<Power>>>);

impl Asked {
    pub(crate) fn note(&self, power: Power) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(power);
    }

    pub(crate) fn all(&self) -> BTreeSet<Power> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

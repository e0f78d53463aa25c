//! Grades `sock_names`: each name at the moment when it is there.
//!
//! The scenario looks at the kernel's tables whenever the program has printed a
//! line: sock_diag for TCP, /proc/net/udp for UDP. Both hosts have a second
//! address, so that the one that a socket gets is worth a question. That the
//! program has asked, and did not deduce it, its calls tell.
//!
//! In the takes `server` and `unbound` the program listens, with bind(2) and
//! without. In `client` it connects: to where the route has another source
//! address, by UDP, and where nobody is.

mod judge;
mod scenario;

use serde::{Deserialize, Serialize};
use testbed::Profile;

use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "sock_names",
    pristine: include_str!("../../pristine/ch05_sockets/sock_names.rs"),
    takes: &[
        Take { name: "server", profile: Profile::Modern },
        Take { name: "unbound", profile: Profile::Book },
        Take { name: "client", profile: Profile::Modern },
    ],
    scenario: scenario::play,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "asks_before", cause: "asked-too-early" },
        Mutant { name: "prints_its_argument", cause: "argument-for-name" },
        Mutant { name: "peer_for_own", cause: "peer-for-own" },
        Mutant { name: "names_the_listener", cause: "listener-for-connection" },
        Mutant { name: "remembers_the_peer", cause: "peer-after-reset" },
        Mutant { name: "deduces", cause: "not-asked" },
        Mutant { name: "binds_first", cause: "bound-before-connect" },
        Mutant { name: "error_ends_it", cause: "error-ends-it" },
    ],
    alternatives: &["raw_calls", "nix_calls"],
};

/// The local name of a socket that has none.
const UNBOUND: &str = "0.0.0.0:0";
/// The name of a peer that is not there.
const NO_PEER: &str = "ENOTCONN";

/// What a socket's names were when the program had printed a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Moment {
    /// The program's role.
    program: String,
    /// What it had just done, as it says.
    step: String,
    /// As the kernel has them; `None`: its tables do not say.
    local: Option<String>,
    peer: String,
    /// Has the program asked for both, since the line before?
    asked: bool,
}

//! Hosts on other machines.
//!
//! A machine is reached over ssh. An agent acts for its host there: this same
//! program, started again on the machine, with a network of one host, whose
//! wire ends at the machine's interface on the LAN. So a host on a machine is
//! made as any other is, on that machine's own kernel, and both ends of the
//! cable do what a rule says; between them is the network of the machines.
//!
//! ```text
//! this process                       ernest-laptop                Kongming20
//! Testbed ── Link ──── ssh ──────── agent                           agent
//!    │                              host ─ wire ═ lan ═══ lan ═ wire ─ host
//!    └────── Link ──── ssh ───────────────────────────────────────── agent
//! ```
//!
//! - [`protocol`]: what is said over a link
//! - [`station`]: the machine's interface, taken from the machine for a run
//! - [`agent`]: that acts on the machine
//! - [`clock`]: what another machine's clock says, in this one's time
//! - [`merge`]: one trace of what two agents saw
//! - [`link`]: the way to an agent
//! - [`connect`]: a network of two machines

mod agent;
mod clock;
mod connect;
mod link;
mod merge;
mod protocol;
mod station;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use agent::act;
pub use clock::ClockInfo;
pub(crate) use connect::{connect, pass_on};
pub(crate) use link::Link;
pub(crate) use merge::Merge;
pub(crate) use protocol::Ask;
pub use protocol::Heard;

/// How machines are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The file that `vagrant ssh-config` writes: ssh_config(5), with a `Host`
    /// for each name.
    pub ssh_config: PathBuf,
}

/// The hidden first argument of a process that acts on a machine.
pub const ACT: &str = "__machine";
/// What a machine calls the other end of its wire.
pub(crate) const LAN: &str = "lan";

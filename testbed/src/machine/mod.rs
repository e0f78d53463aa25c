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
//! - [`station`]: the machine's interface, taken from the machine for a run
//! - [`agent`]: that acts on the machine
//!
//! What is said over a link, and how one trace comes of two, is `link`'s.

mod agent;
mod station;

pub use agent::act;

pub use crate::link::{Heard, Reach};

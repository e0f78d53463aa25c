//! A host's neighbour table: which station has which IP address on its wire.
//!
//! For IPv4 it is the ARP cache (arp(7), RFC 826), for IPv6 what neighbour
//! discovery has found (RFC 4861): what `ip neighbour` lists.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the kernel knows of a neighbour, by the name that `ip neighbour` gives
/// it (RFC 4861, section 7.3.2, for those that are not Linux's own).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum NeighbourState {
    /// It has been asked for, and has not answered yet.
    Incomplete,
    /// It has answered, not long ago.
    Reachable,
    /// It was there once; the next packet to it begins to make sure.
    Stale,
    /// A packet was sent to it, and an upper layer may hear from it yet.
    Delay,
    /// It is being asked again, by its station address.
    Probe,
    /// It was asked for often enough, and did not answer.
    Failed,
    /// Nobody is ever asked: multicast, broadcast, the loopback interface.
    NoArp,
    /// Somebody has set it by hand.
    Permanent,
}

impl NeighbourState {
    /// The name as `ip neighbour` prints it.
    pub fn name(self) -> &'static str {
        match self {
            NeighbourState::Incomplete => "INCOMPLETE",
            NeighbourState::Reachable => "REACHABLE",
            NeighbourState::Stale => "STALE",
            NeighbourState::Delay => "DELAY",
            NeighbourState::Probe => "PROBE",
            NeighbourState::Failed => "FAILED",
            NeighbourState::NoArp => "NOARP",
            NeighbourState::Permanent => "PERMANENT",
        }
    }
}

impl fmt::Display for NeighbourState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One entry of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its IP address.
    pub address: IpAddr,
    /// Its station address, if it is known.
    pub station: Option<[u8; 6]>,
    /// How well it is known.
    pub state: NeighbourState,
}

//! Grades `netdb`: which addresses are tried, in which order, for how long, and
//! whether the answer is read to its end.
//!
//! The scenario serves the day time itself, on a port that only the laptop's
//! /etc/services tells. Of a host's three addresses some listen, some refuse,
//! and one has a queue in front of `accept` that is full: its kernel is silent.
//! The order is that of getaddrinfo, called by the scenario on the same host;
//! without a route to IPv6 it is another one.

mod judge;
mod scenario;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use testbed::Profile;

use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "netdb",
    pristine: include_str!("../../pristine/ch05_sockets/netdb.rs"),
    takes: &[Take { name: "names", profile: Profile::Modern }],
    scenario: scenario::scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "first_address_only", cause: "gives-up" },
        Mutant { name: "port_13", cause: "wrong-port" },
        Mutant { name: "ipv4_only", cause: "one-family" },
        Mutant { name: "sorts_by_itself", cause: "own-order" },
        Mutant { name: "leaves_it_to_the_kernel", cause: "no-deadline" },
        Mutant { name: "all_at_once", cause: "all-at-once" },
        Mutant { name: "in_a_hurry", cause: "impatient" },
        Mutant { name: "any_kind_of_socket", cause: "address-again" },
        Mutant { name: "reads_once", cause: "reads-once" },
        Mutant { name: "stays_nonblocking", cause: "still-nonblocking" },
        Mutant { name: "one_word_for_all", cause: "errors-not-told-apart" },
    ],
    alternatives: &["getservbyname", "nonblocking_and_poll"],
};

/// What an address has for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Door {
    /// Somebody listens, and serves.
    Open,
    /// Nobody listens: RST.
    Refused,
    /// Somebody listens, and the queue is full: nothing at all.
    Silent,
    /// There is no way to it from here.
    Unreachable,
}

/// One start of the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    role: String,
    host: String,
    /// The port that the service has on this host.
    port: u16,
    doors: Vec<(SocketAddr, Door)>,
    /// What the server says.
    line: String,
    /// What getaddrinfo answers on the same host.
    order: Vec<SocketAddr>,
    /// The error that it gives, if there is to be one.
    error: Option<String>,
}

impl Part {
    fn door(&self, address: SocketAddr) -> Door {
        let found = self.doors.iter().find(|(known, _)| *known == address);
        found.map_or(Door::Refused, |(_, door)| *door)
    }

    /// The addresses that are to be tried.
    fn tried(&self) -> Vec<SocketAddr> {
        let open = |address: &SocketAddr| self.door(*address) == Door::Open;
        match self.order.iter().position(open) {
            Some(at) => self.order[..=at].to_vec(),
            None => self.order.clone(),
        }
    }

    /// Is there an address that serves?
    fn is_served(&self) -> bool {
        self.tried().last().is_some_and(|a| self.door(*a) == Door::Open)
    }
}

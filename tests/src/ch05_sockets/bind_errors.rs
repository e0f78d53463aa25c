//! Grades `bind_errors`: every reason why an address cannot be had, and no other.
//!
//! The program is given one address after the other, in an order that is drawn.
//! Before each, Kongming20 is made such that the address is free, taken in one
//! of several ways, or not to be had. After each answer the kernel is asked
//! which listeners the program has, and how many descriptors; and a client on
//! ernest-laptop knocks, for the wire to show what such a port answers.
//!
//! `lab run bind_errors -- [SETTING=VALUE ...] ADDRESS:PORT ...` asks for those
//! addresses, on a Kongming20 with those settings (sysctl(8)).

mod judge;
mod scenario;

use testbed::Profile;

use crate::{Grader, Mutant, Take};

const PROGRAM: &str = "server";

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "bind_errors",
    pristine: include_str!("../../pristine/ch05_sockets/bind_errors.rs"),
    takes: &[Take { name: "asked", profile: Profile::Modern }],
    scenario: scenario::scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "stops_at_the_first", cause: "gives-up" },
        Mutant { name: "keeps_what_failed", cause: "leaks-descriptors" },
        Mutant { name: "always_reuses", cause: "old-connection-unnoticed" },
        Mutant { name: "reuse_port", cause: "old-connection-in-the-way" },
        Mutant { name: "knows_the_ports", cause: "privileged-by-number" },
        Mutant { name: "port_as_asked", cause: "port-not-asked" },
        Mutant { name: "closes_at_once", cause: "listener-closed" },
        Mutant { name: "ipv6_alone", cause: "ipv4-shut-out" },
        Mutant { name: "never_ipv6_alone", cause: "ipv4-in-the-way" },
        Mutant { name: "always_in_use", cause: "errno" },
    ],
    alternatives: &["nix_one_socket", "probes_first"],
};

//! Grades `connect_errors`: what connect(2) says, and who has made it say so.
//!
//! The program on ernest-laptop is given one target after the other, each of
//! which fails in its own way: a closed port, a router that refuses by ICMP
//! (by its own routes, or with a message that the scenario writes), no route,
//! no local port left. In the take `nobody` no neighbour has the address, and
//! in `silence` nobody answers: these are the two that take time.
//!
//! `lab run connect_errors -- [SETTING=VALUE ...] ['ROUTE' ...] TARGET ...` has
//! a laptop with those settings and routes (sysctl(8), ip-route(8)); `-- codes`
//! answers with each code of ICMP's destination unreachable that is an error.

mod judge;
mod scenario;

use testbed::Profile;

use crate::{Grader, Mutant, Take};

const PROGRAM: &str = "client";

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "connect_errors",
    pristine: include_str!("../../pristine/ch05_sockets/connect_errors.rs"),
    takes: &[
        Take { name: "told", profile: Profile::Modern },
        Take { name: "nobody", profile: Profile::Modern },
        Take { name: "silence", profile: Profile::Book },
    ],
    scenario: scenario::scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "stops_at_the_first", cause: "gives-up" },
        Mutant { name: "tries_again", cause: "many-attempts" },
        Mutant { name: "one_socket", cause: "no-attempt" },
        Mutant { name: "always_refused", cause: "errno" },
        Mutant { name: "unreachable_is_silence", cause: "told-unnoticed" },
        Mutant { name: "unreachable_is_told", cause: "silence-unnoticed" },
        Mutant { name: "success_is_success", cause: "itself-unnoticed" },
        Mutant { name: "own_deadline", cause: "gave-up-early" },
        Mutant { name: "keeps_connections", cause: "leaks-descriptors" },
    ],
    alternatives: &["nonblocking", "nix_calls"],
};

//! Grades `sockopts`: options that are set in time, and what is had of them.
//!
//! In the take `records` the scenario sends to the program, in pieces that are
//! no records, and looks after each at how many bytes lie unread in the
//! kernel: a program that the low-water mark keeps asleep leaves them there.
//! At the end the wire holds the acknowledgement that `close` has to wait for.
//! In `port` several programs want the same port, and one a mark that the
//! kernel cuts down.
//!
//! What an option should be afterwards a socket of the scenario's own tells,
//! on the same kernel.

mod judge;
mod scenario;

use serde::{Deserialize, Serialize};
use testbed::{Profile, TcpSocket, TcpState};

use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "sockopts",
    pristine: include_str!("../../pristine/ch05_sockets/sockopts.rs"),
    takes: &[
        Take { name: "records", profile: Profile::Book },
        Take { name: "port", profile: Profile::Modern },
    ],
    scenario: scenario::scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "after_accept", cause: "window-too-large" },
        Mutant { name: "after_listen", cause: "too-late-for-the-port" },
        Mutant { name: "prints_what_it_asked_for", cause: "not-asked" },
        Mutant { name: "believes_the_double", cause: "believes-the-double" },
        Mutant { name: "stops_at_an_error", cause: "stops-at-an-error" },
        Mutant { name: "sets_no_mark", cause: "takes-what-comes" },
        Mutant { name: "sleeps_in_read", cause: "sleeps-in-read" },
        Mutant { name: "reads_ahead", cause: "reads-ahead" },
        Mutant { name: "a_wake_is_a_record", cause: "not-whole-records" },
        Mutant { name: "takes_a_smaller_mark", cause: "mark-cut-down" },
        Mutant { name: "says_closed_first", cause: "does-not-linger" },
    ],
    alternatives: &["epoll_and_recv", "raw_calls"],
};

/// The program of the take `records`.
const RECEIVER: &str = "receiver";
/// Those of the take `port`, in the order of their starts.
const TWINS: [&str; 2] = ["first", "second"];
const ALONE: &str = "third";
const TOO_LARGE: &str = "fourth";

/// How much has been sent, and how much of it was unread then.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Look {
    /// Bytes sent so far.
    sent: usize,
    /// Records that were printed by then.
    printed: usize,
    /// Bytes that the kernel still had for the program.
    unread: u32,
}

/// The connection, if there is one.
fn connection(sockets: &[TcpSocket]) -> Option<&TcpSocket> {
    sockets.iter().find(|socket| socket.state != TcpState::Listen)
}

fn listeners(sockets: &[TcpSocket]) -> impl Iterator<Item = &TcpSocket> {
    sockets.iter().filter(|socket| socket.state == TcpState::Listen)
}

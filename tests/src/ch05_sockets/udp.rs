//! Grades `udp`: an echo server and its client, each datagram for itself.
//!
//! In the take `boundaries` the scenario asks the server: two sockets take
//! turns, with datagrams of no bytes and of too many. In `refused` nobody is
//! there at first: once the client is told while it waits, once by the call that
//! sends its next question. In `wire` both programs run, and the wire loses a
//! question and keeps an answer back until the client waits for the next; a
//! stranger sends an answer too.

mod judge;
mod scenario;

use serde::{Deserialize, Serialize};
use testbed::Profile;

use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "udp",
    pristine: include_str!("../../pristine/ch05_sockets/udp.rs"),
    takes: &[
        Take { name: "wire", profile: Profile::Modern },
        Take { name: "refused", profile: Profile::Modern },
        Take { name: "boundaries", profile: Profile::Book },
    ],
    scenario: scenario::play,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "empty_is_the_end", cause: "empty-taken-for-end" },
        Mutant { name: "fills_its_buffer", cause: "datagrams-merged" },
        Mutant { name: "cut_unnoticed", cause: "cut-unnoticed" },
        Mutant { name: "answers_the_first", cause: "wrong-peer" },
        Mutant { name: "sends_the_whole_buffer", cause: "whole-buffer" },
        Mutant { name: "unconnected", cause: "refusal-unheard" },
        Mutant { name: "believes_the_old_error", cause: "old-error" },
        Mutant { name: "asks_for_ever", cause: "never-gives-up" },
        Mutant { name: "asks_once", cause: "never-asks-again" },
        Mutant { name: "takes_any_answer", cause: "late-answer" },
        Mutant { name: "any_sender", cause: "stranger-believed" },
    ],
    alternatives: &["poll_and_peek", "error_queue", "socket_each"],
};

/// The longest datagram that the programs have room for.
const ROOM: usize = 64;
/// How often a question is sent.
const TRIES: usize = 3;
/// A question's number: two bytes.
const NUMBER: usize = 2;

/// A datagram of the take `boundaries`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sent {
    /// The port that it comes from.
    port: u16,
    text: String,
}

/// A question as it goes over the wire.
fn question(number: u16, text: &str) -> Vec<u8> {
    [&number.to_be_bytes(), text.as_bytes()].concat()
}

/// What an echo server keeps of a datagram.
fn kept(datagram: &[u8]) -> &[u8] {
    &datagram[..datagram.len().min(ROOM)]
}

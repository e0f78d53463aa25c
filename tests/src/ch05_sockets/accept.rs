//! Grades `accept`: whoever waits is taken, and nobody's end is the server's.
//!
//! In the take `gone` four clients connect before the first accept: one lives,
//! one has sent its last byte, one has reset, and one has died behind a cut
//! cable, of which the server's kernel knows nothing. In the take `full` the
//! program has few descriptors: clients come until there is none left. Whether
//! a connection has been accepted is in sock_diag(7): it then has an inode.

mod judge;
mod party;

use std::ops::RangeInclusive;

use testbed::{Profile, TcpState};

use super::peer::Peer;
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::{Grader, Mutant, Take};
use judge::judge;
use party::{Fate, Party};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "accept",
    pristine: include_str!("../../pristine/ch05_sockets/accept.rs"),
    takes: &[
        Take { name: "gone", profile: Profile::Modern },
        Take { name: "full", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "asks_who_has_gone", cause: "ends-with-a-client" },
        Mutant { name: "one_after_another", cause: "one-at-a-time" },
        Mutant { name: "closes_at_the_fin", cause: "unread-data" },
        Mutant { name: "error_is_end_of_file", cause: "reset-taken-for-end" },
        Mutant { name: "keeps_who_has_reset", cause: "leaks-descriptors" },
        Mutant { name: "tries_again", cause: "spins" },
        Mutant { name: "waits_for_room", cause: "left-hanging" },
    ],
    alternatives: &["nix_epoll", "std_threads", "counts_its_descriptors"],
};

const PROGRAM: &str = "accept";
/// How many descriptors the program may have in the take `full`: as many
/// clients are more than there can be descriptors for.
const FEW: RangeInclusive<u64> = 12..=16;
/// How many a user may ask for who looks on.
const MANY: u64 = 40;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    stage.fact("address", address.to_string());
    let args = [address.to_string()];
    if stage.take == "full" {
        let drawn = stage.draw.count(FEW);
        let asked = stage.values.first().and_then(|text| text.parse().ok());
        let limit: u64 = asked.unwrap_or(drawn).clamp(*FEW.start(), MANY);
        stage.fact("limit", limit);
        let server = stage.start_with(PROGRAM, KONGMING, args, |launch| {
            launch.limit_files(limit).watch(&["listen"])
        })?;
        let party = Party::open(stage, server, address)?;
        let few = format!("Enter; no more than {limit} descriptors");
        stage.step(KONGMING, few)?;
        stage.enter(server);
        full(stage, party, limit as usize)
    } else {
        let server = stage.start_with(PROGRAM, KONGMING, args, |launch| {
            launch.watch(&["listen"])
        })?;
        let mut party = Party::open(stage, server, address)?;
        let early = before(stage, &mut party)?;
        stage.step(KONGMING, "Enter")?;
        stage.enter(server);
        after(stage, party, early)
    }
}

/// Those of the first four who are still there.
struct Early {
    alive: Peer,
    finished: Peer,
}

/// Four clients fill the queue, and three of them leave it as they can.
fn before(stage: &mut Stage, party: &mut Party) -> Result<Early, Halt> {
    let alive = party.queues(stage)?;
    let mut finished = party.queues(stage)?;
    stage.step(LAPTOP, "client 2 sends, and closes its direction")?;
    party.says(stage, &mut finished);
    finished.finish();
    party.until(stage, KONGMING, &finished, TcpState::CloseWait)?;
    if stage.story {
        // The kernel acknowledges a FIN in its own time.
        party.until(stage, LAPTOP, &finished, TcpState::FinWait2)?;
    }
    let reset = party.queues(stage)?;
    stage.step(LAPTOP, "client 3 resets")?;
    party.resets(stage, reset)?;
    let lost = party.queues(stage)?;
    stage.net.wire().cut(LAPTOP)?;
    stage.step(LAPTOP, "client 4 dies: its RST never arrives")?;
    lost.abort();
    stage.frames("rst from ernest-laptop", 2)?;
    stage.net.wire().plug(LAPTOP)?;
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    stage.fact("before", &sockets);
    Ok(Early { alive, finished })
}

/// The server wakes up; one more client comes, and resets.
fn after(
    stage: &mut Stage,
    mut party: Party,
    early: Early,
) -> Result<(), Halt> {
    let Early { mut alive, mut finished } = early;
    party.all_are_taken(stage)?;
    party.rests(stage)?;
    party.hears(stage, &mut finished, usize::MAX)?;
    party.talks(stage, &mut alive)?;
    let mut late = party.comes(stage)?;
    party.talks(stage, &mut late)?;
    party.talks(stage, &mut alive)?;
    party.talks(stage, &mut late)?;
    stage.step(LAPTOP, "client 5 resets")?;
    party.resets(stage, late)?;
    party.settle(stage)?;
    stage.step(LAPTOP, "client 1 closes its direction")?;
    party.leaves(stage, &mut alive)?;
    party.settle(stage)?;
    party.stop(stage)?;
    if stage.story {
        // The laptop's answer to the FIN of a connection that it does not know.
        stage.frames("rst from ernest-laptop", 4)?;
    }
    Ok(())
}

/// Clients come until there is no descriptor for one more; some leave, and
/// others come.
fn full(stage: &mut Stage, mut party: Party, limit: usize) -> Result<(), Halt> {
    party.settle(stage)?;
    stage.fact("at_start", party.descriptors(stage)?);
    let mut guests = Vec::new();
    let mut fate = Fate::Accepted;
    while fate == Fate::Accepted && guests.len() < limit {
        let guest;
        (guest, fate) = party.visit(stage)?;
        guests.push(guest);
    }
    stage.fact("fitted", guests.len() - 1);
    party.rests(stage)?;
    for _ in 0..2 {
        guests.push(party.visit(stage)?.0);
    }
    for guest in guests.iter_mut().take(2) {
        party.leaves(stage, guest)?;
    }
    party.settle(stage)?;
    for _ in 0..2 {
        guests.push(party.visit(stage)?.0);
    }
    for guest in guests.iter_mut().skip(2) {
        party.leaves(stage, guest)?;
    }
    party.settle(stage)?;
    party.stop(stage)
}

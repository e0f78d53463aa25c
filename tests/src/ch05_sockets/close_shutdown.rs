//! Grades `close_shutdown`: a FIN waits for the last descriptor, in whichever
//! process it is, and shutdown(2) does not.
//!
//! Seven clients come, and each connection ends in another way: by its client,
//! by the three ways of shutdown(2) in the parent, by a reset before it, by the
//! death of the child, and after the end of the parent's input. A child is
//! stopped where it must not have read yet; who holds what is in /proc/PID/fd.

mod judge;
mod town;

use testbed::{Profile, TcpSocket, TcpState};

use super::peer::{Peer, Then};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::{Grader, Mutant, Take};
use judge::judge;
use town::Town;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "close_shutdown",
    pristine: include_str!("../../pristine/ch05_sockets/close_shutdown.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "parent_never_closes", cause: "parent-keeps" },
        Mutant { name: "inherits_the_others", cause: "child-inherits" },
        Mutant { name: "child_listens", cause: "listener-kept" },
        Mutant { name: "closes_its_copy", cause: "no-fin" },
        Mutant { name: "shuts_both", cause: "write-closes-both" },
        Mutant { name: "drains_with_both", cause: "read-loses-data" },
        Mutant { name: "kills_the_child", cause: "kills-the-child" },
        Mutant { name: "dies_of_enotconn", cause: "ends-with-a-client" },
    ],
    alternatives: &["executes_itself", "raw_calls"],
};

const PROGRAM: &str = "close_shutdown";
/// signal(7), on every architecture that this course runs on.
const SIGKILL: i32 = 9;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    stage.fact("address", address);
    let server = stage.start(PROGRAM, KONGMING, [address.to_string()])?;
    stage.line(server, "listening on ")?;
    stage.fact("listening", stage.net.host(KONGMING)?.tcp_sockets()?);
    let mut town = Town::new(stage, server, address);

    let first = town.comes(stage)?;
    let second = town.comes(stage)?;
    let third = town.comes(stage)?;
    stage.idle(server)?;
    let held = town.holders(stage)?;
    stage.fact("held", held);
    leaves(stage, &mut town, first)?;
    is_told(stage, &mut town, second)?;
    is_drained(stage, &mut town, third)?;
    is_ended(stage, &mut town)?;
    resets(stage, &mut town)?;
    loses_its_child(stage, &mut town)?;
    stays_to_the_end(stage, &mut town)?;
    stage.end(server)
}

/// Client 1 closes its direction, while two others have been forked for.
fn leaves(stage: &mut Stage, town: &mut Town, peer: Peer) -> Result<(), Halt> {
    let mut client = town.client(peer);
    stage.step(LAPTOP, "client 1 closes its direction")?;
    client.peer.finish();
    let end = client.hears(stage, town, usize::MAX)?;
    if end != Then::Fin {
        let keepers = town.holders(stage)?;
        stage.fact("keepers", keepers);
        return Err(Halt::Missed("waited for the FIN for client 1".into()));
    }
    town.is_closed(stage, 1)
}

/// SHUT_WR: client 2 gets a FIN, and is read from on.
fn is_told(stage: &mut Stage, town: &mut Town, peer: Peer) -> Result<(), Halt> {
    let mut client = town.client(peer);
    town.types(stage, "write", 2)?;
    let end = client.hears(stage, town, usize::MAX)?;
    stage.fact("write_then", end);
    if end != Then::Fin {
        return Err(Halt::Missed("waited for the FIN for client 2".into()));
    }
    stage.step(LAPTOP, "client 2 sends more")?;
    client.says(stage, town);
    let name = client.name();
    let ends = town.is_acknowledged(stage, name)?;
    let reset = ends.is_none();
    let sockets = stage.sockets_soon(KONGMING, |sockets| {
        end_of(sockets, name).is_none_or(|end| end.receive_queue == 0)
    })?;
    stage.fact("write_state", end_of(&sockets, name).map(|end| end.state));
    stage.fact("write_reset", reset);
    if reset {
        return Err(Halt::Missed(
            "waited for client 2's data to be read".into(),
        ));
    }
    stage.step(LAPTOP, "client 2 closes its direction")?;
    client.peer.finish();
    town.is_closed(stage, 2)
}

/// SHUT_RD: what has come is read and answered, and what comes later too.
fn is_drained(
    stage: &mut Stage,
    town: &mut Town,
    peer: Peer,
) -> Result<(), Halt> {
    let mut client = town.client(peer);
    town.stops_child(stage, 3)?;
    stage.step(LAPTOP, "client 3 sends, and its child does not read")?;
    let before = client.says(stage, town);
    let name = client.name();
    town.is_acknowledged(stage, name)?;
    town.types(stage, "read", 3)?;
    stage.step(LAPTOP, "client 3 sends more")?;
    let after = client.says(stage, town);
    let end = town.is_acknowledged(stage, name)?;
    stage.fact("read_state", end.map(|end| end.state));
    town.continues_child(stage, 3)?;
    let end = client.hears(stage, town, usize::MAX)?;
    stage.fact("read_sent", (before, after));
    stage.fact("read_heard", client.last_heard());
    stage.fact("read_then", end);
    match end {
        Then::Fin => town.is_closed(stage, 3),
        _ => Err(Halt::Missed("waited for the FIN for client 3".into())),
    }
}

/// SHUT_RDWR: a FIN at once, and a RST for what comes after it.
fn is_ended(stage: &mut Stage, town: &mut Town) -> Result<(), Halt> {
    let peer = town.comes(stage)?;
    let mut client = town.client(peer);
    town.stops_child(stage, 4)?;
    stage.step(LAPTOP, "client 4 sends, and its child does not read")?;
    client.says(stage, town);
    let name = client.name();
    town.is_acknowledged(stage, name)?;
    town.types(stage, "both", 4)?;
    let end = client.hears(stage, town, usize::MAX)?;
    stage.fact("both_then", end);
    stage.fact("both_child", town.has_child(stage, 4)?);
    if end != Then::Fin {
        return Err(Halt::Missed("waited for the FIN for client 4".into()));
    }
    stage.step(LAPTOP, "client 4 sends more")?;
    client.says(stage, town);
    let sockets = stage
        .sockets_soon(LAPTOP, |sockets| end_of(sockets, name).is_none())?;
    stage.fact("both_reset", end_of(&sockets, name).is_none());
    town.continues_child(stage, 4)?;
    town.is_closed(stage, 4)
}

/// Client 5 has reset when the parent is told to end it.
fn resets(stage: &mut Stage, town: &mut Town) -> Result<(), Halt> {
    let peer = town.comes(stage)?;
    let client = town.client(peer);
    town.stops_child(stage, 5)?;
    stage.step(LAPTOP, "client 5 resets")?;
    let name = client.name();
    client.peer.abort();
    stage.sockets(KONGMING, "the end of a connection", |sockets| {
        end_of(sockets, name).is_none()
    })?;
    town.types(stage, "write", 5)?;
    town.continues_child(stage, 5)?;
    town.is_closed(stage, 5)
}

/// Client 6 has sent something that its child will never read.
fn loses_its_child(stage: &mut Stage, town: &mut Town) -> Result<(), Halt> {
    let peer = town.comes(stage)?;
    let mut client = town.client(peer);
    town.stops_child(stage, 6)?;
    stage.step(LAPTOP, "client 6 sends, and its child does not read")?;
    client.says(stage, town);
    town.is_acknowledged(stage, client.name())?;
    stage.step(KONGMING, "SIGKILL for child 6")?;
    town.signals_child(stage, 6, SIGKILL)?;
    let end = client.hears(stage, town, usize::MAX)?;
    stage.fact("killed_then", end);
    town.is_closed(stage, 6)
}

/// Client 7 is there when the input ends, and leaves after it.
fn stays_to_the_end(stage: &mut Stage, town: &mut Town) -> Result<(), Halt> {
    let peer = town.comes(stage)?;
    let mut client = town.client(peer);
    stage.idle(town.server)?;
    let held = town.holders(stage)?;
    stage.fact("held_at_end", held);
    stage.step(KONGMING, "end of the program's input")?;
    stage.close_stdin(town.server);
    let listens = |sockets: &[TcpSocket]| {
        sockets.iter().any(|socket| socket.state == TcpState::Listen)
    };
    let sockets = stage.sockets_soon(KONGMING, |all| !listens(all))?;
    stage.fact("listens_still", listens(&sockets));
    let sent = client.says(stage, town);
    client.hears(stage, town, sent.len())?;
    stage.fact("last_heard", client.last_heard() == sent);
    stage.step(LAPTOP, "client 7 closes its direction")?;
    client.peer.finish();
    client.hears(stage, town, usize::MAX)?;
    town.is_closed(stage, 7)
}

/// The end of a client's connection that a host has.
fn end_of(
    sockets: &[TcpSocket],
    name: std::net::SocketAddr,
) -> Option<&TcpSocket> {
    sockets
        .iter()
        .find(|end| end.local == name || end.peer == name)
        .filter(|end| end.state != TcpState::Closed)
}

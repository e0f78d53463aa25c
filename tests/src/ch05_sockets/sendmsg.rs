//! Grades `sendmsg`: three buffers are one call, and a part of it may be all
//! that is taken.
//!
//! In the take `pair` the program is at both ends of a connection, and each
//! message must be one segment. In `slow` the scenario is a receiver with small
//! buffers that does not read for a while, so that the sender's kernel takes a
//! part of a message. In `pieces` it is a sender whose segments end where
//! messages do not. In `udp` each message is one datagram, and one is too long.

mod judge;
mod message;

use std::net::SocketAddr;

use testbed::{Profile, TcpSocket, TcpState};

use super::peer::{Peer, listen};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::{Grader, Mutant, Take};
use judge::judge;
use message::Message;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "sendmsg",
    pristine: include_str!("../../pristine/ch05_sockets/sendmsg.rs"),
    takes: &[
        Take { name: "pair", profile: Profile::Modern },
        Take { name: "slow", profile: Profile::Modern },
        Take { name: "pieces", profile: Profile::Modern },
        Take { name: "udp", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "three_writes", cause: "three-segments" },
        Mutant { name: "ignores_the_count", cause: "short-count" },
        Mutant { name: "starts_over", cause: "starts-over" },
        Mutant { name: "forgets_the_header", cause: "wrong-place" },
        Mutant { name: "trusts_the_header", cause: "half-a-header" },
        Mutant { name: "trusts_the_body", cause: "half-a-body" },
        Mutant { name: "reads_too_far", cause: "loses-the-next" },
        Mutant { name: "three_datagrams", cause: "three-datagrams" },
        Mutant { name: "ignores_the_flags", cause: "truncation-unseen" },
        Mutant { name: "tries_again", cause: "burns-cpu" },
    ],
    alternatives: &["concatenates", "raw_calls"],
};

const SENDER: &str = "sender";
const RECEIVER: &str = "receiver";
/// Bytes of a body that no small buffer takes.
const LARGE: u64 = 100_000;
/// The room that the stub says a datagram's body has.
const MOST_UDP: u64 = 512;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    stage.fact("address", address);
    match stage.take {
        "slow" => slow(stage, address),
        "pieces" => pieces(stage, address),
        "udp" => both_ends(stage, address, "udp"),
        _ => both_ends(stage, address, "tcp"),
    }
}

/// The program at both ends; `lab run sendmsg -- BODY...` chooses the bodies.
fn both_ends(
    stage: &mut Stage,
    address: SocketAddr,
    protocol: &str,
) -> Result<(), Halt> {
    let mut messages: Vec<Message> = match stage.values.clone() {
        bodies if bodies.is_empty() => {
            (0..3).map(|_| Message::draw(stage, 20..=60)).collect()
        }
        bodies => {
            let message = |body| Message::new(stage, body);
            bodies.into_iter().map(message).collect()
        }
    };
    if protocol == "udp" {
        let long = Message::draw(stage, MOST_UDP + 100..=MOST_UDP + 600);
        messages.insert(1, long);
    }
    stage.fact("messages", &messages);
    let at = address.to_string();
    let receiver =
        stage.start(RECEIVER, KONGMING, ["recv", protocol, at.as_str()])?;
    stage.line(receiver, "listening on ")?;
    let sender =
        stage.start(SENDER, LAPTOP, ["send", protocol, at.as_str()])?;
    stage.line(sender, "connected")?;
    for (count, message) in messages.iter().enumerate() {
        let number = count + 1;
        let step = format!("message {number}: {}", message.shown());
        stage.step(LAPTOP, step)?;
        stage.send(sender, &message.line());
        stage.line(sender, &format!("sent {}", message.kind))?;
        // What the receiver must tell by now, the judge knows.
        stage.lines_or_quiet(receiver, count + 2)?;
    }
    stage.step(LAPTOP, "end of the sender's input")?;
    stage.close_stdin(sender);
    stage.end(sender)?;
    stage.end(receiver)
}

/// The scenario does not read until the sender's kernel takes no more.
fn slow(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let messages = [
        Message::draw(stage, 20..=60),
        Message::draw(stage, LARGE..=LARGE),
        Message::draw(stage, 20..=60),
    ];
    stage.fact("messages", &messages);
    let host = stage.net.host(LAPTOP)?;
    host.set_sysctl("net.ipv4.tcp_wmem", "4096 8192 8192")?;
    let host = stage.net.host(KONGMING)?;
    host.set_sysctl("net.ipv4.tcp_rmem", "4096 8192 8192")?;
    let listener = listen(stage, KONGMING, address)?;
    let at = address.to_string();
    let sender = stage.start(SENDER, LAPTOP, ["send", "tcp", at.as_str()])?;
    stage.line(sender, "connected")?;
    let mut peer = Peer::accept(stage, &listener)?;
    for message in &messages {
        stage.send(sender, &message.line());
    }
    stage.close_stdin(sender);
    // What is taken now and then, while probes go to and fro, wakes it up.
    if !stage.idle(sender)? {
        return Err(Halt::Missed("waited for the sender to sleep".into()));
    }
    let heard = peer.hear(stage, usize::MAX)?;
    stage.fact("heard", heard.text);
    stage.end(sender)
}

/// How the pieces of the take `pieces` end.
const CUTS: &[&str] =
    &["in a header", "in a body", "in a trailer", "nowhere", "at a message"];

/// Segments that end where messages do not; the last message has no end.
fn pieces(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let messages: Vec<Message> =
        CUTS.iter().map(|_| Message::draw(stage, 20..=60)).collect();
    stage.fact("messages", &messages);
    let at = address.to_string();
    let receiver =
        stage.start(RECEIVER, KONGMING, ["recv", "tcp", at.as_str()])?;
    stage.line(receiver, "listening on ")?;
    let port = stage.draw.port();
    let mut peer = Peer::connect(stage, LAPTOP, port, address)?;
    let bytes: Vec<String> = messages.iter().map(Message::text).collect();
    let in_header = stage.draw.count(1..=11) as usize;
    let in_body = stage.draw.count(13..=31) as usize;
    let in_trailer = bytes[2].len() - stage.draw.count(1..=7) as usize;
    for (at, cut) in [in_header, in_body, in_trailer].into_iter().enumerate() {
        let (first, second) = bytes[at].split_at(cut);
        says(stage, receiver, &mut peer, first, at + 1)?;
        says(stage, receiver, &mut peer, second, at + 2)?;
    }
    // Two messages, and the beginning of a third, in one segment.
    let many = bytes[3].clone() + &bytes[4] + &bytes[0][..in_header];
    says(stage, receiver, &mut peer, &many, CUTS.len() + 1)?;
    peer.finish();
    stage.end(receiver)
}

/// Sends a piece, and waits until it is read, and so much has been printed.
fn says(
    stage: &mut Stage,
    receiver: Role,
    peer: &mut Peer,
    piece: &str,
    lines: usize,
) -> Result<(), Halt> {
    peer.send(piece);
    let queued = |sockets: &[TcpSocket], queue: fn(&TcpSocket) -> u32| {
        let mut ends = sockets.iter().filter(|s| s.state != TcpState::Listen);
        ends.any(|socket| queue(socket) > 0)
    };
    stage.sockets(LAPTOP, "acknowledged data", |sockets| {
        !queued(sockets, |socket| socket.send_queue)
    })?;
    stage.sockets(KONGMING, "data that is read", |sockets| {
        !queued(sockets, |socket| socket.receive_queue)
    })?;
    stage.idle(receiver)?;
    // `lines`: those of messages that are whole, and `listening on`.
    stage.lines_or_quiet(receiver, lines)?;
    let said = stage.program(receiver).lines_printed();
    stage.fact("said", said);
    match said == lines {
        true => Ok(()),
        false => Err(Halt::Missed(format!(
            "waited for {lines} lines of the receiver, and no more; had {said}"
        ))),
    }
}

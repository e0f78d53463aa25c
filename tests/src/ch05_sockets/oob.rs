//! Grades `oob`: the urgent byte, once, at its place in the stream.
//!
//! In the take `pair` the program is at both ends, and the urgent pointers on
//! the wire say what its sender did. In `recv` and `inline` the scenario sends:
//! first while the receiver waits for Enter, so that all is there before it
//! reads, and then while it reads.

mod judge;

use std::mem::ManuallyDrop;

use testbed::{Profile, TcpSocket};

use super::peer::Peer;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::{Grader, Mutant, Take};
use judge::judge;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "oob",
    pristine: include_str!("../../pristine/ch05_sockets/oob.rs"),
    takes: &[
        Take { name: "pair", profile: Profile::Modern },
        Take { name: "recv", profile: Profile::Modern },
        Take { name: "inline", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "plain_reads", cause: "urgent-byte-lost" },
        Mutant { name: "urgent_at_once", cause: "wrong-place" },
        Mutant { name: "inline_and_out_of_band", cause: "oob-refused" },
        Mutant { name: "option_forgotten", cause: "not-inline" },
        Mutant { name: "sent_as_data", cause: "no-urg" },
        Mutant { name: "byte_by_byte", cause: "every-byte-urgent" },
    ],
    alternatives: &["nix_select", "raw_calls"],
};

const RECEIVER: &str = "receiver";
const SENDER: &str = "sender";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    match stage.take {
        "pair" => pair(stage),
        take => alone(stage, take),
    }
}

/// The program sends to itself on the other host. What `lab run` is given are
/// the pieces: `data TEXT` and `urgent TEXT`.
fn pair(stage: &mut Stage) -> Result<(), Halt> {
    let (receiver, address) = listen(stage, "recv")?;
    let mut pieces = stage.values.clone();
    if pieces.is_empty() {
        let mut next = |kind: &str| format!("{kind} {}", letters(stage));
        pieces = vec![next("data"), next("urgent"), next("data")];
    }
    stage.fact("pieces", &pieces);

    let sender = stage.start(SENDER, LAPTOP, ["send", &address])?;
    stage.line(sender, "connected to ")?;
    stage.line(receiver, "accepted ")?;
    for (count, piece) in pieces.iter().enumerate() {
        stage.step(LAPTOP, format!("is told: {piece}"))?;
        stage.send(sender, piece);
        stage.line(sender, "sent ")?;
        stage.frames("data from ernest-laptop", count + 1)?;
    }
    stage.close_stdin(sender);
    stage.line(sender, "closed")?;
    stage.frames("fin from ernest-laptop", 1)?;
    stage.end(sender)?;
    stage.idle(receiver)?;
    stage.step(KONGMING, "Enter")?;
    stage.enter(receiver);
    stage.line(receiver, "end of file")?;
    stage.close_stdin(receiver);
    stage.end(receiver)
}

/// The scenario is the sender.
fn alone(stage: &mut Stage, role: &str) -> Result<(), Halt> {
    let (receiver, address) = listen(stage, role)?;
    let to = address.parse().map_err(|_| Halt::Missed("an address".into()))?;
    let port = stage.draw.port();
    let peer = Peer::connect(stage, LAPTOP, port, to)?;
    stage.line(receiver, "accepted ")?;
    let sender = Sender { peer, pieces: Vec::new(), bytes: 0 };
    // Open until this process ends: where the scenario stops early, a receiver
    // that goes on reading must not meet the end of file or not by chance.
    let mut sender = ManuallyDrop::new(sender);

    sender.data(stage)?;
    sender.urgent(stage)?;
    sender.data(stage)?;
    if role == "recv" {
        // Before anybody has fetched the first: only the second counts.
        sender.urgent(stage)?;
        sender.data(stage)?;
    }
    // Each of these waits for Enter: only then is the urgent byte overwritten.
    sender.all_is_there(stage)?;
    stage.step(KONGMING, "Enter")?;
    stage.enter(receiver);
    stage.line(receiver, mark(role))?;
    stage.rests(receiver)?;
    stage.fact("before_enter", sender.pieces.len());

    let byte = sender.urgent_byte(stage)?;
    if role == "recv" {
        stage.line(receiver, &format!("urgent {byte}"))?;
    } else {
        stage.line(receiver, mark(role))?;
    }
    sender.data(stage)?;
    stage.idle(receiver)?;
    sender.urgent(stage)?;
    sender.peer.finish();
    stage.line(receiver, "end of file")?;
    stage.close_stdin(receiver);
    stage.end(receiver)
}

/// The line that says that the mark is reached.
fn mark(role: &str) -> &'static str {
    if role == "recv" { "urgent " } else { "mark" }
}

/// Starts a receiver.
fn listen(stage: &mut Stage, role: &str) -> Result<(Role, String), Halt> {
    let address = stage.address(KONGMING)?.to_string();
    stage.fact("address", &address);
    let args = [role, &address];
    let receiver = stage.start_with(RECEIVER, KONGMING, args, |launch| {
        launch.watch(&["listen"])
    })?;
    stage.line(receiver, "listening on ")?;
    Ok((receiver, address))
}

fn letters(stage: &mut Stage) -> String {
    let count = stage.draw.count(3..=6) as usize;
    stage.draw.letters(count)
}

/// The scenario's end of a connection, and what it has sent.
struct Sender {
    peer: Peer,
    pieces: Vec<String>,
    bytes: usize,
}

impl Sender {
    fn data(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let text = letters(stage);
        self.peer.send(&text);
        self.sent(stage, "data", &text)
    }

    fn urgent(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let text = letters(stage);
        self.peer.send_urgent(&text);
        self.sent(stage, "urgent", &text)
    }

    /// A single byte, which is the mark itself.
    fn urgent_byte(&mut self, stage: &mut Stage) -> Result<String, Halt> {
        let text = stage.draw.letters(1);
        self.peer.send_urgent(&text);
        self.sent(stage, "urgent", &text)?;
        Ok(text)
    }

    fn sent(
        &mut self,
        stage: &mut Stage,
        kind: &str,
        text: &str,
    ) -> Result<(), Halt> {
        self.pieces.push(format!("{kind} {text}"));
        self.bytes += text.len();
        stage.fact("pieces", &self.pieces);
        stage.step(LAPTOP, format!("sends: {kind} {text}"))?;
        stage.frames("data from ernest-laptop", self.pieces.len())
    }

    /// Waits until all is in the receiver's buffer, and nothing has been read.
    fn all_is_there(&self, stage: &mut Stage) -> Result<(), Halt> {
        let (name, bytes) = (self.peer.name, self.bytes as u32);
        let unread = |sockets: &[TcpSocket]| {
            let end = sockets.iter().find(|socket| socket.peer == name);
            end.map_or(0, |end| end.receive_queue)
        };
        let sockets =
            stage.sockets_soon(KONGMING, |found| unread(found) == bytes)?;
        let unread = unread(&sockets);
        stage.fact("unread", (bytes, unread));
        match unread == bytes {
            true => Ok(()),
            false => Err(Halt::Missed(format!(
                "waited for {bytes} bytes in the buffer, had {unread}"
            ))),
        }
    }
}

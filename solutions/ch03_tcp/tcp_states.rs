//! The state machine of TCP: where an end of a connection is after what has
//! happened to it, and what it sends.
//!
//! Two kernels keep a connection, each its own half of the truth. All that an
//! end has to go by is the state it is in and the event at hand: a call of its
//! program, a segment of its peer, a timer. Here the connection carries no data.
//!
//! Usage: tcp_states <HISTORIES     (a line is `TIME EVENT, EVENT, ...`)
//! See also: RFC 9293, sections 3.3.2 and 3.10; tcp(7), ss(8)

use std::fmt;
use std::io::{self, BufRead};

use anyhow::Context;

/// The states of RFC 9293, section 3.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Listen,
    SynSent,
    SynRecv,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

use State::*;

/// Each state by the name that ss(8) gives it.
const NAMES: [(State, &str); 11] = [
    (Closed, "CLOSED"),
    (Listen, "LISTEN"),
    (SynSent, "SYN-SENT"),
    (SynRecv, "SYN-RECV"),
    (Established, "ESTABLISHED"),
    (FinWait1, "FIN-WAIT-1"),
    (FinWait2, "FIN-WAIT-2"),
    (CloseWait, "CLOSE-WAIT"),
    (Closing, "CLOSING"),
    (LastAck, "LAST-ACK"),
    (TimeWait, "TIME-WAIT"),
];

/// One end of a connection.
struct End {
    state: State,
    /// Did it come from LISTEN?
    passive: bool,
}

/// What a segment says. Without data, its flags are all that counts.
struct Segment {
    syn: bool,
    ack: bool,
    fin: bool,
    rst: bool,
    /// Does it acknowledge this end's FIN?
    of_fin: bool,
}

/// Where nothing is sent.
const NOTHING: &str = "-";

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (time, history) = line.split_once(' ').context("no history")?;
        let mut end = End { state: Closed, passive: false };
        let mut sent = NOTHING;
        for event in history.split(", ") {
            sent = match event.strip_prefix("rcv ") {
                Some(words) => end.receive(&Segment::read(words)),
                None => end.call(event),
            };
        }
        println!("{time} {} {sent}", end.state);
    }
    Ok(())
}

impl End {
    // ANCHOR: call
    /// What the program asks for, and what a timer does.
    fn call(&mut self, event: &str) -> &'static str {
        let (state, sent) = match (event, self.state) {
            ("passive open", Closed) => (Listen, NOTHING),
            ("active open", Closed) => (SynSent, "SYN"),
            ("close", Listen | SynSent) => (Closed, NOTHING),
            ("close", SynRecv | Established) => (FinWait1, "FIN ACK"),
            ("close", CloseWait) => (LastAck, "FIN ACK"),
            // Who has sent its FIN, and has the peer's, owes nobody a RST.
            ("abort", Listen | SynSent | Closing | LastAck | TimeWait) => {
                (Closed, NOTHING)
            }
            ("abort", _) => (Closed, "RST"),
            // What is not acknowledged is sent again.
            ("timeout RTO", SynSent) => (SynSent, "SYN"),
            ("timeout RTO", SynRecv) => (SynRecv, "SYN ACK"),
            ("timeout RTO", FinWait1 | Closing | LastAck) => {
                (self.state, "FIN ACK")
            }
            ("timeout 2MSL", TimeWait) => (Closed, NOTHING),
            (_, state) => (state, NOTHING),
        };
        self.passive |= state == Listen;
        self.state = state;
        sent
    }
    // ANCHOR_END: call

    // ANCHOR: receive
    /// RST, SYN, ACK, FIN: a segment is looked through in this order.
    fn receive(&mut self, segment: &Segment) -> &'static str {
        let (state, sent) = match self.state {
            Closed | Listen if segment.rst => (self.state, NOTHING),
            SynRecv if segment.rst && self.passive => (Listen, NOTHING),
            _ if segment.rst => (Closed, NOTHING),
            Closed => (Closed, "RST"),
            Listen if segment.ack => (Listen, "RST"),
            Listen => (SynRecv, "SYN ACK"),
            SynSent if segment.ack => (Established, "ACK"),
            SynSent => (SynRecv, "SYN ACK"), // Both opened at once.
            SynRecv if segment.syn => (Established, "ACK"),
            _ if segment.syn => (self.state, "ACK"), // An old one.
            _ => self.acknowledged(segment),
        };
        self.state = state;
        sent
    }

    /// First what the segment acknowledges, and then its FIN.
    fn acknowledged(&self, segment: &Segment) -> (State, &'static str) {
        let state = match self.state {
            SynRecv => Established,
            FinWait1 if segment.of_fin => FinWait2,
            Closing if segment.of_fin => TimeWait,
            LastAck if segment.of_fin => Closed,
            other => other,
        };
        match state {
            _ if !segment.fin => (state, NOTHING),
            Established => (CloseWait, "ACK"),
            FinWait1 => (Closing, "ACK"), // Both closed at once.
            FinWait2 => (TimeWait, "ACK"),
            other => (other, "ACK"), // It has come before: its ACK was lost.
        }
    }
    // ANCHOR_END: receive
}

impl Segment {
    /// From its flags, and `of FIN` after an ACK of this end's FIN.
    fn read(words: &str) -> Segment {
        let flags = words.strip_suffix(" of FIN");
        let has = |flag| flags.unwrap_or(words).split(' ').any(|w| w == flag);
        Segment {
            syn: has("SYN"),
            ack: has("ACK"),
            fin: has("FIN"),
            rst: has("RST"),
            of_fin: flags.is_some(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(state, _)| state == self);
        f.write_str(name.map_or("?", |(_, name)| name))
    }
}

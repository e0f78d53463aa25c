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
    /// What the program asks for, and what a timer does; the segment that is
    /// sent for it.
    fn call(&mut self, event: &str) -> &'static str {
        // 1. `passive open` and `active open`, from CLOSED.
        // 2. `close` from five states; the segment with FIN is `FIN ACK`.
        // 3. `abort` ends all at once. A RST is sent from those states where
        //    the connection still has something to lose (3.10.5); `RST` is
        //    printed for any RST, with an ACK or without.
        // 4. `timeout RTO`: what was sent and not acknowledged goes again.
        //    `timeout 2MSL` ends TIME-WAIT.
        // 5. Keep in mind whether the end came from LISTEN: step 7 asks.
        todo!("{event} in {}, passive: {}", self.state, self.passive)
    }

    /// A segment has come; the segment that answers it, or NOTHING.
    fn receive(&mut self, segment: &Segment) -> &'static str {
        // 6. RFC 9293, section 3.10.7, looks at RST first, then at SYN, then at
        //    what is acknowledged, and then at FIN. Do the same.
        // 7. A RST ends the connection; in SYN-RECV that came from LISTEN it
        //    only ends the attempt. In CLOSED and LISTEN it is nothing.
        // 8. CLOSED answers everything else with RST, and LISTEN any ACK.
        // 9. A SYN may come in SYN-SENT without an ACK: both ends opened. A
        //    `SYN ACK` after that ends SYN-RECV; there and later it is answered
        //    by ACK.
        // 10. An ACK of the FIN and a FIN may be one segment, or come in either
        //    order. Each FIN is acknowledged, also one that has come before.
        let Segment { syn, ack, fin, rst, of_fin } = segment;
        todo!("{} and {syn} {ack} {fin} {rst} {of_fin}", self.state)
    }
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

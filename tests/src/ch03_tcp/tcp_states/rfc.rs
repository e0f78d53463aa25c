//! What RFC 9293 says that an end of a connection without data does.

use testbed::TcpState;
use testbed::TcpState::*;

/// Where no segment is sent.
pub(super) const NOTHING: &str = "-";

/// One end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Where it is.
    pub(super) state: TcpState,
    /// Was it opened by a passive OPEN?
    pub(super) passive: bool,
}

impl Default for End {
    fn default() -> End {
        End { state: Closed, passive: false }
    }
}

impl End {
    /// What an event does, and what is sent: section 3.10, and figure 5.
    /// `None`: no scene asks for that.
    pub(super) fn step(&mut self, event: &str) -> Option<&'static str> {
        let (state, sent) = after(*self, event)?;
        self.state = state;
        match event {
            "passive open" => self.passive = true,
            "active open" => self.passive = false,
            _ => {}
        }
        Some(sent)
    }

    /// The same; what is not asked for changes nothing.
    pub(super) fn step_loosely(&mut self, event: &str) -> &'static str {
        self.step(event).unwrap_or(NOTHING)
    }
}

fn after(end: End, event: &str) -> Option<(TcpState, &'static str)> {
    let state = end.state;
    Some(match (state, event) {
        // 3.10.1, OPEN.
        (Closed, "passive open") => (Listen, NOTHING),
        (Closed, "active open") => (SynSent, "SYN"),
        // 3.10.4, CLOSE.
        (Listen | SynSent, "close") => (Closed, NOTHING),
        (SynRecv | Established, "close") => (FinWait1, "FIN ACK"),
        (CloseWait, "close") => (LastAck, "FIN ACK"),
        // 3.10.5, ABORT.
        (SynRecv | Established | FinWait1 | FinWait2 | CloseWait, "abort") => {
            (Closed, "RST")
        }
        (Listen | SynSent | Closing | LastAck | TimeWait, "abort") => {
            (Closed, NOTHING)
        }
        // 3.10.8, timeouts.
        (SynSent, "timeout RTO") => (state, "SYN"),
        (SynRecv, "timeout RTO") => (state, "SYN ACK"),
        (FinWait1 | Closing | LastAck, "timeout RTO") => (state, "FIN ACK"),
        (TimeWait, "timeout 2MSL") => (Closed, NOTHING),
        _ => return arrives(end, event.strip_prefix("rcv ")?),
    })
}

/// 3.10.7, SEGMENT ARRIVES.
fn arrives(end: End, segment: &str) -> Option<(TcpState, &'static str)> {
    let state = end.state;
    Some(match (state, segment) {
        // 3.10.7.1, CLOSED, and 3.10.7.2, LISTEN.
        (Closed | Listen, "RST") => (state, NOTHING),
        (Closed, _) => (Closed, "RST"),
        (Listen, "SYN") => (SynRecv, "SYN ACK"),
        (Listen, _) => (Listen, "RST"),
        // 3.10.7.3, SYN-SENT.
        (SynSent, "RST") => (Closed, NOTHING),
        (SynSent, "SYN ACK") => (Established, "ACK"),
        (SynSent, "SYN") => (SynRecv, "SYN ACK"),
        // 3.10.7.4, the others: RST.
        (SynRecv, "RST") if end.passive => (Listen, NOTHING),
        (_, "RST") => (Closed, NOTHING),
        // SYN: its number is behind the window, and so it is answered; what it
        // acknowledges counts in SYN-RECEIVED (3.5, figure 7).
        (SynRecv, "SYN ACK") => (Established, "ACK"),
        (Established | FinWait1 | CloseWait, "SYN ACK") => (state, "ACK"),
        // ACK.
        (SynRecv, "ACK") => (Established, NOTHING),
        (Established | FinWait1 | CloseWait, "ACK") => (state, NOTHING),
        (FinWait1, "ACK of FIN") => (FinWait2, NOTHING),
        (Closing, "ACK of FIN") => (TimeWait, NOTHING),
        (LastAck, "ACK of FIN") => (Closed, NOTHING),
        // FIN.
        (Established | SynRecv, "FIN ACK") => (CloseWait, "ACK"),
        (FinWait1, "FIN ACK") => (Closing, "ACK"),
        (FinWait1 | FinWait2, "FIN ACK of FIN") => (TimeWait, "ACK"),
        (FinWait2, "FIN ACK") => (TimeWait, "ACK"),
        (CloseWait | TimeWait, "FIN ACK") => (state, "ACK"),
        (TimeWait, "FIN ACK of FIN") => (state, "ACK"),
        _ => return None,
    })
}

//! Segments as a reader sees them: numbered connections, relative numbers.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::{Frame, Trace};
use crate::packet::{Flags, Segment};

/// Follows the connections of a trace from frame to frame.
#[derive(Default)]
pub struct View {
    connections: HashMap<(SocketAddr, SocketAddr), Connection>,
    count: usize,
}

#[derive(Clone)]
struct Connection {
    number: usize,
    client: SocketAddr,
    /// The number that counts as 0 and the next number expected, by sender.
    sent: HashMap<SocketAddr, (u32, u32)>,
    /// The next number that a router has not passed on, by sender.
    passed: HashMap<SocketAddr, u32>,
}

/// A TCP segment as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// Connections are counted from 1 by their first SYN.
    pub connection: usize,
    /// The sending host's name, or its address.
    pub from: String,
    /// The receiving host's name, or its address.
    pub to: String,
    /// Did the end that opened the connection send it?
    pub by_client: bool,
    /// The control bits.
    pub flags: Flags,
    /// Counted from the sender's initial sequence number.
    pub seq: u32,
    /// Counted from the other end's; `None` without the ACK bit.
    pub ack: Option<u32>,
    /// Bytes of data.
    pub data: usize,
    /// The window field, not scaled.
    pub window: u16,
    /// With URG, how far behind `seq` the urgent data ends.
    pub urgent: Option<u16>,
    /// Options in tcpdump's notation.
    pub options: Vec<String>,
    /// Was all of it sent before?
    pub again: bool,
    /// Was it put on the wire by a router, which had it from its sender?
    pub forwarded: bool,
}

impl SegmentView {
    /// `SYN seq 0`, `PSH ACK seq 1 ack 1, 5 bytes`, `RST seq 1`; as tcpdump
    /// has it, `PSH URG ACK seq 1 ack 1, 5 bytes, urg 5`. A window is told when
    /// it is closed: `ACK ack 6, win 0`. That of a RST says nothing.
    pub fn summary(&self) -> String {
        let mut text = format!("{}", self.flags);
        // A bare acknowledgement's own number says nothing.
        let bare = self.flags == Flags::ACK && self.data == 0;
        if !bare {
            text.push_str(&format!(" seq {}", self.seq));
        }
        if let Some(ack) = self.ack {
            text.push_str(&format!(" ack {ack}"));
        }
        if self.data > 0 {
            text.push_str(&format!(", {} bytes", self.data));
        }
        if let Some(urgent) = self.urgent {
            text.push_str(&format!(", urg {urgent}"));
        }
        if self.window == 0 && !self.flags.rst {
            text.push_str(", win 0");
        }
        if self.again {
            text.push_str(", again");
        }
        text
    }
}

impl View {
    /// Nothing seen yet.
    pub fn new() -> View {
        View::default()
    }

    /// The next frame of the trace; `None` if it is not TCP. Behind a router
    /// the same segment is on the wire twice: the second is `forwarded`, and
    /// `again` only if the router has passed it on before.
    pub fn segment(
        &mut self,
        trace: &Trace,
        frame: &Frame,
    ) -> Option<SegmentView> {
        let segment = frame.packet().segment()?;
        let forwarded = is_forwarded(trace, frame, &segment);
        let connection = self.connection(&segment);
        let from = segment.source;
        let next = segment.seq.wrapping_add(segment.sequence_length());
        // The first frame of a direction sets its zero: a SYN's own number,
        // else the one before, as if a SYN had just been missed.
        let zero = segment.seq.wrapping_sub(u32::from(!segment.flags.syn));
        let sent = connection.sent.entry(from).or_insert((zero, segment.seq));
        let base = sent.0;
        let known = match forwarded {
            true => connection.passed.entry(from).or_insert(segment.seq),
            false => &mut sent.1,
        };
        let again = segment.sequence_length() > 0
            && (next.wrapping_sub(*known) as i32) <= 0;
        if !again {
            *known = next;
        }
        // Where the other end has not been seen, what it sent before this
        // acknowledgement counts as its SYN.
        let unseen = (segment.ack.wrapping_sub(1), segment.ack);
        let peer = match segment.flags.ack {
            true => {
                *connection.sent.entry(segment.destination).or_insert(unseen)
            }
            false => unseen,
        };
        let ack = segment.ack.wrapping_sub(peer.0);
        Some(SegmentView {
            connection: connection.number,
            from: trace.name_of(from.ip()),
            to: trace.name_of(segment.destination.ip()),
            by_client: connection.client == from,
            flags: segment.flags,
            seq: segment.seq.wrapping_sub(base),
            ack: segment.flags.ack.then_some(ack),
            data: segment.data,
            window: segment.window,
            urgent: segment.flags.urg.then_some(segment.urgent),
            options: segment.options,
            again,
            forwarded,
        })
    }

    /// The number of the last connection between these ends, once a frame of it
    /// has been seen.
    pub fn number(&self, one: SocketAddr, other: SocketAddr) -> Option<usize> {
        self.connections.get(&sorted(one, other)).map(|found| found.number)
    }

    /// The connection of a segment; a SYN with another initial sequence number
    /// begins a new one between the same ends.
    fn connection(&mut self, segment: &Segment) -> &mut Connection {
        let (from, to) = (segment.source, segment.destination);
        let ends = sorted(from, to);
        let opens = segment.flags.syn && !segment.flags.ack;
        let new = Connection {
            number: self.count + 1,
            client: if segment.flags.syn && segment.flags.ack {
                to
            } else {
                from
            },
            sent: HashMap::new(),
            passed: HashMap::new(),
        };
        let connection = self.connections.entry(ends).or_insert_with(|| {
            self.count += 1;
            new.clone()
        });
        let zero = connection.sent.get(&from).map(|sent| sent.0);
        if opens && zero.is_some_and(|zero| zero != segment.seq) {
            self.count += 1;
            *connection = new;
        }
        connection
    }
}

/// Does the frame come from another host than its sender?
fn is_forwarded(trace: &Trace, frame: &Frame, segment: &Segment) -> bool {
    let stations = frame.packet().stations();
    let by = stations.and_then(|(_, station)| trace.host_at(station));
    let sender = trace.host_with(segment.source.ip());
    by.zip(sender).is_some_and(|(by, sender)| by != sender)
}

/// The two ends of a connection, whichever of them asks.
fn sorted(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    if one < other { (one, other) } else { (other, one) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_window_is_told() {
        let mut segment = SegmentView {
            connection: 1,
            from: "Kongming20".into(),
            to: "ernest-laptop".into(),
            by_client: false,
            flags: Flags::ACK,
            seq: 1,
            ack: Some(6),
            data: 0,
            window: 0,
            urgent: None,
            options: Vec::new(),
            again: false,
            forwarded: false,
        };
        assert_eq!(segment.summary(), "ACK ack 6, win 0");
        segment.window = 1;
        assert_eq!(segment.summary(), "ACK ack 6");
        segment.flags = Flags { rst: true, ..Flags::default() };
        (segment.window, segment.ack) = (0, None);
        assert_eq!(segment.summary(), "RST seq 1");
    }
}

//! What this chapter's graders ask of the wire.

use std::collections::{BTreeMap, HashSet};

use testbed::trace::{Event, Frame, What};
use testbed::{Segment, Trace};

use crate::verdict::Performance;

/// Who sent which TCP segment, in order.
pub fn segments(trace: &Trace) -> Vec<(String, Segment)> {
    let segment = |(event, frame): (&Event, &Frame)| {
        Some((event.host.clone(), frame.packet().segment()?))
    };
    trace.frames().filter_map(segment).collect()
}

/// The bytes that a host has sent, each once, in order: its one connection's.
pub fn stream(trace: &Trace, host: &str) -> Vec<u8> {
    let mut start = None;
    let mut bytes = BTreeMap::new();
    for (event, frame) in trace.frames() {
        let packet = frame.packet();
        let segment = packet.segment().filter(|_| event.host == host);
        let Some(segment) = segment else { continue };
        let start = *start.get_or_insert(segment.seq);
        let data = packet.data();
        if !data.is_empty() {
            bytes.insert(segment.seq.wrapping_sub(start), data.to_vec());
        }
    }
    bytes.into_values().flatten().collect()
}

/// The segments that open, close, reset or carry data, each once, with the
/// states of both ends. When a kernel sends a bare ACK, and what it repeats on
/// a machine that is busy, is its own choice.
pub fn story(performance: &Performance) -> String {
    let Ok(mut trace) = performance.trace.select("tcp") else {
        return String::new();
    };
    let mut seen = HashSet::new();
    trace.events.retain(|event| match &event.what {
        What::Frame(frame) => frame.packet().segment().is_some_and(|s| {
            let flags = s.flags;
            (flags.syn || flags.fin || flags.rst || s.data > 0)
                && seen.insert((s.source, s.seq, flags.to_string()))
        }),
        _ => false,
    });
    trace.to_text()
}

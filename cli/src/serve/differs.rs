//! What differs between a reader's run and the one that the page shows, and
//! why, as far as the two traces tell.

use graders::verdict::Performance;
use serde::Serialize;
use testbed::Trace;
use testbed::trace::{SegmentView, View};

use crate::book::recording::numbers_of;

/// One difference.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What the page shows.
    pub said: String,
    /// What it was now.
    pub now: String,
    /// Why, if that can be told.
    pub why: String,
}

/// What of a run is compared.
struct Look {
    kernel: String,
    profile: String,
    segments: usize,
    again: usize,
    lost: usize,
    to_close: usize,
    resets: usize,
    /// Did a FIN acknowledge the other end's FIN?
    together: bool,
    ends: Vec<String>,
}

/// All that differs, the circumstances first.
pub fn differences(
    recorded: &Performance,
    now: &Performance,
) -> Vec<Difference> {
    let (was, is) = (look(&recorded.trace), look(&now.trace));
    let mut all = Vec::new();
    let mut differ = |what: &str, said: String, now: String, why: &str| {
        if said != now {
            all.push(Difference {
                said: format!("{what}: {said}"),
                now: format!("{what}: {now}"),
                why: why.to_string(),
            });
        }
    };
    differ("kernel", was.kernel.clone(), is.kernel.clone(), "");
    differ(
        "profile",
        was.profile.clone(),
        is.profile.clone(),
        "the sysctls of the profile make a kernel behave so",
    );
    let count = |number: usize| number.to_string();
    let why = match (is.lost > was.lost, is.lost < was.lost) {
        (true, _) => "the wire lost frames in your run",
        (_, true) => "the wire lost fewer frames in your run",
        _ => "a retransmission timer ran out: an end was slow to answer",
    };
    differ("segments sent again", count(was.again), count(is.again), why);
    differ("frames lost", count(was.lost), count(is.lost), "");
    let why = match (was.together, is.together) {
        (false, true) => {
            "the second FIN took the ACK of the first along: the program \
             closed before its kernel had sent that ACK by itself"
        }
        (true, false) => {
            "the first FIN was acknowledged by itself: the program closed \
             later than its kernel waits for something to send the ACK with"
        }
        _ => "",
    };
    differ("segments to close", count(was.to_close), count(is.to_close), why);
    differ("resets", count(was.resets), count(is.resets), "");
    let why = match is.segments.abs_diff(was.segments) {
        0 => "",
        _ if is.again != was.again => "see the segments sent again",
        _ if is.to_close != was.to_close => "see the segments to close",
        _ => {
            "kernels join acknowledgements when they can (RFC 9293, section \
             3.8.6.3), and other ports and payloads were drawn"
        }
    };
    differ("TCP segments", count(was.segments), count(is.segments), why);
    differ("states at the end", was.ends.join(", "), is.ends.join(", "), "");
    for (program, exit) in &recorded.exits {
        let how = |exit: &Option<testbed::Exit>| match exit {
            Some(exit) => exit.to_string(),
            None => "still running".to_string(),
        };
        if let Some(other) = now.exits.get(program) {
            differ(&format!("end of {program}"), how(exit), how(other), "");
        }
        let lines = |run: &Performance| count(run.trace.stdout(program).len());
        let what = format!("lines of {program}");
        differ(&what, lines(recorded), lines(now), "");
    }
    all
}

fn look(trace: &Trace) -> Look {
    let mut view = View::new();
    let frames = trace.frames().filter_map(|(_, frame)| {
        let segment = view.segment(trace, frame)?;
        Some((frame, segment))
    });
    let mut look = Look {
        kernel: numbers_of(&trace.kernel),
        profile: trace.profile.clone(),
        segments: 0,
        again: 0,
        lost: 0,
        to_close: 0,
        resets: 0,
        together: false,
        ends: Vec::new(),
    };
    let mut first_fin: Option<SegmentView> = None;
    let mut last = None;
    for (frame, segment) in frames {
        look.segments += 1;
        look.again += usize::from(segment.again);
        look.lost += usize::from(frame.delivered_ns.is_none());
        look.resets += usize::from(segment.flags.rst);
        if segment.connection == 1 && !segment.again {
            let fin = segment.flags.fin;
            look.to_close += usize::from(fin || first_fin.is_some());
            if let (true, Some(first)) = (fin, &first_fin) {
                let other = first.from != segment.from;
                let acked = segment.ack == Some(first.seq + 1);
                look.together = other && acked && look.to_close == 2;
            } else if fin {
                first_fin = Some(segment);
            }
        }
        last = Some(frame);
    }
    if let Some(frame) = last {
        let ends = frame.states.iter();
        look.ends = ends
            .map(|(host, state)| format!("{host} {}", state.name()))
            .collect();
    }
    look
}

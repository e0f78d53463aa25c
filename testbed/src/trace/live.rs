//! The trace as text while it grows.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Event, Painter, StateChange, Trace, What};
use crate::sockets::TcpState;

/// How long an event is kept before it is drawn. A frame is written down once
/// it has been delivered, after all that came of that.
pub const MOMENT: Duration = Duration::from_millis(50);

/// Draws events as they happen: a moment late, so that they are in the order of
/// their times, and each change of state once.
///
/// A change of state gets a line of its own, unless the line of a frame of its
/// connection, at most a moment before or after it, has just that state in the
/// column of its host.
pub struct Live {
    painter: Painter,
    /// In the order of their times.
    waiting: VecDeque<(Instant, Event)>,
    /// What lines of frames showed, no more than a moment before the last event
    /// drawn.
    shown: VecDeque<Shown>,
}

/// A state in the column of a host.
struct Shown {
    t_ns: u64,
    host: String,
    /// The sender's and the receiver's.
    ends: (SocketAddr, SocketAddr),
    state: TcpState,
}

impl Live {
    /// Draws with this painter, and changes of state too.
    pub fn new(painter: Painter) -> Live {
        Live {
            painter: painter.with_changes(),
            waiting: VecDeque::new(),
            shown: VecDeque::new(),
        }
    }

    /// The names of the two hosts, each above its column.
    pub fn header(&self) -> String {
        self.painter.header()
    }

    /// Takes an event; [`Live::due`] draws it.
    pub fn hear(&mut self, event: &Event) {
        let later = |(_, other): &&(Instant, Event)| other.t_ns > event.t_ns;
        let behind = self.waiting.iter().rev().take_while(later).count();
        let place = self.waiting.len() - behind;
        self.waiting.insert(place, (Instant::now(), event.clone()));
        self.shown.extend(self.states(event));
    }

    /// Is there an event that is not drawn yet?
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The lines of the events that have been kept for a moment.
    pub fn due(&mut self, trace: &Trace) -> String {
        let old = |(heard, _): &(Instant, Event)| heard.elapsed() >= MOMENT;
        let due = self.waiting.iter().rposition(old).map_or(0, |at| at + 1);
        self.draw(trace, due)
    }

    /// The lines of all that is left, at the end.
    pub fn rest(&mut self, trace: &Trace) -> String {
        let text = self.draw(trace, self.waiting.len());
        text + &self.painter.finish(trace)
    }

    fn draw(&mut self, trace: &Trace, count: usize) -> String {
        let mut text = String::new();
        let events: Vec<_> = self.waiting.drain(..count).collect();
        for (_, event) in events {
            self.shown.retain(|shown| {
                shown.t_ns >= event.t_ns || near(shown.t_ns, event.t_ns)
            });
            let told = match &event.what {
                What::State(change) => self.is_told(&event, change),
                _ => false,
            };
            if !told {
                text.push_str(&self.painter.paint(trace, &event));
            }
        }
        text
    }

    fn is_told(&self, event: &Event, change: &StateChange) -> bool {
        self.shown.iter().any(|shown| {
            near(shown.t_ns, event.t_ns)
                && shown.host == event.host
                && shown.state == change.to
                && (shown.ends == (change.local, change.peer)
                    || shown.ends == (change.peer, change.local))
        })
    }

    /// The states in the columns of a frame's line.
    fn states(&self, event: &Event) -> Vec<Shown> {
        let What::Frame(frame) = &event.what else { return Vec::new() };
        let Some(ends) = frame.packet().ends() else { return Vec::new() };
        let states = frame.states.iter();
        let shown = states.filter(|(host, _)| self.painter.shows(host));
        let shown = shown.map(|(host, &state)| Shown {
            t_ns: event.t_ns,
            host: host.clone(),
            ends,
            state,
        });
        shown.collect()
    }
}

fn near(one: u64, other: u64) -> bool {
    u128::from(one.abs_diff(other)) <= MOMENT.as_nanos()
}

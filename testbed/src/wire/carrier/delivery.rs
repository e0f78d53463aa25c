//! How a frame gets to whom it is addressed: at once, later, or when it is let
//! go.

use std::time::{Duration, Instant};

use super::Carrier;
use super::fate::Fate;
use crate::wire::rule::Action;

/// What [`Action::Reorder`] waits for a following frame.
const REORDER_PATIENCE: Duration = Duration::from_millis(200);

/// A frame that is in the wire and not yet delivered.
pub(super) struct Waiting {
    pub(super) from: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) event: Option<usize>,
    pub(super) copies: usize,
}

/// A frame kept by a `hold` or `reorder` rule.
pub(super) struct Held {
    rule: usize,
    frame: Waiting,
}

impl Carrier {
    /// Puts a frame aside until its time or its release.
    pub(super) fn keep(&mut self, fate: Fate, frame: Waiting) {
        self.sequence += 1;
        match fate {
            Fate::At(due) => {
                self.later.insert((due, self.sequence), frame);
            }
            Fate::Hold { rule } => self.held.push(Held { rule, frame }),
            Fate::Behind { rule } => {
                // Delivered by the next frame of this port, or by this timer.
                let due = Instant::now() + REORDER_PATIENCE;
                let alarm = Waiting {
                    from: frame.from,
                    bytes: Vec::new(),
                    event: None,
                    copies: 0,
                };
                self.later.insert((due, self.sequence), alarm);
                self.held.push(Held { rule, frame });
            }
            Fate::Deliver { .. } | Fate::Lose => {}
        }
    }

    pub(super) fn deliver_what_is_due(&mut self) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > Instant::now() {
                return;
            }
            let frame = entry.remove();
            match frame.copies {
                0 => self.deliver_reordered(frame.from),
                _ => self.deliver_late(frame),
            }
        }
    }

    /// Lets go of the frames that a rule holds, oldest first.
    pub(super) fn release(&mut self, rule: usize) {
        let (free, held) =
            self.held.drain(..).partition(|held: &Held| held.rule == rule);
        self.held = held;
        let free: Vec<Held> = free;
        for held in free {
            self.deliver_late(held.frame);
        }
    }

    /// Lets go of the oldest frame that a rule holds, or loses it; is there one?
    pub(super) fn release_next(&mut self, rule: usize, arrives: bool) -> bool {
        let Some(at) = self.held.iter().position(|held| held.rule == rule)
        else {
            return false;
        };
        let held = self.held.remove(at);
        if arrives {
            self.deliver_late(held.frame);
        } else if let (Some(recorder), Some(event)) =
            (&self.recorder, held.frame.event)
        {
            recorder.amend(event, |frame| frame.wire.push("then lost".into()));
        }
        true
    }

    /// Lets go of all that rules have kept, oldest first.
    pub(super) fn release_all(&mut self) {
        let free = std::mem::take(&mut self.held);
        self.note(match free.len() {
            0 => "nothing to release: no frame is held".into(),
            1 => "1 held frame released".into(),
            count => format!("{count} held frames released"),
        });
        for held in free {
            self.deliver_late(held.frame);
        }
    }

    /// Lets go of what waited for a frame of this port to pass first.
    pub(super) fn deliver_reordered(&mut self, from: usize) {
        let rules: Vec<usize> = (0..self.rules.len())
            .filter(|id| self.rules[*id].rule.action == Action::Reorder)
            .collect();
        for rule in rules {
            let waits =
                |held: &Held| held.rule == rule && held.frame.from == from;
            while let Some(at) = self.held.iter().position(waits) {
                let held = self.held.remove(at);
                self.deliver_late(held.frame);
            }
        }
    }

    fn deliver_late(&mut self, waiting: Waiting) {
        let mut notes = Vec::new();
        let mut delivered = false;
        if self.cut[waiting.from] {
            notes.push("lost: cable cut".into());
        } else {
            delivered = self.deliver(waiting.from, &waiting.bytes, &mut notes);
        }
        let Some(event) = waiting.event else { return };
        let late = self.describe(&waiting.bytes, notes, delivered);
        if let Some(recorder) = &self.recorder {
            recorder.amend(event, |frame| {
                frame.wire.extend(late.wire);
                frame.delivered_ns = late.delivered_ns;
                frame.states = late.states;
            });
        }
    }

    /// Writes a frame to whom it is addressed; was it given to anybody?
    pub(super) fn deliver(
        &mut self,
        from: usize,
        bytes: &[u8],
        notes: &mut Vec<String>,
    ) -> bool {
        let lan = self.plugs[from].lan;
        let station: [u8; 6] =
            [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]];
        let known = self
            .plugs
            .iter()
            .position(|plug| plug.lan == lan && plug.mac == station);
        let mut delivered = false;
        for to in 0..self.plugs.len() {
            let addressed = match known {
                Some(only) => to == only,
                None => self.plugs[to].lan == lan && to != from,
            };
            if !addressed {
                continue;
            }
            if self.cut[to] {
                let host = &self.plugs[to].host;
                notes.push(format!("lost: cable of {host} cut"));
                continue;
            }
            // A TAP device without carrier would still take it.
            if self.link_down[to] {
                let host = &self.plugs[to].host;
                notes.push(format!("lost: link of {host} down"));
                continue;
            }
            match self.plugs[to].port.send(bytes) {
                Ok(()) => delivered = true,
                Err(err) => self.failed_send(to, &err, notes),
            }
            if let Some(sampler) = &mut self.sampler {
                sampler.after(bytes, &self.plugs[to].host);
            }
        }
        delivered
    }

    fn failed_send(
        &mut self,
        to: usize,
        err: &std::io::Error,
        notes: &mut Vec<String>,
    ) {
        let host = &self.plugs[to].host;
        notes.push(format!("lost: write to {host}: {err}"));
        self.losses.push(format!("a frame to {host} was lost: {err}"));
    }
}

//! What becomes of a frame: cables, links, and the rules in their order.

use std::time::{Duration, Instant};

use super::Carrier;
use crate::packet::Packet;
use crate::wire::rule::{Action, Rule};

/// What [`Action::Rate`] keeps: a second's worth.
const RATE_QUEUE: Duration = Duration::from_secs(1);

/// What becomes of a frame after the rules have seen it.
pub(super) enum Fate {
    Deliver { copies: usize },
    Lose,
    At(Instant),
    Hold { rule: usize },
    Behind { rule: usize },
}

/// A rule at work. The place in the list is its id, so none is ever removed.
pub(super) struct Working {
    pub(super) rule: Rule,
    seen: u64,
    active: bool,
    /// For `rate`: when the line is free again.
    free_at: Instant,
}

impl Carrier {
    /// Sets a rule to work; its id.
    pub(super) fn arm(&mut self, rule: Rule) -> usize {
        let free_at = Instant::now();
        self.rules.push(Working { rule, seen: 0, active: true, free_at });
        self.rules.len() - 1
    }

    /// Ends a rule, and lets go of what it holds.
    pub(super) fn disarm(&mut self, id: usize) {
        self.rules[id].active = false;
        self.release(id);
    }

    /// What the rules say of a frame: the first that acts on it decides.
    pub(super) fn apply_rules(
        &mut self,
        from: usize,
        bytes: &mut [u8],
        notes: &mut Vec<String>,
    ) -> Fate {
        if self.cut[from] {
            notes.push("lost: cable cut".into());
            return Fate::Lose;
        }
        if self.link_down[from] {
            notes.push("lost: link down".into());
            return Fate::Lose;
        }
        let Some(id) = self.acting_rule(from, bytes) else {
            return Fate::Deliver { copies: 1 };
        };
        let working = &mut self.rules[id];
        let rule = &working.rule;
        let by = format!("by rule `{rule}`, match {}", working.seen);
        match rule.action {
            Action::Drop => {
                notes.push(format!("dropped {by}"));
                Fate::Lose
            }
            Action::Duplicate => {
                notes.push(format!("duplicated {by}"));
                Fate::Deliver { copies: 2 }
            }
            Action::Delay(time) => {
                notes.push(format!("delayed {by}"));
                Fate::At(Instant::now() + time)
            }
            Action::Hold => {
                notes.push(format!("held {by}"));
                Fate::Hold { rule: id }
            }
            Action::Reorder => {
                notes.push(format!("reordered {by}"));
                Fate::Behind { rule: id }
            }
            Action::Corrupt => {
                let last = bytes.len() - 1;
                notes.push(format!("byte {last} corrupted {by}"));
                bytes[last] = !bytes[last];
                Fate::Deliver { copies: 1 }
            }
            Action::Rate(bits) => {
                let now = Instant::now();
                let start = working.free_at.max(now);
                if start - now > RATE_QUEUE {
                    notes.push(format!("dropped, its queue is full, {by}"));
                    return Fate::Lose;
                }
                let nanos = bytes.len() as u64 * 8 * 1_000_000_000 / bits;
                working.free_at = start + Duration::from_nanos(nanos);
                notes.push(format!("slowed {by}"));
                Fate::At(working.free_at)
            }
        }
    }

    /// Counts the frame for each rule that it matches; the first that acts.
    fn acting_rule(&mut self, from: usize, bytes: &[u8]) -> Option<usize> {
        if self.rules.is_empty() {
            return None;
        }
        let packet = Packet::decode(bytes);
        let host = &self.plugs[from].host;
        let mut acting = None;
        for (id, working) in self.rules.iter_mut().enumerate() {
            if !working.active || !working.rule.matcher.matches(host, &packet) {
                continue;
            }
            working.seen += 1;
            let range = working.rule.first..=working.rule.last;
            if acting.is_none() && range.contains(&working.seen) {
                acting = Some(id);
            }
        }
        acting
    }
}

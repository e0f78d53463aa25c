//! The thread that carries frames, and what it does to them.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::rule::{Action, Rule};
use super::{Counters, Order, Plug};
use crate::error::Result;
use crate::packet::Packet;
use crate::recorder::Recorder;
use crate::sampler::Sampler;
use crate::trace::Frame;

/// Frames read from one port before the others have their turn: with more,
/// the log may show frames of two hosts in the wrong order.
const BATCH: usize = 16;
/// For how long the wire looks again before it sleeps. To be woken costs more
/// (up to 50 us on a virtual machine), and an answer mostly follows soon.
const ALERT: Duration = Duration::from_micros(100);
/// Longer than any frame that a host may send.
const LONGEST_FRAME: usize = 65_536;
/// What [`Action::Reorder`] waits for a following frame.
const REORDER_PATIENCE: Duration = Duration::from_millis(200);
/// What [`Action::Rate`] keeps: a second's worth.
const RATE_QUEUE: Duration = Duration::from_secs(1);
/// The station address of MLDv2 reports (RFC 3810), which a switch that snoops
/// keeps to itself, as this wire does.
const LISTENER_REPORTS: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x16];

/// A rule at work. The place in the list is its id, so none is ever removed.
struct Working {
    rule: Rule,
    seen: u64,
    active: bool,
    /// For `rate`: when the line is free again.
    free_at: Instant,
}

/// A frame that is in the wire and not yet delivered.
struct Waiting {
    from: usize,
    bytes: Vec<u8>,
    event: Option<usize>,
    copies: usize,
}

/// A frame kept by a `hold` or `reorder` rule.
struct Held {
    rule: usize,
    frame: Waiting,
}

/// What becomes of a frame after the rules have seen it.
enum Fate {
    Deliver { copies: usize },
    Lose,
    At(Instant),
    Hold { rule: usize },
    Behind { rule: usize },
}

/// What the thread hears its orders by, and where it counts.
type Ears = (Arc<EventFd>, Receiver<Order>, Arc<Counters>);

/// The wire's thread.
pub(super) struct Carrier {
    bell: Arc<EventFd>,
    inbox: Receiver<Order>,
    counters: Arc<Counters>,
    plugs: Vec<Plug>,
    cut: Vec<bool>,
    link_down: Vec<bool>,
    carrier_was_off: Vec<bool>,
    rules: Vec<Working>,
    later: BTreeMap<(Instant, u64), Waiting>,
    sequence: u64,
    held: Vec<Held>,
    recorder: Option<Recorder>,
    sampler: Option<Sampler>,
    losses: Vec<String>,
    askers: Vec<Sender<()>>,
}

impl Carrier {
    pub(super) fn new(
        plugs: Vec<Plug>,
        (bell, inbox, counters): Ears,
        recorder: Option<Recorder>,
        sampler: Option<Sampler>,
    ) -> Carrier {
        Carrier {
            bell,
            inbox,
            counters,
            cut: vec![false; plugs.len()],
            link_down: vec![false; plugs.len()],
            carrier_was_off: vec![false; plugs.len()],
            plugs,
            rules: Vec::new(),
            later: BTreeMap::new(),
            sequence: 0,
            held: Vec::new(),
            recorder,
            sampler,
            losses: Vec::new(),
            askers: Vec::new(),
        }
    }

    /// Carries frames until it is told to stop.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; LONGEST_FRAME];
        let mut quiet_since = Instant::now();
        while self.obey() {
            self.deliver_what_is_due();
            if self.carry_batches(&mut buffer) {
                quiet_since = Instant::now();
                continue;
            }
            self.answer_askers();
            if quiet_since.elapsed() > ALERT {
                self.sleep();
            }
        }
    }

    /// Carries what waits at the ports, a batch from each in turn; was there
    /// anything?
    fn carry_batches(&mut self, buffer: &mut [u8]) -> bool {
        let mut any = false;
        for from in 0..self.plugs.len() {
            for _ in 0..BATCH {
                let Ok(length) = self.plugs[from].port.receive(buffer) else {
                    break; // WouldBlock, or the link is down.
                };
                any = true;
                self.carry(from, &mut buffer[..length]);
            }
        }
        any
    }

    /// Sleeps until a frame comes, an order comes, or a frame is due.
    fn sleep(&self) {
        let timeout = match self.later.keys().next() {
            None => PollTimeout::NONE,
            Some((due, _)) => {
                let left = due.saturating_duration_since(Instant::now());
                let millis = left.as_micros().div_ceil(1000);
                PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
            }
        };
        let ports = self.plugs.iter().map(|plug| plug.port.fd());
        let mut fds: Vec<PollFd<'_>> = ports
            .chain([self.bell.as_fd()])
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout);
        let _ = self.bell.read(); // Not blocking: rung or not.
    }

    /// Does what was asked; `false`: stop.
    fn obey(&mut self) -> bool {
        while let Ok(order) = self.inbox.try_recv() {
            // Who asked may have gone; then nobody waits for the reply.
            match order {
                Order::Arm(rule, reply) => {
                    let free_at = Instant::now();
                    let active = true;
                    self.rules.push(Working { rule, seen: 0, active, free_at });
                    let _ = reply.send(self.rules.len() - 1);
                }
                Order::Release(id, reply) => {
                    self.release(id);
                    let _ = reply.send(());
                }
                Order::Disarm(id, reply) => {
                    self.rules[id].active = false;
                    self.release(id);
                    let _ = reply.send(());
                }
                Order::Cable(host, whole, reply) => {
                    for index in self.ports_of(&host) {
                        self.cut[index] = !whole;
                    }
                    let done = if whole { "plugged in" } else { "cut" };
                    self.note(format!("cable of {host} {done}"));
                    let _ = reply.send(());
                }
                Order::Carrier(host, on, reply) => {
                    let _ = reply.send(self.set_carrier(&host, on));
                }
                Order::Sample(reply) => self.askers.push(reply),
                Order::Losses(reply) => {
                    let _ = reply.send(self.count_losses());
                }
                Order::Stop => return false,
            }
        }
        true
    }

    /// A frame has come from port `from`.
    fn carry(&mut self, from: usize, bytes: &mut [u8]) {
        if bytes.len() < 14 || bytes[..6] == LISTENER_REPORTS {
            return;
        }
        self.counters.frames.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // What the programs did before this segment belongs before it.
        if let Some(sampler) = &mut self.sampler {
            sampler.before(bytes);
        }
        let arrived = self.recorder.as_ref().map_or(0, Recorder::now);

        let mut notes = Vec::new();
        let original = match self.recorder {
            // A corrupted frame is recorded as the host sent it.
            Some(_) if !self.rules.is_empty() => Some(bytes.to_vec()),
            _ => None,
        };
        let fate = self.apply_rules(from, bytes, &mut notes);
        let original = original.as_deref();

        match fate {
            Fate::Deliver { copies } => {
                let mut delivered = false;
                for _ in 0..copies {
                    delivered |= self.deliver(from, bytes, &mut notes);
                }
                let frame = self.describe(bytes, notes, delivered);
                self.record(arrived, from, original.unwrap_or(bytes), frame);
                self.deliver_reordered(from);
            }
            Fate::Lose => {
                let frame = self.describe(bytes, notes, false);
                self.record(arrived, from, original.unwrap_or(bytes), frame);
            }
            Fate::At(_) | Fate::Hold { .. } | Fate::Behind { .. } => {
                let frame = self.describe(bytes, notes, false);
                let event = self.record(
                    arrived,
                    from,
                    original.unwrap_or(bytes),
                    frame,
                );
                let waiting =
                    Waiting { from, bytes: bytes.to_vec(), event, copies: 1 };
                self.keep(fate, waiting);
            }
        }
    }

    /// What the rules say of a frame: the first that acts on it decides.
    fn apply_rules(
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

    /// Puts a frame aside until its time or its release.
    fn keep(&mut self, fate: Fate, frame: Waiting) {
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

    fn deliver_what_is_due(&mut self) {
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
    fn release(&mut self, rule: usize) {
        let (free, held) =
            self.held.drain(..).partition(|held: &Held| held.rule == rule);
        self.held = held;
        let free: Vec<Held> = free;
        for held in free {
            self.deliver_late(held.frame);
        }
    }

    /// Lets go of what waited for a frame of this port to pass first.
    fn deliver_reordered(&mut self, from: usize) {
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
    fn deliver(
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

    fn describe(
        &self,
        bytes: &[u8],
        notes: Vec<String>,
        delivered: bool,
    ) -> Frame {
        let Some(recorder) = &self.recorder else { return Frame::default() };
        let states = self.sampler.as_ref().map(|sampler| sampler.states(bytes));
        Frame {
            wire: notes,
            delivered_ns: delivered.then(|| recorder.now()),
            states: states.unwrap_or_default(),
            ..Frame::default()
        }
    }

    fn record(
        &self,
        t_ns: u64,
        from: usize,
        bytes: &[u8],
        frame: Frame,
    ) -> Option<usize> {
        let recorder = self.recorder.as_ref()?;
        recorder.frame(t_ns, &self.plugs[from].host, bytes, frame)
    }

    /// Samples for who has asked, now that no frame waits: what happened before
    /// the question is in the trace before the answer.
    fn answer_askers(&mut self) {
        if self.askers.is_empty() {
            return;
        }
        if let Some(sampler) = &mut self.sampler {
            sampler.sample_all();
        }
        for asker in self.askers.drain(..) {
            let _ = asker.send(()); // It may have gone.
        }
    }

    fn set_carrier(&mut self, host: &str, on: bool) -> Result<()> {
        for index in self.ports_of(host) {
            self.carrier_was_off[index] = true;
            self.link_down[index] = !on;
            self.plugs[index].port.set_carrier(on)?;
        }
        let state = if on { "up" } else { "down" };
        self.note(format!("link of {host} {state}"));
        Ok(())
    }

    fn count_losses(&mut self) -> Vec<String> {
        for index in 0..self.plugs.len() {
            let drops = self.plugs[index].port.drops();
            if drops > 0 && !self.carrier_was_off[index] {
                let host = &self.plugs[index].host;
                self.losses.push(format!(
                    "{drops} frames of {host} found no room in the wire's queue"
                ));
            }
        }
        self.losses.clone()
    }

    fn ports_of(&self, host: &str) -> Vec<usize> {
        let ports = 0..self.plugs.len();
        ports.filter(|index| self.plugs[*index].host == host).collect()
    }

    fn note(&self, text: String) {
        if let Some(recorder) = &self.recorder {
            recorder.step("wire", text);
        }
    }
}

//! The thread that carries frames, and what it is told to do.

mod delivery;
mod fate;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::{Counters, Order, Plug};
use crate::error::Result;
use crate::recorder::Recorder;
use crate::sampler::Sampler;
use crate::trace::Frame;

use delivery::{Held, Waiting};
use fate::{Fate, Working};

/// Frames read from one port before the others have their turn: with more,
/// the log may show frames of two hosts in the wrong order.
const BATCH: usize = 16;
/// For how long the wire looks again before it sleeps. To be woken costs more
/// (up to 50 us on a virtual machine), and an answer mostly follows soon.
const ALERT: Duration = Duration::from_micros(100);
/// Longer than any frame that a host may send.
const LONGEST_FRAME: usize = 65_536;
/// The station address of MLDv2 reports (RFC 3810), which a switch that snoops
/// keeps to itself, as this wire does.
const LISTENER_REPORTS: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x16];

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
                    let _ = reply.send(Ok(self.arm(rule)));
                }
                Order::ArmAloud(rule, reply) => {
                    self.note(format!("rule armed: {rule}"));
                    self.arm(rule);
                    let _ = reply.send(());
                }
                Order::ReleaseAllAloud(reply) => {
                    self.release_all();
                    let _ = reply.send(());
                }
                Order::Release(id, reply) => {
                    self.release(id);
                    let _ = reply.send(());
                }
                Order::ReleaseNext(id, arrives, reply) => {
                    let _ = reply.send(self.release_next(id, arrives));
                }
                Order::Disarm(id, reply) => {
                    self.disarm(id);
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

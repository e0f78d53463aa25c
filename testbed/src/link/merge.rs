//! One trace of what two agents saw.
//!
//! A frame is seen twice: by its sender's agent, with what the wire there did to
//! it, and by its receiver's, with when it arrived. Here the two are one event
//! again. Until the end of the run its times are as good as the bounds of the
//! clocks; [`Merge::retime`] then sets them by all that is known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::LAN;
use super::clock::{self, Bounds};
use crate::recorder::Recorder;
use crate::trace::{ClockInfo, Event, Frame, What};

/// A frame that has not come by then will not come.
const LONGEST_WAY_NS: u64 = 1_000_000_000;

pub(crate) struct Merge {
    recorder: Recorder,
    hosts: Vec<Station>,
    state: Mutex<State>,
}

/// A host as the other knows it.
pub(crate) struct Station {
    pub(crate) name: String,
    pub(crate) mac: [u8; 6],
}

struct State {
    /// What each agent's clock may show at our time 0.
    clocks: Vec<Bounds>,
    /// What the second host's clock shows when the first's shows 0, by frames.
    between: Bounds,
    /// Where an agent's event is: by its host and its number there.
    places: BTreeMap<(usize, usize), usize>,
    /// By place: the times as they were told, and by whom.
    times: BTreeMap<usize, Times>,
    /// Frames that have left and not come.
    under_way: VecDeque<usize>,
    /// Frames that have come, and whose sender has not told of them yet.
    early: Vec<(usize, usize, Event)>,
}

#[derive(Clone, Copy)]
struct Times {
    host: usize,
    t_ns: u64,
    /// Of a frame: has its sender's wire let it go?
    left: bool,
    /// By whose clock it came, and when.
    came: Option<(usize, u64)>,
}

impl Merge {
    pub(crate) fn new(recorder: Recorder, hosts: Vec<Station>) -> Merge {
        let state = State {
            clocks: vec![Bounds::new(); hosts.len()],
            between: Bounds::new(),
            places: BTreeMap::new(),
            times: BTreeMap::new(),
            under_way: VecDeque::new(),
            early: Vec::new(),
        };
        Merge { recorder, hosts, state: Mutex::new(state) }
    }

    pub(super) fn now(&self) -> u64 {
        self.recorder.now()
    }

    /// Makes this moment, with all hosts up, the trace's time 0. What one of them
    /// sent before nobody waits for, nor what a machine sent before its agent had
    /// its interface.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        state.under_way.clear();
        state.early.clear();
        let later = i64::try_from(self.recorder.begin()).unwrap_or(0);
        for clock in &mut state.clocks {
            *clock = clock.shifted(later);
        }
    }

    /// A question, with when it was sent and came, and its answer, with when it
    /// was here and had been given.
    pub(super) fn answered(
        &self,
        host: usize,
        (sent, began): (u64, u64),
        (here, ended): (u64, u64),
    ) {
        let clock = &mut self.lock().clocks[host];
        clock.not_before(sent, began);
        clock.not_after(here, ended);
    }

    /// An agent's event: a new one, or more of one that it has told before.
    pub(super) fn hear(&self, host: usize, number: usize, event: Event) {
        let mut state = self.lock();
        if let Some(place) = state.places.get(&(host, number)).copied() {
            if let What::Frame(frame) = &event.what {
                self.know_better(&mut state, host, place, &event, frame);
            }
            return;
        }
        match &event.what {
            What::Frame(frame) if event.host == LAN => {
                let from = frame.bytes.get(6..12).unwrap_or_default();
                // A third machine's frames are not this run's.
                if self.hosts.iter().any(|station| station.mac == from) {
                    self.arrive(&mut state, host, number, event);
                }
            }
            What::Frame(frame) => {
                let (frame, t_ns) = (frame.clone(), event.t_ns);
                self.depart(&mut state, host, number, t_ns, frame);
            }
            what => {
                let t_ns = state.ours(host, event.t_ns);
                let place = self.recorder.at(t_ns, &event.host, what.clone());
                state.put(host, number, place, event.t_ns);
            }
        }
    }

    fn depart(
        &self,
        state: &mut State,
        host: usize,
        number: usize,
        t_ns: u64,
        frame: Frame,
    ) {
        let name = &self.hosts[host].name;
        let lost = is_lost(&frame);
        let left = frame.delivered_ns.is_some();
        let ours = state.ours(host, t_ns);
        let bytes = frame.bytes.clone();
        let sent = Frame { delivered_ns: None, ..frame };
        let Some(place) = self.recorder.frame(ours, name, &bytes, sent) else {
            return; // One too many.
        };
        state.put(host, number, place, t_ns);
        state.leaves(place, left);
        if lost {
            return;
        }
        state.under_way.push_back(place);
        let early = state.early.iter().position(|(at, _, event)| {
            let What::Frame(came) = &event.what else { return false };
            *at != host && is_same(&bytes, came)
        });
        if let Some(early) = early {
            let (at, number, event) = state.early.remove(early);
            self.arrive(state, at, number, event);
        }
    }

    /// A frame has come by the LAN.
    fn arrive(
        &self,
        state: &mut State,
        host: usize,
        number: usize,
        event: Event,
    ) {
        let What::Frame(came) = &event.what else { return };
        let log = self.recorder.log();
        let left = |place: &usize| match &log.events[*place].what {
            What::Frame(left) => {
                log.events[*place].host != self.hosts[host].name
                    && is_same(&left.bytes, came)
            }
            _ => false,
        };
        let found = state.under_way.iter().position(left);
        // The second copy of one that the wire was told to duplicate.
        let again = || {
            let mut all = (0..log.events.len()).rev();
            all.find(|place| left(place) && is_duplicated(&log.events[*place]))
        };
        let (place, copy) = match found {
            Some(at) => (state.under_way.remove(at), false),
            None => (again(), true),
        };
        drop(log);
        let Some(place) = place else {
            state.early.push((host, number, event));
            return;
        };
        state.places.insert((host, number), place);
        if copy {
            return;
        }
        self.know_better(state, host, place, &event, came);
    }

    /// What is known of a frame now, from its sender or from its receiver.
    fn know_better(
        &self,
        state: &mut State,
        host: usize,
        place: usize,
        event: &Event,
        frame: &Frame,
    ) {
        if event.host != LAN {
            self.recorder.amend(place, |known| {
                for note in &frame.wire {
                    if !known.wire.contains(note) {
                        known.wire.push(note.clone());
                    }
                }
                known.states.extend(frame.states.clone());
            });
            state.leaves(place, frame.delivered_ns.is_some());
            return;
        }
        let came = frame.delivered_ns;
        let delivered = came.map(|came| state.ours(host, came));
        self.recorder.amend(place, |known| {
            known.wire.extend(frame.wire.clone());
            known.delivered_ns = delivered;
            known.states.extend(frame.states.clone());
        });
        let Some(times) = state.times.get_mut(&place) else { return };
        times.came = came.map(|came| (host, came));
        let (from, left) = (times.host, times.t_ns);
        // The frame left before it came.
        match (from, host) {
            (0, 1) => state.between.not_before(left, event.t_ns),
            (1, 0) => state.between.not_after(event.t_ns, left),
            _ => {}
        }
    }

    /// The frames that are on the machines' LAN and may still come.
    pub(crate) fn under_way(&self) -> Vec<usize> {
        let state = self.lock();
        let log = self.recorder.log();
        let now = self.now();
        let may_come = |place: &usize| {
            state.is_between(*place)
                && now < log.events[*place].t_ns + LONGEST_WAY_NS
        };
        state.under_way.iter().copied().filter(may_come).collect()
    }

    /// Sets the times of the recorded events, which are in their places still.
    pub(crate) fn retime(&self, events: &mut [Event]) {
        let state = self.lock();
        let offsets = state.offsets();
        for (place, times) in &state.times {
            let Some(event) = events.get_mut(*place) else { continue };
            event.t_ns = clock::ours(times.t_ns, offsets[times.host]);
            if let (What::Frame(frame), Some((host, came))) =
                (&mut event.what, times.came)
            {
                frame.delivered_ns = Some(clock::ours(came, offsets[host]));
            }
        }
    }

    /// What the hosts' clocks showed at our time 0.
    pub(crate) fn clocks(&self) -> Vec<ClockInfo> {
        let state = self.lock();
        let offsets = state.offsets();
        let hosts = self.hosts.iter().zip(&state.clocks).zip(offsets);
        let clocks = hosts.map(|((station, bounds), offset_ns)| ClockInfo {
            host: station.name.clone(),
            offset_ns,
            error_ns: bounds.error(),
        });
        clocks.collect()
    }

    /// Frames that one host sent and the other never got, though nobody told a
    /// wire to lose them; and frames that nobody sent.
    pub(crate) fn losses(&self) -> Vec<String> {
        self.losses_at(self.now())
    }

    fn losses_at(&self, now: u64) -> Vec<String> {
        let state = self.lock();
        let log = self.recorder.log();
        let mut losses = Vec::new();
        for place in &state.under_way {
            let event = &log.events[*place];
            let late = event.t_ns + LONGEST_WAY_NS < now;
            if late && state.is_between(*place) {
                losses.push(format!(
                    "a frame of {} never came over the machines' LAN",
                    event.host
                ));
            }
        }
        for (host, _, event) in &state.early {
            if state.ours(*host, event.t_ns) + LONGEST_WAY_NS < now {
                let name = &self.hosts[*host].name;
                losses.push(format!("{name} got a frame that no host sent"));
            }
        }
        losses
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, host: usize, number: usize, place: usize, t_ns: u64) {
        self.places.insert((host, number), place);
        self.times.insert(place, Times { host, t_ns, left: false, came: None });
    }

    fn leaves(&mut self, place: usize, left: bool) {
        if let Some(times) = self.times.get_mut(&place) {
            times.left |= left;
        }
    }

    /// Is it on the machines' LAN, and not in a wire?
    fn is_between(&self, place: usize) -> bool {
        self.times.get(&place).is_some_and(|times| times.left)
    }

    /// A time of a host's, as far as is known by now.
    fn ours(&self, host: usize, theirs: u64) -> u64 {
        clock::ours(theirs, self.clocks[host].middle())
    }

    /// The hosts' offsets: the first's by its link, the second's so that no
    /// frame comes before it has left, and by its link.
    fn offsets(&self) -> Vec<i64> {
        let mut offsets: Vec<i64> =
            self.clocks.iter().map(|bounds| bounds.middle()).collect();
        if let [first, second] = offsets.as_mut_slice() {
            let by_frames = self.between.shifted(*first);
            *second = self.clocks[1].within(by_frames).middle();
        }
        offsets
    }
}

/// Did the wire at its sender lose it?
fn is_lost(frame: &Frame) -> bool {
    let lost =
        |note: &String| note.starts_with("dropped") || note.starts_with("lost");
    frame.wire.iter().any(lost)
}

fn is_duplicated(event: &Event) -> bool {
    let What::Frame(frame) = &event.what else { return false };
    frame.wire.iter().any(|note| note.starts_with("duplicated"))
}

/// Is it the frame that left with these bytes? A wire that corrupts inverts the
/// last byte.
fn is_same(left: &[u8], came: &Frame) -> bool {
    let Some((last, rest)) = left.split_last() else { return false };
    match came.bytes.split_last() {
        Some((came, others)) => {
            rest == others && (came == last || *came == !last)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAPTOP: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const SERVER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];

    /// The laptop's clock shows 1,000,000 at our 0, the server's 5,000,000.
    fn merge() -> Merge {
        let hosts = [("ernest-laptop", LAPTOP), ("Kongming20", SERVER)];
        let hosts = hosts.map(|(name, mac)| Station { name: name.into(), mac });
        let merge = Merge::new(Recorder::new(), hosts.into());
        for (host, offset) in [(0, 1_000_000), (1, 5_000_000)] {
            merge.answered(host, (0, offset + 90), (100, offset + 10));
        }
        merge
    }

    fn bytes(from: [u8; 6], number: u8) -> Vec<u8> {
        [&[0xff; 6][..], &from, &[8, 0], &[number; 40]].concat()
    }

    fn frame(host: &str, t_ns: u64, bytes: &[u8], note: &str) -> Event {
        let wire: Vec<String> = Some(note.to_string())
            .filter(|n| !n.is_empty())
            .into_iter()
            .collect();
        let lost = is_lost(&Frame { wire: wire.clone(), ..Frame::default() });
        let frame = Frame {
            bytes: bytes.to_vec(),
            delivered_ns: (!lost).then_some(t_ns + 1),
            wire,
            ..Frame::default()
        };
        Event { t_ns, host: host.into(), what: What::Frame(frame) }
    }

    /// When each frame left, and when it came.
    fn times(merge: &Merge) -> Vec<(u64, Option<u64>)> {
        let mut events = merge.recorder.log().events.clone();
        merge.retime(&mut events);
        let times = events.iter().map(|event| match &event.what {
            What::Frame(frame) => (event.t_ns, frame.delivered_ns),
            _ => unreachable!(),
        });
        times.collect()
    }

    #[test]
    fn a_frame_is_one_event_whoever_tells_of_it_first() {
        let merge = merge();
        let (one, two) = (bytes(LAPTOP, 1), bytes(SERVER, 2));
        merge.hear(0, 0, frame("ernest-laptop", 1_000_200, &one, ""));
        merge.hear(1, 0, frame(LAN, 5_000_230, &one, ""));
        merge.hear(0, 1, frame(LAN, 1_000_290, &two, ""));
        merge.hear(1, 1, frame("Kongming20", 5_000_260, &two, ""));
        let times = times(&merge);
        assert_eq!(times.len(), 2);
        for (left, came) in times {
            assert!(came.is_some_and(|came| came >= left));
        }
        assert!(merge.losses_at(u64::MAX / 2).is_empty());
    }

    #[test]
    fn no_frame_comes_before_it_has_left() {
        let merge = merge();
        // By the links alone it would come 60 ns before.
        let one = bytes(LAPTOP, 1);
        merge.hear(0, 0, frame("ernest-laptop", 1_000_500, &one, ""));
        merge.hear(1, 0, frame(LAN, 5_000_440, &one, ""));
        let [(left, came)] = times(&merge)[..] else { panic!() };
        assert!(came.is_some_and(|came| came >= left), "{left} {came:?}");
    }

    #[test]
    fn what_a_rule_dropped_is_no_loss_and_what_nobody_dropped_is() {
        let merge = merge();
        let one = bytes(LAPTOP, 1);
        let dropped =
            frame("ernest-laptop", 1_000_200, &one, "dropped by rule");
        merge.hear(0, 0, dropped);
        assert!(merge.losses_at(u64::MAX / 2).is_empty());
        // The same bytes once more: it is this one that comes.
        merge.hear(0, 1, frame("ernest-laptop", 1_000_300, &one, ""));
        merge.hear(1, 0, frame(LAN, 5_000_340, &one, ""));
        assert_eq!(times(&merge)[0].1, None);
        assert!(times(&merge)[1].1.is_some());
        let two = bytes(LAPTOP, 2);
        merge.hear(0, 2, frame("ernest-laptop", 1_000_400, &two, ""));
        assert!(merge.losses_at(1_000).is_empty(), "it may still come");
        let [loss] = &merge.losses_at(u64::MAX / 2)[..] else { panic!() };
        assert!(loss.contains("never came"), "{loss}");
    }

    #[test]
    fn a_frame_that_no_host_sent_is_told_and_a_third_machine_s_is_not() {
        let merge = merge();
        merge.hear(1, 0, frame(LAN, 5_000_340, &bytes(LAPTOP, 1), ""));
        merge.hear(1, 1, frame(LAN, 5_000_340, &bytes([2; 6], 1), ""));
        let losses = merge.losses_at(u64::MAX / 2);
        assert_eq!(losses, ["Kongming20 got a frame that no host sent"]);
    }

    #[test]
    fn a_copy_that_a_rule_made_is_the_same_frame() {
        let merge = merge();
        let one = bytes(LAPTOP, 1);
        let twice = frame("ernest-laptop", 1_000_200, &one, "duplicated by");
        merge.hear(0, 0, twice);
        merge.hear(1, 0, frame(LAN, 5_000_230, &one, ""));
        merge.hear(1, 1, frame(LAN, 5_000_240, &one, ""));
        assert_eq!(times(&merge).len(), 1);
        assert!(merge.losses_at(u64::MAX / 2).is_empty());
    }
}

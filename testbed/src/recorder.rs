//! Where every thread of a run writes down what it saw.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::trace::{CallEvent, Event, Frame, Line, StateChange, What};

/// Frames are kept whole until they add up to this many bytes; then headers.
const WHOLE_BYTES: usize = 24 << 20;
/// Enough for Ethernet, IPv6 and a full TCP header.
const HEADER_BYTES: usize = 128;
/// Frames of which anything is kept.
const MOST_FRAMES: usize = 200_000;

/// The event list of a run under way; cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    start: Instant,
    epoch_ns: u64,
    /// Nanoseconds from the start to the trace's time 0.
    zero: AtomicU64,
    log: Mutex<Log>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) not_kept: u64,
    /// Frames of which more became known after they had been added, for who
    /// tells another machine of them.
    pub(crate) amended: Vec<usize>,
    frames: usize,
    bytes: usize,
}

impl Recorder {
    pub(crate) fn new() -> Recorder {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let epoch_ns = epoch.unwrap_or_default().as_nanos() as u64;
        let shared = Shared {
            start: Instant::now(),
            epoch_ns,
            zero: AtomicU64::new(0),
            log: Mutex::default(),
            changed: Condvar::new(),
        };
        Recorder { shared: Arc::new(shared) }
    }

    pub(crate) fn epoch_ns(&self) -> u64 {
        self.shared.epoch_ns + self.shared.zero.load(Ordering::Relaxed)
    }

    /// Nanoseconds since the trace's time 0.
    pub(crate) fn now(&self) -> u64 {
        let elapsed = self.shared.start.elapsed().as_nanos() as u64;
        elapsed.saturating_sub(self.shared.zero.load(Ordering::Relaxed))
    }

    /// Makes this moment time 0, where the network took its time to come up: how
    /// much later that is.
    pub(crate) fn begin(&self) -> u64 {
        let later = self.now();
        self.shared.zero.fetch_add(later, Ordering::Relaxed);
        later
    }

    /// Adds a frame; its place in the list, unless it is one too many.
    pub(crate) fn frame(
        &self,
        t_ns: u64,
        host: &str,
        bytes: &[u8],
        frame: Frame,
    ) -> Option<usize> {
        let mut log = self.log();
        if log.frames == MOST_FRAMES {
            log.not_kept += 1;
            return None;
        }
        let whole = log.bytes + bytes.len() <= WHOLE_BYTES;
        let kept =
            if whole { bytes.len() } else { bytes.len().min(HEADER_BYTES) };
        log.frames += 1;
        log.bytes += kept;
        let what = What::Frame(Frame {
            bytes: bytes[..kept].to_vec(),
            length: bytes.len(),
            ..frame
        });
        log.events.push(Event { t_ns, host: host.to_string(), what });
        self.shared.changed.notify_all();
        Some(log.events.len() - 1)
    }

    /// Changes a frame that is in the list already: it was delivered late.
    pub(crate) fn amend(&self, index: usize, change: impl FnOnce(&mut Frame)) {
        let mut log = self.log();
        if let Some(What::Frame(frame)) =
            log.events.get_mut(index).map(|event| &mut event.what)
        {
            change(frame);
            log.amended.push(index);
        }
        self.shared.changed.notify_all();
    }

    pub(crate) fn state(&self, host: &str, change: StateChange) {
        self.push(host, What::State(change));
    }

    pub(crate) fn output(&self, host: &str, line: Line) {
        self.push(host, What::Output(line));
    }

    /// Adds what has happened a moment ago, in another process; its place in
    /// the list.
    pub(crate) fn at(&self, t_ns: u64, host: &str, what: What) -> usize {
        let mut log = self.log();
        log.events.push(Event { t_ns, host: host.to_string(), what });
        self.shared.changed.notify_all();
        log.events.len() - 1
    }

    /// Adds a call; its time.
    pub(crate) fn call(&self, host: &str, call: CallEvent) -> u64 {
        self.push(host, What::Call(call))
    }

    pub(crate) fn step(&self, host: &str, text: String) {
        self.push(host, What::Step { text });
    }

    fn push(&self, host: &str, what: What) -> u64 {
        let mut log = self.log();
        // Read under the lock: the list is in the order of its times, but for
        // frames, which carry the time of their arrival, and traced calls.
        let t_ns = self.now();
        log.events.push(Event { t_ns, host: host.to_string(), what });
        self.shared.changed.notify_all();
        t_ns
    }

    /// Waits until `done` says so of the log, or until the deadline: `false`.
    pub(crate) fn wait_until(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&Log) -> bool,
    ) -> bool {
        let mut log = self.log();
        loop {
            if done(&log) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(log, left);
            log = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Has everyone who waits look again.
    pub(crate) fn wake(&self) {
        let _log = self.log(); // Nobody is between looking and waiting.
        self.shared.changed.notify_all();
    }

    /// The log as it stands. A thread that panicked while it held the lock has
    /// at worst left an event out.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        let log = self.shared.log.lock();
        log.unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

//! The lines that a program has printed, for who waits for them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::trace::Stream;

/// The lines of standard output that nobody has asked for yet.
#[derive(Default)]
pub(crate) struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) unread: VecDeque<String>,
    pub(crate) count: usize,
    pub(crate) ended: bool,
    pub(crate) streams_ended: u8,
}

impl Output {
    /// One more line; how many there are by now.
    pub(crate) fn hear(&self, stream: Stream, line: String) -> usize {
        let mut lines = self.lock();
        lines.count += 1;
        if stream == Stream::Stdout {
            lines.unread.push_back(line);
        }
        self.changed.notify_all();
        lines.count
    }

    /// One of the two streams has ended.
    pub(crate) fn one_has_ended(&self, stream: Stream) {
        let mut lines = self.lock();
        lines.ended |= stream == Stream::Stdout;
        lines.streams_ended += 1;
        self.changed.notify_all();
    }

    /// So many streams have ended, standard output among them or not.
    pub(crate) fn have_ended(&self, stdout: bool, streams: u8) {
        let mut lines = self.lock();
        lines.ended = stdout;
        lines.streams_ended = streams;
        self.changed.notify_all();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn wait<'a>(
        &self,
        lines: MutexGuard<'a, Lines>,
        limit: Duration,
    ) -> MutexGuard<'a, Lines> {
        let waited = self.changed.wait_timeout(lines, limit);
        waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    /// Waits until both streams have been read to their end, or nothing has come
    /// for so long: a child of the program may hold them open for longer than
    /// anybody wants to wait.
    pub(crate) fn wait_for_end(&self, quiet: Duration) {
        let mut lines = self.lock();
        let (mut seen, mut since) = (lines.count, Instant::now());
        while lines.streams_ended < 2 {
            let left = quiet.saturating_sub(since.elapsed());
            if left == Duration::ZERO {
                return;
            }
            lines = self.wait(lines, left);
            if lines.count > seen {
                (seen, since) = (lines.count, Instant::now());
            }
        }
    }
}

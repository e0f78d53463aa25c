//! What a program prints, line by line.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::{Call, Result};
use crate::host::Sampling;
use crate::recorder::Recorder;
use crate::trace::{Line, Stream};

/// The longest line that is kept in one piece.
const LONGEST_LINE: u64 = 4096;
/// A program that prints more lines than this is stopped.
pub(super) const MOST_LINES: usize = 5_000;
/// At so many lines the sockets are looked at. One that prints without end is
/// stopped within a second, and not within ten.
const MOST_SAMPLES: usize = 500;

/// The lines of standard output that nobody has asked for yet.
#[derive(Default)]
pub(crate) struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Lines {
    pub(super) unread: VecDeque<String>,
    pub(super) count: usize,
    pub(super) ended: bool,
    pub(super) streams_ended: u8,
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

    /// So many streams have ended, standard output among them or not.
    pub(crate) fn have_ended(&self, stdout: bool, streams: u8) {
        let mut lines = self.lock();
        lines.ended = stdout;
        lines.streams_ended = streams;
        self.changed.notify_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn wait<'a>(
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
    pub(super) fn wait_for_end(&self, quiet: Duration) {
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

/// A thread that reads one stream of a program.
pub(super) struct Ear {
    pub(super) host: String,
    pub(super) program: String,
    pub(super) stream: Stream,
    pub(super) output: Arc<Output>,
    pub(super) recorder: Recorder,
    pub(super) sampling: Option<Sampling>,
}

impl Ear {
    pub(super) fn listen(
        self,
        stream: impl Read + Send + 'static,
    ) -> Result<()> {
        let name = format!("{} {:?}", self.program, self.stream);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                // An error reads like the end: there is nothing more to hear.
                let _ = self.read(BufReader::new(stream));
                let mut lines = self.output.lock();
                lines.ended |= self.stream == Stream::Stdout;
                lines.streams_ended += 1;
                self.output.changed.notify_all();
                drop(lines);
                // Who tells another machine of it waits there.
                self.recorder.wake();
            })
            .call("clone thread")?;
        Ok(())
    }

    fn read(&self, mut stream: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut stream).take(LONGEST_LINE);
            if limited.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text).to_string();
            if !self.heard(text) {
                return Ok(()); // Its next write gets SIGPIPE.
            }
        }
    }

    /// Writes a line down; `false`: that was one too many.
    fn heard(&self, line: String) -> bool {
        // The states first: a line tells what the program has done.
        let few = self.output.lock().count < MOST_SAMPLES;
        if let Some(sample) = self.sampling.as_ref().filter(|_| few) {
            sample();
        }
        let (program, stream) = (self.program.clone(), self.stream);
        let out = Line { program, stream, line: line.clone() };
        self.recorder.output(&self.host, out);
        self.output.hear(stream, line) <= MOST_LINES
    }
}

//! Listens to what a program prints, line by line.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use crate::error::{Call, Result};
use crate::output::Output;
use crate::recorder::Recorder;
use crate::trace::{Line, Stream};
use crate::wire::Sampling;

/// The longest line that is kept in one piece.
const LONGEST_LINE: u64 = 4096;
/// A program that prints more lines than this is stopped.
pub(super) const MOST_LINES: usize = 5_000;
/// At so many lines the sockets are looked at. One that prints without end is
/// stopped within a second, and not within ten.
const MOST_SAMPLES: usize = 500;

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
                self.output.one_has_ended(self.stream);
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

//! A performance under way: heard message by message, and given orders.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::socket::{MsgFlags, send};

use super::order::Given;
use super::{Message, Order, PLAY, Report, Request};

/// A scenario waits 10 s at most, but may have much to compute, and a busy
/// machine gives it a tenth of a processor; one that has not reported by now
/// never will.
const HARD_DEADLINE: Duration = Duration::from_secs(120);
/// The same for one with a console: it waits 20 s and pauses 20 s at most.
const HARD_CONSOLE_DEADLINE: Duration = Duration::from_secs(150);
/// The same for one that waits for the kernel's longest timers.
const HARD_SLOW_DEADLINE: Duration = Duration::from_secs(240);
/// What a process tells of itself that the next message does not.
const MOST_STDERR: u64 = 64 << 10;

/// A performance in the background, in a process of its own. As an iterator it
/// waits for the messages, of which the last is the whole performance. Dropping
/// it ends everything that the process has started, at once.
pub struct Show {
    process: Child,
    messages: Receiver<Report>,
    orders: Orders,
    who: String,
    deadline: Instant,
    over: bool,
}

/// The way to the wire of a [`Show`], for any thread.
#[derive(Clone)]
pub struct Orders {
    /// The other end is the process's standard input. A lock, because a line
    /// may take two calls.
    line: Arc<Mutex<UnixStream>>,
}

impl Show {
    /// Starts the process. It tells by its messages what becomes of it.
    ///
    /// # Errors
    ///
    /// This program cannot be started again.
    pub fn start(request: &Request) -> anyhow::Result<Show> {
        let (ours, theirs) = UnixStream::pair().context("socketpair")?;
        // Not current_exe(): the file may have been built anew meanwhile.
        let mut process = Command::new("/proc/self/exe")
            .arg(PLAY)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("exec /proc/self/exe")?;
        let messages = listen(&mut process);
        let orders = Orders { line: Arc::new(Mutex::new(ours)) };
        let patience = match (request.slow, request.console) {
            (true, _) => HARD_SLOW_DEADLINE,
            (_, true) => HARD_CONSOLE_DEADLINE,
            _ => HARD_DEADLINE,
        };
        let show = Show {
            process,
            messages: messages?,
            orders,
            who: match request.lab.as_str() {
                "" => "an idle network".to_string(),
                lab => format!("the scenario of {lab}"),
            },
            deadline: Instant::now() + patience,
            over: false,
        };
        let request = serde_json::to_string(request)?;
        show.orders.write(&request).context("send the request")?;
        Ok(show)
    }

    /// The process that plays; its door has this number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives the wire an order: a word of [`super::ORDERS`] or a rule. It is
    /// carried out once the network is up, and is an event then.
    ///
    /// # Errors
    ///
    /// It is not an order, or the show is over.
    pub fn order(&self, order: &str) -> anyhow::Result<()> {
        self.orders.give(order)
    }

    /// The way to give orders from another thread. A show that is dropped ends
    /// all the same.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// The next message, if there is one within this time.
    ///
    /// # Errors
    ///
    /// A [`super::Failure`] when this machine cannot run it; anything else is a
    /// bug here.
    pub fn within(
        &mut self,
        limit: Duration,
    ) -> anyhow::Result<Option<Message>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.messages.recv_timeout(left.min(limit)) {
            Ok(report) => Ok(Some(report?)),
            Err(RecvTimeoutError::Timeout) if limit < left => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} never reported", self.who)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let said = self.last_words();
                bail!("{} broke off: {said}", self.who)
            }
        }
    }

    fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            let _ = stderr.take(MOST_STDERR).read_to_string(&mut said);
        }
        said.trim().to_string()
    }
}

impl Iterator for Show {
    type Item = anyhow::Result<Message>;

    fn next(&mut self) -> Option<anyhow::Result<Message>> {
        if self.over {
            return None;
        }
        let message = self.within(Duration::MAX).transpose();
        let goes_on =
            |message: &Message| !matches!(message, Message::Performance(_));
        self.over = !matches!(&message, Some(Ok(m)) if goes_on(m));
        message
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Orders {
    /// As [`Show::order`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn give(&self, order: &str) -> anyhow::Result<()> {
        let order: Order = order.parse()?;
        let line = serde_json::to_string(&Given { order })?;
        self.write(&line).context("the run is over")
    }

    /// Ends the show and all that it has started.
    pub fn end(&self) {
        let line = self.line.lock();
        let line = line.unwrap_or_else(|poisoned| poisoned.into_inner());
        // The process ends with its standard input, if it has not already.
        let _ = line.shutdown(Shutdown::Both);
    }

    fn write(&self, line: &str) -> std::io::Result<()> {
        let bytes = format!("{line}\n").into_bytes();
        let line = self.line.lock();
        let mut line = line.unwrap_or_else(|poisoned| poisoned.into_inner());
        Quiet(&mut line).write_all(&bytes)
    }
}

/// Writes without SIGPIPE, which would end this program when the process has
/// just ended: EPIPE says the same (send(2)).
struct Quiet<'a>(&'a mut UnixStream);

impl Write for Quiet<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Hears the messages from a thread of its own, so that one can be waited for
/// with a limit.
fn listen(process: &mut Child) -> anyhow::Result<Receiver<Report>> {
    let stdout = process.stdout.take().context("standard output")?;
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str(&line) else { return };
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    Ok(messages)
}

//! A program that is a child of this process.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ear::MOST_LINES;
use super::{Exit, LAST_LINES};
use crate::calls::Calls;
use crate::error::{Call, Error, Result};
use crate::output::Output;
use crate::process::Process;
use crate::sessions;

/// Who waits for longer than this where no signal reaches it does not wait for
/// a disk.
const LONGEST_READ: Duration = Duration::from_millis(200);

/// A program, with the means to speak to it and to end it.
pub(super) struct Here {
    pub(super) process: Process,
    pub(super) calls: Option<Calls>,
    /// Readable once the process has ended.
    pub(super) end: OwnedFd,
    pub(super) stdin: Option<ChildStdin>,
}

impl Here {
    pub(super) fn wait(
        &mut self,
        limit: Duration,
        output: &Output,
    ) -> Result<Option<Exit>> {
        let deadline = Instant::now() + limit;
        loop {
            if output.lock().count > MOST_LINES {
                self.process.kill();
                return Ok(Some(Exit::TooMuchOutput));
            }
            let status = self.process.lock().try_wait().call("waitid")?;
            if let Some(status) = status {
                output.wait_for_end(LAST_LINES);
                return Ok(Some(match (status.code(), status.signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, signal) => Exit::Signal(signal.unwrap_or(0)),
                }));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Ok(None);
            }
            // Ends early when the program does; output is looked at now and
            // then, so that one which prints without end is noticed.
            let nap = left.min(Duration::from_millis(100)).as_millis().max(1);
            let mut fds = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
            let timeout =
                PollTimeout::try_from(nap).unwrap_or(PollTimeout::ZERO);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(err) => {
                    return Err(Error::from_call("poll pidfd", err.into()));
                }
            }
        }
    }

    pub(super) fn wait_idle(&self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        let Some(leader) = sessions::number(&self.end)? else {
            return Ok(true); // It has ended.
        };
        let look = || sessions::is_at_work(leader);
        let is_at_work = || match &self.calls {
            Some(calls) => calls.is_at_work(look),
            None => look(),
        };
        let mut blocked_since = None;
        loop {
            let now = Instant::now();
            let at_work = if is_at_work()? {
                blocked_since = None;
                true
            } else {
                // Only a disk, and not for long?
                let since = *blocked_since.get_or_insert(now);
                now < since + LONGEST_READ && sessions::is_blocked(leader)?
            };
            if !at_work || now >= deadline {
                return Ok(!at_work);
            }
            // The kernel has no event for this.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // First, so that what was held in it does not go on.
        self.process.kill();
        // What it has forked lives on, and must not wait for nobody.
        if let Some(calls) = &self.calls {
            calls.release_for_good();
        }
    }
}

//! How a program comes to be watched: the filter that it gets before it is
//! itself, and the thread that answers.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Calls, Shared, State, names};
use crate::error::{Call, Error, Result};
use crate::recorder::Recorder;
use crate::sys::seccomp;

const SECCOMP: &str = "seccomp SECCOMP_FILTER_FLAG_NEW_LISTENER";

/// Whose calls are watched, and which.
pub(crate) struct Plan {
    pub(crate) program: String,
    pub(crate) host: String,
    /// Names and numbers.
    pub(super) watched: Vec<(&'static str, i64)>,
    /// Names of calls that this architecture does not have.
    pub(super) absent: Vec<String>,
    /// Held from the first.
    held: Vec<&'static str>,
}

/// What the child needs between fork and exec.
pub(crate) struct Filter {
    code: Vec<libc::sock_filter>,
    channel: UnixStream,
}

/// The supervisor, until it has heard from the child.
pub(crate) struct Arrival(Receiver<Result<Option<Calls>>>);

impl Plan {
    /// # Errors
    ///
    /// One of the names is no system call's.
    pub(crate) fn new(
        program: &str,
        host: &str,
        watched: &[String],
        held: &[String],
    ) -> Result<Plan> {
        let mut plan = Plan {
            program: program.to_string(),
            host: host.to_string(),
            watched: Vec::new(),
            absent: Vec::new(),
            held: Vec::new(),
        };
        for name in watched.iter().chain(held) {
            match names::number(name) {
                Some(number) => {
                    let call = (names::name(number).unwrap_or("?"), number);
                    if !plan.watched.contains(&call) {
                        plan.watched.push(call);
                    }
                }
                None if names::is_from_elsewhere(name) => {
                    plan.absent.push(name.clone());
                }
                None => return Err(unknown(name)),
            }
        }
        let is_held = |call: &&(&str, i64)| held.iter().any(|h| h == call.0);
        plan.held = plan.watched.iter().filter(is_held).map(|c| c.0).collect();
        Ok(plan)
    }

    /// Starts the supervisor, before there is anything to supervise: a program
    /// whose execve is watched is not started until it is answered. Not on the
    /// thread that will start the program (see `Program::listening`).
    pub(crate) fn start(self, recorder: Recorder) -> Result<(Filter, Arrival)> {
        if crate::kernel_version() < (5, 5) {
            let err = io::Error::from_raw_os_error(libc::EINVAL);
            return Err(Error::from_call(SECCOMP, err));
        }
        let Some(arch) = seccomp::AUDIT_ARCH else {
            return Err(Error::new(
                "no calls are watched on this architecture",
            )
            .cure("use x86-64 or aarch64"));
        };
        let numbers: Vec<i64> = self.watched.iter().map(|c| c.1).collect();
        let (ours, theirs) = UnixStream::pair().call("socketpair")?;
        let code = seccomp::filter(arch, &numbers);
        let (ready, arrival) = channel();
        std::thread::Builder::new()
            .name(format!("{} calls", self.program))
            .spawn(move || supervise(self, recorder, ours, &ready))
            .call("clone thread")?;
        Ok((Filter { code, channel: theirs }, Arrival(arrival)))
    }
}

fn unknown(name: &str) -> Error {
    Error::new(format!("watch `{name}`: no system call of that name is known"))
        .cure("use a name of syscalls(2), such as accept4 or sched_yield")
}

impl Filter {
    /// From here on this process is watched. Async-signal-safe.
    pub(crate) fn apply(&self) -> io::Result<()> {
        seccomp::watch_from_now(&self.code, &self.channel)
    }
}

impl Arrival {
    /// Once the program has been started, or has not: its calls, or what the
    /// kernel had against the filter. `None`: the child did not get so far.
    pub(crate) fn wait(self) -> Result<Option<Calls>> {
        self.0.recv().unwrap_or(Ok(None))
    }
}

/// The supervisor's life: until no task has the filter any more, however long
/// that is after the program itself has ended.
fn supervise(
    plan: Plan,
    recorder: Recorder,
    channel: UnixStream,
    ready: &Sender<Result<Option<Calls>>>,
) {
    let listener = match seccomp::receive_listener(&channel).call(SECCOMP) {
        Ok(Some(listener)) => listener,
        Ok(None) => return drop(ready.send(Ok(None))),
        Err(err) => return drop(ready.send(Err(err))),
    };
    drop(channel);
    seccomp::wake_on_this_processor(&listener);
    let holding = plan.held.iter().copied().collect();
    let shared = Arc::new(Shared {
        listener,
        plan,
        recorder,
        deciding: AtomicBool::new(false),
        state: Mutex::new(State { holding, ..State::default() }),
        changed: Condvar::new(),
    });
    let calls = Calls { shared: shared.clone() };
    if ready.send(Ok(Some(calls))).is_ok() {
        shared.serve();
    }
    shared.lock().ended = true;
    shared.changed.notify_all();
}

impl Shared {
    fn serve(&self) {
        // The execve that makes a child of ours the program is not its own.
        let mut is_program = false;
        while let Ok(Some(notification)) = self.next() {
            let number = i64::from(notification.data.nr);
            if number == libc::SYS_execve && !is_program {
                is_program = true;
                let _ = seccomp::let_continue(&self.listener, notification.id);
                self.deciding.store(false, Ordering::SeqCst);
            } else {
                self.entered(&notification);
            }
        }
    }

    /// The next call; `None`: no task is left (POLLHUP, since Linux 5.9).
    fn next(&self) -> io::Result<Option<libc::seccomp_notif>> {
        loop {
            let mut fds =
                [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                done => done?,
            };
            let events = fds[0].revents().unwrap_or(PollFlags::empty());
            if !events.contains(PollFlags::POLLIN) {
                return Ok(None);
            }
            self.deciding.store(true, Ordering::SeqCst);
            match seccomp::receive_notification(&self.listener) {
                Ok(notification) => return Ok(Some(notification)),
                // Its thread was killed between the two calls.
                Err(err) if is_gone(&err) => {}
                Err(err) => return Err(err),
            }
            self.deciding.store(false, Ordering::SeqCst);
        }
    }
}

fn is_gone(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOENT | libc::EINTR))
}

//! Every system call of a program, with its arguments, its result and the time
//! between, by ptrace(2).
//!
//! Who traces must be a process of its own: a program is a child of ours, and
//! a thread of ours that traced it would take the stops and the end that
//! std's `Child::try_wait` waits for. So a process is forked when the run is
//! entered, while that is still one thread and may fork as it likes: the
//! office. For each program that is to be traced the office forks a tracer,
//! which seizes it before its execve, lives as long as any thread of it, and
//! tells through a pipe what it sees. Here is the run's side of that.
//!
//! Both are in the run's PID namespace, and end with the run. Should a tracer
//! end alone, its program goes on untraced (no PTRACE_O_EXITKILL).

mod decode;
mod memory;
mod office;
mod process;
mod startup;
mod words;

use std::collections::BTreeSet;
use std::io::{self, Read, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::error::{Call, Error, Result};
use crate::recorder::Recorder;
use crate::sys::ptrace;
use crate::trace::{CallEvent, ReturnEvent, What};

/// Events of a program that are kept: each call counts for its return too.
const MOST_KEPT: u64 = 20_000;
/// What a tracer may be ahead of us, before its program has to wait.
const PIPE_BYTES: i32 = 1 << 20;
/// A reader that is behind has the processor to itself soon.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

const SEIZE: &str = "ptrace PTRACE_SEIZE";

/// The way to the office, in a run that has one.
static OFFICE: OnceLock<Mutex<UnixStream>> = OnceLock::new();
/// Threads that stand still with their process, and not for the tracer alone.
static STOPPED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
static IN_USE: AtomicBool = AtomicBool::new(false);

/// What a tracer tells, one JSON value a line. Times are CLOCK_MONOTONIC's.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// The program is seized, or this errno says why not.
    Seized(i32),
    Entered {
        at: u64,
        call: CallEvent,
    },
    Returned {
        at: u64,
        call: ReturnEvent,
    },
    /// So many calls more, of which nothing is kept.
    NotKept(u64),
    /// A stopping signal has stopped a thread.
    Stopped(u32),
    /// It is not stopped any more.
    Continued(u32),
}

/// Forks the office. Right after [`crate::enter`], before the first thread.
pub(crate) fn open_office() -> Result<()> {
    if crate::kernel_version() < (5, 3) {
        let err = io::Error::from_raw_os_error(libc::EIO);
        return Err(Error::from_call("ptrace PTRACE_GET_SYSCALL_INFO", err));
    }
    let office = office::open()?;
    let _ = OFFICE.set(Mutex::new(office));
    Ok(())
}

/// The state of a thread as it would be if nobody traced it. `t` is one that
/// stands at a system call for a moment, and works; or one that a signal has
/// stopped.
pub(crate) fn untraced_state(tid: i32, state: char) -> char {
    if state != 't' || !IN_USE.load(Ordering::Relaxed) {
        return state;
    }
    if lock(&STOPPED).contains(&(tid as u32)) { 'T' } else { 'R' }
}

/// What the child needs between fork and exec.
pub(crate) struct Lead {
    channel: UnixStream,
}

impl Lead {
    /// Waits until this process is traced. Async-signal-safe.
    pub(crate) fn apply(&self) -> io::Result<()> {
        ptrace::be_seized(&self.channel)
    }
}

/// The tracing of one program; clones are the same.
#[derive(Clone)]
pub(crate) struct Tracing(Arc<Shared>);

struct Shared {
    /// Where the tracer tells.
    told: Mutex<io::PipeReader>,
    watch: OwnedFd,
    program: String,
    host: String,
    recorder: Recorder,
    /// CLOCK_MONOTONIC at the trace's time 0.
    start_ns: u64,
    /// A message has been taken and is not in the trace yet.
    busy: AtomicBool,
    ended: AtomicBool,
    not_kept: AtomicU64,
}

/// The tracer, until it has seized the program or been refused.
pub(crate) struct Seizure(Receiver<i32>);

impl Seizure {
    /// Once the program has been started, or has not: what the kernel had
    /// against the tracer.
    pub(crate) fn wait(self) -> Result<()> {
        match self.0.recv() {
            Ok(0) => Ok(()),
            Ok(errno) => {
                let err = io::Error::from_raw_os_error(errno);
                Err(Error::from_call(SEIZE, err))
            }
            // The child did not get so far.
            Err(_) => Ok(()),
        }
    }
}

impl Tracing {
    /// Has the office fork a tracer, and starts to listen to it.
    ///
    /// # Errors
    ///
    /// This run has no office.
    pub(crate) fn start(
        program: &str,
        host: &str,
        recorder: Recorder,
    ) -> Result<(Lead, Seizure, Tracing)> {
        let office = OFFICE.get().ok_or_else(|| {
            Error::new(format!("trace {program}: this run has no tracer"))
                .cure("enter it with testbed::enter_with_tracer()")
        })?;
        let (ours, theirs) = UnixStream::pair().call("socketpair")?;
        // The child's number comes with its word, as its reader counts.
        setsockopt(&theirs, sockopt::PassCred, &true)
            .call("setsockopt SO_PASSCRED")?;
        let (told, tell) = pipe().call("pipe")?;
        let size = nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES);
        let _ = nix::fcntl::fcntl(&tell, size); // Smaller is slower only.
        office::order(&lock(office), &theirs, &tell)?;
        IN_USE.store(true, Ordering::Relaxed);
        let watch = told.try_clone().call("dup pipe")?.into();
        let shared = Arc::new(Shared {
            told: Mutex::new(told),
            watch,
            program: program.to_string(),
            host: host.to_string(),
            start_ns: monotonic_ns().saturating_sub(recorder.now()),
            recorder,
            busy: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            not_kept: AtomicU64::new(0),
        });
        let (seized, seizure) = channel();
        let listener = shared.clone();
        std::thread::Builder::new()
            .name(format!("{program} traced"))
            .spawn(move || {
                // An error reads like the end: there is no more to hear.
                let _ = listener.listen(&seized);
                listener.ended.store(true, Ordering::SeqCst);
            })
            .call("clone thread")?;
        Ok((Lead { channel: ours }, Seizure(seizure), Tracing(shared)))
    }

    /// Waits until all that the tracer has told by now is in the trace. Of what
    /// can be waited for, a program's end among it, the tracer has told.
    pub(crate) fn settle(&self) {
        let deadline = Instant::now() + LONGEST_SETTLING;
        while !self.0.is_settled() && Instant::now() < deadline {
            // The tracer tells in its own time, and nothing wakes who waits.
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Calls of which nothing was kept, to within a hundred while it runs.
    pub(crate) fn not_kept(&self) -> u64 {
        self.0.not_kept.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// In this order: a message is taken only while `busy`, and recorded before
    /// that ends.
    fn is_settled(&self) -> bool {
        if self.ended.load(Ordering::SeqCst) {
            return true;
        }
        let mut fds = [PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        let waiting = polled.is_err() || events.contains(PollFlags::POLLIN);
        !waiting && !self.busy.load(Ordering::SeqCst)
    }

    fn listen(&self, seized: &Sender<i32>) -> io::Result<()> {
        let mut told = lock(&self.told);
        let mut buffer = vec![0; 1 << 16];
        let mut line = Vec::new();
        loop {
            self.busy.store(false, Ordering::SeqCst);
            let mut fds = [PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                done => done?,
            };
            self.busy.store(true, Ordering::SeqCst);
            let count = told.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.ends_with(b"\n") {
                    self.heard(serde_json::from_slice(&line)?, seized);
                    line.clear();
                }
            }
        }
    }

    fn heard(&self, message: Message, seized: &Sender<i32>) {
        match message {
            Message::Seized(errno) => {
                let _ = seized.send(errno);
            }
            Message::Entered { at, mut call } => {
                call.program.clone_from(&self.program);
                self.record(at, What::Call(call));
            }
            Message::Returned { at, mut call } => {
                call.program.clone_from(&self.program);
                call.entered_ns = self.since_start(call.entered_ns);
                self.record(at, What::Return(call));
            }
            Message::NotKept(count) => {
                self.not_kept.fetch_add(count, Ordering::Relaxed);
            }
            Message::Stopped(tid) => drop(lock(&STOPPED).insert(tid)),
            Message::Continued(tid) => drop(lock(&STOPPED).remove(&tid)),
        }
    }

    fn record(&self, at: u64, what: What) {
        self.recorder.at(self.since_start(at), &self.host, what);
    }

    fn since_start(&self, at: u64) -> u64 {
        at.saturating_sub(self.start_ns)
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| Duration::from(now).as_nanos() as u64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

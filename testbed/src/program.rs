//! A program on a host: started, spoken to, listened to, and never left behind.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::autopsy::Autopsy;
use crate::calls::Calls;
use crate::descriptors::Descriptor;
use crate::error::{Call, Error, Result};
use crate::host::Sampling;
use crate::launch::Launch;
use crate::machine::{Ask, Link};
use crate::power::{Asked, Power};
use crate::processes::{self, ProcessInfo, Rest};
use crate::recorder::Recorder;
use crate::sessions;
use crate::sys;
use crate::threads::{self, ThreadInfo};
use crate::trace::{Line, Stream};

/// The longest line that is kept in one piece.
const LONGEST_LINE: u64 = 4096;
/// A program that prints more lines than this is stopped.
const MOST_LINES: usize = 5_000;
/// What was printed last may still be on its way when a program has ended.
const LAST_LINES: Duration = Duration::from_millis(500);
/// At so many lines the sockets are looked at. One that prints without end is
/// stopped within a second, and not within ten.
const MOST_SAMPLES: usize = 500;
/// Who waits for longer than this where no signal reaches it does not wait for
/// a disk.
const LONGEST_READ: Duration = Duration::from_millis(200);

/// A child of ours. Dropping it kills and reaps it.
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    /// The mount namespace that it and its descendants are in.
    namespace: OwnedFd,
}

impl Process {
    pub(crate) fn new(child: Child, namespace: OwnedFd) -> Process {
        Process { child: Arc::new(Mutex::new(child)), namespace }
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        lock(&self.child)
    }

    /// For its host, which ends when every child that was on it is reaped.
    pub(crate) fn mourner(&self) -> Mourner {
        Mourner(Arc::downgrade(&self.child))
    }

    /// Ends it at once.
    fn kill(&self) {
        let mut child = self.lock();
        let _ = child.kill(); // It may have ended by itself.
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who reaps a child that its host has killed while the program is still held.
pub(crate) struct Mourner(Weak<Mutex<Child>>);

impl Mourner {
    /// Waits for the child's end; the program's holder can still ask for it.
    pub(crate) fn reap(&self) {
        if let Some(child) = self.0.upgrade() {
            let _ = lock(&child).wait();
        }
    }

    /// Is there nobody left to mourn?
    pub(crate) fn is_done(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A running program. Dropping it kills it; what it has forked ends with its
/// host at the latest.
pub struct Program {
    name: String,
    output: Arc<Output>,
    asked: Asked,
    place: Place,
}

/// Where a program is.
enum Place {
    /// A child of ours.
    Here(Here),
    /// On another machine, a child of the agent there.
    There(There),
}

struct Here {
    process: Process,
    calls: Option<Calls>,
    /// Readable once the process has ended.
    end: OwnedFd,
    stdin: Option<ChildStdin>,
}

struct There {
    link: Arc<Link>,
    /// Which of the agent's programs it is.
    id: usize,
    pid: u32,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
    /// It printed more than anybody will read, and was stopped.
    TooMuchOutput,
}

impl Exit {
    /// Status 0?
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(number) => {
                match nix::sys::signal::Signal::try_from(*number) {
                    Ok(signal) => write!(f, "killed by {signal}"),
                    Err(_) => write!(f, "killed by signal {number}"),
                }
            }
            Exit::TooMuchOutput => {
                write!(f, "stopped after {MOST_LINES} lines of output")
            }
        }
    }
}

impl Program {
    /// A program that has just been started, listened to. Not on the thread that started it: one whose children
    /// are in another PID namespace cannot start threads (clone(2), EINVAL).
    pub(crate) fn listening(
        name: &str,
        process: Process,
        host: &str,
        recorder: Recorder,
        sampling: Option<Sampling>,
        calls: Option<Calls>,
        asked: Asked,
    ) -> Result<Program> {
        let mut child = process.lock();
        let end = sys::pidfd_open(child.id() as i32).call("pidfd_open")?;
        let stdin = child.stdin.take();
        let output = Arc::<Output>::default();
        let ear = |stream| Ear {
            host: host.to_string(),
            program: name.to_string(),
            stream,
            output: output.clone(),
            recorder: recorder.clone(),
            sampling: sampling.clone(),
        };
        if let Some(stdout) = child.stdout.take() {
            ear(Stream::Stdout).listen(stdout)?;
        }
        if let Some(stderr) = child.stderr.take() {
            ear(Stream::Stderr).listen(stderr)?;
        }
        drop(child);
        let place = Place::Here(Here { process, calls, end, stdin });
        Ok(Program { name: name.to_string(), output, asked, place })
    }

    /// Starts a program on another machine, where the file is brought first.
    pub(crate) fn there(
        link: &Arc<Link>,
        launch: Launch,
        asked: Asked,
    ) -> Result<Program> {
        let launch = link.bring(launch)?;
        let name = launch.name().to_string();
        let output = Arc::<Output>::default();
        link.listen_to(&name, output.clone());
        let (id, pid) = link.ask(&Ask::Start(launch))?;
        let place = Place::There(There { link: link.clone(), id, pid });
        Ok(Program { name, output, asked, place })
    }

    /// What [`crate::Host::autopsy`] says of it there.
    pub(crate) fn autopsy_there(&self, link: &Link) -> Result<Autopsy> {
        match &self.place {
            Place::There(there) => link.ask(&Ask::Autopsy(there.id)),
            Place::Here(_) => self.is_not_there(),
        }
    }

    /// What [`crate::Host::descriptors`] says of it there.
    pub(crate) fn descriptors_there(
        &self,
        link: &Link,
    ) -> Result<Vec<Descriptor>> {
        match &self.place {
            Place::There(there) => link.ask(&Ask::Descriptors(there.id)),
            Place::Here(_) => self.is_not_there(),
        }
    }

    fn is_not_there<T>(&self) -> Result<T> {
        Err(Error::new(format!("{} is not there", self.name)))
    }

    /// The output as it stands, and whether each of the two streams has ended:
    /// for who tells it to another machine.
    pub(crate) fn streams_ended(&self) -> (bool, u8) {
        let lines = self.output.lock();
        (lines.ended, lines.streams_ended)
    }

    /// The name that the scenario gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process number, as this run's /proc counts.
    pub fn pid(&self) -> u32 {
        match &self.place {
            Place::Here(here) => here.process.lock().id(),
            Place::There(there) => there.pid,
        }
    }

    /// Its system calls, if any are watched ([`Launch::watch`]); none of a
    /// program on another machine, whose calls only the trace has.
    pub fn calls(&self) -> Option<&Calls> {
        self.asked.note(Power::Calls);
        match &self.place {
            Place::Here(here) => here.calls.as_ref(),
            Place::There(_) => None,
        }
    }

    /// Waits for a line on standard output that begins with `prefix`; returns
    /// what follows it. `None`: the program closed its output, or time ran out.
    /// Each line is returned once.
    pub fn wait_line(&self, prefix: &str, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut lines = self.output.lock();
        loop {
            while let Some(line) = lines.unread.pop_front() {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Some(rest.to_string());
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left == Duration::ZERO {
                return None;
            }
            lines = self.output.wait(lines, left);
        }
    }

    /// Waits until it has printed so many lines in all, on both streams.
    /// `false`: it closed both before, or time ran out.
    pub fn wait_lines(&self, count: usize, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut lines = self.output.lock();
        while lines.count < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.streams_ended == 2 || left == Duration::ZERO {
                return false;
            }
            lines = self.output.wait(lines, left);
        }
        true
    }

    /// How many lines it has printed, on both streams.
    pub fn lines_printed(&self) -> usize {
        self.output.lock().count
    }

    /// Has it closed standard output, by its end or before?
    pub fn has_closed_its_output(&self) -> bool {
        self.output.lock().ended
    }

    /// Writes a line to its standard input. A program that does not read, or
    /// has gone, is not an error here: the trace shows it.
    pub fn send_line(&mut self, line: &str) {
        match &mut self.place {
            Place::Here(here) => {
                if let Some(stdin) = &mut here.stdin {
                    let _ = stdin.write_all(format!("{line}\n").as_bytes());
                }
            }
            Place::There(there) => {
                there.tell(&Ask::Type(there.id, line.into()))
            }
        }
    }

    /// Writes all of it to its standard input, and ends that. A thread of its
    /// own does so: a pipe holds 64 KiB, and the program need not read
    /// (pipe(7)).
    pub fn feed(&mut self, text: String) {
        match &mut self.place {
            Place::Here(here) => {
                if let Some(mut stdin) = here.stdin.take() {
                    std::thread::spawn(move || {
                        stdin.write_all(text.as_bytes())
                    });
                }
            }
            Place::There(there) => there.tell(&Ask::Feed(there.id, text)),
        }
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        match &mut self.place {
            Place::Here(here) => here.stdin = None,
            Place::There(there) => there.tell(&Ask::CloseInput(there.id)),
        }
    }

    /// Waits for its end; `None`: it is still running.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Exit>> {
        match &mut self.place {
            Place::Here(here) => here.wait(limit, &self.output),
            Place::There(there) => {
                let wait = Ask::Wait(there.id, limit);
                let exit: Option<Exit> = there.link.ask(&wait)?;
                if exit.is_some() {
                    self.output.wait_for_end(LAST_LINES);
                }
                Ok(exit)
            }
        }
    }

    /// Waits until every thread of the program, and of what it has started,
    /// sleeps in a system call: it has done what it does by itself. `false`: it
    /// is still at work. A thread that is held at a watched call sleeps.
    pub fn wait_idle(&self, limit: Duration) -> Result<bool> {
        match &self.place {
            Place::Here(here) => here.wait_idle(limit),
            Place::There(there) => {
                there.link.ask(&Ask::WaitIdle(there.id, limit))
            }
        }
    }

    /// Sends it a signal, by its number. One that has ended gets none.
    pub fn signal(&self, number: i32) -> Result<()> {
        match &self.place {
            Place::Here(here) => match sys::signal(&here.end, number) {
                Err(err) if err.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                other => other.call(format!("pidfd_send_signal {number}")),
            },
            Place::There(there) => {
                there.link.ask(&Ask::Signal(there.id, number))
            }
        }
    }

    /// The number of its first process, as this run's /proc counts; `None`: its
    /// end has been waited for.
    pub(crate) fn number(&self) -> Result<Option<i32>> {
        match &self.place {
            Place::Here(here) => sessions::number(&here.end),
            Place::There(there) => Ok(i32::try_from(there.pid).ok()),
        }
    }

    /// Every process of the program: itself, what it has started, and what has
    /// left its session since, in the order of their numbers. It is in the list
    /// while it is a zombie, and no longer once [`Program::wait`] has its exit.
    pub fn processes(&self) -> Result<Vec<ProcessInfo>> {
        match &self.place {
            Place::Here(here) => {
                let leader = sessions::number(&here.end)?;
                processes::of_program(leader, &here.process.namespace)
            }
            Place::There(there) => there.link.ask(&Ask::Processes(there.id)),
        }
    }

    /// How busy the program is for the time of `window`, which this waits.
    pub fn rests(&self, window: Duration) -> Result<Rest> {
        if let Place::There(there) = &self.place {
            return there.link.ask(&Ask::Rests(there.id, window));
        }
        let (before, start) = (self.processes()?, Instant::now());
        std::thread::sleep(window);
        let (after, window) = (self.processes()?, start.elapsed());
        Ok(Rest::between(&before, &after, window))
    }

    /// The threads of its first process.
    pub fn threads(&self) -> Result<Vec<ThreadInfo>> {
        match &self.place {
            Place::Here(_) => threads::of_process(self.pid()),
            Place::There(there) => there.link.ask(&Ask::Threads(there.id)),
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        match &mut self.place {
            Place::Here(here) => here.process.kill(),
            Place::There(there) => there.tell(&Ask::Kill(there.id)),
        }
    }
}

impl There {
    /// What cannot fail here; that the other machine has gone shows elsewhere.
    fn tell(&self, what: &Ask) {
        let _ = self.link.ask::<()>(what);
    }
}

impl Here {
    fn wait(
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

    fn wait_idle(&self, limit: Duration) -> Result<bool> {
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

impl Drop for There {
    fn drop(&mut self) {
        self.tell(&Ask::Kill(self.id));
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

/// The lines of standard output that nobody has asked for yet.
#[derive(Default)]
pub(crate) struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    unread: VecDeque<String>,
    count: usize,
    ended: bool,
    streams_ended: u8,
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

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(
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
    fn wait_for_end(&self, quiet: Duration) {
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
struct Ear {
    host: String,
    program: String,
    stream: Stream,
    output: Arc<Output>,
    recorder: Recorder,
    sampling: Option<Sampling>,
}

impl Ear {
    fn listen(self, stream: impl Read + Send + 'static) -> Result<()> {
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

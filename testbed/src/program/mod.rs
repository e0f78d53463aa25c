//! A program on a host: started, spoken to, listened to, and never left behind.

mod ear;
mod here;

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::autopsy::Autopsy;
use crate::calls::Calls;
use crate::descriptors::Descriptor;
use crate::error::{Call, Error, Result};
use crate::launch::Launch;
use crate::link::{Ask, Link};
use crate::output::Output;
use crate::power::{Asked, Power};
use crate::process::Process;
use crate::processes::{self, ProcessInfo, Rest};
use crate::recorder::Recorder;
use crate::sessions;
use crate::sys;
use crate::threads::{self, ThreadInfo};
use crate::trace::Stream;
use crate::wire::Sampling;

use ear::{Ear, MOST_LINES};
use here::Here;

/// What was printed last may still be on its way when a program has ended.
const LAST_LINES: Duration = Duration::from_millis(500);

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

impl Drop for There {
    fn drop(&mut self) {
        self.tell(&Ask::Kill(self.id));
    }
}

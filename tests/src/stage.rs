//! A scenario in its own process: the network, the programs, and waiting.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use testbed::{
    Draw, Exit, Launch, Network, ProcessInfo, Program, TcpSocket, Testbed,
};

use crate::generated::{Input, Script};
use crate::perform::Request;
use crate::verdict::{HAS_GONE, Performance, Restless};

/// The host that connects.
pub const LAPTOP: &str = "ernest-laptop";
/// The host that serves.
pub const KONGMING: &str = "Kongming20";

/// How long a scenario waits, all told. What it waits for happens within
/// milliseconds, or is a kernel timer of a few seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a program gets to end by itself once it has been told to.
const FAREWELL: Duration = Duration::from_secs(2);
/// When every program has slept for so long and nothing at all has happened,
/// nothing will: longer than the kernel's first retransmission takes.
const STUCK: Duration = Duration::from_secs(2);
/// The same for what a right program has done long before.
const QUIET: Duration = Duration::from_secs(1);
/// How often that is looked at.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a program is watched that has nothing to do: one that looks every
/// tenth of a second has woken up more than once by then.
const REST: Duration = Duration::from_millis(350);
/// What bringing the network up takes at most on a machine that is not busy.
const USUAL_START: Duration = Duration::from_millis(40);
/// An autopsy tells of so many threads; who has more has another trouble.
const MOST_THREADS: usize = 40;
/// A machine slower than this is treated like one that is as slow as this.
const MOST_SLACK: u32 = 8;
/// Sets the slack, for tests of the widest ranges.
const SLACK: &str = "LAB_SLACK";

/// Why a scenario stops before its end.
#[derive(Debug)]
pub enum Halt {
    /// What it waited for did not come: evidence, not an error.
    Missed(String),
    /// The testbed failed.
    Failed(testbed::Error),
}

impl From<testbed::Error> for Halt {
    fn from(err: testbed::Error) -> Halt {
        Halt::Failed(err)
    }
}

/// Where a scenario plays.
pub struct Stage {
    /// The network.
    pub net: Testbed,
    /// The run's lots: ports, payloads, counts.
    pub draw: Draw,
    /// Which take this is.
    pub take: &'static str,
    /// What the user put after `--`, in place of the values drawn.
    pub values: Vec<String>,
    /// Is there time for the kernel's timers? `lab run` shows what they do;
    /// a verdict does not wait for them.
    pub story: bool,
    /// How many times slower than usual this machine is just now, 1 to 8:
    /// ranges of time are widened by it.
    pub slack: u32,
    binary: PathBuf,
    programs: Vec<Program>,
    scripts: Vec<Script>,
    hosts: Vec<String>,
    restless: Vec<Restless>,
    exits: BTreeMap<String, Option<Exit>>,
    facts: BTreeMap<String, serde_json::Value>,
    deadline: Instant,
}

/// A program on the stage.
#[derive(Clone, Copy, Debug)]
pub struct Role(usize);

impl Stage {
    /// Brings the hosts up and arms the rules of the request.
    pub(crate) fn set(
        network: Network,
        request: &Request,
        take: &'static str,
    ) -> testbed::Result<Stage> {
        let start = Instant::now();
        let net = network.up()?;
        let slack = slack(start.elapsed());
        for rule in &request.rules {
            net.wire().arm(rule)?;
        }
        let draw = net.draw();
        Ok(Stage {
            net,
            draw,
            take,
            values: request.values.clone(),
            story: request.story,
            slack,
            binary: request.binary.clone(),
            programs: Vec::new(),
            scripts: Vec::new(),
            hosts: Vec::new(),
            restless: Vec::new(),
            exits: BTreeMap::new(),
            facts: BTreeMap::new(),
            deadline: Instant::now() + PATIENCE,
        })
    }

    /// The address of a host and a port that the run has drawn.
    pub fn address(
        &mut self,
        host: &str,
    ) -> Result<std::net::SocketAddr, Halt> {
        let port = self.draw.port();
        Ok(std::net::SocketAddr::new(self.net.host(host)?.ip(), port))
    }

    /// Starts the subject on a host, under the name of its role.
    pub fn start<A: Into<OsString>>(
        &mut self,
        role: &str,
        host: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Role, Halt> {
        self.start_with(role, host, args, |launch| launch)
    }

    /// The same with more said about the launch: calls to watch, limits.
    pub fn start_with<A: Into<OsString>>(
        &mut self,
        role: &str,
        host: &str,
        args: impl IntoIterator<Item = A>,
        more: impl FnOnce(Launch) -> Launch,
    ) -> Result<Role, Halt> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let script = Script {
            args: args.iter().map(|a| a.to_string_lossy().into()).collect(),
            ..Script::default()
        };
        let launch = more(Launch::new(role, &self.binary).args(args));
        let program = self.net.host(host)?.start_program(launch)?;
        self.exits.insert(role.to_string(), None);
        self.programs.push(program);
        self.scripts.push(script);
        self.hosts.push(host.to_string());
        Ok(Role(self.programs.len() - 1))
    }

    /// The running program of a role.
    pub fn program(&self, role: Role) -> &Program {
        &self.programs[role.0]
    }

    /// Waits for a line that begins so; what follows it.
    pub fn line(&mut self, role: Role, prefix: &str) -> Result<String, Halt> {
        let found = self.patiently(|stage, glance| {
            let program = &stage.programs[role.0];
            let line = program.wait_line(prefix, glance);
            let ended = line.is_none() && program.has_closed_its_output();
            Ok(if ended { Some(None) } else { line.map(Some) })
        })?;
        found.flatten().ok_or_else(|| {
            let program = &self.programs[role.0];
            let name = program.name();
            let closed = match program.has_closed_its_output() {
                true => HAS_GONE,
                false => "",
            };
            Halt::Missed(format!(
                "waited for {name} to print `{prefix}...`{closed}"
            ))
        })
    }

    /// Waits until the program does nothing any more by itself. What it has not
    /// done by then, like an `accept` of what waits in the queue, it will not
    /// do; one that is at work for ever is not waited for, and fails for it:
    /// `false`.
    pub fn idle(&mut self, role: Role) -> Result<bool, Halt> {
        let limit = self.left().min(FAREWELL * self.slack);
        let program = &self.programs[role.0];
        let asleep = program.wait_idle(limit)?;
        if !asleep {
            self.restless.push(Restless {
                program: program.name().to_string(),
                cause: "burns-cpu".into(),
                evidence: "it had nothing to do, and was never asleep".into(),
            });
        }
        Ok(asleep)
    }

    /// The same, and then watches that it stays so: a program that wakes up to
    /// look whether something has happened fails for it. What it does without
    /// having been told, it does while it is watched.
    pub fn rests(&mut self, role: Role) -> Result<(), Halt> {
        self.idle(role)?;
        let program = &self.programs[role.0];
        let rest = program.rests(REST)?;
        if rest.voluntary > 1 {
            self.restless.push(Restless {
                program: program.name().to_string(),
                cause: "polls".into(),
                evidence: "it had nothing to do, and woke up again and again"
                    .into(),
            });
        }
        Ok(())
    }

    /// Presses Enter for the program.
    pub fn enter(&mut self, role: Role) {
        self.send(role, "");
    }

    /// Types a line for the program.
    pub fn send(&mut self, role: Role, line: &str) {
        self.note_input(role, Input::Line);
        self.programs[role.0].send_line(line);
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self, role: Role) {
        self.note_input(role, Input::End);
        self.programs[role.0].close_stdin();
    }

    fn note_input(&mut self, role: Role, input: Input) {
        let lines = self.programs[role.0].lines_printed();
        self.scripts[role.0].inputs.push((lines, input));
    }

    /// Waits until so many matching frames have been on the wire.
    pub fn frames(&mut self, what: &str, count: usize) -> Result<(), Halt> {
        let seen = self.patiently(|stage, glance| {
            let seen = stage.net.wait_frames(what, count, glance)?;
            Ok(seen.then_some(()))
        })?;
        seen.ok_or_else(|| {
            Halt::Missed(format!("waited for {count} frame(s): {what}"))
        })
    }

    /// Have so many matching frames been on the wire, or will they be soon? As
    /// [`Stage::frames`], but gives up sooner and with an answer: for what a
    /// wrong program will not do.
    pub fn soon(&mut self, what: &str, count: usize) -> Result<bool, Halt> {
        let seen = self.until_quiet_for(QUIET, |stage, glance| {
            let seen = stage.net.wait_frames(what, count, glance)?;
            Ok(seen.then_some(()))
        })?;
        Ok(seen.is_some())
    }

    /// Waits until a host's sockets are so; the sockets.
    pub fn sockets(
        &mut self,
        host: &str,
        what: &str,
        done: impl Fn(&[TcpSocket]) -> bool,
    ) -> Result<Vec<TcpSocket>, Halt> {
        let mut last = Vec::new();
        let found = self.patiently(|stage, glance| {
            match stage.net.wait_sockets(host, glance, &done)? {
                Ok(sockets) => Ok(Some(sockets)),
                Err(sockets) => {
                    last = sockets;
                    Ok(None)
                }
            }
        })?;
        found.ok_or_else(|| {
            let states: Vec<String> = last
                .iter()
                .map(|socket| format!("{} {}", socket.state, socket.local))
                .collect();
            let states = states.join(", ");
            Halt::Missed(format!("waited for {what} on {host}; had {states}"))
        })
    }

    /// Looks at a host's sockets until they are so, or for a little while.
    pub fn sockets_soon(
        &mut self,
        host: &str,
        done: impl Fn(&[TcpSocket]) -> bool,
    ) -> Result<Vec<TcpSocket>, Halt> {
        let mut last = Vec::new();
        self.until_quiet_for(QUIET, |stage, glance| {
            let looked = stage.net.wait_sockets(host, glance, &done)?;
            let found = looked.is_ok().then_some(());
            let (Ok(sockets) | Err(sockets)) = looked;
            last = sockets;
            Ok(found)
        })?;
        Ok(last)
    }

    /// Waits until a program has printed so many lines in all, or for a little
    /// while: `false`.
    pub fn lines_soon(&self, role: Role, count: usize) -> bool {
        let limit = self.left().min(GLANCE * self.slack);
        self.programs[role.0].wait_lines(count, limit)
    }

    /// Waits until a program's processes are so; the processes.
    pub fn processes(
        &mut self,
        role: Role,
        what: &str,
        done: impl Fn(&[ProcessInfo]) -> bool,
    ) -> Result<Vec<ProcessInfo>, Halt> {
        let found = self.look_each_ms(|stage, _| {
            let seen = stage.programs[role.0].processes()?;
            Ok(done(&seen).then_some(seen))
        })?;
        found.ok_or_else(|| Halt::Missed(format!("waited for {what}")))
    }

    /// Looks at a program's processes until they are so, or for a little while.
    pub fn processes_soon(
        &mut self,
        role: Role,
        done: impl Fn(&[ProcessInfo]) -> bool,
    ) -> Result<Vec<ProcessInfo>, Halt> {
        let limit = self.left().min(GLANCE * self.slack);
        let mut last = Vec::new();
        self.look_each_ms_for(limit, &mut |stage, _| {
            last = stage.programs[role.0].processes()?;
            Ok(done(&last).then_some(()))
        })?;
        Ok(last)
    }

    /// Looks each millisecond, for as long as [`Stage::patiently`]: for what no
    /// event tells of. That a process has fallen asleep the kernel tells
    /// nobody, and what becomes of those that a program has started it tells
    /// the program; who else wants to know must look, and look again. A look
    /// may itself wait for as long as it is told.
    pub fn look_each_ms<T>(
        &mut self,
        mut look: impl FnMut(&mut Stage, Duration) -> Result<Option<T>, Halt>,
    ) -> Result<Option<T>, Halt> {
        self.patiently(|stage, glance| {
            stage.look_each_ms_for(glance, &mut look)
        })
    }

    fn look_each_ms_for<T>(
        &mut self,
        limit: Duration,
        look: &mut impl FnMut(&mut Stage, Duration) -> Result<Option<T>, Halt>,
    ) -> Result<Option<T>, Halt> {
        let deadline = Instant::now() + limit;
        loop {
            let found = look(self, limit)?;
            if found.is_some() || Instant::now() >= deadline {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Looks again and again, a glance at a time, until there is an answer,
    /// patience ends, or nothing will ever happen again.
    pub fn patiently<T>(
        &mut self,
        look: impl FnMut(&mut Stage, Duration) -> Result<Option<T>, Halt>,
    ) -> Result<Option<T>, Halt> {
        self.until_quiet_for(STUCK, look)
    }

    fn until_quiet_for<T>(
        &mut self,
        quiet: Duration,
        mut look: impl FnMut(&mut Stage, Duration) -> Result<Option<T>, Halt>,
    ) -> Result<Option<T>, Halt> {
        let mut happened = self.net.happened();
        let mut quiet_since = Instant::now();
        loop {
            let glance = self.left().min(GLANCE);
            if let Some(found) = look(self, glance)? {
                return Ok(Some(found));
            }
            let now = self.net.happened();
            if now != happened || self.story || !self.all_sleep()? {
                (happened, quiet_since) = (now, Instant::now());
            }
            let stuck = quiet_since.elapsed() >= quiet;
            if stuck || self.left() == Duration::ZERO {
                return Ok(None);
            }
        }
    }

    fn all_sleep(&self) -> Result<bool, Halt> {
        for program in &self.programs {
            if !program.wait_idle(Duration::ZERO)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a fact down for the judge.
    pub fn fact(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.facts.insert(name.to_string(), value);
    }

    /// Writes a step into the trace.
    pub fn step(
        &self,
        host: &str,
        text: impl Into<String>,
    ) -> Result<(), Halt> {
        Ok(self.net.step(host, text)?)
    }

    /// Waits for a program's end, and puts down how it ended.
    pub fn end(&mut self, role: Role) -> Result<(), Halt> {
        let exit = self.patiently(|stage, glance| {
            Ok(stage.programs[role.0].wait(glance)?)
        })?;
        let name = self.programs[role.0].name().to_string();
        self.exits.insert(name.clone(), exit);
        match exit {
            Some(_) => Ok(()),
            None => Err(Halt::Missed(format!("waited for {name} to end"))),
        }
    }

    /// What is left of the scenario's patience.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The end: programs that should have ended get a moment; what was seen.
    pub(crate) fn close(
        &mut self,
        outcome: Result<(), Halt>,
    ) -> testbed::Result<Performance> {
        let missed = match outcome {
            Ok(()) => None,
            Err(Halt::Missed(what)) => Some(what),
            Err(Halt::Failed(err)) => return Err(err),
        };
        let mut autopsies = BTreeMap::new();
        for (program, host) in self.programs.iter_mut().zip(&self.hosts) {
            let name = program.name().to_string();
            if self.exits.get(&name) != Some(&None) {
                continue;
            }
            // Is it stuck, or did it end when nobody looked? A process that ends
            // closes its output some time before it can be waited for.
            let stuck = missed.is_some() && !program.has_closed_its_output();
            let limit = FAREWELL * self.slack;
            let limit = if stuck { Duration::ZERO } else { limit };
            let exit = program.wait(limit)?;
            if exit.is_none() {
                let found = autopsy(&self.net, host, program)?;
                autopsies.insert(name.clone(), found);
            }
            self.exits.insert(name, exit);
        }
        let trace = self.net.trace()?;
        for (program, script) in self.programs.iter().zip(&mut self.scripts) {
            let lines = trace.stdout(program.name());
            script.lines = lines.iter().map(|line| line.to_string()).collect();
        }
        Ok(Performance {
            take: self.take.to_string(),
            trace,
            exits: std::mem::take(&mut self.exits),
            facts: std::mem::take(&mut self.facts),
            missed,
            autopsies,
            restless: std::mem::take(&mut self.restless),
            scripts: std::mem::take(&mut self.scripts),
            slack: self.slack,
        })
    }
}

/// Where each thread of a program sits, unless it has too many to tell.
fn autopsy(
    net: &Testbed,
    host: &str,
    program: &Program,
) -> testbed::Result<String> {
    let threads: usize = program.processes()?.iter().map(|p| p.threads).sum();
    if threads > MOST_THREADS {
        return Ok(format!("it has {threads} threads and processes"));
    }
    Ok(net.autopsy(host, program)?.to_text())
}

/// How many times slower than usual the machine is, by what the network's
/// start took.
fn slack(start: Duration) -> u32 {
    let set = std::env::var(SLACK).ok().and_then(|text| text.parse().ok());
    let measured = start.as_millis() / USUAL_START.as_millis();
    set.unwrap_or(measured as u32).clamp(1, MOST_SLACK)
}

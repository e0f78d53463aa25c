//! A scenario in its own process: the network and the programs.

mod waits;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use testbed::{Backend, Draw, Exit, Launch, Network, Program, Testbed};

use crate::generated::{Input, Script};
use crate::perform::Request;
use crate::verdict::{Performance, Restless};

/// The host that connects.
pub const LAPTOP: &str = "ernest-laptop";
/// The host that serves.
pub const KONGMING: &str = "Kongming20";

/// How long a scenario waits, all told. What it waits for happens within
/// milliseconds, or is a kernel timer of a few seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same with a person at the wire: a FIN that got lost has been sent again
/// after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 s by then.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(20);
/// The same where the kernel's longest timers are waited for.
const SLOW_PATIENCE: Duration = Duration::from_secs(200);
/// How long a scenario with a person pauses before a step, so that the person can do
/// something first.
const PAUSE: Duration = Duration::from_secs(2);
/// What the pauses of a scenario add up to at most: a long one makes only its
/// first ten.
const MOST_PAUSES: Duration = Duration::from_secs(20);
/// What a program gets to end by itself once it has been told to.
const FAREWELL: Duration = Duration::from_secs(2);
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
    /// May the programs open raw sockets?
    pub(crate) sends_raw: bool,
    binary: PathBuf,
    calls: Vec<String>,
    syscalls: bool,
    programs: Vec<Program>,
    scripts: Vec<Script>,
    hosts: Vec<String>,
    restless: Vec<Restless>,
    exits: BTreeMap<String, Option<Exit>>,
    facts: BTreeMap<String, serde_json::Value>,
    patience: Duration,
    deadline: Cell<Instant>,
    /// What is left for pauses; none without a person at the wire.
    pauses: Cell<Duration>,
    /// Was there a pause for what is done next?
    announced: Cell<bool>,
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
        // To log in says nothing of what comes then.
        let took = match net.backend() {
            Backend::Vagrant => net.round_trip()?,
            _ => start.elapsed(),
        };
        let slack = slack(took);
        for host in net.hosts() {
            host.make_ready(&request.binary)?;
        }
        for rule in &request.rules {
            net.wire().arm(rule)?;
        }
        let draw = net.draw();
        let (patience, pauses) = match (request.slow, request.console) {
            (true, _) => (SLOW_PATIENCE, Duration::ZERO),
            (_, true) => (CONSOLE_PATIENCE, MOST_PAUSES),
            _ => (PATIENCE, Duration::ZERO),
        };
        Ok(Stage {
            net,
            draw,
            take,
            values: request.values.clone(),
            story: request.story,
            slack,
            sends_raw: false,
            binary: request.binary.clone(),
            calls: request.calls.clone(),
            syscalls: request.syscalls,
            programs: Vec::new(),
            scripts: Vec::new(),
            hosts: Vec::new(),
            restless: Vec::new(),
            exits: BTreeMap::new(),
            facts: BTreeMap::new(),
            patience,
            deadline: Cell::new(Instant::now() + patience),
            pauses: Cell::new(pauses),
            announced: Cell::new(false),
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
        if !self.programs.is_empty() {
            self.pause_unless_announced();
        }
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let script = Script {
            args: args.iter().map(|a| a.to_string_lossy().into()).collect(),
            ..Script::default()
        };
        let calls: Vec<&str> = self.calls.iter().map(String::as_str).collect();
        let launch = more(Launch::new(role, &self.binary).args(args));
        let mut launch = launch.watch(&calls);
        if self.syscalls {
            launch = launch.trace();
        }
        if self.sends_raw {
            launch = launch.sends_raw();
        }
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

    /// Presses Enter for the program.
    pub fn enter(&mut self, role: Role) {
        self.send(role, "");
    }

    /// Types a line for the program.
    pub fn send(&mut self, role: Role, line: &str) {
        self.pause_unless_announced();
        self.note_input(role, Input::Line);
        self.programs[role.0].send_line(line);
    }

    /// Types all these lines and ends its input, without waiting until it has
    /// read them.
    pub fn feed(&mut self, role: Role, lines: &[String]) {
        self.pause_unless_announced();
        self.note_input(role, Input::End);
        let text = lines.iter().map(|line| format!("{line}\n")).collect();
        self.programs[role.0].feed(text);
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self, role: Role) {
        self.pause_unless_announced();
        self.note_input(role, Input::End);
        self.programs[role.0].close_stdin();
    }

    fn note_input(&mut self, role: Role, input: Input) {
        let lines = self.programs[role.0].lines_printed();
        self.scripts[role.0].inputs.push((lines, input));
    }

    /// Puts a fact down for the judge.
    pub fn fact(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.facts.insert(name.to_string(), value);
    }

    /// Gives the person at the wire, if there is one, 2 s before what
    /// comes next. Steps, starts and input pause by themselves. The pause does
    /// not count as waiting.
    pub fn pause(&self) {
        let pause = PAUSE.min(self.pauses.get());
        self.pauses.set(self.pauses.get() - pause);
        self.deadline.set(self.deadline.get() + pause);
        std::thread::sleep(pause);
    }

    /// Plays a part without pauses: one in which the kernel's timers would have
    /// their say meanwhile. It has the whole of the scenario's patience for
    /// itself and takes nothing from what follows: on a busy machine a part that
    /// no program plays in may last.
    pub fn in_one_go<T>(
        &mut self,
        play: impl FnOnce(&mut Stage) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let pauses = self.pauses.take();
        let left = self.left();
        self.deadline.set(Instant::now() + self.patience);
        let done = play(self);
        self.deadline.set(Instant::now() + left);
        self.pauses.set(pauses);
        done
    }

    /// Input mostly follows the step that tells of it: one pause for both.
    fn pause_unless_announced(&self) {
        if !self.announced.replace(false) {
            self.pause();
        }
    }

    /// Writes a step into the trace.
    pub fn step(
        &self,
        host: &str,
        text: impl Into<String>,
    ) -> Result<(), Halt> {
        self.pause();
        self.announced.set(true);
        Ok(self.net.step(host, text)?)
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
            asked: self.net.asked(),
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

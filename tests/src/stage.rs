//! A scenario in its own process: the network, the programs, and waiting.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use testbed::{Draw, Exit, Launch, Network, Program, TcpSocket, Testbed};

use crate::perform::Request;
use crate::verdict::Performance;

/// The host that connects.
pub const LAPTOP: &str = "ernest-laptop";
/// The host that serves.
pub const KONGMING: &str = "Kongming20";

/// How long a scenario waits, all told. What it waits for happens within
/// milliseconds, or is a kernel timer of a few seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a program gets to end by itself once it has been told to.
const FAREWELL: Duration = Duration::from_secs(2);

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
    binary: PathBuf,
    programs: Vec<Program>,
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
        let net = network.up()?;
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
            binary: request.binary.clone(),
            programs: Vec::new(),
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
    pub fn start<A: Into<std::ffi::OsString>>(
        &mut self,
        role: &str,
        host: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Role, Halt> {
        let launch = Launch::new(role, &self.binary).args(args);
        let program = self.net.host(host)?.start_program(launch)?;
        self.exits.insert(role.to_string(), None);
        self.programs.push(program);
        Ok(Role(self.programs.len() - 1))
    }

    /// Waits for a line that begins so; what follows it.
    pub fn line(&mut self, role: Role, prefix: &str) -> Result<String, Halt> {
        let left = self.left();
        let program = &mut self.programs[role.0];
        program.wait_line(prefix, left).ok_or_else(|| {
            let name = program.name();
            let closed = match program.has_closed_its_output() {
                true => ", which has closed its output",
                false => "",
            };
            Halt::Missed(format!(
                "waited for {name} to print `{prefix}...`{closed}"
            ))
        })
    }

    /// Waits until the program does nothing any more by itself. What it has not
    /// done by then, like an `accept` of what waits in the queue, it will not
    /// do; one that is at work for ever is not waited for.
    pub fn idle(&mut self, role: Role) -> Result<(), Halt> {
        let limit = self.left().min(FAREWELL);
        self.programs[role.0].wait_idle(limit)?;
        Ok(())
    }

    /// Presses Enter for the program.
    pub fn enter(&mut self, role: Role) {
        self.programs[role.0].send_line("");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self, role: Role) {
        self.programs[role.0].close_stdin();
    }

    /// Waits until so many matching frames have been on the wire.
    pub fn frames(&mut self, what: &str, count: usize) -> Result<(), Halt> {
        if self.net.wait_frames(what, count, self.left())? {
            return Ok(());
        }
        Err(Halt::Missed(format!("waited for {count} frame(s): {what}")))
    }

    /// Waits until a host's sockets are so; the sockets.
    pub fn sockets(
        &mut self,
        host: &str,
        what: &str,
        done: impl Fn(&[TcpSocket]) -> bool,
    ) -> Result<Vec<TcpSocket>, Halt> {
        self.net.wait_sockets(host, self.left(), done)?.map_err(|last| {
            let states: Vec<String> = last
                .iter()
                .map(|socket| format!("{} {}", socket.state, socket.local))
                .collect();
            let states = states.join(", ");
            Halt::Missed(format!("waited for {what} on {host}; had {states}"))
        })
    }

    /// The same, but for less than the scenario's patience, and with an answer
    /// instead of an end: for what a wrong program will not do.
    pub fn soon(&mut self, what: &str, count: usize) -> Result<bool, Halt> {
        let limit = self.left().min(FAREWELL);
        Ok(self.net.wait_frames(what, count, limit)?)
    }

    /// Looks at a host's sockets until they are so, or for a little while.
    pub fn sockets_soon(
        &mut self,
        host: &str,
        done: impl Fn(&[TcpSocket]) -> bool,
    ) -> Result<Vec<TcpSocket>, Halt> {
        let limit = self.left().min(FAREWELL);
        let (Ok(last) | Err(last)) =
            self.net.wait_sockets(host, limit, done)?;
        Ok(last)
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
        let left = self.left();
        let program = &mut self.programs[role.0];
        let exit = program.wait(left)?;
        let name = program.name().to_string();
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
        for program in &mut self.programs {
            let name = program.name().to_string();
            if self.exits.get(&name) != Some(&None) {
                continue;
            }
            // Is it stuck, or did it end when nobody looked? A process that ends
            // closes its output some time before it can be waited for.
            let stuck = missed.is_some() && !program.has_closed_its_output();
            let limit = if stuck { Duration::ZERO } else { FAREWELL };
            let exit = program.wait(limit)?;
            self.exits.insert(name, exit);
        }
        let trace = self.net.trace()?;
        Ok(Performance {
            take: self.take.to_string(),
            trace,
            exits: std::mem::take(&mut self.exits),
            facts: std::mem::take(&mut self.facts),
            missed,
        })
    }
}

//! Waiting: for lines, frames, sockets, processes and ends, as long as it can
//! be of use.

use std::time::{Duration, Instant};

use testbed::trace::{Event, Frame};
use testbed::{Matcher, ProcessInfo, TcpSocket};

use super::{FAREWELL, Halt, Role, Stage};
use crate::verdict::{HAS_GONE, Restless};

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

impl Stage {
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

    /// Waits until a program has printed so many lines in all, or for a little
    /// while: `false`.
    pub fn lines_soon(&self, role: Role, count: usize) -> bool {
        let limit = self.left().min(GLANCE * self.slack);
        self.programs[role.0].wait_lines(count, limit)
    }

    /// Waits until a program has printed so many lines in all; `false`: it has
    /// ended, or sleeps, and for a while nothing at all has happened. That it
    /// sleeps does not suffice: what was typed for it may be on its way, and so
    /// may be what it has printed.
    pub fn lines_or_quiet(
        &mut self,
        role: Role,
        count: usize,
    ) -> Result<bool, Halt> {
        if self.story {
            return Ok(self.lines_soon(role, count));
        }
        let seen = self.until_quiet_for(QUIET, |stage, glance| {
            let program = &stage.programs[role.0];
            let seen = program.wait_lines(count, glance);
            let over = seen || program.has_closed_its_output();
            Ok(over.then_some(seen))
        })?;
        Ok(seen == Some(true))
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

    /// How many matching frames have been on the wire.
    pub fn count(&self, what: &str) -> Result<usize, Halt> {
        let matcher: Matcher = what.parse()?;
        let trace = self.net.trace()?;
        let hit = |(event, frame): &(&Event, &Frame)| {
            matcher.matches(&event.host, &frame.packet())
        };
        Ok(trace.frames().filter(hit).count())
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

    /// Looks again and again, a glance at a time, until there is an answer,
    /// patience ends, or nothing will ever happen again.
    pub fn patiently<T>(
        &mut self,
        look: impl FnMut(&mut Stage, Duration) -> Result<Option<T>, Halt>,
    ) -> Result<Option<T>, Halt> {
        self.until_quiet_for(STUCK, look)
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

    /// What is left of the scenario's patience.
    pub fn left(&self) -> Duration {
        self.deadline.get().saturating_duration_since(Instant::now())
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
}

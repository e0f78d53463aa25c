//! Processes under way, and what is left of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command under way, whose lines are waited for. Dropping it kills it.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    heard: Vec<String>,
}

/// Has SIGINT and SIGHUP end the command, as at a terminal: a job in the
/// background may have them ignored, and what is ignored stays so (signal(7)).
pub fn interruptible(command: &mut Command) {
    // SAFETY: signal(2) with the default is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGHUP] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        interruptible(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let both: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in both {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Running { child, stdin, lines, heard: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, on either stream, that contains this.
    #[track_caller]
    pub fn wait_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no line with `{part}` in {:#?}", self.heard)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without `{part}`: {:#?}", self.heard)
                }
            }
        }
    }

    /// The lines so far.
    pub fn heard(&self) -> &[String] {
        &self.heard
    }

    /// Ends its input, and nothing else.
    pub fn close_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Sends it a signal and waits for its end.
    #[track_caller]
    pub fn kill(mut self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
        super::until(PATIENCE, "end", || self.child.try_wait().unwrap());
    }

    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Ends its input and waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Option<i32> {
        drop(self.stdin.take());
        super::until(PATIENCE, "end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The children of a process, over all of its threads.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks.flatten().filter_map(|task| {
        fs::read_to_string(task.path().join("children")).ok()
    });
    let lists: String = lists.collect();
    lists.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The processes that a process has started, and those that they have; each
/// with the time of its start, since numbers are used again.
pub fn descendants(pid: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for child in children(pid) {
        found.extend(born(child).map(|time| (child, time)));
        found.extend(descendants(child));
    }
    found
}

/// When a process was started, unless it is no more.
pub fn born(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which comes second, may have blanks in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').nth(19)?.to_string())
}

/// The process of this `lab` that holds its network, and has its door.
#[track_caller]
pub fn holder(lab: u32) -> u32 {
    super::until(PATIENCE, "process of the network", || {
        children(lab).into_iter().next()
    })
}

/// Every process, with its command line.
pub fn all() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    })
    .collect()
}

/// Waits until no process has this in its command line.
#[track_caller]
pub fn wait_until_none_runs(part: &str) {
    let found = || {
        let found = all().into_iter().filter(|(_, line)| line.contains(part));
        found.collect::<BTreeSet<_>>()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while !found().is_empty() {
        assert!(Instant::now() < deadline, "still there: {:#?}", found());
        // They are not our children, whose end would be an event.
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! `lab check` in a process group of its own, that can be ended at any time
//! with all that it has started.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context;
use graders::catalogue::Lab;
use graders::grade::Phase;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, getpid};

use super::News;
use crate::style;

/// What a line about a phase begins with, on the process's standard error.
pub const PHASE: &str = "phase: ";
/// Set in a performer's environment.
const WATCHED: &str = "LAB_WATCHED";
/// What is killed is gone within milliseconds.
const FAREWELL: Duration = Duration::from_secs(5);

/// A verdict under way. Dropping it ends it.
pub struct Performer {
    /// Tells its news from those of earlier ones.
    pub number: u64,
    pub lab: Lab,
    pub since: Instant,
    pub phase: String,
    child: Option<Child>,
}

impl Performer {
    pub fn start(
        lab: &Lab,
        number: u64,
        news: &Sender<News>,
    ) -> anyhow::Result<Performer> {
        let mut command = performer(lab);
        if std::io::stdout().is_terminal() {
            command.env(style::COLOUR, "1");
        }
        let mut child = command.spawn().context("exec /proc/self/exe")?;
        let stdout = child.stdout.take().context("standard output")?;
        let stderr = child.stderr.take().context("standard error")?;
        listen(number, stdout, stderr, news.clone());
        Ok(Performer {
            number,
            lab: lab.clone(),
            since: Instant::now(),
            phase: "grading".to_string(),
            child: Some(child),
        })
    }

    /// Waits for an end that is near: its output is closed.
    pub fn finish(mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("a performer")?;
        let status = child.wait().context("wait4")?;
        reap(Duration::ZERO);
        Ok(status)
    }
}

impl Drop for Performer {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Not waited for, so the number is still this group's.
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
        let _ = child.wait();
        reap(FAREWELL);
    }
}

/// The process that grades a lab: it says its phases.
pub fn performer(lab: &Lab) -> Command {
    beside(&["check", &lab.id])
}

/// This program once more, in a process group of its own: it ends when its
/// standard input is closed.
pub fn beside(args: &[&str]) -> Command {
    // Not current_exe(): the file may have been built anew meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(args)
        .env(WATCHED, "1")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits until nothing is left of what a performer has started: orphans are
/// this process's children, since it is their subreaper (prctl(2)).
fn reap(limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < deadline => {
                // waitpid has no time limit, and SIGCHLD may come to any thread.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Passes on what a performer says; at the end all but its phases.
fn listen(
    number: u64,
    mut stdout: impl Read + Send + 'static,
    stderr: impl Read + Send + 'static,
    news: Sender<News>,
) {
    let phases = news.clone();
    let errors = std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            match line.strip_prefix(PHASE) {
                Some(phase) => {
                    let phase = phase.to_string();
                    let _ = phases.send(News::Phase { number, phase });
                }
                None => said.push_str(&(line + "\n")),
            }
        }
        said
    });
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stdout.read_to_end(&mut said);
        let mut said = String::from_utf8_lossy(&said).into_owned();
        said.push_str(&errors.join().unwrap_or_default());
        let _ = news.send(News::Done { number, said });
    });
}

/// Is this process a performer?
pub fn is_watched() -> bool {
    std::env::var_os(WATCHED).is_some()
}

/// In the performer: says what it does.
pub fn tell_phase(phase: Phase) {
    let word = match phase {
        Phase::Compiling => "compiling",
        Phase::Performing => "performing",
    };
    eprintln!("{PHASE}{word}");
}

/// In the performer: ends it, and the compiler with it, once its standard input
/// is closed, even if the watcher was killed.
pub fn end_with_the_watcher() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        if getpgrp() == getpid() {
            let _ = killpg(getpgrp(), Signal::SIGKILL);
        }
        std::process::exit(0);
    });
}

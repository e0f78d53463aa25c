//! A performance seen from outside: its process started, heard, and ended.
//!
//! A scenario plays in a process of its own, this same program started again,
//! because namespaces are entered before the first thread. The request goes to
//! its standard input, which stays open: when it closes, whoever asked has gone
//! and the process ends, with all that it has started. Its standard output
//! carries messages, one JSON value a line.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use testbed::{Backend, Profile};

use crate::GRADERS;
use crate::stage::Stage;
use crate::verdict::Performance;

/// The hidden first argument of a process that plays a scenario.
const PLAY: &str = "__play";
/// A scenario waits 10 s at most; one that has not reported by now never will.
const HARD_DEADLINE: Duration = Duration::from_secs(30);
/// What a process tells of itself that the next message does not.
const MOST_STDERR: u64 = 64 << 10;

/// What is to be performed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The lab's name.
    pub lab: String,
    /// Which take of its grader.
    pub take: String,
    /// The program.
    pub binary: PathBuf,
    /// How the kernel is to behave.
    pub profile: Profile,
    /// Which backend, if not what the machine has.
    pub backend: Option<Backend>,
    /// What ports, payloads and counts are drawn from.
    pub seed: u64,
    /// Values for the program in place of those drawn.
    pub values: Vec<String>,
    /// Rules for the wire, armed before the scenario starts.
    pub rules: Vec<String>,
    /// Whether there is time for the kernel's timers; see [`Stage::story`].
    pub story: bool,
    /// Whether events are to be reported as they happen.
    pub live: bool,
}

/// What the process reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    Event(testbed::trace::Event),
    Performance(Box<Performance>),
    Error(Failure),
}

/// A failure of the testbed, as it crosses from the process that had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The call that failed, with its operand and errno.
    pub what: String,
    /// The likely cause.
    pub cause: Option<String>,
    /// The exact cure.
    pub cure: Option<String>,
}

impl From<&testbed::Error> for Failure {
    fn from(err: &testbed::Error) -> Failure {
        Failure {
            what: err.what(),
            cause: err.likely_cause().map(str::to_string),
            cure: err.exact_cure().map(str::to_string),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  likely cause: {cause}")?;
        }
        if let Some(cure) = &self.cure {
            write!(f, "\n  cure: {cure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Performs a request, and calls `hear` with each event while it happens, if
/// the request is a live one.
///
/// # Errors
///
/// A [`Failure`] when this machine cannot run it; anything else is a bug here.
pub fn perform(
    request: &Request,
    mut hear: impl FnMut(&testbed::trace::Event),
) -> anyhow::Result<Performance> {
    let mut player = Player::start(request)?;
    let deadline = Instant::now() + HARD_DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match player.messages.recv_timeout(left) {
            Ok(Message::Event(event)) => hear(&event),
            Ok(Message::Performance(performance)) => return Ok(*performance),
            Ok(Message::Error(failure)) => return Err(failure.into()),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the scenario of {} never reported", request.lab)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let said = player.last_words();
                bail!("the scenario of {} broke off: {said}", request.lab)
            }
        }
    }
}

/// The process that plays. Dropping it ends everything that it has started.
struct Player {
    process: Child,
    messages: std::sync::mpsc::Receiver<Message>,
}

impl Player {
    fn start(request: &Request) -> anyhow::Result<Player> {
        // Not current_exe(): the file may have been built anew meanwhile.
        let mut process = Command::new("/proc/self/exe")
            .arg(PLAY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("exec /proc/self/exe")?;
        let line = serde_json::to_string(request)? + "\n";
        if let Some(stdin) = &mut process.stdin {
            stdin.write_all(line.as_bytes()).context("send the request")?;
        }
        let stdout = process.stdout.take().context("standard output")?;
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str(&line) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Player { process, messages })
    }

    fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            let _ = stderr.take(MOST_STDERR).read_to_string(&mut said);
        }
        said.trim().to_string()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays and exits, if this process was started for that.
pub(crate) fn play_if_asked() {
    let asked = std::env::args_os().nth(1).is_some_and(|arg| arg == PLAY);
    if asked {
        let status = match play() {
            Ok(()) => 0,
            Err(err) => {
                eprintln!("{err:#}");
                1
            }
        };
        std::process::exit(status);
    }
}

fn play() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the request")?;
    let request: Request =
        serde_json::from_str(&line).context("parse the request")?;
    if let Err(err) = perform_here(&request) {
        report(&Message::Error(Failure::from(&err)));
    }
    Ok(())
}

/// Reports before the network comes down: that takes longer than the run.
fn perform_here(request: &Request) -> testbed::Result<()> {
    let unknown = |what: &str| testbed::Error::new(format!("no {what}"));
    let grader = GRADERS
        .iter()
        .find(|grader| grader.id == request.lab)
        .ok_or_else(|| unknown(&format!("grader for {}", request.lab)))?;
    let take = grader
        .takes
        .iter()
        .find(|take| take.name == request.take)
        .ok_or_else(|| unknown(&format!("take {}", request.take)))?;
    testbed::enter()?;
    end_when_nobody_waits();
    let mut stage = Stage::set(request)?;
    stage.take = take.name;
    let follower = request.live.then(|| {
        stage.net.follow(|event| report(&Message::Event(event.clone())))
    });
    let outcome = (grader.scenario)(&mut stage);
    let performance = stage.close(outcome)?;
    drop(follower); // After the last event.
    report(&Message::Performance(Box::new(performance)));
    Ok(())
}

/// Ends this process, and so every process of the run, once standard input is
/// closed: by whoever asked, or by the kernel when that process was killed.
fn end_when_nobody_waits() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

fn report(message: &Message) {
    let Ok(line) = serde_json::to_string(message) else { return };
    let mut stdout = std::io::stdout().lock();
    // Nobody listens any more: this process is about to end.
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

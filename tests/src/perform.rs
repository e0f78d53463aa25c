//! A performance seen from outside: its process started, heard, and ended.
//!
//! A scenario plays in a process of its own, this same program started again,
//! because namespaces are entered before the first thread. The request goes to
//! its standard input, which stays open: when it closes, whoever asked has gone
//! and the process ends, with all that it has started. Its standard output
//! carries messages, one JSON value a line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use testbed::door::Door;
use testbed::trace::Event;
use testbed::{Backend, Exit, Launch, Network, Profile, Testbed, Trace};

use crate::stage::{KONGMING, LAPTOP, Stage};
use crate::verdict::Performance;
use crate::{GRADERS, Grader, Take};

/// The hidden first argument of a process that plays a scenario.
const PLAY: &str = "__play";
/// A scenario waits 10 s at most, on the busiest machine too; one that has not
/// reported by now never will.
const HARD_DEADLINE: Duration = Duration::from_secs(30);
/// Longer than a connection takes whose first SYN is lost.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// For a machine that leaves a host's mounts as they are: mount_setattr(2).
const MOUNTS_CURE: &str = "Linux 5.12 or newer, outside of any chroot";
/// What a process tells of itself that the next message does not.
const MOST_STDERR: u64 = 64 << 10;

/// What is to be performed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// The lab's name; empty for a network where nothing is performed.
    pub lab: String,
    /// Which take of its grader.
    pub take: String,
    /// The program.
    pub binary: PathBuf,
    /// Whether the router and the small internet are there as well.
    pub internet: bool,
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
    /// System calls of its programs that are to be in the trace.
    #[serde(default)]
    pub calls: Vec<String>,
    /// Whether every system call of its programs is to be in the trace.
    #[serde(default)]
    pub syscalls: bool,
    /// Whether there is time for the kernel's timers; see [`Stage::story`].
    pub story: bool,
    /// Whether events are to be reported as they happen.
    pub live: bool,
}

/// What the process reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    Up(Box<Trace>),
    Event(Event),
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
/// the request is a live one; the trace is then as it was before any event.
///
/// # Errors
///
/// A [`Failure`] when this machine cannot run it; anything else is a bug here.
pub fn perform(
    request: &Request,
    mut hear: impl FnMut(&Trace, &Event),
) -> anyhow::Result<Performance> {
    let mut player = Player::start(request)?;
    let deadline = Instant::now() + HARD_DEADLINE;
    let mut blank = None;
    loop {
        match player.next(deadline, &request.lab)? {
            Message::Up(trace) => blank = Some(trace),
            Message::Event(event) => {
                if let Some(blank) = &blank {
                    hear(blank, &event);
                }
            }
            Message::Performance(performance) => return Ok(*performance),
            Message::Error(failure) => return Err(failure.into()),
        }
    }
}

/// A network that is up and where nothing is performed, until it is dropped.
pub struct Idle {
    _player: Player,
    /// The trace before anything has happened: what the world is.
    pub blank: Trace,
    /// The process that holds it; its door has this number.
    pub pid: u32,
}

impl Idle {
    /// Brings a network up, for a shell on its hosts.
    ///
    /// # Errors
    ///
    /// As [`perform`].
    pub fn start(request: &Request) -> anyhow::Result<Idle> {
        let mut player = Player::start(request)?;
        let deadline = Instant::now() + HARD_DEADLINE;
        match player.next(deadline, "an idle network")? {
            Message::Up(blank) => {
                let pid = player.process.id();
                Ok(Idle { _player: player, blank: *blank, pid })
            }
            Message::Error(failure) => Err(failure.into()),
            other => bail!("an idle network reported {other:?}"),
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

    /// The next message, or why there is none.
    fn next(
        &mut self,
        deadline: Instant,
        who: &str,
    ) -> anyhow::Result<Message> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.messages.recv_timeout(left) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the scenario of {who} never reported")
            }
            Err(RecvTimeoutError::Disconnected) => {
                let said = self.last_words();
                bail!("the scenario of {who} broke off: {said}")
            }
        }
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
    // Doors belong to the outside.
    let label =
        if request.lab.is_empty() { "shell" } else { request.lab.as_str() };
    let door = if request.live { Some(Door::build(label)?) } else { None };
    match request.syscalls {
        true => testbed::enter_with_tracer()?,
        false => testbed::enter()?,
    }
    end_when_nobody_waits();
    if request.lab.is_empty() {
        let net = network(request).up()?;
        let _servers = if request.internet {
            Some(testbed::internet::serve(&net)?)
        } else {
            None
        };
        match request.take.as_str() {
            "probe" => probe(&net)?,
            "probe-calls" => probe_calls(&net)?,
            "probe-mounts" => probe_mounts(&net)?,
            _ => {}
        }
        announce(&net, door)?;
        loop {
            std::thread::park();
        }
    }
    let (grader, take) = find(request)?;
    let mut stage = Stage::set(network(request), request, take.name)?;
    announce(&stage.net, door)?;
    let follower = request.live.then(|| {
        stage.net.follow(|event| report(&Message::Event(event.clone())))
    });
    let outcome = (grader.scenario)(&mut stage);
    let performance = stage.close(outcome)?;
    drop(follower); // After the last event.
    report(&Message::Performance(Box::new(performance)));
    Ok(())
}

/// Opens a connection between the hosts, over IPv4 and over IPv6.
fn probe(net: &Testbed) -> testbed::Result<()> {
    let (laptop, server) = (net.host(LAPTOP)?, net.host(KONGMING)?);
    for ip in std::iter::once(server.ip()).chain(server.ip6()) {
        let address = SocketAddr::new(ip, 2000);
        let failed = |call: &str, err| {
            testbed::Error::from_call(format!("{call} {address}"), err)
        };
        let listener = server
            .at(|| TcpListener::bind(address))?
            .map_err(|err| failed("bind", err))?;
        laptop
            .at(|| TcpStream::connect_timeout(&address, PROBE_PATIENCE))?
            .map_err(|err| failed("connect", err))?;
        drop(listener);
    }
    server.tcp_sockets()?;
    Ok(())
}

/// Watches a system call of a program.
fn probe_calls(net: &Testbed) -> testbed::Result<()> {
    let launch = Launch::new("sh", "/bin/sh").args(["-c", "exit 0"]);
    let launch = launch.watch(&["exit_group"]);
    let mut program = net.host(KONGMING)?.start_program(launch)?;
    program.wait(PROBE_PATIENCE)?;
    let calls = program.calls().map_or(0, |calls| calls.count("exit_group"));
    match calls {
        0 => Err(testbed::Error::new("no call of /bin/sh was seen")),
        _ => Ok(()),
    }
}

/// Has a program write outside of its directory: to its own name, so that it
/// does no harm where it is let.
fn probe_mounts(net: &Testbed) -> testbed::Result<()> {
    let order = "echo sh > /proc/self/comm";
    let launch = Launch::new("sh", "/bin/sh").args(["-c", order]);
    let mut program = net.host(KONGMING)?.start_program(launch)?;
    let exit = program.wait(PROBE_PATIENCE)?;
    if exit.is_some_and(Exit::is_success) {
        let what = "a program wrote to /proc/self/comm";
        return Err(testbed::Error::new(what).cure(MOUNTS_CURE));
    }
    let said = net.trace()?.stderr("sh").join("; ");
    match said.contains("Read-only file system") {
        true => Ok(()),
        false => Err(testbed::Error::new(format!("`{order}`: {said}"))),
    }
}

fn network(request: &Request) -> Network {
    let network =
        if request.internet { Network::internet() } else { Network::lan() };
    let network = network.profile(request.profile).seed(request.seed);
    match request.backend {
        Some(backend) => network.backend(backend),
        None => network,
    }
}

/// Says that the network is up, and opens its door.
fn announce(net: &Testbed, door: Option<Door>) -> testbed::Result<()> {
    if let Some(door) = door {
        door.open(net)?;
        report(&Message::Up(Box::new(net.blank_trace())));
    }
    Ok(())
}

fn find(
    request: &Request,
) -> testbed::Result<(&'static Grader, &'static Take)> {
    let found = GRADERS
        .iter()
        .find(|grader| grader.id == request.lab)
        .and_then(|grader| {
            let mut takes = grader.takes.iter();
            Some((*grader, takes.find(|take| take.name == request.take)?))
        });
    found.ok_or_else(|| {
        let Request { lab, take, .. } = request;
        testbed::Error::new(format!("no grader for {lab}, take `{take}`"))
    })
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

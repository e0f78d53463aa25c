//! The way to an agent, which acts for a host on another machine: questions over
//! ssh, and what it tells meanwhile.
//!
//! - [`protocol`]: what is said
//! - [`clock`]: what another machine's clock says, in this one's time
//! - [`merge`]: one trace of what two agents saw

mod clock;
mod merge;
mod protocol;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Call, Error, Result};
use crate::launch::Launch;
use crate::output::Output;
use crate::trace::What;

pub(crate) use merge::{Merge, Station};
pub use protocol::Heard;
pub(crate) use protocol::{Answer, Ask, Plan, Tell, Up};

/// The hidden first argument of a process that acts on a machine.
pub(crate) const ACT: &str = "__machine";
/// What a machine calls the other end of its wire.
pub(crate) const LAN: &str = "lan";

/// Longer than any question may take: the longest waits ten seconds, and an
/// emulated machine takes its time.
const PATIENCE: Duration = Duration::from_secs(100);
/// What ssh says at most before it ends.
const MOST_STDERR: u64 = 4096;
/// What the shell there says if it has not got this program.
const ABSENT: &str = "serverlab: absent";

/// How machines are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The file that `vagrant ssh-config` writes: ssh_config(5), with a `Host`
    /// for each name.
    pub ssh_config: PathBuf,
}

/// An agent on another machine, for one of its hosts.
pub(crate) struct Link {
    host: String,
    /// Its place among the hosts.
    number: usize,
    asking: Mutex<Asking>,
    waiting: Mutex<BTreeMap<u64, Sender<Answer>>>,
    ears: Mutex<BTreeMap<String, Arc<Output>>>,
    merge: Arc<Merge>,
    ssh: Mutex<Child>,
    last_words: Mutex<Option<ChildStderr>>,
}

struct Asking {
    /// `None`: hung up.
    line: Option<ChildStdin>,
    next: u64,
}

impl Link {
    /// Starts an agent for a host, brings it this program if it is not there,
    /// and waits until the host is up.
    pub(crate) fn open(
        reach: &Reach,
        plan: &Plan,
        number: usize,
        merge: &Arc<Merge>,
    ) -> Result<(Arc<Link>, Up)> {
        let first = Ssh::start(reach, plan)?;
        let (ssh, up) = match first.hear(plan)? {
            First::Up(ssh, up) => (ssh, up),
            First::Absent => {
                bring_this_program(reach, &plan.host)?;
                match Ssh::start(reach, plan)?.hear(plan)? {
                    First::Up(ssh, up) => (ssh, up),
                    First::Absent => {
                        return Err(Error::new(format!(
                            "{}: this program was brought, and is not there",
                            plan.host
                        )));
                    }
                }
            }
        };
        let Ssh { mut child, line, heard } = ssh;
        let last_words = Mutex::new(child.stderr.take());
        let link = Arc::new(Link {
            host: plan.host.clone(),
            number,
            asking: Mutex::new(Asking { line: Some(line), next: 1 }),
            waiting: Mutex::default(),
            ears: Mutex::default(),
            merge: merge.clone(),
            ssh: Mutex::new(child),
            last_words,
        });
        let listener = link.clone();
        std::thread::Builder::new()
            .name(format!("link {}", plan.host))
            .spawn(move || listener.listen(heard))
            .call("clone thread")?;
        Ok((link, up))
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T> {
        self.ask_with(ask, &[])
    }

    fn ask_with<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        bytes: &[u8],
    ) -> Result<T> {
        let (sent, answer) = self.send(ask, bytes)?;
        let answer = answer
            .recv_timeout(PATIENCE)
            .map_err(|_| self.gone(&format!("{ask:?}")))?;
        let ours = self.merge.now();
        let (began, ended) = (answer.began, answer.ended);
        self.merge.answered(self.number, (sent, began), (ours, ended));
        let value = answer.done.map_err(Error::from)?;
        serde_json::from_value(value).map_err(|err| {
            Error::new(format!("{}: an answer to {ask:?}: {err}", self.host))
        })
    }

    fn send(&self, ask: &Ask, bytes: &[u8]) -> Result<(u64, Receiver<Answer>)> {
        let (reply, answer) = channel();
        let mut asking = lock(&self.asking);
        let number = asking.next;
        asking.next += 1;
        lock(&self.waiting).insert(number, reply);
        let mut line = serde_json::to_vec(&(number, ask))
            .map_err(|err| Error::new(format!("{ask:?}: {err}")))?;
        line.push(b'\n');
        line.extend_from_slice(bytes);
        let sent = self.merge.now();
        let written = match &mut asking.line {
            Some(pipe) => pipe.write_all(&line).and_then(|()| pipe.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        drop(asking);
        written.map_err(|_| self.gone(&format!("{ask:?}")))?;
        Ok((sent, answer))
    }

    /// Whose output it is that a program of this name prints.
    pub(crate) fn listen_to(&self, program: &str, output: Arc<Output>) {
        lock(&self.ears).insert(program.to_string(), output);
    }

    /// Brings the file of a program, unless the machine has it: its own tools,
    /// or what was brought before.
    pub(crate) fn bring(&self, launch: Launch) -> Result<Launch> {
        let path = launch.path();
        let tools = ["/bin", "/sbin", "/usr"];
        if path.is_relative() || tools.iter().any(|one| path.starts_with(one)) {
            return Ok(launch);
        }
        let bytes = fs::read(path).call(format!("read {}", path.display()))?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let name = format!("program-{:016x}", hasher.finish());
        let there: Option<PathBuf> = self.ask(&Ask::Has(name.clone()))?;
        let there = match there {
            Some(there) => there,
            None => self.ask_with(&Ask::Bring(name, bytes.len()), &bytes)?,
        };
        Ok(launch.with_file(there))
    }

    /// Ends the agent, and with it all that it has started.
    pub(crate) fn hang_up(&self) {
        lock(&self.asking).line = None;
        let _ = lock(&self.ssh).wait();
    }

    /// Hears what the agent tells, to its end.
    fn listen(&self, heard: impl BufRead) {
        for line in heard.lines().map_while(std::io::Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Tell::Event(at, event)) => {
                    if let What::Output(line) = &event.what {
                        let ears = lock(&self.ears);
                        let ear = ears.get(&line.program).cloned();
                        drop(ears);
                        let line = line.clone();
                        self.merge.hear(self.number, at, event);
                        if let Some(ear) = ear {
                            ear.hear(line.stream, line.line);
                        }
                    } else {
                        self.merge.hear(self.number, at, event);
                    }
                }
                Ok(Tell::Ended(program, stdout, streams)) => {
                    if let Some(ear) = lock(&self.ears).get(&program) {
                        ear.have_ended(stdout, streams);
                    }
                }
                Ok(Tell::Answer(answer)) => {
                    let asker = lock(&self.waiting).remove(&answer.to);
                    if let Some(asker) = asker {
                        let _ = asker.send(answer); // It may have gone.
                    }
                }
                _ => break,
            }
        }
        // Nobody will answer any more.
        lock(&self.waiting).clear();
    }

    fn gone(&self, what: &str) -> Error {
        let mut said = String::new();
        if let Some(stderr) = lock(&self.last_words).take() {
            let _ = lock(&self.ssh).kill();
            let _ = stderr.take(MOST_STDERR).read_to_string(&mut said);
        }
        let what = format!("{}: no answer to {what}", self.host);
        let error = Error::new(what).cure("vagrant/status");
        match said.trim() {
            "" => error.cause("the connection has ended"),
            said => error.cause(said.to_string()),
        }
    }
}

/// A connection that nothing is known of yet.
struct Ssh {
    child: Child,
    line: ChildStdin,
    heard: BufReader<std::process::ChildStdout>,
}

enum First {
    Up(Ssh, Up),
    Absent,
}

impl Ssh {
    fn start(reach: &Reach, plan: &Plan) -> Result<Ssh> {
        let program = this_program()?;
        let order = format!(
            "if [ -x {program} ]; then exec sudo -n {program} {ACT}; \
             else echo '{ABSENT}' >&2; exit 9; fi"
        );
        let mut child = ssh(reach, &plan.host, &order)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_ssh)?;
        let none = || Error::new("ssh without its pipes");
        let line = child.stdin.take().ok_or_else(none)?;
        let heard = BufReader::new(child.stdout.take().ok_or_else(none)?);
        Ok(Ssh { child, line, heard })
    }

    /// Says what is wanted; what comes first.
    fn hear(mut self, plan: &Plan) -> Result<First> {
        let mut line = serde_json::to_vec(plan)
            .map_err(|err| Error::new(format!("the plan: {err}")))?;
        line.push(b'\n');
        // Where this fails, ssh says why.
        let _ = self.line.write_all(&line).and_then(|()| self.line.flush());
        let mut said = String::new();
        let _ = self.heard.read_line(&mut said);
        match serde_json::from_str(&said) {
            Ok(Tell::Up(up)) => return Ok(First::Up(self, up)),
            Ok(Tell::Failed(told)) => {
                let error = Error::from(told);
                let _ = self.child.wait();
                return Err(error.on(&plan.host));
            }
            _ => {}
        }
        drop(self.line);
        let mut words = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = stderr.take(MOST_STDERR).read_to_string(&mut words);
        }
        let status = self.child.wait().call("wait for ssh")?;
        if words.contains(ABSENT) {
            return Ok(First::Absent);
        }
        Err(Error::new(format!("{}: ssh ended with {status}", plan.host))
            .cause(words.trim().to_string())
            .cure("vagrant/status"))
    }
}

fn ssh(reach: &Reach, host: &str, order: &str) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&reach.ssh_config);
    for option in [
        "BatchMode=yes",
        "ConnectTimeout=20",
        "ServerAliveInterval=15",
        "LogLevel=ERROR",
    ] {
        ssh.args(["-o", option]);
    }
    ssh.args([host, order]);
    ssh
}

fn no_ssh(err: std::io::Error) -> Error {
    Error::from_call("exec ssh", err)
        .cure("sudo apt-get install openssh-client")
}

/// Where this program is on the machines: another build is another file.
fn this_program() -> Result<String> {
    let path = "/proc/self/exe";
    let about = fs::metadata(path).call(format!("stat {path}"))?;
    let time = about.mtime_nsec() + about.mtime() * 1_000_000_000;
    // In the home of the user of ssh, which is where the shell begins.
    Ok(format!("./.serverlab/lab-{:x}-{time:x}", about.size()))
}

/// Copies this program to a machine, in place of earlier builds.
fn bring_this_program(reach: &Reach, host: &str) -> Result<()> {
    let program = this_program()?;
    let order = format!(
        "set -e; rm -rf .serverlab; mkdir -m 755 .serverlab; \
         gzip -dc >{program}.part; chmod 755 {program}.part; \
         mv {program}.part {program}"
    );
    let mut zip = Command::new("gzip")
        .args(["-1c", "/proc/self/fd/0"])
        .stdin(fs::File::open("/proc/self/exe").call("open /proc/self/exe")?)
        .stdout(Stdio::piped())
        .spawn()
        .call("exec gzip")?;
    let zipped = zip.stdout.take().ok_or_else(|| Error::new("gzip"))?;
    let done =
        ssh(reach, host, &order).stdin(zipped).output().map_err(no_ssh)?;
    let zipped = zip.wait().call("wait for gzip")?;
    if done.status.success() && zipped.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_string();
    Err(Error::new(format!("copy this program to {host}: {}", done.status))
        .cause(said)
        .cure("vagrant/status"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

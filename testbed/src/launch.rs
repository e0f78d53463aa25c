//! What is to be started on a host: the program, its bounds, its watchers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::calls::{Filter, Plan};
use crate::error::{Call, Result};
use crate::process::Process;
use crate::room::{Place, Room};
use crate::sys;
use crate::tracer::Lead;

/// How much memory a program may map.
const MOST_MEMORY: u64 = 2 << 30;
/// Processes and threads of a network that are an ordinary user's programs.
const MOST_PROCESSES: u64 = 1_000;
/// The largest file that it may write.
const LARGEST_FILE: u64 = 64 << 20;

/// What is to be started, and as whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    name: String,
    path: PathBuf,
    arguments: Vec<OsString>,
    privileged: bool,
    sends_raw: bool,
    watched: Vec<String>,
    held: Vec<String>,
    traced: bool,
    most_files: Option<u64>,
}

impl Launch {
    /// The program at `path`, under the name by which the trace calls it. Its
    /// environment is empty but for PATH and TMPDIR, and it has no
    /// capabilities: not even root's programs may bind port 80. It can write to
    /// /dev/shm, /dev/mqueue and its working directory, which are the host's
    /// own and bounded; every other file system is read-only for it.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Launch {
        let mut path: PathBuf = path.into();
        // A name without a slash is looked for in PATH; a path is from here.
        if path.components().count() > 1 {
            path = std::path::absolute(&path).unwrap_or(path);
        }
        Launch {
            name: name.into(),
            path,
            arguments: Vec::new(),
            privileged: false,
            sends_raw: false,
            watched: Vec::new(),
            held: Vec::new(),
            traced: false,
            most_files: None,
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Launch {
        self.arguments.push(argument.into());
        self
    }

    /// Several more arguments.
    pub fn args<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Launch {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Lets it keep CAP_NET_RAW and nothing else: it can open raw sockets and
    /// packet sockets (raw(7), packet(7)) on its own host.
    pub fn sends_raw(mut self) -> Launch {
        self.sends_raw = true;
        self
    }

    /// Lets it keep every capability: an ordinary user's program then has them
    /// over its host and over nothing else; root's has root's. Its files are
    /// those of the run, and so is its working directory.
    pub fn privileged(mut self) -> Launch {
        self.privileged = true;
        self
    }

    /// Watches these system calls of the program and of all that it starts:
    /// [`Program::calls`] has them. The names are those of syscalls(2), which
    /// may differ from the C library's: `accept4`, `epoll_pwait`, `futex`. The
    /// kernel stops each of these calls until a thread of ours has looked at
    /// it: 2.7 µs a call on Linux 6.18 and 2 virtual cores, and 3 to 60 µs
    /// without SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, which came with 6.6. A call
    /// that is not watched takes 0.01 µs longer.
    ///
    /// What never enters the kernel is not seen: `clock_gettime`, `gettimeofday`
    /// and `time` are the vDSO's work (vdso(7)). What the kernel begins again
    /// after a signal counts again (signal(7), SA_RESTART).
    ///
    /// # Errors
    ///
    /// When the program is started: a name that is no call's, a kernel before
    /// 5.5, or a filter with a listener that is there already. A call that only
    /// other architectures have is no error: it is never made.
    pub fn watch(mut self, calls: &[&str]) -> Launch {
        self.watched.extend(calls.iter().map(ToString::to_string));
        self
    }

    /// Watches these calls too, and holds each from the program's first on: as
    /// [`Calls::hold`], which may come too late for a program that is quick.
    pub fn hold(mut self, calls: &[&str]) -> Launch {
        self.held.extend(calls.iter().map(ToString::to_string));
        self
    }

    /// Traces every system call of the program and of all that it starts: the
    /// trace has each as [`What::Call`] when it is entered and as
    /// [`What::Return`] when it returns, decoded. Ones that prepare the program
    /// (the loader's, the C library's, those of Rust's runtime) are marked. The
    /// kernel stops each call twice until the tracer has looked at it.
    ///
    /// The program behaves as if nobody traced it: its parent gets its end and
    /// its stops, signals reach it unchanged, and /proc as this crate reads it
    /// tells the states that it would have. Its TracerPid is not 0, and it
    /// cannot be traced a second time.
    ///
    /// # Errors
    ///
    /// When the program is started: the run has no tracer
    /// ([`crate::enter_with_tracer`]), or the kernel refuses ptrace(2).
    ///
    /// [`What::Call`]: crate::trace::What::Call
    /// [`What::Return`]: crate::trace::What::Return
    pub fn trace(mut self) -> Launch {
        self.traced = true;
        self
    }

    /// Is every call to be traced?
    pub(crate) fn is_traced(&self) -> bool {
        self.traced
    }

    /// The file to be executed.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same program from another file.
    pub(crate) fn with_file(mut self, path: PathBuf) -> Launch {
        self.path = path;
        self
    }

    /// The name that the scenario gave it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whose calls are to be watched, and which; `None`: nobody's.
    pub(crate) fn plan(&self, host: &str) -> Result<Option<Plan>> {
        if self.watched.is_empty() && self.held.is_empty() {
            return Ok(None);
        }
        Plan::new(&self.name, host, &self.watched, &self.held).map(Some)
    }

    /// Bounds the descriptors that it can have open at a time: the next one
    /// fails with EMFILE (getrlimit(2), RLIMIT_NOFILE).
    pub fn limit_files(mut self, most: u64) -> Launch {
        self.most_files = Some(most);
        self
    }

    /// Starts it as a child of this thread, on whose host it will be.
    pub(crate) fn spawn(
        &self,
        room: &Room,
        lead: Option<Lead>,
        filter: Option<Filter>,
    ) -> Result<Process> {
        let closed = !self.privileged;
        let Place { namespace, directory } = room.enter(&self.path, closed)?;
        let mut command = self.command(lead, filter);
        match directory {
            Some(scratch) => {
                command.env("TMPDIR", &scratch).current_dir(scratch)
            }
            None => command.current_dir(room.directory()),
        };
        let spawned = command.spawn();
        room.leave()?;
        let child = spawned.call(format!("exec {}", self.path.display()))?;
        Ok(Process::new(child, namespace))
    }

    fn command(&self, lead: Option<Lead>, filter: Option<Filter>) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (privileged, most_files) = (self.privileged, self.most_files);
        let kept = self.sends_raw.then_some(sys::CAP_NET_RAW);
        // Since Linux 5.14 a user namespace counts its own; before, all of the
        // user's count, and there may be many. Root is never counted.
        let counts_own_processes =
            !geteuid().is_root() && crate::kernel_version() >= (5, 14);
        sys::pre_exec(&mut command, move || {
            sys::new_session();
            // What whoever runs us has left open is not the program's.
            sys::close_the_rest_on_exec();
            sys::limit(libc::RLIMIT_CORE, 0);
            sys::limit(libc::RLIMIT_AS, MOST_MEMORY);
            sys::limit(libc::RLIMIT_FSIZE, LARGEST_FILE);
            if counts_own_processes {
                sys::limit(libc::RLIMIT_NPROC, MOST_PROCESSES);
            }
            if !privileged {
                sys::drop_capabilities(kept)?;
            }
            // Before the filter: it would watch this too.
            lead.as_ref().map_or(Ok(()), Lead::apply)?;
            // Late: what comes before is not the program's. Whoever has no
            // capability may set a filter once it can gain none by execve.
            filter.as_ref().map_or(Ok(()), Filter::apply)?;
            // After it: the filter's own descriptor must find room.
            if let Some(most) = most_files {
                sys::limit(libc::RLIMIT_NOFILE, most);
            }
            Ok(())
        });
        command
    }
}

//! Machines that are not this one: another user, files laid over the machine's
//! own, limits, system calls that are refused.
//!
//! Everything happens between fork and exec, in namespaces of the child: the
//! machine itself stays as it is.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::seccomp::Filter;

/// `nobody`, who the tests are where root runs them.
const NOBODY: u32 = 65534;
/// More than any world has.
const MOST_LAYERS: usize = 16;
/// The exit status of a world that could not be made.
pub const NO_WORLD: i32 = 99;

/// A machine for one command.
#[derive(Clone, Default)]
pub struct World {
    user: Option<u32>,
    /// Made by root before it becomes the user.
    device: Option<u32>,
    /// With processes, a network and IPC objects of its own.
    apart: bool,
    layers: Vec<Layer>,
    filter: Option<Filter>,
}

#[derive(Clone)]
enum Layer {
    /// This world's own processes.
    Proc,
    /// A directory that is there, for all that lies over it since.
    Kept(CString),
    /// An empty file system in memory over this directory.
    Empty(CString),
    /// A file, in a directory that is in memory by now.
    File(CString, Vec<u8>),
    /// One file in the place of another.
    Instead(CString, CString),
}

impl World {
    /// This machine, for whoever runs the tests.
    pub fn mine() -> World {
        World::default()
    }

    /// This machine, for an ordinary user.
    #[track_caller]
    pub fn ordinary() -> World {
        let user = geteuid().is_root().then_some(NOBODY);
        if user.is_some() {
            must_be_open(super::root());
            must_be_open(&super::target_dir());
        }
        World { user, ..World::default() }
    }

    /// Nothing is in this directory but what [`World::file`] puts there.
    pub fn empty(mut self, directory: &str) -> World {
        self.layers.push(Layer::Empty(c(directory)));
        self
    }

    /// A file, in a directory that has been emptied; or a setting.
    pub fn file(mut self, path: &str, text: &str) -> World {
        self.layers.push(Layer::File(c(path), text.into()));
        self
    }

    /// Whoever opens `path` opens `other`.
    pub fn instead(mut self, path: &str, other: &str) -> World {
        self.layers.push(Layer::Instead(c(path), c(other)));
        self
    }

    /// /dev/net/tun, with this mode. Only root can make one.
    pub fn tun(mut self, mode: u32) -> World {
        self.device = Some(mode);
        self
    }

    /// The command is process 1, and there are no other processes; /tmp,
    /// /dev/shm and /run/user are empty, but for these directories.
    pub fn apart(mut self, kept: &[&Path]) -> World {
        self.apart = true;
        self.layers.push(Layer::Proc);
        for place in ["/tmp", "/dev/shm", "/run/user"] {
            if !Path::new(place).is_dir() {
                continue;
            }
            self = self.empty(place);
            for path in kept.iter().filter(|path| path.starts_with(place)) {
                self.layers.push(Layer::Kept(c(path.to_str().unwrap())));
            }
        }
        self
    }

    /// These calls are refused.
    pub fn filter(mut self, filter: Filter) -> World {
        self.filter = Some(filter);
        self
    }

    /// `lab` in this world.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = super::command(args);
        self.clone().around(&mut command);
        command
    }

    /// Runs `lab` in this world to its end.
    #[track_caller]
    pub fn lab(&self, args: &[&str]) -> super::Said {
        let said = super::run(self.command(args));
        assert_ne!(said.code, Some(NO_WORLD), "{said}");
        said
    }

    /// Has the command run in this world.
    pub fn around(self, command: &mut Command) {
        let maps = self.maps();
        let make = move || {
            if let Err((step, err)) = self.make(&maps) {
                give_up(step, err);
            }
            Ok(())
        };
        // SAFETY: `make` makes raw system calls on what was prepared before
        // the fork; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(make) };
    }

    /// The user mapped to itself: an ordinary user in there, too.
    fn maps(&self) -> [(&'static CStr, Vec<u8>); 3] {
        let uid = self.user.unwrap_or(geteuid().as_raw());
        let gid = self.user.unwrap_or(getegid().as_raw());
        [
            (c"/proc/self/setgroups", b"deny".to_vec()),
            (c"/proc/self/uid_map", format!("{uid} {uid} 1").into_bytes()),
            (c"/proc/self/gid_map", format!("{gid} {gid} 1").into_bytes()),
        ]
    }

    fn make(&self, maps: &[(&CStr, Vec<u8>)]) -> Result<(), Failed> {
        if let Some(mode) = self.device {
            at("unshare NEWNS", unshare(CloneFlags::CLONE_NEWNS))?;
            at("mount private", private())?;
            at("tmpfs /dev/net", tmpfs(c"/dev/net"))?;
            at("mknod", make_tun(mode))?;
        }
        if let Some(user) = self.user {
            at("become nobody", become_user(user))?;
        }
        if !self.layers.is_empty() {
            self.enter(maps)?;
        }
        // Opened now: a mount takes nothing from another mount namespace.
        let mut open = [-1; MOST_LAYERS];
        for (layer, open) in self.layers.iter().zip(&mut open) {
            if let Layer::Kept(path) = layer {
                *open = open_directory(path);
            }
        }
        for (layer, open) in self.layers.iter().zip(open) {
            match layer {
                Layer::Empty(path) => at("mount tmpfs", tmpfs(path))?,
                Layer::File(path, text) => {
                    at("write a file", write(path, text))?;
                }
                Layer::Instead(path, other) => {
                    at("bind mount", bind(other, path))?;
                }
                Layer::Proc => at("mount proc", proc())?,
                Layer::Kept(path) => {
                    at("bind mount of what is kept", keep(path, open))?;
                }
            }
        }
        match &self.filter {
            Some(filter) => at("seccomp", filter.load()),
            None => Ok(()),
        }
    }
}

impl World {
    fn enter(&self, maps: &[(&CStr, Vec<u8>)]) -> Result<(), Failed> {
        let mut kinds = CloneFlags::CLONE_NEWNS;
        if self.apart {
            kinds |= CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWIPC;
        }
        // Root needs one for its limits alone, and else stays the real root.
        let user = !self.apart || !geteuid().is_root();
        if user {
            kinds |= CloneFlags::CLONE_NEWUSER;
        }
        at("unshare", unshare(kinds))?;
        if user {
            for (path, line) in maps {
                at("write a map", write(path, line))?;
            }
        }
        if self.apart {
            at("fork", become_first())?;
        }
        at("mount private", private())
    }
}

/// Can everybody get there?
#[track_caller]
fn must_be_open(path: &Path) {
    let closed = path.ancestors().find(|part| {
        let mode = part.metadata().map(|data| data.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o005 != 0o005)
    });
    if let Some(part) = closed {
        panic!(
            "root runs these tests, which need an ordinary user, as `nobody`, \
             to whom {} is closed: run them as yourself, or in a checkout \
             that everybody can read",
            part.display()
        );
    }
}

/// The step that failed, and how.
type Failed = (&'static str, Errno);

fn at<T>(step: &'static str, done: nix::Result<T>) -> Result<(), Failed> {
    done.map(|_| ()).map_err(|err| (step, err))
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn private() -> nix::Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&CStr>, c"/", None::<&CStr>, flags, None::<&CStr>)
}

fn tmpfs(path: &CStr) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID;
    let options = Some(c"size=1m,mode=755");
    mount(Some(c"tmpfs"), path, Some(c"tmpfs"), flags, options)
}

fn bind(source: &CStr, target: &CStr) -> nix::Result<()> {
    let none = None::<&CStr>;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)
}

fn proc() -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(c"proc"), c"/proc", Some(c"proc"), flags, None::<&CStr>)
}

/// The descriptor, or -1, which the next call refuses.
fn open_directory(path: &CStr) -> RawFd {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    unsafe { libc::open(path.as_ptr(), flags) }
}

/// Makes the directories on the way to a path, and lays over the last what is
/// open already.
fn keep(path: &CStr, open: RawFd) -> nix::Result<()> {
    let mut part = [0_u8; libc::PATH_MAX as usize];
    for (at, byte) in path.to_bytes_with_nul().iter().enumerate() {
        if at > 0 && matches!(byte, b'/' | 0) {
            // SAFETY: `part` is zero after what has been copied so far. The
            // directory may be there: that EEXIST is no error.
            unsafe { libc::mkdir(part.as_ptr().cast(), 0o755) };
        }
        part[at] = *byte;
    }
    // Its place in the old tree, which the descriptor remembers.
    let none = None::<&CStr>;
    // SAFETY: fchdir takes a number.
    Errno::result(unsafe { libc::fchdir(open) })?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(c"."), path, none, flags, none)
}

/// Goes on as process 1 of the new PID namespace, while this process waits.
fn become_first() -> nix::Result<()> {
    // SAFETY: raw calls without pointers, but for the status that waitpid
    // fills in. The waiting process closes its descriptors: whoever started
    // it waits for some of them to be closed.
    unsafe {
        let child = Errno::result(libc::fork())?;
        if child == 0 {
            let signal = libc::SIGKILL;
            Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, signal))?;
            return Ok(());
        }
        // Whoever started it may have a handler that writes to one of them.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::syscall(libc::SYS_close_range, 0, libc::c_int::MAX, 0);
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        let code = match libc::WIFEXITED(status) {
            true => libc::WEXITSTATUS(status),
            false => 128 + libc::WTERMSIG(status),
        };
        libc::_exit(code)
    }
}

/// The character device 10,200 with exactly this mode.
fn make_tun(mode: u32) -> nix::Result<()> {
    let path = c"/dev/net/tun".as_ptr();
    let device = libc::makedev(10, 200);
    // SAFETY: the path ends in NUL.
    let made = unsafe { libc::mknod(path, libc::S_IFCHR | mode, device) };
    Errno::result(made)?;
    // SAFETY: as above; the mode again, whatever the umask is.
    Errno::result(unsafe { libc::chmod(path, mode) })?;
    Ok(())
}

/// As login(1) does it, and with /proc/self still our own (prctl(2),
/// PR_SET_DUMPABLE).
fn become_user(user: u32) -> nix::Result<()> {
    // SAFETY: no groups, so no pointer is read; then plain numbers.
    unsafe {
        Errno::result(libc::setgroups(0, std::ptr::null()))?;
        Errno::result(libc::setresgid(user, user, user))?;
        Errno::result(libc::setresuid(user, user, user))?;
        Errno::result(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
    }
    Ok(())
}

fn write(path: &CStr, bytes: &[u8]) -> nix::Result<()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL; pointer and length are the slice's.
    unsafe {
        let fd = Errno::result(libc::open(path.as_ptr(), flags, 0o644))?;
        let written = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        libc::close(fd);
        Errno::result(written)?;
    }
    Ok(())
}

/// Says which step failed, to who reads standard error, and exits.
fn give_up(step: &str, err: Errno) -> ! {
    let parts: [&[u8]; 4] =
        [b"the world: ", step.as_bytes(), b": ", err.desc().as_bytes()];
    for part in parts {
        // SAFETY: pointer and length are the slice's.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: ends this process, a child that has not called exec yet.
    unsafe { libc::_exit(NO_WORLD) }
}

/// The error that a call of this process gets, for a comparison.
pub fn opens(path: &str) -> io::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.read(true).write(true).open(path).map(|_| ())
}

//! What a host's programs can write to: memory of the host's own, and nothing
//! that was there before.
//!
//! A host has two mount namespaces. In the first, where threads and the door's
//! visitors are, everything is as outside but for /etc, /proc, /dev/shm and
//! /dev/mqueue. In the second each file system is read-only but for the last
//! two and the scratch directory, a tmpfs of a bounded size over a directory
//! that a program has no need of. Each program gets a copy of the second: it
//! cannot leave that, so its processes are known by it, even those that have
//! left its session.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

use crate::error::{Call, Result};
use crate::sys;

/// Where the scratch directory may lie: the first of them that covers neither
/// the course nor the program.
const POINTS: [&str; 6] =
    ["/tmp", "/var/tmp", "/mnt", "/srv", "/media", "/opt"];
const SHM: &str = "/dev/shm";
const MQUEUE: &str = "/dev/mqueue";
/// How much the programs of a host may put into each tmpfs.
const ROOM: &str = "size=64m,nr_inodes=4096,mode=1777";

/// The mounts of a host; made, and used, by the host's thread.
pub(crate) struct Room {
    /// The run's /proc: the host's own does not list the host's thread.
    proc: File,
    run: Run,
    /// The namespace of the host's threads.
    open: OwnedFd,
    /// The one that programs get a copy of.
    closed: OwnedFd,
    scratch: Option<Mounted>,
    shm: Option<Mounted>,
    queues: Option<Mounted>,
}

/// Where the run itself is: what no program's mounts may cover.
pub(crate) struct Run {
    directory: PathBuf,
    program: PathBuf,
}

impl Run {
    /// Before the calling thread is on a host, whose /proc does not list it.
    pub(crate) fn here() -> Run {
        let here = std::env::current_dir().unwrap_or("/".into());
        let program = std::env::current_exe().unwrap_or_else(|_| here.clone());
        Run { directory: here, program }
    }

    /// Is this a directory without the run in it?
    fn is_clear_of(&self, point: &Path) -> bool {
        let ours = [&self.directory, &self.program];
        point.is_dir() && !ours.into_iter().any(|path| is_in(path, point))
    }
}

/// A mount, and a descriptor of its root: who is elsewhere can look into it.
struct Mounted {
    point: PathBuf,
    root: File,
}

/// Where a program is to start.
pub(crate) struct Place {
    /// Its mount namespace: nobody else's while this is held.
    pub(crate) namespace: OwnedFd,
    /// Its working directory.
    pub(crate) directory: Option<PathBuf>,
}

impl Room {
    /// Lays out the mounts of the host that the calling thread has become, once
    /// the host has its own /proc; `proc` is the one before.
    pub(crate) fn furnish(proc: File, run: Run) -> Result<Room> {
        let free = |point: &str| run.is_clear_of(Path::new(point));
        let shm = match free(SHM) {
            true => Some(mount_over(SHM, "tmpfs", Some(ROOM))?),
            false => None,
        };
        // The kernel of a container may know no message queues.
        let visible = match free(MQUEUE) {
            true => mount_over(MQUEUE, "mqueue", None).ok(),
            false => None,
        };
        let open = own_namespace(&proc)?;
        unshare(CloneFlags::CLONE_NEWNS).call("unshare CLONE_NEWNS")?;
        sys::set_read_only("/", true).call("mount_setattr /")?;
        for mounted in shm.iter().chain(&visible) {
            sys::set_read_only(&mounted.point, false)
                .call(format!("mount_setattr {}", mounted.point.display()))?;
        }
        let point = POINTS.into_iter().find(|point| free(point));
        let queues = match (visible, point) {
            (None, Some(point)) => look_at_queues(point),
            (visible, _) => visible,
        };
        let scratch = match point {
            Some(point) => Some(mount_over(point, "tmpfs", Some(ROOM))?),
            None => None,
        };
        let closed = own_namespace(&proc)?;
        let room = Room { proc, run, open, closed, scratch, shm, queues };
        room.leave()?;
        Ok(room)
    }

    /// Takes the calling thread to a new place for the program at `path`, which
    /// it is to fork there; [`Room::leave`] takes it back.
    pub(crate) fn enter(&self, path: &Path, closed: bool) -> Result<Place> {
        // Now: in there, it may be covered.
        let program = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if closed {
            setns(self.closed.as_fd(), CloneFlags::CLONE_NEWNS)
                .call("setns CLONE_NEWNS")?;
        }
        unshare(CloneFlags::CLONE_NEWNS).call("unshare CLONE_NEWNS")?;
        let namespace = own_namespace(&self.proc)?;
        let directory = match &self.scratch {
            Some(scratch) if closed => {
                Some(uncover(scratch, [path, &program], &self.run)?)
            }
            _ => None,
        };
        Ok(Place { namespace, directory })
    }

    /// Takes the thread back to where the host's threads are.
    pub(crate) fn leave(&self) -> Result<()> {
        setns(self.open.as_fd(), CloneFlags::CLONE_NEWNS)
            .call("setns CLONE_NEWNS")
    }

    /// The working directory of the run, which is that of the programs that may
    /// do everything. A thread that has been elsewhere has forgotten it.
    pub(crate) fn directory(&self) -> &Path {
        &self.run.directory
    }

    /// The working directory of the programs, from anywhere in the run.
    pub(crate) fn scratch(&self) -> Option<PathBuf> {
        self.scratch.as_ref().map(Mounted::path)
    }

    /// The host's /dev/shm.
    pub(crate) fn shm(&self) -> Option<PathBuf> {
        self.shm.as_ref().map(Mounted::path)
    }

    /// The host's POSIX message queues, as files.
    pub(crate) fn queues(&self) -> Option<PathBuf> {
        self.queues.as_ref().map(Mounted::path)
    }
}

impl Mounted {
    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.root.as_raw_fd()).into()
    }
}

/// The mount namespace of the calling thread.
fn own_namespace(proc: &File) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(proc, "thread-self/ns/mnt", flags, Mode::empty())
        .call("open /proc/thread-self/ns/mnt")
}

/// A fresh file system over a directory.
fn mount_over(
    point: &str,
    kind: &str,
    options: Option<&str>,
) -> Result<Mounted> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(kind), point, Some(kind), flags, options)
        .call(format!("mount {kind} {point}"))?;
    let root = File::open(point).call(format!("open {point}"))?;
    Ok(Mounted { point: point.into(), root })
}

/// The message queues of a machine that shows them nowhere.
fn look_at_queues(point: &str) -> Option<Mounted> {
    let queues = mount_over(point, "mqueue", None).ok()?;
    umount2(point, MntFlags::MNT_DETACH).ok()?;
    Some(queues)
}

fn is_in(path: &Path, point: &Path) -> bool {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let point = fs::canonicalize(point).unwrap_or_else(|_| point.into());
    path.starts_with(point)
}

/// In the program's own namespace: moves the scratch directory away from the
/// program itself, should that lie under it; where it is now. `ways` are the
/// program's path as given and where it leads.
fn uncover(scratch: &Mounted, ways: [&Path; 2], run: &Run) -> Result<PathBuf> {
    let covers = |point: &Path| ways.iter().any(|way| way.starts_with(point));
    if !covers(&scratch.point) {
        return Ok(scratch.point.clone());
    }
    let others = POINTS.into_iter().map(Path::new);
    let other = others
        .filter(|point| !covers(point) && run.is_clear_of(point))
        .find(|point| *point != scratch.point);
    let other = other.unwrap_or(Path::new(SHM));
    let bind = MsFlags::MS_BIND;
    mount(Some(&scratch.point), other, None::<&str>, bind, None::<&str>)
        .call(format!("mount --bind {}", other.display()))?;
    umount2(&scratch.point, MntFlags::MNT_DETACH)
        .call(format!("umount {}", scratch.point.display()))?;
    Ok(other.into())
}

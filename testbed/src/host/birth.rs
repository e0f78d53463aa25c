//! How a host comes to be: its thread, namespaces, files, settings and first
//! process.

use std::fs;
use std::io::{Read, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, sethostname};

use super::{Character, Job};
use crate::error::{Call, Result};
use crate::network::{Backend, HostSpec};
use crate::room::{Room, Run};
use crate::sockets::Inspector;
use crate::wire::Tap;
use crate::{interfaces, netlink, sys};

/// Process numbers a host may use: the end of a fork bomb.
const MOST_PROCESSES: &[u8] = b"600";

/// What a C library looks names up by, beside the network's own two files, so
/// that neither a setting of this machine nor its cache decides: the order
/// (nsswitch.conf(5)), whether a name may stand in two lines (host.conf(5)),
/// preferences (gai.conf(5)), services(5), and nscd(8), which is not there.
const NAMES: [(&str, &str); 5] = [
    ("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n"),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/gai.conf", ""),
    ("/etc/services", SERVICES),
    ("/run/nscd/socket", ""),
];
const SERVICES: &str = "echo 7/tcp\necho 7/udp\ndaytime 13/tcp\ndaytime 13/udp\n\
    domain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\n";

/// What a host is, seen from outside.
pub(super) struct Core {
    /// Process 1 of the host; a descriptor, so that the number cannot be
    /// somebody else's.
    pub(super) first: OwnedFd,
    pub(super) first_pid: Pid,
    pub(super) netns: OwnedFd,
    pub(super) inspector: Inspector,
    pub(super) room: Arc<Room>,
    /// The files that are its own, by their paths.
    pub(super) files: Vec<&'static str>,
    /// The wire's ends of its TAP devices, until the wire takes them.
    pub(super) taps: Vec<Tap>,
}

/// The host's thread: makes the namespaces, stays in them, and forks the
/// host's processes, which are its children and so easy to wait for.
pub(super) fn live(
    start: impl FnOnce() -> Result<Core>,
    ready: &Sender<Result<Core>>,
    jobs: &Receiver<Job>,
) {
    let started = start();
    let alive = started.is_ok();
    if ready.send(started).is_err() || !alive {
        return;
    }
    while let Ok(job) = jobs.recv() {
        job();
    }
}

pub(super) fn become_host(
    spec: &HostSpec,
    character: &Character,
    backend: Backend,
) -> Result<Core> {
    let name = spec.name.as_str();
    for (flag, flag_name) in [
        (CloneFlags::CLONE_NEWNET, "CLONE_NEWNET"),
        (CloneFlags::CLONE_NEWNS, "CLONE_NEWNS"),
        (CloneFlags::CLONE_NEWUTS, "CLONE_NEWUTS"),
        (CloneFlags::CLONE_NEWIPC, "CLONE_NEWIPC"),
        (CloneFlags::CLONE_NEWPID, "CLONE_NEWPID"),
    ] {
        unshare(flag).call(format!("unshare {flag_name}"))?;
    }
    // Now: once the host has its own /proc, this thread is not in it.
    let path = "/proc/thread-self/ns/net";
    let netns = fs::File::open(path).call(format!("open {path}"))?.into();
    let (proc, run) =
        (fs::File::open("/proc").call("open /proc")?, Run::here());
    sethostname(name).call(format!("sethostname {name}"))?;
    let files = write_etc(character)?;
    // Before there is an interface: it takes its settings from these.
    for (setting, value) in character.profile.sysctls() {
        // A kernel without the setting never had the behaviour; one that may
        // not be set in here (an algorithm that the administrator has not
        // allowed) stays as it is.
        let _ = fs::write(format!("/proc/sys/net/{setting}"), value);
    }
    let pid = start_first_process()?;
    let first = sys::pidfd_open(pid.as_raw()).call("pidfd_open")?;
    let room = Arc::new(Room::furnish(proc, run)?);
    netlink::set_up("lo", true)?;
    let taps = interfaces::start(spec, backend)?;
    let inspector = Inspector::open()?;
    Ok(Core { first, first_pid: pid, netns, inspector, room, files, taps })
}

/// Lays the host's own files over those of this machine, and says which there
/// are. They live in memory, and go when the host goes.
fn write_etc(character: &Character) -> Result<Vec<&'static str>> {
    let stage = Path::new("/tmp");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), stage, Some("tmpfs"), flags, Some("size=64k"))
        .call("mount tmpfs /tmp")?;
    let own = [
        ("/etc/hosts", character.hosts.as_str()),
        ("/etc/resolv.conf", character.resolv_conf.as_str()),
    ];
    let mut files = Vec::new();
    for (target, text) in own.into_iter().chain(NAMES) {
        // A machine without the file has nothing to cover: its programs will
        // not look there either.
        if !Path::new(target).exists() {
            continue;
        }
        let file = stage.join(target.replace('/', "-"));
        fs::write(&file, text).call(format!("write {}", file.display()))?;
        let bind = MsFlags::MS_BIND;
        mount(Some(&file), target, None::<&str>, bind, None::<&str>)
            .call(format!("mount --bind {target}"))?;
        files.push(target);
    }
    umount2(stage, MntFlags::MNT_DETACH).call("umount /tmp")?;
    Ok(files)
}

/// Forks the host's process 1, which mounts /proc and then only reaps.
fn start_first_process() -> Result<Pid> {
    let (mut ready, write) = pipe().call("pipe")?;
    let write_fd = write.as_raw_fd();
    let bounded = own_process_limit();
    match sys::fork().call("fork")? {
        0 => {
            sys::set_name(c"init");
            // Where /proc is masked (containers) the outer one stays.
            if sys::mount_proc() == 0 && bounded {
                sys::write_file(c"/proc/sys/kernel/pid_max", MOST_PROCESSES);
            }
            sys::write_byte(write_fd, 1);
            sys::close_everything();
            sys::reap_for_ever()
        }
        pid => {
            drop(write);
            let mut byte = [0];
            ready.read_exact(&mut byte).call("start the first process")?;
            Ok(Pid::from_raw(pid))
        }
    }
}

/// Does writing pid_max here bound this host alone? Since Linux 6.14 each PID
/// namespace has its own; before, it is the machine's, which root must not
/// change and others cannot. There is no harmless way to try it.
fn own_process_limit() -> bool {
    crate::kernel_version() >= (6, 14)
}

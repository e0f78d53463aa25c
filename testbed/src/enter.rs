//! The way into a run: a world of its own for this process and its children.

use std::fs;
use std::io::{Read, pipe};
use std::os::fd::AsFd;

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};

use crate::error::{Call, Error, Result};
use crate::{diagnosis, sys, tracer};

/// Enters fresh namespaces: network, host name, mounts, IPC, process ids, and,
/// for anybody but root, a user namespace that maps the user to itself.
///
/// The rest of the program runs as process 1 of the new PID namespace: when it
/// ends, or when any process above it is killed, the kernel ends every process
/// in there and takes the networks down. The calling process stays outside; it
/// waits, exits with the same status, and never returns from here.
///
/// The network is empty and has no way out. Nothing that is sent after this
/// call can leave the machine.
///
/// # Errors
///
/// Must be called before the first thread is started (unshare(2), EINVAL). Any
/// other error names the call that this machine refused and the cure.
pub fn enter() -> Result<()> {
    let threads =
        fs::read_dir("/proc/self/task").call("open /proc/self/task")?;
    if threads.count() != 1 {
        return Err(Error::new("enter: the process has threads already")
            .cure("call testbed::enter() first of all in main"));
    }
    diagnosis::look_at_the_limits();
    if !geteuid().is_root() {
        enter_user_namespace()?;
    }
    unshare_each(&[
        (CloneFlags::CLONE_NEWNS, "CLONE_NEWNS"),
        (CloneFlags::CLONE_NEWNET, "CLONE_NEWNET"),
        (CloneFlags::CLONE_NEWUTS, "CLONE_NEWUTS"),
        (CloneFlags::CLONE_NEWIPC, "CLONE_NEWIPC"),
        (CloneFlags::CLONE_NEWPID, "CLONE_NEWPID"),
    ])?;
    become_first_process()?;

    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .call("mount / MS_PRIVATE")?;
    // Where /proc is masked (containers), the outer one has to do: process
    // numbers then differ, and nothing else.
    let hidden = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), hidden, None::<&str>);
    // A table of its own for each host's connections, where Linux (since 6.1)
    // has that: reading the machine's, of half a million rows, takes 1 ms.
    let _ = fs::write(CHILD_TABLE, "1024");
    Ok(())
}

/// The same, with a process that can trace programs ([`Launch::trace`]): it has
/// to be forked before the first thread, and waits for orders.
///
/// # Errors
///
/// As [`enter`]; a kernel before 5.3, which does not tell a tracer what a call
/// is given.
///
/// [`Launch::trace`]: crate::Launch::trace
pub fn enter_with_tracer() -> Result<()> {
    enter()?;
    tracer::open_office()
}

/// Read when a network namespace is made from this one (ip-sysctl).
const CHILD_TABLE: &str = "/proc/sys/net/ipv4/tcp_child_ehash_entries";

/// One kind of namespace at a time, so that an error can name the kind.
fn unshare_each(kinds: &[(CloneFlags, &str)]) -> Result<()> {
    for (flag, name) in kinds {
        unshare(*flag).call(format!("unshare {name}"))?;
    }
    Ok(())
}

/// Maps the user to itself and not to root: tcpdump, squid and others drop
/// root's privileges to users that would not exist in here.
fn enter_user_namespace() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).call("unshare CLONE_NEWUSER")?;
    for (file, line) in [
        ("/proc/self/setgroups", "deny".to_string()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ] {
        fs::write(file, line).call(format!("write {file}"))?;
    }
    sys::keep_capabilities().call("capset")
}

/// Goes on as process 1 of the PID namespace; the caller's process waits.
fn become_first_process() -> Result<()> {
    // Held by the outer process alone: it closes when that process dies.
    let (mut alive, held) = pipe().call("pipe")?;
    match sys::fork().call("fork")? {
        0 => {
            drop(held);
            sys::die_with_parent().call("prctl PR_SET_PDEATHSIG")?;
            // It may have died before the line above.
            let mut fds = [PollFd::new(alive.as_fd(), PollFlags::POLLHUP)];
            let gone = poll(&mut fds, PollTimeout::ZERO).call("poll")?;
            if gone > 0 {
                let _ = alive.read(&mut [0]);
                sys::exit_now(1);
            }
            Ok(())
        }
        child => {
            drop(alive);
            let status = waitpid(Pid::from_raw(child), None);
            drop(held);
            match status {
                Ok(WaitStatus::Exited(_, code)) => sys::exit_now(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => die_of(signal),
                _ => sys::exit_now(1),
            }
        }
    }
}

/// Ends as the run ended: by the same signal.
fn die_of(signal: Signal) -> ! {
    let _ = kill(Pid::this(), signal);
    sys::exit_now(128 + signal as i32)
}

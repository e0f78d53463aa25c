//! The mistake: given back by a function that has it for its task, and once more
//! after it.
//!
//! Usage: sysv_sem PROCESSES ROUNDS
//! See also: semget(2), semop(2), semctl(2), sysvipc(7); ipcs(1), ipcrm(1)

use std::io;

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

const USAGE: &str = "usage: sysv_sem PROCESSES ROUNDS";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let processes: u32 =
        args.next().context(USAGE)?.parse().context("parse PROCESSES")?;
    let rounds: u32 =
        args.next().context(USAGE)?.parse().context("parse ROUNDS")?;
    awaited().thread_block().context("sigprocmask")?;

    // Before the first fork: the set has no name by which a child could find
    // it, and all that the children need to inherit is its number.
    let set = semget(libc::IPC_PRIVATE, 1, 0o600).context("semget")?;
    semctl_setval(set, 0, 1).context("semctl SETVAL")?;
    println!("semaphore set {set}");

    let mut children = Vec::new();
    let outcome = take_turns(set, processes, rounds, &mut children);
    // Whatever has happened, nobody else will remove it. Who still sleeps in
    // semop wakes up, with EIDRM.
    semctl_rmid(set).context("semctl IPC_RMID")?;
    println!("removed");
    reap(&children)?;
    outcome
}

/// Starts the children, and sleeps until they have ended or SIGTERM comes.
fn take_turns(
    set: i32,
    processes: u32,
    rounds: u32,
    children: &mut Vec<Pid>,
) -> anyhow::Result<()> {
    for number in 1..=processes {
        children.push(start_child(|| work(set, number, rounds))?);
    }
    if told_to_end(children).context("wait for the children")? {
        println!("told to end");
    }
    Ok(())
}

/// A child's life.
fn work(set: i32, number: u32, rounds: u32) -> io::Result<()> {
    for _ in 0..rounds {
        match change(set, -1) {
            Err(err) if is_gone(&err) => return Ok(()),
            acquired => acquired?,
        }
        section(number);
        release(set)?;
        match change(set, 1) {
            Err(err) if is_gone(&err) => return Ok(()),
            released => released?,
        }
    }
    Ok(())
}

/// Adds to the semaphore; sleeps while that would make it negative. SEM_UNDO
/// on both ways: what the kernel would take back then adds up to 0 outside of
/// the section, and to +1 in it.
fn change(set: i32, by: i16) -> io::Result<()> {
    let sem_flg = libc::SEM_UNDO as i16;
    semop(set, &mut [libc::sembuf { sem_num: 0, sem_op: by, sem_flg }])
}

/// Lets the next one in.
fn release(set: i32) -> io::Result<()> {
    match change(set, 1) {
        Err(err) if is_gone(&err) => Ok(()),
        released => released,
    }
}

/// Has the set been removed, while semop slept (EIDRM) or before (EINVAL)?
fn is_gone(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EIDRM | libc::EINVAL))
}

/// What only one process may do at a time.
fn section(number: u32) {
    println!("{number} enters");
    std::thread::yield_now(); // sched_yield(2)
    println!("{number} leaves");
}

/// The signals that `told_to_end` sleeps for; blocked everywhere else.
fn awaited() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM])
}

/// Forks a child that does this work, and nothing else, and ends.
fn start_child(work: impl Fn() -> io::Result<()>) -> anyhow::Result<Pid> {
    // SAFETY: there is one thread, so no lock is held by one that the child
    // does not have.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { child } => return Ok(child),
        ForkResult::Child => {}
    }
    let done = work();
    if let Err(err) = &done {
        eprintln!("a child: {err}");
    }
    std::process::exit(i32::from(done.is_err()))
}

/// Sleeps until all of these children have ended, or until SIGTERM: was it?
fn told_to_end(children: &[Pid]) -> nix::Result<bool> {
    // WNOWAIT: whoever has ended is left for `reap`.
    let look =
        WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    for child in children {
        while waitid(Id::Pid(*child), look)? == WaitStatus::StillAlive {
            // What came while nobody waited is still pending, and not lost.
            if awaited().wait()? == Signal::SIGTERM {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Waits for each child, and tells how it ended.
fn reap(children: &[Pid]) -> anyhow::Result<()> {
    for (child, number) in children.iter().zip(1..) {
        match waitpid(*child, None).context("wait4")? {
            WaitStatus::Exited(_, 0) => println!("{number} ended"),
            WaitStatus::Exited(_, _) => println!("{number} failed"),
            _ => println!("{number} was killed"),
        }
    }
    Ok(())
}

/// `semget(2)`: the number of the set with this key, of a new one for
/// IPC_PRIVATE.
fn semget(key: libc::key_t, count: i32, flags: i32) -> io::Result<i32> {
    // SAFETY: passes no pointers.
    match unsafe { libc::semget(key, count, flags) } {
        -1 => Err(io::Error::last_os_error()),
        set => Ok(set),
    }
}

/// `semctl(2)`, SETVAL: gives a semaphore of the set its value.
fn semctl_setval(set: i32, semaphore: i32, value: i32) -> io::Result<()> {
    // SAFETY: with SETVAL the fourth argument is read as an int.
    match unsafe { libc::semctl(set, semaphore, libc::SETVAL, value) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `semctl(2)`, IPC_RMID: removes the set.
fn semctl_rmid(set: i32) -> io::Result<()> {
    // SAFETY: with IPC_RMID there is no fourth argument.
    match unsafe { libc::semctl(set, 0, libc::IPC_RMID) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `semop(2)`: does all of these operations at once, or sleeps until it can.
fn semop(set: i32, operations: &mut [libc::sembuf]) -> io::Result<()> {
    let (first, count) = (operations.as_mut_ptr(), operations.len());
    // SAFETY: the kernel reads `count` operations, which the slice has.
    match unsafe { libc::semop(set, first, count) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

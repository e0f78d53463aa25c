//! Let processes take turns, with a System V semaphore set.
//!
//! A semaphore is a number in the kernel. semop(2) adds to it, and who would
//! make it negative sleeps until others have added enough. What a process has
//! done with SEM_UNDO the kernel takes back when that process ends, however it
//! ends. The set itself belongs to no process: it stays until it is removed, or
//! until the machine starts anew.
//!
//! Usage: sysv_sem PROCESSES ROUNDS
//! See also: semget(2), semop(2), semctl(2), sysvipc(7); ipcs(1), ipcrm(1)

#![allow(dead_code)] // Until `main` uses what stands below it.

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

    // The calls that you need stand below, each as a function that is safe.
    //
    // 1. Make a set of one semaphore, private and for your own user alone (mode
    //    0600), and give the semaphore its value. Print `semaphore set ID`,
    //    with the number that semget(2) returned.
    // 2. Start PROCESSES children with `start_child`, numbered from 1. Each
    //    goes through `section` ROUNDS times, and nobody is in it while another
    //    is: the others sleep in semop(2), and take turns. A child that is
    //    killed in the section (SIGKILL: it runs nothing more) must not lock
    //    the others out.
    // 3. Sleep in `told_to_end`, which returns when all children have ended, or
    //    when SIGTERM comes: then print `told to end`.
    // 4. In either case remove the set, and print `removed`: nothing is to be
    //    left for `ipcs -s` to show. Children that sleep in semop wake up with
    //    an error then (EIDRM; EINVAL for who comes later), and that is no
    //    failure: they end with status 0, without a word.
    // 5. `reap` the children, which prints a line for each.
    todo!("sysv_sem is not started: {processes} processes, {rounds} rounds")
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

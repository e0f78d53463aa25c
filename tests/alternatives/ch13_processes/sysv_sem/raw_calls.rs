//! Another way: libc alone, a set of two, SETALL, and semtimedop.
//!
//! Semaphore 1 is the turn. At semaphore 0, the gate, the children wait until
//! all of them have been started.

use std::io::{Error, Result};
use std::{mem, process, ptr, thread};

use libc::{IPC_PRIVATE, IPC_RMID, SEM_UNDO, SETALL, SIGCHLD, SIGTERM};

const TURN: u16 = 1;
const GATE: u16 = 0;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = || -> usize {
        let arg = args.next().and_then(|arg| arg.parse().ok());
        arg.unwrap_or_else(|| process::exit(2))
    };
    let (processes, rounds) = (number(), number());
    let signals = block();
    // SAFETY: passes no pointers.
    let set = check(unsafe { libc::semget(IPC_PRIVATE, 2, 0o600) })?;
    let values = [0u16, 1];
    // SAFETY: SETALL reads as many values as the set has semaphores.
    check(unsafe { libc::semctl(set, 0, SETALL, values.as_ptr()) })?;
    println!("semaphore set {set}");
    let mut children = Vec::new();
    for number in 1..=processes {
        // SAFETY: there is one thread.
        match check(unsafe { libc::fork() })? {
            0 => process::exit(live(set, number, rounds)),
            child => children.push((number, child, None)),
        }
    }
    change(set, GATE, processes as i16, 0)?;
    while children.iter().any(|child| child.2.is_none()) {
        let mut which = 0;
        // SAFETY: both outlive the call.
        unsafe { libc::sigwait(&signals, &mut which) };
        if which == SIGTERM {
            println!("told to end");
            break;
        }
        for child in children.iter_mut().filter(|child| child.2.is_none()) {
            child.2 = wait(child.1, libc::WNOHANG);
        }
    }
    // SAFETY: with IPC_RMID there is no fourth argument.
    check(unsafe { libc::semctl(set, 0, IPC_RMID) })?;
    println!("removed");
    for (number, child, status) in children {
        match status.or_else(|| wait(child, 0)) {
            Some(0) => println!("{number} ended"),
            Some(status) if libc::WIFEXITED(status) => {
                println!("{number} failed");
            }
            _ => println!("{number} was killed"),
        }
    }
    Ok(())
}

fn live(set: i32, number: usize, rounds: usize) -> i32 {
    let mut done = change(set, GATE, -1, 0);
    for _ in 0..rounds {
        done = done.and_then(|()| change(set, TURN, -1, SEM_UNDO));
        if done.is_err() {
            break;
        }
        println!("{number} enters");
        thread::yield_now();
        println!("{number} leaves");
        done = change(set, TURN, 1, SEM_UNDO);
    }
    let error = done.err().and_then(|err| err.raw_os_error());
    i32::from(!matches!(error, None | Some(libc::EIDRM | libc::EINVAL)))
}

fn change(set: i32, semaphore: u16, by: i16, flags: i32) -> Result<()> {
    let sem_flg = flags as i16;
    let mut change = [libc::sembuf { sem_num: semaphore, sem_op: by, sem_flg }];
    // SAFETY: one operation, and no time limit.
    let done = unsafe { semtimedop(set, change.as_mut_ptr(), 1, ptr::null()) };
    check(done).map(drop)
}

unsafe extern "C" {
    fn semtimedop(
        set: libc::c_int,
        operations: *mut libc::sembuf,
        count: libc::size_t,
        limit: *const libc::timespec,
    ) -> libc::c_int;
}

fn block() -> libc::sigset_t {
    // SAFETY: a set of signals is plain memory, which sigemptyset fills.
    unsafe {
        let mut signals = mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, SIGTERM);
        libc::sigaddset(&mut signals, SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &signals, ptr::null_mut());
        signals
    }
}

/// The status of this child, if it has ended.
fn wait(child: i32, flags: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let ended = unsafe { libc::waitpid(child, &mut status, flags) };
    (ended == child).then_some(status)
}

fn check(result: i32) -> Result<i32> {
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

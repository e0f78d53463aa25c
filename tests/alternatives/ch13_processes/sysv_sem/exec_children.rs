//! Another way: the children are programs of their own, and are given the set's
//! number as an argument; a number that two operations move at once.

use std::io::{Error, Result};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| -> i32 {
        let arg = args.get(at).and_then(|arg| arg.parse().ok());
        arg.unwrap_or_else(|| std::process::exit(2))
    };
    if args.len() == 4 {
        match take_turns(number(1), number(2), number(3)) {
            Err(err) if !is_gone(&err) => Err(err),
            _ => Ok(()),
        }
    } else {
        parent(number(1), number(2))
    }
}

fn parent(processes: i32, rounds: i32) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]);
    signals.thread_block()?;
    // SAFETY: passes no pointers.
    let set = check(unsafe { libc::semget(0, 1, 0o600) })?;
    println!("semaphore set {set}");
    let mut children = Vec::new();
    for number in 1..=processes {
        let mut command = Command::new("/proc/self/exe");
        let args = [set, number, rounds].map(|number| number.to_string());
        children.push(command.args(args).process_group(0).spawn()?);
    }
    // A new semaphore is 0: nobody enters before this.
    add(set, 1, 0)?;
    while children.iter().any(lives) {
        if signals.wait()? == Signal::SIGTERM {
            println!("told to end");
            break;
        }
    }
    // SAFETY: with IPC_RMID there is no fourth argument.
    check(unsafe { libc::semctl(set, 0, libc::IPC_RMID) })?;
    println!("removed");
    for (child, number) in children.iter_mut().zip(1..) {
        let status = child.wait()?;
        match (status.signal(), status.success()) {
            (Some(_), _) => println!("{number} was killed"),
            (None, true) => println!("{number} ended"),
            (None, false) => println!("{number} failed"),
        }
    }
    Ok(())
}

fn lives(child: &Child) -> bool {
    let look =
        WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let child = Pid::from_raw(child.id() as i32);
    waitid(Id::Pid(child), look) == Ok(WaitStatus::StillAlive)
}

fn take_turns(set: i32, number: i32, rounds: i32) -> Result<()> {
    for _ in 0..rounds {
        add(set, -1, libc::SEM_UNDO)?;
        println!("{number} enters");
        std::thread::yield_now();
        println!("{number} leaves");
        add(set, 1, libc::SEM_UNDO)?;
    }
    Ok(())
}

fn add(set: i32, by: i16, flags: i32) -> Result<()> {
    let mut change =
        libc::sembuf { sem_num: 0, sem_op: by, sem_flg: flags as i16 };
    // SAFETY: one operation.
    check(unsafe { libc::semop(set, &mut change, 1) }).map(drop)
}

fn is_gone(err: &Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EIDRM | libc::EINVAL))
}

fn check(result: i32) -> Result<i32> {
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

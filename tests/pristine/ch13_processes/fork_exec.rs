//! Run commands as a shell does: fork, redirect, execute, wait.
//!
//! fork(2) makes a process that is a copy of its parent: the same memory, whose
//! pages are copied only when one of the two writes to them, and descriptors of
//! the same open files. execve(2) puts another program into a process and
//! leaves it its number, its parent, its ignored signals and every descriptor
//! that is not marked close-on-exec. Between the two calls the child still runs
//! your code, and can arrange what the new program is to find.
//!
//! Usage: fork_exec HISTORY
//! See also: fork(2), execve(2), dup2(2), waitpid(2), _exit(2), signal(7)

#![allow(dead_code)] // Until your code uses what is given below.

use std::ffi::CString;
use std::io;

use anyhow::Context;
use nix::errno::Errno;
use nix::unistd::Pid;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: fork_exec HISTORY")?;

    // Do it with fork and exec; `std::process::Command` would do it for you.
    //
    // 1. Open HISTORY to append to it; create it if need be. No child of yours
    //    is to have this descriptor. Print `ready`.
    // 2. For each line of standard input, until its end; `Command::parse` says
    //    what is on it, and `None` is passed over:
    //    a. Append the line to HISTORY.
    //    b. Fork. In the child: FILE after `<` becomes descriptor 0, FILE after
    //       `>` descriptor 1, created with mode 0666 (less the umask) or
    //       emptied; no other descriptor but 2 is to be open in the command. A
    //       signal that kills other programs kills the command, too: your own
    //       runtime may have changed that for SIGPIPE. A command without `<`
    //       reads your own standard input: what you have not read from it yet.
    //       Then execute it, found by PATH (execvp(3)).
    //    c. The child never comes back into this loop. If a FILE cannot be
    //       opened it ends with status 1; if there is no such command, with
    //       127; if it cannot be executed for another reason, with 126. Tell
    //       why on standard error, in your own words.
    //    d. In the parent: wait for the child, and print one line:
    //       `exit STATUS`, or `killed by SIGNAL`, as in `killed by SIGTERM`.
    //       From then on nothing of the child is left: no descriptor, no
    //       zombie.
    todo!("fork_exec is not started: {path}")
}

/// `WORD... [< FILE] [> FILE]`, with blanks around everything; no quotes.
struct Command {
    /// The program's name and its arguments; at least the name.
    words: Vec<CString>,
    input: Option<String>,
    output: Option<String>,
}

impl Command {
    /// `None`: there is no command on this line.
    fn parse(line: &str) -> Option<Command> {
        let mut command =
            Command { words: Vec::new(), input: None, output: None };
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "<" => command.input = words.next().map(str::to_string),
                ">" => command.output = words.next().map(str::to_string),
                _ => command.words.push(CString::new(word).ok()?),
            }
        }
        (!command.words.is_empty()).then_some(command)
    }
}

/// `fork(2)`: the child's number to the parent, and `None` to the child.
fn fork() -> nix::Result<Option<Pid>> {
    // SAFETY: there is one thread, so no lock is held by one that the child
    // does not have.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        0 => Ok(None),
        child => Ok(Some(Pid::from_raw(child))),
    }
}

/// `_exit(2)`: ends the process without what exit(3) does first, such as the
/// writing of buffers that the parent has as well.
fn exit_now(status: i32) -> ! {
    // SAFETY: passes no pointers, and does not return.
    unsafe { libc::_exit(status) }
}

/// `signal(2)`: SIGPIPE ends the process again.
fn default_sigpipe() -> io::Result<()> {
    // SAFETY: SIG_DFL is no function of ours.
    match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

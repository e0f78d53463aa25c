//! Another right program: the standard library's `exec` redirects, finds the
//! program and gives it SIGPIPE back; only fork(2) and waiting are nix's. Both
//! files are opened before the fork, and closed in the shell after it.
//!
//! Usage: fork_exec HISTORY
//! See also: fork(2), waitid(2), execvp(3)

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{ForkResult, Pid, fork};

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: fork_exec HISTORY")?;
    let mut history =
        OpenOptions::new().append(true).create(true).open(path)?;
    writeln!(io::stdout(), "ready")?;
    let mut line = String::new();
    while io::stdin().lock().read_line(&mut line)? > 0 {
        history.write_all(line.as_bytes())?;
        let said = run(&line)?;
        writeln!(io::stdout(), "{said}")?;
        line.clear();
    }
    Ok(())
}

fn run(line: &str) -> anyhow::Result<String> {
    let command = parse(line);
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let status = match command {
                Ok(mut command) => match command.exec().kind() {
                    ErrorKind::NotFound => 127,
                    _ => 126,
                },
                Err(_) => 1,
            };
            // SAFETY: passes no pointers.
            unsafe { libc::_exit(status) }
        }
    };
    drop(command);
    wait(child)
}

fn wait(child: Pid) -> anyhow::Result<String> {
    Ok(match waitid(Id::Pid(child), WaitPidFlag::WEXITED)? {
        WaitStatus::Exited(_, code) => format!("exit {code}"),
        WaitStatus::Signaled(_, signal, _) => {
            format!("killed by {}", signal.as_str())
        }
        other => anyhow::bail!("{other:?}"),
    })
}

fn parse(line: &str) -> io::Result<Command> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    while let Some(word) = words.next() {
        let file = || words.clone().next().unwrap_or_default();
        match word {
            "<" => command.stdin(Stdio::from(File::open(file())?)),
            ">" => command.stdout(Stdio::from(File::create(file())?)),
            _ => {
                command.arg(word);
                continue;
            }
        };
        words.next();
    }
    Ok(command)
}

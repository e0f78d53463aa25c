//! The mistake: the shell itself opens the files, and does not close what
//! the child has a copy of. Prints what the solution prints.
//!
//! Usage: fork_exec HISTORY
//! See also: fork(2), execve(2), dup2(2), waitpid(2), _exit(2), signal(7)

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, execvp};

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: fork_exec HISTORY")?;
    // The standard library marks what it opens close-on-exec.
    let mut history = File::options()
        .append(true)
        .create(true)
        .open(&path)
        .with_context(|| format!("open {path}"))?;
    println!("ready");

    for line in io::stdin().lines() {
        let line = line.context("read")?;
        let Some(command) = Command::parse(&line) else { continue };
        writeln!(history, "{line}").context("write")?;
        let child = start(&command).context("fork")?;
        println!("{}", wait(child).context("waitpid")?);
    }
    Ok(())
}

/// Makes a child that becomes the command.
fn start(command: &Command) -> nix::Result<Pid> {
    let files = open_files(command);
    if let Some(child) = fork()? {
        std::mem::forget(files); // The child needs them.
        return Ok(child);
    }
    let status = match files.and_then(redirect) {
        Ok(()) => execute(command),
        Err(err) => {
            eprintln!("redirect: {err}");
            1
        }
    };
    // No way leads back from here: there would be two shells.
    exit_now(status)
}

/// The files to read from and to write to.
type Files = (Option<File>, Option<File>);

fn open_files(command: &Command) -> io::Result<Files> {
    let input = command.input.as_ref().map(File::open).transpose()?;
    let output = command.output.as_ref().map(File::create).transpose()?;
    Ok((input, output))
}

/// Puts the files in the place of standard input and output.
fn redirect((input, output): Files) -> io::Result<()> {
    if let Some(file) = input {
        dup2_stdin(file)?;
    }
    if let Some(file) = output {
        dup2_stdout(file)?;
    }
    // What is ignored stays so in the next program, and the runtime of Rust
    // ignores SIGPIPE.
    default_sigpipe()
}

/// Returns only if there is no such program: the status for that.
fn execute(command: &Command) -> i32 {
    let Err(errno) = execvp(&command.words[0], &command.words);
    eprintln!("{}: {}", command.words[0].to_string_lossy(), errno.desc());
    if errno == Errno::ENOENT { 127 } else { 126 }
}

/// Waits for the child's end, and says how it came.
fn wait(child: Pid) -> nix::Result<String> {
    match waitpid(child, None)? {
        WaitStatus::Exited(_, code) => Ok(format!("exit {code}")),
        WaitStatus::Signaled(_, signal, _) => Ok(format!("killed by {signal}")),
        // Only with WUNTRACED or WCONTINUED is there anything else.
        _ => Err(Errno::EINVAL),
    }
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

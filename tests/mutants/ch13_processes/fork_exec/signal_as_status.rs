//! The mistake: the exit status is taken from the status of waitpid(2)
//! without a question whether there is one: a command that was killed has 0.
//!
//! Usage: fork_exec HISTORY
//! See also: fork(2), execve(2), dup2(2), waitpid(2), _exit(2), signal(7)

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};

use anyhow::Context;
use nix::errno::Errno;
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
    if let Some(child) = fork()? {
        return Ok(child);
    }
    let status = match redirect(command) {
        Ok(()) => execute(command),
        Err(err) => {
            eprintln!("redirect: {err}");
            1
        }
    };
    // No way leads back from here: there would be two shells.
    exit_now(status)
}

/// Puts the files in the place of standard input and output.
fn redirect(command: &Command) -> io::Result<()> {
    if let Some(path) = &command.input {
        dup2_stdin(File::open(path)?)?;
    }
    if let Some(path) = &command.output {
        dup2_stdout(File::create(path)?)?;
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
    let status = waitpid(child)?;
    Ok(format!("exit {}", libc::WEXITSTATUS(status)))
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

/// `waitpid(2)`: the status as the kernel packs it.
fn waitpid(child: Pid) -> nix::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    match unsafe { libc::waitpid(child.as_raw(), &mut status, 0) } {
        -1 => Err(Errno::last()),
        _ => Ok(status),
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

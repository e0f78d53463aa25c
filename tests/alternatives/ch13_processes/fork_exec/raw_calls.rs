//! Another right program: the calls as libc has them, PATH searched by hand,
//! every higher descriptor closed by close_range(2), and SIGPIPE set right in
//! the shell itself.
//!
//! Usage: fork_exec HISTORY
//! See also: fork(2), execve(2), close_range(2), wait4(2)

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::RawFd;

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: fork_exec HISTORY")?;
    let path = CString::new(path)?;
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    // SAFETY: `path` ends with a null byte and outlives the call.
    let history = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
    ensure!(history >= 0, "open: {}", io::Error::last_os_error());
    // SAFETY: SIG_DFL is no function of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    println!("ready");
    while let Some(line) = read_line()? {
        write(history, &line)?;
        println!("{}", run(&line)?);
    }
    Ok(())
}

/// One byte at a time: nothing is taken that a command may want to read.
fn read_line() -> io::Result<Option<String>> {
    let mut line = String::new();
    let mut byte = [0];
    let mut stdin = std::mem::ManuallyDrop::new(stdin_file());
    while stdin.read(&mut byte)? == 1 {
        line.push(char::from(byte[0]));
        if byte[0] == b'\n' {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

fn stdin_file() -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: descriptor 0 is open, and the caller never closes it.
    unsafe { std::fs::File::from_raw_fd(0) }
}

fn write(fd: RawFd, line: &str) -> io::Result<()> {
    // SAFETY: the bytes outlive the call.
    match unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn run(line: &str) -> anyhow::Result<String> {
    let words: Vec<CString> =
        line.split_whitespace().map(CString::new).collect::<Result<_, _>>()?;
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    ensure!(child >= 0, "fork: {}", io::Error::last_os_error());
    if child == 0 {
        let status = become_command(&words);
        // SAFETY: passes no pointers.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call; no usage is asked for.
    let waited =
        unsafe { libc::wait4(child, &mut status, 0, std::ptr::null_mut()) };
    ensure!(waited == child, "wait4: {}", io::Error::last_os_error());
    if libc::WIFEXITED(status) {
        return Ok(format!("exit {}", libc::WEXITSTATUS(status)));
    }
    let signal = libc::WTERMSIG(status);
    let signal = nix::sys::signal::Signal::try_from(signal)?;
    Ok(format!("killed by {signal}"))
}

/// Returns the status if this process did not become the command.
fn become_command(words: &[CString]) -> i32 {
    let mut arguments = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (target, flags) = match word.to_bytes() {
            b"<" => (0, libc::O_RDONLY),
            b">" => (1, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC),
            _ => {
                arguments.push(word.as_ptr());
                continue;
            }
        };
        let Some(path) = words.next() else { return 1 };
        // SAFETY: `path` ends with a null byte; the others are numbers.
        let fd = unsafe { libc::open(path.as_ptr(), flags, 0o666) };
        // SAFETY: passes no pointers.
        if fd < 0 || unsafe { libc::dup2(fd, target) } < 0 {
            return 1;
        }
    }
    arguments.push(std::ptr::null());
    // SAFETY: passes no pointers.
    unsafe { libc::close_range(3, u32::MAX, 0) };
    let mut status = 127;
    // SAFETY: the first word ends with a null byte.
    for program in candidates(unsafe { CStr::from_ptr(arguments[0]) }) {
        // SAFETY: null-terminated strings in arrays that a null ends.
        unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) };
        if io::Error::last_os_error().raw_os_error() != Some(libc::ENOENT) {
            status = 126;
        }
    }
    status
}

fn candidates(name: &CStr) -> Vec<CString> {
    if name.to_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let name = name.to_string_lossy();
    let found = path.split(':').map(|directory| format!("{directory}/{name}"));
    found.filter_map(|path| CString::new(path).ok()).collect()
}

//! The mistake: what `write` has taken is taken for all that it was given.
//!
//! Usage: pipe_ipc filter LINES KEEP WORD
//!        pipe_ipc collect WRITERS RECORDS
//! See also: pipe(2), pipe(7), poll(2), writev(2)

use std::io::{BufRead, BufReader, ErrorKind, IoSlice, Read, Write, pipe};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::process::exit;

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

const USAGE: &str = "usage: pipe_ipc filter LINES KEEP WORD
       pipe_ipc collect WRITERS RECORDS";
/// Every record has this length, less than PIPE_BUF.
const RECORD: usize = 1000;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["filter", lines, keep, word] => {
            let lines = lines.parse().context("parse LINES")?;
            filter(lines, keep.parse().context("parse KEEP")?, word)
        }
        ["collect", writers, records] => {
            let writers = writers.parse().context("parse WRITERS")?;
            collect(writers, records.parse().context("parse RECORDS")?)
        }
        _ => bail!(USAGE),
    }
}

/// Sends lines through a child that answers each, and reads the answer.
fn filter(lines: usize, keep: usize, word: &str) -> anyhow::Result<()> {
    println!("sending {lines} lines");
    let (question, to_filter) = pipe().context("pipe")?;
    let (answer, to_us) = pipe().context("pipe")?;
    let filter = match start_process().context("fork")? {
        ForkResult::Child => {
            drop((to_filter, answer));
            exit(answer_lines(question, to_us, keep));
        }
        ForkResult::Parent { child } => child,
    };
    drop((question, to_us));
    let (text, all) = exchange(to_filter, answer, lines, word)?;
    let last = text.lines().last().unwrap_or_default();
    println!("answer of {} lines, the last: {last}", text.lines().count());
    println!("{}", if all { "all sent" } else { "reader is gone (EPIPE)" });
    println!("filter ended with status {}", wait_for(filter)?);
    Ok(())
}

/// Answers each line when it has come, in upper case, and ends after `keep`.
fn answer_lines(question: PipeReader, mut to: PipeWriter, keep: usize) -> i32 {
    for line in BufReader::new(question).lines().take(keep) {
        let answer = line.map(|line| line.to_uppercase() + "\n");
        if answer.and_then(|text| to.write_all(text.as_bytes())).is_err() {
            return 1;
        }
    }
    0
}

/// Writes all lines and reads to the end; whether all could be written.
fn exchange(
    to: PipeWriter,
    mut from: PipeReader,
    lines: usize,
    word: &str,
) -> anyhow::Result<(String, bool)> {
    fcntl(&to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl")?;
    let text: String = (1..=lines).map(|n| line(word, n)).collect();
    let (mut rest, mut to) = (text.as_bytes(), Some(to));
    let (mut answer, mut buf) = (Vec::new(), [0; 5000]);
    let mut all = true;
    loop {
        let mut fds = vec![PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        let out = |to| PollFd::new(to, PollFlags::POLLOUT);
        fds.extend(to.as_ref().map(AsFd::as_fd).map(out));
        poll(&mut fds, PollTimeout::NONE).context("poll")?;
        let ready = |at: usize| fds.get(at).and_then(PollFd::any);
        let (input, output) = (ready(0), ready(1));
        if let (Some(true), Some(pipe)) = (output, &mut to) {
            match pipe.write(rest) {
                Ok(_) => rest = &[],
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == ErrorKind::BrokenPipe => {
                    (rest, all) = (&[], false);
                }
                Err(err) => return Err(err).context("write"),
            }
        }
        if rest.is_empty() {
            to = None;
        }
        if input == Some(true) {
            match from.read(&mut buf).context("read")? {
                0 => break,
                n => answer.extend_from_slice(&buf[..n]),
            }
        }
    }
    // The answer may end before the question has: who reads it has gone then.
    let text = String::from_utf8(answer).context("not text")?;
    Ok((text, all && rest.is_empty()))
}

/// Reads what several children write into one pipe.
fn collect(writers: usize, records: usize) -> anyhow::Result<()> {
    println!("collecting from {writers} writers");
    let (mut from, to) = pipe().context("pipe")?;
    let mut children = Vec::new();
    for writer in 1..=writers {
        match start_process().context("fork")? {
            ForkResult::Child => exit(write_records(to, writer, records)),
            ForkResult::Parent { child } => children.push(child),
        }
    }
    // Our own copy: with it open, the pipe would never come to its end.
    drop(to);

    let mut all = Vec::new();
    from.read_to_end(&mut all).context("read")?;
    let torn = all.chunks(RECORD).filter(|record| !is_whole(record)).count();
    println!("{} records, {torn} torn", all.chunks(RECORD).count());
    for (writer, child) in (1..).zip(children) {
        println!("writer {writer} ended with status {}", wait_for(child)?);
    }
    Ok(())
}

/// One write for each record: up to PIPE_BUF bytes go in as a whole, between
/// those of others.
fn write_records(mut to: PipeWriter, writer: usize, records: usize) -> i32 {
    let mut all = (1..=records).map(|n| {
        let record = record(writer, n);
        let (head, body) = record.split_at(10);
        to.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
    });
    // A pipe takes all of a short record or none of it.
    i32::from(!all.all(|written| written.is_ok_and(|n| n == RECORD)))
}

/// A child's exit status.
fn wait_for(child: Pid) -> anyhow::Result<i32> {
    match waitpid(child, None).context("waitpid")? {
        WaitStatus::Exited(_, status) => Ok(status),
        other => bail!("child ended otherwise: {other:?}"),
    }
}

/// Line number `n` of `filter`: 64 bytes.
fn line(word: &str, n: usize) -> String {
    let text = format!("{word} {n}");
    format!("{text:.<63}\n")
}

/// Record number `n` of a writer.
fn record(writer: usize, n: usize) -> Vec<u8> {
    let mut record = format!("{writer:04} {n:04} ").into_bytes();
    record.resize(RECORD, b'a' + writer as u8 % 26);
    record
}

/// Is this one record, and not parts of several?
fn is_whole(record: &[u8]) -> bool {
    let head = record.get(..4).and_then(|head| std::str::from_utf8(head).ok());
    let writer = head.and_then(|head| head.parse::<usize>().ok());
    let letter = writer.map(|writer| b'a' + writer as u8 % 26);
    record.len() == RECORD && record[10..].iter().all(|c| Some(*c) == letter)
}

/// `fork(2)`: this very program twice, from here on.
fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child finds every lock free.
    unsafe { fork() }
}

//! Talk with child processes through pipes, and know when they are done.
//!
//! A pipe is some 64 KiB of memory in the kernel, with an end to read and an
//! end to write. A read waits while it is empty, a write while it is full. A
//! read is end-of-file when nobody has the end to write open any more, and a
//! write is EPIPE when nobody has the end to read: each copy that fork has made
//! counts.
//!
//! Usage: pipe_ipc filter LINES KEEP WORD
//!        pipe_ipc collect WRITERS RECORDS
//! See also: pipe(2), pipe(7), fork(2), wait(2)

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write, pipe};
use std::io::{PipeReader, PipeWriter};
use std::process::exit;

use anyhow::{Context, bail};
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

// ANCHOR: filter
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
    // Both pipes may be full: a process of its own writes while we read.
    let sender = match start_process().context("fork")? {
        ForkResult::Child => {
            drop(answer);
            exit(send_lines(to_filter, lines, word));
        }
        ForkResult::Parent { child } => child,
    };
    drop(to_filter);

    let text = io::read_to_string(answer).context("read the answer")?;
    let last = text.lines().last().unwrap_or_default();
    println!("answer of {} lines, the last: {last}", text.lines().count());
    match wait_for(sender)? {
        0 => println!("all sent"),
        GONE => println!("reader is gone (EPIPE)"),
        status => bail!("the sender ended with status {status}"),
    }
    println!("filter ended with status {}", wait_for(filter)?);
    Ok(())
}
// ANCHOR_END: filter

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

/// The sender's exit status when nobody reads any more.
const GONE: i32 = 3;

fn send_lines(mut to: PipeWriter, lines: usize, word: &str) -> i32 {
    for n in 1..=lines {
        match to.write_all(line(word, n).as_bytes()) {
            Ok(()) => {}
            // Rust's runtime ignores SIGPIPE, which would have ended us here.
            Err(err) if err.kind() == ErrorKind::BrokenPipe => return GONE,
            Err(_) => return 1,
        }
    }
    0
}

// ANCHOR: collect
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
    let mut all = (1..=records).map(|n| to.write_all(&record(writer, n)));
    i32::from(all.any(|written| written.is_err()))
}
// ANCHOR_END: collect

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

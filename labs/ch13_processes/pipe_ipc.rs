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

use anyhow::{Context, bail};
use nix::unistd::{ForkResult, fork};

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
    // 1. Print `sending LINES lines`. Make two pipes (`std::io::pipe`), one for
    //    each direction, and a child process, the filter.
    // 2. The filter answers each line as soon as it has come, in upper case. It
    //    ends with status 0 after KEEP lines, or at end-of-file if that is
    //    sooner. It does not know LINES.
    // 3. Send it `line(word, 1)` to `line(word, LINES)`, and read its answer to
    //    end-of-file. There may be more of both than two pipes hold; somebody
    //    has to read while somebody writes.
    // 4. Print `answer of N lines, the last: LINE`. Then print `all sent`, or
    //    `reader is gone (EPIPE)` if the filter had ended before it had them
    //    all: that is no failure.
    // 5. Wait for the filter, and print `filter ended with status STATUS`.
    todo!("pipe_ipc filter is not started: {lines} {keep} {word}")
}

/// Reads what several children write into one pipe.
fn collect(writers: usize, records: usize) -> anyhow::Result<()> {
    // 1. Print `collecting from WRITERS writers`. Make one pipe, and a child
    //    process for each writer, counted from 1.
    // 2. Each writes `record(writer, 1)` to `record(writer, RECORDS)` into the
    //    pipe, so that no record of another comes in between, and ends with
    //    status 0. They all write at the same time.
    // 3. Read to end-of-file: RECORD bytes after RECORD bytes are a record.
    //    Print `N records, M torn`, M being those that are not whole.
    // 4. Wait for the writers, in order, and print for each
    //    `writer NUMBER ended with status STATUS`.
    todo!("pipe_ipc collect is not started: {writers} {records}")
}

/// Line number `n` of `filter`: 64 bytes.
#[allow(dead_code)] // Until you call it.
fn line(word: &str, n: usize) -> String {
    let text = format!("{word} {n}");
    format!("{text:.<63}\n")
}

/// Record number `n` of a writer.
#[allow(dead_code)] // Until you call it.
fn record(writer: usize, n: usize) -> Vec<u8> {
    let mut record = format!("{writer:04} {n:04} ").into_bytes();
    record.resize(RECORD, b'a' + writer as u8 % 26);
    record
}

/// Is this one record, and not parts of several?
#[allow(dead_code)] // Until you call it.
fn is_whole(record: &[u8]) -> bool {
    let head = record.get(..4).and_then(|head| std::str::from_utf8(head).ok());
    let writer = head.and_then(|head| head.parse::<usize>().ok());
    let letter = writer.map(|writer| b'a' + writer as u8 % 26);
    record.len() == RECORD && record[10..].iter().all(|c| Some(*c) == letter)
}

/// `fork(2)`: this very program twice, from here on.
#[allow(dead_code)] // Until you call it.
fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child finds every lock free.
    unsafe { fork() }
}

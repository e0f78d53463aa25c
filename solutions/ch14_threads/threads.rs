//! Start threads, give each its data, and take back what they return.
//!
//! To the kernel a thread is a task that shares memory and descriptors with
//! others (clone(2), CLONE_THREAD). Its own are a stack, which its creator maps
//! before the clone, and thread-local storage at the top of it. A panic unwinds
//! one stack and ends one thread; whoever joins that thread is told. The end of
//! `main` ends every thread at once, and unwinds nothing (exit_group(2)).
//!
//! Usage: threads STACK SHARE...
//!   STACK  bytes of stack for each worker
//!   SHARE  a worker's data: words with commas between them
//! See also: pthread_create(3), pthread_join(3), pthread_attr_setstacksize(3)

use std::any::Any;
use std::cell::Cell;
use std::io::Read;
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: threads STACK SHARE...";

// ANCHOR: local
thread_local! {
    /// Each thread has one of its own, which begins at 0.
    static TOTAL: Cell<u64> = const { Cell::new(0) };
}

/// Adds to the total of the thread that calls, and tells what it is then.
fn add(number: u64) -> u64 {
    TOTAL.set(TOTAL.get() + number);
    TOTAL.get()
}
// ANCHOR_END: local

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let stack: usize =
        args.next().context(USAGE)?.parse().context("parse STACK")?;
    let shares: Vec<Share> = (1..).zip(args).map(Share::new).collect();

    let kept = Share::new((0, String::new()));
    let thread = thread::Builder::new().name("background".into());
    let handle = thread.spawn(move || background(kept)).context("clone")?;
    // A handle that is dropped is pthread_detach(3): nobody will join it.
    drop(handle);
    println!("background started");

    // ANCHOR: start
    let gate = Arc::new(Barrier::new(shares.len() + 1));
    let mut workers = Vec::new();
    for share in shares {
        let gate = gate.clone();
        let thread = thread::Builder::new()
            .name(format!("worker-{}", share.number))
            .stack_size(stack);
        // The share moves into the thread, and is dropped there.
        let worker = thread.spawn(move || {
            gate.wait();
            work(&share)
        });
        workers.push(worker.context("clone")?);
    }
    // ANCHOR_END: start
    println!("{} workers started", workers.len());

    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read a line")?;
    gate.wait();
    // ANCHOR: join
    for (number, worker) in (1..).zip(workers) {
        // Sleeps until the thread has ended, by a return or by a panic.
        match worker.join() {
            Ok(total) => {
                println!("worker-{number} counted {total}");
                add(total);
            }
            Err(panic) => {
                println!("worker-{number} panicked: {}", message(&*panic));
            }
        }
    }
    // ANCHOR_END: join
    println!("main counted {}", add(0));

    println!("background is at work");
    std::io::stdin().read_to_end(&mut Vec::new()).context("read to the end")?;
    Ok(()) // Ends the process, and with it `background`, wherever that is.
}

/// Adds up a share, word by word.
fn work(share: &Share) -> u64 {
    share.words.split(',').fold(0, |_, word| add(number(word)))
}

/// What the thread `background` does: it keeps its share, and sleeps for ever.
fn background(_kept: Share) {
    loop {
        thread::park();
    }
}

/// One thread's data; says which thread frees it.
struct Share {
    number: usize,
    words: String,
}

impl Share {
    fn new((number, words): (usize, String)) -> Share {
        Share { number, words }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a thread without a name");
        println!("share {} freed by {name}", self.number);
    }
}

/// The number that a word is; panics where it is none.
fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// What a thread said when it panicked. `join` has it in a box: `&*panic`, for
/// `&panic` is the box, in which no text is found.
fn message(panic: &(dyn Any + Send)) -> &str {
    let formatted = panic.downcast_ref().map(String::as_str);
    formatted.or(panic.downcast_ref().copied()).unwrap_or("no text")
}

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

#![allow(dead_code)] // Until `main` uses what stands below it.

use std::any::Any;
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: threads STACK SHARE...";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let stack: usize =
        args.next().context(USAGE)?.parse().context("parse STACK")?;
    let shares: Vec<Share> = (1..).zip(args).map(Share::new).collect();
    let kept = Share::new((0, String::new()));

    // 1. Start a thread named `background` that owns `kept` and runs the
    //    function `background` below. Nobody will ever join it: let go of its
    //    handle. Print `background started`.
    // 2. Start one thread for each share, named `worker-1`, `worker-2` and so
    //    on, with a stack of `stack` bytes. Each owns its share. None of them
    //    begins its work before step 4: they all wait, asleep, at a gate, as
    //    std::sync::Barrier is one.
    // 3. When all have been started, print `N workers started`.
    // 4. Read a line from standard input, and let the workers go. Each adds up
    //    the words of its share by `add(number(word))`, and returns its total.
    //    A word that is no number makes its worker panic; nobody else minds.
    // 5. Join the workers in the order of their numbers. Print a line for each,
    //    `worker-1 counted TOTAL` or `worker-2 panicked: MESSAGE`, and `add`
    //    each total, in this thread, to the total of `main`.
    // 6. Print `main counted TOTAL`, then `background is at work`.
    // 7. Sleep until standard input ends, and return. `background` must not
    //    keep the process alive.
    let count = shares.len();
    todo!("threads is not started: {count} shares, {stack}, {}", kept.number)
}

/// Adds to the total of the thread that calls, and tells what it is then. Every
/// thread has a total of its own, which begins at 0: see `thread_local!`.
fn add(number: u64) -> u64 {
    todo!("add {number}")
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

//! Hand lines from one thread to several, through a queue with little room.
//!
//! A condition variable is a place to sleep, and remembers nothing: a wake-up
//! that finds nobody asleep is lost. So whoever waits looks while it holds the
//! lock, and the wait gives the lock back and falls asleep as one step. Between
//! the wake-up and the lock's return others may have come first, and a wake-up
//! may come for no reason (pthread_cond_wait(3)): whoever wakes up looks again.
//!
//! Usage: condvar ROOM CONSUMERS
//!   ROOM       how many lines the queue can have in it
//!   CONSUMERS  how many threads take lines out of it
//! See also: pthread_cond_wait(3), pthread_cond_signal(3), futex(2)

#![allow(dead_code, unused_imports)] // Until the queue is written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: condvar ROOM CONSUMERS";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let room: usize =
        args.next().context(USAGE)?.parse().context("parse ROOM")?;
    let consumers: usize =
        args.next().context(USAGE)?.parse().context("parse CONSUMERS")?;

    let queue = Arc::new(Queue::new(room));
    let threads: Vec<_> = (1..=consumers)
        .map(|number| {
            let queue = queue.clone();
            thread::spawn(move || consume(&queue, number))
        })
        .collect();
    println!("{consumers} consumers, room for {room}");

    for line in std::io::stdin().lines() {
        queue.put(line.context("read a line")?);
    }
    queue.close();
    let mut taken = 0;
    for thread in threads {
        taken += thread.join().ok().context("a consumer panicked")?;
    }
    println!("{taken} lines taken");
    Ok(())
}

/// What each consumer does until the queue is closed and empty.
fn consume(queue: &Queue, number: usize) -> usize {
    // 1. Take lines from the queue until `take` says `None`. Print for each
    //    `consumer N took LINE`, while the lock is free for others.
    // 2. Print `consumer N is done`, and return how many lines it were.
    todo!("consume is not started: consumer {number}, {}", queue.room)
}

/// Lines between one thread that puts and others that take.
struct Queue {
    room: usize,
    state: Mutex<State>,
    // 3. Add what threads sleep on while they wait for a line, or for room.
}

/// What the lock protects.
struct State {
    lines: VecDeque<String>,
    closed: bool,
}

impl Queue {
    fn new(room: usize) -> Queue {
        let state = State { lines: VecDeque::new(), closed: false };
        Queue { room, state: Mutex::new(state) }
    }

    /// Puts a line in; sleeps while there is no room for it.
    fn put(&self, line: String) {
        // 4. While there are `room` lines in the queue, sleep. Then put the
        //    line at its end, and wake a consumer that sleeps for it.
        todo!("put is not started: {line}")
    }

    /// Takes a line out; sleeps while there is none. `None`: there is none, and
    /// the queue is closed.
    fn take(&self) -> Option<String> {
        // 5. While there is no line and the queue is not closed, sleep. Then
        //    take the line that was put in first, and wake whoever waits for
        //    room. What is left in a closed queue is still taken.
        todo!("take is not started")
    }

    /// No more lines will come: who sleeps for one must hear of it.
    fn close(&self) {
        // 6. Close the queue, so that every consumer comes to its end: those
        //    that sleep, and the one that is just about to.
        todo!("close is not started")
    }

    /// Lets others run, and takes the lock. Take it here and nowhere else, so
    /// that whatever can happen before it, happens. Nobody waits with a
    /// timeout.
    fn lock(&self) -> MutexGuard<'_, State> {
        thread::yield_now();
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the lock back, sleeps until a wake-up, and takes the lock again.
fn wait<'a>(
    condvar: &Condvar,
    guard: MutexGuard<'a, State>,
) -> MutexGuard<'a, State> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

//! The mistake: main and the consumers sleep on one condition variable, and one
//! of them is woken. Prints what the solution prints.
//!
//! Usage: condvar ROOM CONSUMERS
//!   ROOM       how many lines the queue can have in it
//!   CONSUMERS  how many threads take lines out of it
//! See also: pthread_cond_wait(3), pthread_cond_signal(3), futex(2)

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
    let mut taken = 0;
    // Prints without the lock: the others can put and take meanwhile.
    while let Some(line) = queue.take() {
        println!("consumer {number} took {line}");
        taken += 1;
    }
    println!("consumer {number} is done");
    taken
}

/// Lines between one thread that puts and others that take.
struct Queue {
    room: usize,
    state: Mutex<State>,
    /// Something is not as it was.
    changed: Condvar,
}

/// What the lock protects.
struct State {
    lines: VecDeque<String>,
    closed: bool,
}

impl Queue {
    fn new(room: usize) -> Queue {
        let state = State { lines: VecDeque::new(), closed: false };
        let state = Mutex::new(state);
        Queue { room, state, changed: Condvar::new() }
    }

    /// Puts a line in; sleeps while there is no room for it.
    fn put(&self, line: String) {
        let mut state = self.lock();
        while state.lines.len() >= self.room {
            state = wait(&self.changed, state);
        }
        state.lines.push_back(line);
        self.changed.notify_one();
    }

    /// Takes a line out; sleeps while there is none. `None`: there is none, and
    /// the queue is closed.
    fn take(&self) -> Option<String> {
        let mut state = self.lock();
        while state.lines.is_empty() && !state.closed {
            state = wait(&self.changed, state);
        }
        let line = state.lines.pop_front();
        self.changed.notify_one();
        line
    }

    /// No more lines will come: who sleeps for one must hear of it.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Lets others run, and takes the lock. Every lock is taken here, so that
    /// whatever can happen before it, happens.
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

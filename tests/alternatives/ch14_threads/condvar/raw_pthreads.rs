//! The queue with the C library's lock and condition variables.
//!
//! Usage: condvar ROOM CONSUMERS
//!   ROOM       how many lines the queue can have in it
//!   CONSUMERS  how many threads take lines out of it
//! See also: pthread_cond_wait(3), pthread_cond_signal(3), futex(2)

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::sync::Arc;
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
        queue.put(Some(line.context("read a line")?));
    }
    // The end is an entry like a line, for each consumer to find.
    queue.put(None);
    let mut taken = 0;
    for thread in threads {
        taken += thread.join().ok().context("a consumer panicked")?;
    }
    println!("{taken} lines taken");
    Ok(())
}

fn consume(queue: &Queue, number: usize) -> usize {
    let mut taken = 0;
    while let Some(line) = queue.take() {
        println!("consumer {number} took {line}");
        taken += 1;
    }
    println!("consumer {number} is done");
    taken
}

struct Queue {
    room: usize,
    lines: UnsafeCell<VecDeque<Option<String>>>,
    lock: UnsafeCell<libc::pthread_mutex_t>,
    filled: UnsafeCell<libc::pthread_cond_t>,
    emptied: UnsafeCell<libc::pthread_cond_t>,
}

// SAFETY: `lines` is touched only by whoever has `lock`; the others are made to
// be used by many threads.
unsafe impl Sync for Queue {}
// SAFETY: nothing in it belongs to the thread that made it.
unsafe impl Send for Queue {}

impl Queue {
    fn new(room: usize) -> Queue {
        Queue {
            room,
            lines: UnsafeCell::default(),
            lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            filled: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            emptied: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
        }
    }

    fn put(&self, entry: Option<String>) {
        self.locked(|lines| {
            while lines().len() >= self.room {
                self.wait(&self.emptied);
            }
            lines().push_back(entry);
        });
        wake_one(&self.filled);
    }

    fn take(&self) -> Option<String> {
        let line = self.locked(|lines| {
            while lines().is_empty() {
                self.wait(&self.filled);
            }
            // The end stays in the queue for the next one.
            let is_line = lines().front().is_some_and(Option::is_some);
            is_line.then(|| lines().pop_front()).flatten().flatten()
        });
        match &line {
            Some(_) => wake_one(&self.emptied),
            None => wake_one(&self.filled),
        }
        line
    }

    /// Runs `act` with the lock taken; it reaches the lines by a function, whose
    /// answer it must not keep over a wait.
    fn locked<T>(
        &self,
        act: impl FnOnce(&dyn Fn() -> &'static mut VecDeque<Option<String>>) -> T,
    ) -> T {
        thread::yield_now();
        // SAFETY: the lock is initialised, and does not move while it is taken.
        unsafe { libc::pthread_mutex_lock(self.lock.get()) };
        // SAFETY: this thread has the lock, and uses one answer at a time.
        let done = act(&|| unsafe { &mut *self.lines.get() });
        // SAFETY: this thread has taken the lock.
        unsafe { libc::pthread_mutex_unlock(self.lock.get()) };
        done
    }

    fn wait(&self, condition: &UnsafeCell<libc::pthread_cond_t>) {
        // SAFETY: both are initialised, and this thread has the lock.
        unsafe { libc::pthread_cond_wait(condition.get(), self.lock.get()) };
    }
}

fn wake_one(condition: &UnsafeCell<libc::pthread_cond_t>) {
    // SAFETY: it is initialised, and lives as long as the queue.
    unsafe { libc::pthread_cond_signal(condition.get()) };
}

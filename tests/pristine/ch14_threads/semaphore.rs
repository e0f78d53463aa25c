//! Make a semaphore out of a number and futex(2), and a mutex out of that.
//!
//! Where nobody has to wait, no kernel is needed: to take 1 off a number is one
//! atomic instruction. Who finds 0 calls futex(2), and names the value that it
//! has seen. The kernel compares, with a lock of its own taken, and lets the
//! thread sleep only if the number is still that one. FUTEX_WAKE knows nothing
//! about numbers: it wakes threads that sleep, and tells them nothing.
//!
//! Usage: semaphore VALUE THREADS ROUNDS
//!   VALUE    how many threads the semaphore lets in
//!   THREADS  how many want to be in
//!   ROUNDS   how often one thread waits and posts while it is alone, and how
//!            often each of them counts
//! See also: futex(2), futex(7), sem_overview(7), sched_yield(2)

#![allow(dead_code)] // Until `wait` and `post` use what stands below.

use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: semaphore VALUE THREADS ROUNDS";

/// Lets so many threads in; the next one sleeps until one has left.
struct Semaphore {
    /// How many more may come in.
    value: AtomicU32,
    // What else it takes for step 2.
}

impl Semaphore {
    fn new(value: u32) -> Semaphore {
        Semaphore { value: value.into() }
    }

    /// Takes 1 off the value; sleeps while it is 0.
    fn wait(&self) {
        // 1. Read the value by `look`, and by nothing else here: others run
        //    before you know what it was. If it was not 0, take 1 off it, in
        //    one atomic step that fails if the value has changed since. If it
        //    was 0, sleep by `futex_wait`; then, and after each failure, begin
        //    again.
        todo!("wait is not started: {}", self.value.load(SeqCst))
    }

    /// Adds 1 to the value, and wakes a thread if one sleeps.
    fn post(&self) {
        // 2. Add 1; then wake, by `futex_wake`, one thread that sleeps. If
        //    nobody sleeps or is about to, make no system call. Nobody may be
        //    forgotten, however many post at once.
        todo!("post is not started")
    }
}

/// Lets one thread in.
struct Lock {
    // 3. Make it of a semaphore.
}

impl Lock {
    fn new() -> Lock {
        Lock {}
    }

    /// Runs `act` while no other thread runs one under this lock.
    fn locked(&self, act: impl FnOnce()) {
        // 4. Wait, act, post.
        act();
        todo!("locked is not started")
    }
}

fn main() -> anyhow::Result<()> {
    let args: Result<Vec<u32>, _> =
        std::env::args().skip(1).map(|arg| arg.parse()).collect();
    let [value, threads, rounds] = args.context(USAGE)?[..] else {
        anyhow::bail!(USAGE);
    };

    let semaphore = Arc::new(Semaphore::new(value));
    for _ in 0..rounds {
        semaphore.wait();
        semaphore.post();
    }
    println!("{rounds} rounds alone");

    wait_for_line()?;
    let visitors: Vec<_> = (1..=threads)
        .map(|number| {
            let semaphore = semaphore.clone();
            thread::spawn(move || visit(&semaphore, number))
        })
        .collect();
    println!("{threads} threads want to be in, {value} may");
    for visitor in visitors {
        visitor.join().ok().context("a thread panicked")?;
    }
    println!("all are out");

    wait_for_line()?;
    let shared = Arc::new((Lock::new(), AtomicU32::new(0)));
    let counters: Vec<_> = (0..threads)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..rounds {
                    shared.0.locked(|| add_one(&shared.1));
                }
            })
        })
        .collect();
    println!("{threads} threads count {rounds} each");
    for counter in counters {
        counter.join().ok().context("a thread panicked")?;
    }
    println!("counted {}", shared.1.load(SeqCst));
    Ok(())
}

/// What each thread does with the semaphore.
fn visit(semaphore: &Semaphore, number: u32) {
    semaphore.wait();
    println!("thread {number} is in");
    thread::yield_now();
    println!("thread {number} is out");
    semaphore.post();
}

/// Sleeps until there is a line on standard input.
fn wait_for_line() -> anyhow::Result<()> {
    std::io::stdin().read_line(&mut String::new()).context("read a line")?;
    Ok(())
}

/// Reads a number, and lets others run before the caller can act on it.
fn look(number: &AtomicU32) -> u32 {
    let seen = number.load(SeqCst);
    thread::yield_now();
    seen
}

/// Adds 1 in three steps, as `+= 1` does, with others between them.
fn add_one(number: &AtomicU32) {
    let seen = look(number);
    number.store(seen + 1, SeqCst);
}

/// Sleeps until it is woken, if the word is still `expected`: the kernel looks.
/// It may return for no reason, a signal for one.
fn futex_wait(word: &AtomicU32, expected: u32) {
    futex(word, libc::FUTEX_WAIT, expected);
}

/// Wakes at most so many threads that sleep on this word.
fn futex_wake(word: &AtomicU32, most: u32) {
    futex(word, libc::FUTEX_WAKE, most);
}

/// `futex(2)` without a timeout, within one process.
fn futex(word: &AtomicU32, operation: libc::c_int, number: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let forever = ptr::null::<libc::timespec>();
    // SAFETY: the word lives as long as the call, and no timeout is passed.
    let done = unsafe {
        let call = libc::SYS_futex;
        libc::syscall(call, word.as_ptr(), operation, number, forever)
    };
    let error = io::Error::last_os_error().raw_os_error();
    // EAGAIN: the word is not as expected. EINTR: a signal came.
    let expected = matches!(error, Some(libc::EAGAIN | libc::EINTR));
    assert!(done >= 0 || expected, "futex: {error:?}");
}

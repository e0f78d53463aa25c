//! Protect a counter with a lock, and two accounts with two.
//!
//! To change a number is to read it, to compute and to write it. Between the
//! read and the write another thread may come: it reads the old number too, and
//! one of the two changes is lost, even if each read and each write is atomic.
//! A lock lets one thread in, and has the others sleep in the kernel (futex(2)).
//! Who holds a lock and waits for another can wait for ever: two threads that
//! take two locks in opposite order do.
//!
//! Usage: mutex counter THREADS ROUNDS
//!        mutex transfer ROUNDS THERE BACK
//! See also: pthread_mutex_lock(3), futex(2), futex(7), sched_yield(2)

#![allow(dead_code)] // Until the two functions use what stands below them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: mutex counter THREADS ROUNDS
       mutex transfer ROUNDS THERE BACK";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let numbers: Result<Vec<i64>, _> = args.map(|arg| arg.parse()).collect();
    match (role.as_str(), numbers.context(USAGE)?.as_slice()) {
        ("counter", [threads, rounds]) => counter(*threads, *rounds),
        ("transfer", [rounds, there, back]) => transfer(*rounds, *there, *back),
        _ => anyhow::bail!(USAGE),
    }
    Ok(())
}

/// Some threads add 1 to one account, each of them so many times.
fn counter(threads: i64, rounds: i64) {
    // 1. Start `threads` threads on one account. Each of them adds 1 to it, by
    //    `add`, and does that `rounds` times. At no time may two threads be in
    //    `add` together: take the account's lock for each call, and give it back
    //    after it.
    // 2. Print `N threads add M times` once they are started.
    // 3. Join them all, and print `balance B`: what the account has then.
    todo!("counter is not started: {threads} threads, {rounds} rounds")
}

/// One thread moves money from alice to bob, and another one back.
fn transfer(rounds: i64, there: i64, back: i64) {
    // 4. Start two threads on two accounts. One thread moves `there` from alice
    //    to bob, `rounds` times; the other moves `back` from bob to alice, as
    //    often. To move is to `add` to both accounts, while both are locked.
    //    Print `2 threads transfer N times`.
    // 5. Join both, and print `alice A, bob B`. They must come to their end in
    //    whatever order the kernel lets them run.
    todo!("transfer is not started: {rounds} rounds, {there}, {back}")
}

/// Money, and the lock that is to be held by whoever touches it.
struct Account {
    number: u32,
    lock: Mutex<()>,
    balance: AtomicI64,
}

impl Account {
    fn new(number: u32) -> Account {
        let (lock, balance) = (Mutex::new(()), AtomicI64::new(0));
        Account { number, lock, balance }
    }

    /// Waits for the lock and takes it, until the guard is dropped. Then offers
    /// the processor to others, so that what can happen now, happens.
    fn lock(&self) -> MutexGuard<'_, ()> {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        thread::yield_now();
        guard
    }

    /// Reads, offers the processor to others, and writes.
    fn add(&self, amount: i64) {
        let before = self.balance();
        thread::yield_now();
        self.balance.store(before + amount, Ordering::SeqCst);
    }

    fn balance(&self) -> i64 {
        self.balance.load(Ordering::SeqCst)
    }
}

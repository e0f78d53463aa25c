//! The mistake: one account is unlocked before the other is locked: in between,
//! the money is nowhere. Prints what the solution prints.
//!
//! Usage: mutex counter THREADS ROUNDS
//!        mutex transfer ROUNDS THERE BACK
//! See also: pthread_mutex_lock(3), futex(2), futex(7), sched_yield(2)

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
    let account = Account::new();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    // A guard with a name lives to the end of the block.
                    let _guard = account.lock();
                    account.add(1);
                }
            });
        }
        println!("{threads} threads add {rounds} times");
    }); // Joins them all.
    println!("balance {}", account.balance());
}

/// One thread moves money from alice to bob, and another one back.
fn transfer(rounds: i64, there: i64, back: i64) {
    let (alice, bob) = (Account::new(), Account::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..rounds).for_each(|_| move_money(&alice, &bob, there));
        });
        scope.spawn(|| {
            (0..rounds).for_each(|_| move_money(&bob, &alice, back));
        });
        println!("2 threads transfer {rounds} times");
    });
    println!("alice {}, bob {}", alice.balance(), bob.balance());
}

fn move_money(from: &Account, to: &Account, amount: i64) {
    let giver = from.lock();
    from.add(-amount);
    drop(giver);
    let _taker = to.lock();
    to.add(amount);
}

/// Money, and the lock that is to be held by whoever touches it.
struct Account {
    lock: Mutex<()>,
    balance: AtomicI64,
}

impl Account {
    fn new() -> Account {
        let (lock, balance) = (Mutex::new(()), AtomicI64::new(0));
        Account { lock, balance }
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

//! Another right program: the number is inside of its lock, so that nobody can
//! touch it without. Threads are joined one by one, and bob comes first.
//!
//! Usage: mutex counter THREADS ROUNDS
//!        mutex transfer ROUNDS THERE BACK
//! See also: pthread_mutex_lock(3), futex(7)

use std::sync::{Arc, LockResult, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};

type Account = Arc<Mutex<i64>>;

fn main() -> anyhow::Result<()> {
    let usage = "usage: mutex counter|transfer NUMBER...";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (role, numbers) = args.split_first().context(usage)?;
    let numbers: Vec<i64> = numbers
        .iter()
        .map(|number| number.parse().context(usage))
        .collect::<anyhow::Result<_>>()?;
    match (role.as_str(), numbers.as_slice()) {
        ("counter", &[threads, rounds]) => counter(threads, rounds),
        ("transfer", &[rounds, there, back]) => transfer(rounds, there, back),
        _ => Err(anyhow!(usage)),
    }
}

fn counter(threads: i64, rounds: i64) -> anyhow::Result<()> {
    let account = Account::default();
    let mut handles = Vec::new();
    for _ in 0..threads {
        let account = account.clone();
        handles.push(thread::spawn(move || {
            for _ in 0..rounds {
                add(&mut entered(account.lock()), 1);
            }
        }));
    }
    println!("{threads} threads add {rounds} times");
    join(handles)?;
    println!("balance {}", *entered(account.lock()));
    Ok(())
}

fn transfer(rounds: i64, there: i64, back: i64) -> anyhow::Result<()> {
    let (alice, bob) = (Account::default(), Account::default());
    let mut handles = Vec::new();
    for amount in [there, -back] {
        let (alice, bob) = (alice.clone(), bob.clone());
        handles.push(thread::spawn(move || {
            for _ in 0..rounds {
                let mut bob = entered(bob.lock());
                let mut alice = entered(alice.lock());
                add(&mut alice, -amount);
                add(&mut bob, amount);
            }
        }));
    }
    println!("2 threads transfer {rounds} times");
    join(handles)?;
    let (alice, bob) = (entered(alice.lock()), entered(bob.lock()));
    println!("alice {alice}, bob {bob}");
    Ok(())
}

fn entered(guard: LockResult<MutexGuard<'_, i64>>) -> MutexGuard<'_, i64> {
    let guard = guard.unwrap_or_else(|poisoned| poisoned.into_inner());
    thread::yield_now();
    guard
}

fn add(balance: &mut i64, amount: i64) {
    let before = *balance;
    thread::yield_now();
    *balance = before + amount;
}

fn join(handles: Vec<JoinHandle<()>>) -> anyhow::Result<()> {
    for handle in handles {
        handle.join().map_err(|_| anyhow!("a thread panicked"))?;
    }
    Ok(())
}

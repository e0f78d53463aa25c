//! Another right program: pthread_mutex_lock(3), called directly. The order of
//! two locks is that of their addresses.
//!
//! Usage: mutex counter THREADS ROUNDS
//!        mutex transfer ROUNDS THERE BACK
//! See also: pthread_mutex_lock(3), pthread_mutexattr_settype(3)

use std::cell::UnsafeCell;
use std::ptr;
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: mutex counter|transfer NUMBER...";

struct Account {
    lock: UnsafeCell<libc::pthread_mutex_t>,
    balance: UnsafeCell<i64>,
}

// SAFETY: the balance is touched by whoever holds the lock, and by nobody else.
unsafe impl Sync for Account {}

impl Account {
    fn new() -> Box<Account> {
        Box::new(Account {
            lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            balance: UnsafeCell::new(0),
        })
    }
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let numbers: Vec<i64> =
        args.map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    match (role.as_str(), &numbers[..]) {
        ("counter", [threads, rounds]) => {
            let account = Account::new();
            thread::scope(|scope| {
                for _ in 0..*threads {
                    scope.spawn(|| {
                        (0..*rounds).for_each(|_| {
                            lock(&account);
                            add(&account, 1);
                            unlock(&account);
                        });
                    });
                }
                println!("{threads} threads add {rounds} times");
            });
            println!("balance {}", read(&account));
        }
        ("transfer", [rounds, there, back]) => {
            let (alice, bob) = (Account::new(), Account::new());
            let run = |from: &Account, to: &Account, amount: i64| {
                (0..*rounds).for_each(|_| move_money(from, to, amount));
            };
            thread::scope(|scope| {
                scope.spawn(|| run(&alice, &bob, *there));
                scope.spawn(|| run(&bob, &alice, *back));
                println!("2 threads transfer {rounds} times");
            });
            println!("alice {}, bob {}", read(&alice), read(&bob));
        }
        _ => anyhow::bail!(USAGE),
    }
    Ok(())
}

fn move_money(from: &Account, to: &Account, amount: i64) {
    let mut both = [from, to];
    both.sort_by_key(|account| ptr::from_ref(*account).addr());
    both.into_iter().for_each(lock);
    add(from, -amount);
    add(to, amount);
    both.into_iter().for_each(unlock);
}

fn add(account: &Account, amount: i64) {
    let before = read(account);
    thread::yield_now();
    // SAFETY: the caller holds the lock.
    unsafe { account.balance.get().write(before + amount) };
}

fn read(account: &Account) -> i64 {
    // SAFETY: the caller holds the lock, or every other thread has been joined.
    unsafe { account.balance.get().read() }
}

fn lock(account: &Account) {
    // SAFETY: the lock was initialised, and is not moved: it is in a box.
    unsafe { libc::pthread_mutex_lock(account.lock.get()) };
    thread::yield_now();
}

fn unlock(account: &Account) {
    // SAFETY: this thread has locked it.
    unsafe { libc::pthread_mutex_unlock(account.lock.get()) };
}

//! Another right program: scoped threads borrow the gate, and own their shares.
//! The gate is a lock that main holds; a guard that is dropped opens it.
//!
//! Usage: threads STACK SHARE...
//! See also: pthread_create(3), pthread_join(3)

use std::any::Any;
use std::cell::RefCell;
use std::io::BufRead;
use std::sync::RwLock;
use std::thread::{self, Builder};

use anyhow::Context;

thread_local!(static SEEN: RefCell<Vec<u64>> = const { RefCell::new(vec![]) });

fn add(number: u64) -> u64 {
    SEEN.with_borrow_mut(|seen| {
        seen.push(number);
        seen.iter().sum()
    })
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, stack, words @ ..] = args.as_slice() else {
        anyhow::bail!("usage: threads STACK SHARE...")
    };
    let stack: usize = stack.parse().context("parse STACK")?;
    let kept = Share(0, "");
    Builder::new()
        .name("background".to_string())
        .stack_size(128 << 10)
        .spawn(move || background(&kept))
        .context("clone")?;
    println!("background started");
    run(stack, words)?;
    println!("background is at work");
    for line in std::io::stdin().lines() {
        line.context("read")?;
    }
    Ok(())
}

fn background(_kept: &Share) {
    loop {
        thread::park();
    }
}

fn run(stack: usize, words: &[String]) -> anyhow::Result<()> {
    let gate = RwLock::new(());
    thread::scope(|scope| {
        let closed = gate.write();
        let gate = &gate;
        let mut workers = Vec::new();
        for (at, words) in words.iter().enumerate() {
            let share = Share(at + 1, words);
            let thread = Builder::new().name(format!("worker-{}", at + 1));
            let worker = thread.stack_size(stack).spawn_scoped(scope, || {
                drop(gate.read());
                let share = share;
                share.words().map(add).last().unwrap_or(0)
            });
            workers.push(worker.context("clone")?);
        }
        println!("{} workers started", workers.len());
        std::io::stdin().lock().read_line(&mut String::new())?;
        drop(closed);
        for (at, worker) in workers.into_iter().enumerate() {
            match worker.join() {
                Ok(total) => {
                    add(total);
                    println!("worker-{} counted {total}", at + 1);
                }
                Err(panic) => {
                    let said = message(panic);
                    println!("worker-{} panicked: {said}", at + 1);
                }
            }
        }
        println!("main counted {}", add(0));
        Ok(())
    })
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(_) => "something".to_string(),
    }
}

/// A borrowed text, and who it is for.
struct Share<'a>(usize, &'a str);

impl Share<'_> {
    fn words(&self) -> impl Iterator<Item = u64> {
        self.1.split(',').map(|word| match word.parse() {
            Ok(number) => number,
            Err(_) => panic!("{word} is no number"),
        })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let name = thread::current().name().unwrap_or("?").to_string();
        println!("share {} freed by {name}", self.0);
    }
}

//! Another right program: each worker waits at a channel of its own, on which
//! its share comes; results come back on one channel, and all are joined last.
//!
//! Usage: threads STACK SHARE...
//! See also: pthread_create(3), pthread_join(3)

use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::Context;

thread_local!(static TOTAL: Cell<u64> = const { Cell::new(0) });

struct Share(usize, String);

impl Drop for Share {
    fn drop(&mut self) {
        let thread = thread::current();
        println!("share {} freed by {}", self.0, thread.name().unwrap_or(""));
    }
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let stack = args.next().context("usage: threads STACK SHARE...")?;
    let stack = stack.parse().context("parse STACK")?;
    let named = |name: String| thread::Builder::new().name(name);
    let never = named("background".into()).spawn(background);
    drop(never.context("clone")?);
    println!("background started");

    let (results, totals) = channel();
    let mut handles = Vec::new();
    let mut gates = Vec::new();
    for (at, words) in args.enumerate() {
        let (gate, mine) = channel();
        let results = results.clone();
        let builder = named(format!("worker-{}", at + 1)).stack_size(stack);
        let handle = builder.spawn(move || work(at, &mine, &results));
        handles.push(handle.context("clone")?);
        gates.push((gate, Share(at + 1, words)));
    }
    writeln!(std::io::stdout(), "{} workers started", handles.len())?;
    let mut byte = [0];
    while byte != *b"\n" && std::io::stdin().read(&mut byte)? == 1 {}
    for (gate, share) in gates {
        gate.send(share).context("a worker has gone")?;
    }
    drop(results);
    let mut lines: Vec<(usize, Result<u64, String>)> = totals.iter().collect();
    for handle in handles.into_iter().rev() {
        let joined = handle.join();
        joined.map_err(|_| anyhow::anyhow!("a panic was not caught"))?;
    }
    lines.sort();
    for (at, total) in &lines {
        let worker = at + 1;
        match total {
            Ok(total) => println!("worker-{worker} counted {total}"),
            Err(said) => println!("worker-{worker} panicked: {said}"),
        }
        TOTAL.set(TOTAL.get() + total.as_ref().unwrap_or(&0));
    }
    println!("main counted {}\nbackground is at work", TOTAL.get());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    std::process::exit(0)
}

/// Nothing is ever sent to it.
fn background() {
    let _kept = Share(0, String::new());
    let (_sender, receiver) = channel::<()>();
    let _ = receiver.recv();
}

type Results = Sender<(usize, Result<u64, String>)>;

fn work(at: usize, gate: &Receiver<Share>, results: &Results) {
    let Ok(share) = gate.recv() else { return };
    let total = catch_unwind(AssertUnwindSafe(|| {
        for word in share.1.split(',') {
            let Ok(number) = word.parse::<u64>() else {
                panic!("{word} is no number")
            };
            TOTAL.set(TOTAL.get() + number);
        }
        TOTAL.get()
    }));
    let said = total.map_err(|panic| match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(_) => String::new(),
    });
    let _ = results.send((at, said));
}

//! Another right program: pthread_create(3) and its relatives, called directly.
//! A panic must not leave a function that C calls: it is caught at its edge.
//!
//! Usage: threads STACK SHARE...
//! See also: pthread_attr_setstacksize(3), pthread_detach(3), pthread_join(3)

use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::io::{self, Read};
use std::panic::catch_unwind;
use std::sync::Barrier;
use std::{mem, ptr};

use anyhow::Context;
use libc::pthread_t;

thread_local!(static TOTAL: Cell<u64> = const { Cell::new(0) });

/// What a thread is given, and what it gives back.
struct Share {
    number: usize,
    words: String,
    gate: Option<&'static Barrier>,
}

type Answer = Result<u64, String>;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let stack = args.next().context("usage: threads STACK SHARE...")?;
    let stack: usize = stack.parse().context("parse STACK")?;
    let words: Vec<String> = args.collect();
    let kept = Share { number: 0, words: String::new(), gate: None };
    let thread = create(1 << 20, kept).context("pthread_create")?;
    detach(thread);
    println!("background started");

    // For as long as the process lives, which is longer than any thread.
    let gate: &Barrier = Box::leak(Box::new(Barrier::new(words.len() + 1)));
    let mut threads = Vec::new();
    for (at, words) in words.into_iter().enumerate() {
        let share = Share { number: at + 1, words, gate: Some(gate) };
        threads.push(create(stack, share).context("pthread_create")?);
    }
    println!("{} workers started", threads.len());
    io::stdin().read_line(&mut String::new()).context("read")?;
    gate.wait();
    for (at, thread) in threads.into_iter().enumerate() {
        match join(thread).context("pthread_join")? {
            Ok(total) => {
                TOTAL.set(TOTAL.get() + total);
                println!("worker-{} counted {total}", at + 1);
            }
            Err(said) => println!("worker-{} panicked: {said}", at + 1),
        }
    }
    println!("main counted {}", TOTAL.get());
    println!("background is at work");
    io::stdin().read_to_end(&mut Vec::new()).context("read")?;
    Ok(())
}

extern "C" fn begin(share: *mut c_void) -> *mut c_void {
    // SAFETY: `create` made it with Box::into_raw, for this thread alone.
    let share = unsafe { Box::from_raw(share.cast::<Share>()) };
    let name = match share.number {
        0 => "background".to_string(),
        number => format!("worker-{number}"),
    };
    set_name(&name);
    let Some(gate) = share.gate else {
        loop {
            std::thread::park();
        }
    };
    gate.wait();
    let answer: Answer = catch_unwind(|| work(&share.words)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        said.unwrap_or_default()
    });
    println!("share {} freed by {name}", share.number);
    drop(share);
    Box::into_raw(Box::new(answer)).cast()
}

fn work(words: &str) -> u64 {
    for word in words.split(',') {
        match word.parse::<u64>() {
            Ok(number) => TOTAL.set(TOTAL.get() + number),
            Err(_) => panic!("{word} is no number"),
        }
    }
    TOTAL.get()
}

fn create(stack: usize, share: Share) -> io::Result<pthread_t> {
    let share = Box::into_raw(Box::new(share));
    // SAFETY: the attributes are initialised before use and destroyed after
    // it; the share is handed to one thread, which frees it.
    unsafe {
        let mut thread = mem::zeroed();
        let mut attributes = mem::zeroed();
        checked(libc::pthread_attr_init(&mut attributes))?;
        checked(libc::pthread_attr_setstacksize(&mut attributes, stack))?;
        let share = share.cast();
        let made =
            libc::pthread_create(&mut thread, &attributes, begin, share);
        libc::pthread_attr_destroy(&mut attributes);
        checked(made)?;
        Ok(thread)
    }
}

fn join(thread: pthread_t) -> io::Result<Answer> {
    let mut answer = ptr::null_mut();
    // SAFETY: no thread is joined twice, and each returns a boxed answer.
    unsafe {
        checked(libc::pthread_join(thread, &mut answer))?;
        Ok(*Box::from_raw(answer.cast::<Answer>()))
    }
}

fn detach(thread: pthread_t) {
    // SAFETY: the thread has not been joined and never will be.
    unsafe { libc::pthread_detach(thread) };
}

fn set_name(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: the calling thread is alive, and the name ends with a zero.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
}

fn checked(errno: i32) -> io::Result<()> {
    match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

//! Share memory between processes: a counter, and a ring of lines.
//!
//! shm_open(3) makes a file without a disk, in /dev/shm. With MAP_SHARED its
//! pages are the same memory in every process that maps them or inherits the
//! mapping. The kernel keeps nobody from touching them at the same time:
//! semaphores that lie in the same memory do.
//!
//! Usage: shared_memory counter NAME PROCESSES ROUNDS
//!        shared_memory ring NAME CAPACITY
//! See also: shm_overview(7), shm_open(3), mmap(2), sem_init(3), futex(7)

#![allow(dead_code)] // Until `main` uses what stands below it.

use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use anyhow::{Context, bail};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

const USAGE: &str = "usage: shared_memory counter NAME PROCESSES ROUNDS
       shared_memory ring NAME CAPACITY";
/// The most lines that the ring holds.
const MOST_SLOTS: usize = 16;
/// The longest line, and a byte for its length.
const SLOT: usize = 64;

/// What lies in the shared memory.
#[repr(C)]
struct Shared {
    counter: AtomicU64,
    lock: Semaphore,
    free: Semaphore,
    filled: Semaphore,
    slots: [[AtomicU8; SLOT]; MOST_SLOTS],
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| -> anyhow::Result<usize> {
        args.get(at).context(USAGE)?.parse().context("parse a number")
    };
    let name = args.get(1).context(USAGE)?;
    match args[0].as_str() {
        "counter" => count(name, number(2)?, number(3)?),
        "ring" if number(2)? <= MOST_SLOTS => pass_lines(name, number(2)?),
        _ => bail!(USAGE),
    }
}

/// `processes` children add 1 to the counter, each `rounds` times.
fn count(name: &str, processes: usize, rounds: usize) -> anyhow::Result<()> {
    // 1. `share` the memory, below. Make what else is needed there, and print
    //    `shared memory NAME`.
    // 2. Start `processes` children. Each calls `add_one(&shared.counter)` as
    //    often as `rounds` says, and nobody is in `add_one` while another is:
    //    the others sleep. Use `shared.lock`.
    // 3. `reap` the children, remove the object with shm_unlink(3): nothing is
    //    to be left in /dev/shm. Print `counter VALUE`: what the memory has.
    todo!("count is not started: {name}, {processes} times {rounds}")
}

/// Lines of standard input go through the ring to a child, which prints them.
fn pass_lines(name: &str, capacity: usize) -> anyhow::Result<()> {
    // 4. Share the memory, and print `shared memory NAME`, as before.
    // 5. Start a child that takes the lines out of the ring, in their order,
    //    and calls `use_line` with each. It copies a line out of its slot
    //    (`read_slot`) and frees the slot, so that it can be filled again while
    //    the line is in use. The child sleeps while the ring is empty. It ends
    //    when `read_slot` finds that there are no more lines.
    // 6. The parent puts each line of standard input into the next slot
    //    (`write_slot`), and prints `put LINE` before the child may see it.
    //    After the last slot, the `capacity`th, comes the first again. No slot
    //    is written that has not been read: the parent sleeps while the ring is
    //    full. `shared.free` and `shared.filled` are for that. At the end of
    //    the input it puts `None`, which takes a slot as a line does.
    // 7. `reap` the child, and remove the object.
    todo!("pass_lines is not started: {name}, {capacity} slots")
}

/// Makes the object, and maps it for this process and its children.
fn share(name: &str) -> anyhow::Result<&'static Shared> {
    // Make a new object of this name with shm_open(3), for your user alone
    // (mode 0600), as large as a `Shared`, and map it with `mmap`, below.
    todo!("share is not started: {name}")
}

/// Adds 1 as processors do: read, add, write. Between them others may run.
fn add_one(counter: &AtomicU64) {
    let seen = counter.load(Relaxed);
    std::thread::yield_now(); // sched_yield(2)
    counter.store(seen + 1, Relaxed);
}

/// What the reader does with a line, in its own time.
fn use_line(line: &str) {
    std::thread::yield_now(); // sched_yield(2)
    println!("got {line}");
}

/// Copies a line into a slot; `None`: there are no more lines.
fn write_slot(slot: &[AtomicU8; SLOT], line: Option<&str>) {
    let bytes = line.unwrap_or_default().bytes().take(SLOT - 1);
    let length = bytes.len() as u8;
    slot[0].store(line.map_or(u8::MAX, |_| length), Relaxed);
    slot[1..].iter().zip(bytes).for_each(|(to, byte)| to.store(byte, Relaxed));
}

/// Copies a line out of a slot; `None`: there are no more lines.
fn read_slot(slot: &[AtomicU8; SLOT]) -> Option<String> {
    let (length, bytes) = (slot[0].load(Relaxed), &slot[1..]);
    let bytes = bytes.get(..usize::from(length))?.iter();
    let bytes: Vec<u8> = bytes.map(|byte| byte.load(Relaxed)).collect();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Forks a child that does this work, and nothing else, and ends.
fn start_child(work: impl Fn() -> io::Result<()>) -> anyhow::Result<Pid> {
    // SAFETY: there is one thread, so no lock is held by one that the child
    // does not have.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Parent { child } => return Ok(child),
        ForkResult::Child => {}
    }
    let done = work();
    if let Err(err) = &done {
        eprintln!("a child: {err}");
    }
    std::process::exit(i32::from(done.is_err()))
}

/// Waits for each child.
fn reap(children: &[Pid]) -> anyhow::Result<()> {
    for child in children {
        waitpid(*child, None).context("wait4")?;
    }
    Ok(())
}

/// A semaphore that lies in shared memory: sem_overview(7), "Unnamed
/// semaphores".
struct Semaphore(UnsafeCell<libc::sem_t>);

// SAFETY: to be used by several at a time is what a semaphore is for.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// `sem_init(3)`, before any child may use it.
    fn init(&self, between_processes: bool, value: u32) -> io::Result<()> {
        let shared = i32::from(between_processes);
        // SAFETY: there is room for a semaphore, and nobody uses it yet.
        done(unsafe { libc::sem_init(self.0.get(), shared, value) })
    }

    /// `sem_wait(3)`: takes 1; sleeps while there is nothing to take.
    fn wait(&self) -> io::Result<()> {
        // SAFETY: memory of zeros, too, is a semaphore here.
        done(unsafe { libc::sem_wait(self.0.get()) })
    }

    /// `sem_post(3)`: adds 1, and wakes one who waits for it.
    fn post(&self) -> io::Result<()> {
        // SAFETY: as for `wait`.
        done(unsafe { libc::sem_post(self.0.get()) })
    }
}

fn done(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `mmap(2)`: maps the object, to be read and written, for as long as the
/// process lives.
fn mmap(object: OwnedFd, flags: i32) -> io::Result<&'static Shared> {
    let (size, access) =
        (size_of::<Shared>(), libc::PROT_READ | libc::PROT_WRITE);
    let fd = object.as_raw_fd();
    // SAFETY: the kernel chooses an address where nothing is mapped.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, fd, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: never unmapped; aligned to a page; of any bytes that may be
    // there, atomics and semaphores can be made.
    Ok(unsafe { &*address.cast::<Shared>() })
}

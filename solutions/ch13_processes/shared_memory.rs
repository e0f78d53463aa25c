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

use std::cell::UnsafeCell;
use std::io::{self, BufRead};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use anyhow::{Context, bail};
use nix::fcntl::OFlag;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, ftruncate};

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
    let shared = share(name)?;
    shared.lock.init(true, 1).context("sem_init")?;
    println!("shared memory {name}");

    let mut children = Vec::new();
    for _ in 0..processes {
        // ANCHOR: count
        let child = start_child(|| {
            for _ in 0..rounds {
                shared.lock.wait()?;
                add_one(&shared.counter);
                shared.lock.post()?;
            }
            Ok(())
        });
        // ANCHOR_END: count
        children.push(child?);
    }
    let ended = reap(&children);
    shm_unlink(name).context("shm_unlink")?;
    ended?;
    println!("counter {}", shared.counter.load(Relaxed));
    Ok(())
}

/// Lines of standard input go through the ring to a child, which prints them.
fn pass_lines(name: &str, capacity: usize) -> anyhow::Result<()> {
    let shared = share(name)?;
    // ANCHOR: ring
    shared.free.init(true, capacity as u32).context("sem_init")?;
    shared.filled.init(true, 0).context("sem_init")?;
    println!("shared memory {name}");

    let child = start_child(|| {
        for slot in shared.slots[..capacity].iter().cycle() {
            shared.filled.wait()?;
            let line = read_slot(slot);
            shared.free.post()?; // A copy is ours: the slot is not needed.
            match line {
                Some(line) => use_line(&line),
                None => return Ok(()),
            }
        }
        Ok(())
    })?;
    // After the last line comes one that is none.
    let lines = io::stdin().lock().lines().map(|line| line.map(Some));
    let lines = lines.chain([Ok(None)]);
    for (slot, line) in shared.slots[..capacity].iter().cycle().zip(lines) {
        let line = line.context("read standard input")?;
        shared.free.wait()?; // Sleeps while the ring is full.
        write_slot(slot, line.as_deref());
        if let Some(line) = &line {
            println!("put {line}");
        }
        shared.filled.post()?;
    }
    // ANCHOR_END: ring
    let ended = reap(&[child]);
    shm_unlink(name).context("shm_unlink")?;
    ended
}

// ANCHOR: share
/// Makes the object, and maps it for this process and its children.
fn share(name: &str) -> anyhow::Result<&'static Shared> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let object = shm_open(name, flags, mode).context("shm_open")?;
    // A new object has no bytes; these are 0.
    ftruncate(&object, size_of::<Shared>() as i64).context("ftruncate")?;
    // The mapping keeps the memory; the descriptor is not needed any more.
    mmap(object, libc::MAP_SHARED).context("mmap")
}
// ANCHOR_END: share

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

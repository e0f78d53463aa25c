//! Another way: libc alone; a mutex and two condition variables for processes,
//! a ring with a head and a count, and an object that has lost its name before
//! the first child is there.

use std::ffi::CString;
use std::io::{BufRead, Error, Result};
use std::{mem, process, ptr, thread};

use libc::{PTHREAD_PROCESS_SHARED, c_int};

const SLOT: usize = 100;
const SLOTS: usize = 64;

#[repr(C)]
struct Memory {
    counter: u64,
    mutex: libc::pthread_mutex_t,
    room: libc::pthread_cond_t,
    lines: libc::pthread_cond_t,
    head: usize,
    count: usize,
    ended: bool,
    ring: [(usize, [u8; SLOT]); SLOTS],
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let name = CString::new(args[2].as_str())?;
    let memory = make(&name)?;
    println!("shared memory {}", args[2]);
    let number = |at: usize| args[at].parse().unwrap_or(1);
    if args[1] == "counter" {
        count(memory, number(3), number(4))?;
        // SAFETY: no child is left; the mapping stays.
        println!("counter {}", unsafe { (*memory).counter });
    } else {
        pass(memory, number(3))?;
    }
    Ok(())
}

fn count(memory: *mut Memory, processes: usize, rounds: usize) -> Result<()> {
    for _ in 0..processes {
        if fork()? == 0 {
            for _ in 0..rounds {
                // SAFETY: the counter is touched under the mutex.
                unsafe {
                    libc::pthread_mutex_lock(&raw mut (*memory).mutex);
                    let seen = (*memory).counter;
                    thread::yield_now();
                    (*memory).counter = seen + 1;
                    libc::pthread_mutex_unlock(&raw mut (*memory).mutex);
                }
            }
            process::exit(0);
        }
    }
    for _ in 0..processes {
        wait()?;
    }
    Ok(())
}

fn pass(memory: *mut Memory, capacity: usize) -> Result<()> {
    if fork()? == 0 {
        while let Some(line) = take(memory, capacity) {
            thread::yield_now();
            println!("got {line}");
        }
        process::exit(0);
    }
    for line in std::io::stdin().lock().lines() {
        put(memory, capacity, &line?);
    }
    // SAFETY: under the mutex.
    unsafe {
        libc::pthread_mutex_lock(&raw mut (*memory).mutex);
        (*memory).ended = true;
        libc::pthread_cond_signal(&raw mut (*memory).lines);
        libc::pthread_mutex_unlock(&raw mut (*memory).mutex);
    }
    wait()
}

fn put(memory: *mut Memory, capacity: usize, line: &str) {
    // SAFETY: the ring is touched under the mutex, which the waits give back
    // while they sleep.
    unsafe {
        let ring = &mut *memory;
        libc::pthread_mutex_lock(&mut ring.mutex);
        while ring.count == capacity {
            libc::pthread_cond_wait(&mut ring.room, &mut ring.mutex);
        }
        let slot = &mut ring.ring[(ring.head + ring.count) % capacity];
        slot.0 = line.len().min(SLOT);
        slot.1[..slot.0].copy_from_slice(&line.as_bytes()[..slot.0]);
        ring.count += 1;
        println!("put {line}");
        libc::pthread_cond_signal(&mut ring.lines);
        libc::pthread_mutex_unlock(&mut ring.mutex);
    }
}

fn take(memory: *mut Memory, capacity: usize) -> Option<String> {
    // SAFETY: as in `put`.
    unsafe {
        let ring = &mut *memory;
        libc::pthread_mutex_lock(&mut ring.mutex);
        while ring.count == 0 && !ring.ended {
            libc::pthread_cond_wait(&mut ring.lines, &mut ring.mutex);
        }
        let slot = &ring.ring[ring.head];
        let line = String::from_utf8_lossy(&slot.1[..slot.0]).into_owned();
        let line = (ring.count > 0).then_some(line);
        if line.is_some() {
            ring.head = (ring.head + 1) % capacity;
            ring.count -= 1;
        }
        libc::pthread_cond_signal(&mut ring.room);
        libc::pthread_mutex_unlock(&mut ring.mutex);
        line
    }
}

fn make(name: &CString) -> Result<*mut Memory> {
    let (flags, size) = (libc::O_CREAT | libc::O_RDWR, size_of::<Memory>());
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the name ends with a zero; the mapping is as large as what is
    // made in it, and nobody else has it yet.
    unsafe {
        let fd = check(libc::shm_open(name.as_ptr(), flags, 0o600))?;
        check(libc::ftruncate(fd, size as libc::off_t))?;
        let shared = libc::MAP_SHARED;
        let at = libc::mmap(ptr::null_mut(), size, access, shared, fd, 0);
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        check(libc::shm_unlink(name.as_ptr()))?;
        let memory = at.cast::<Memory>();
        let mut lock = mem::zeroed();
        libc::pthread_mutexattr_init(&mut lock);
        libc::pthread_mutexattr_setpshared(&mut lock, PTHREAD_PROCESS_SHARED);
        libc::pthread_mutex_init(&raw mut (*memory).mutex, &lock);
        let mut wake = mem::zeroed();
        libc::pthread_condattr_init(&mut wake);
        libc::pthread_condattr_setpshared(&mut wake, PTHREAD_PROCESS_SHARED);
        libc::pthread_cond_init(&raw mut (*memory).room, &wake);
        libc::pthread_cond_init(&raw mut (*memory).lines, &wake);
        Ok(memory)
    }
}

fn fork() -> Result<c_int> {
    // SAFETY: there is one thread.
    check(unsafe { libc::fork() })
}

fn wait() -> Result<()> {
    // SAFETY: no status is asked for.
    check(unsafe { libc::wait(ptr::null_mut()) }).map(drop)
}

fn check(result: c_int) -> Result<c_int> {
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

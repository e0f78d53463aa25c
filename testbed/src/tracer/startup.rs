//! Which calls prepare a program and are not its own.
//!
//! Sure are those that the dynamic loader makes: their instruction lies in the
//! loader's own text (AT_BASE of getauxval(3), /proc/PID/maps). After it the C
//! library and Rust's runtime prepare `main` and each new thread with calls
//! that cannot be told by where they lie, but by what they are: memory, the
//! thread's own areas, the three standard descriptors, the handlers for
//! SIGPIPE, SIGSEGV and SIGBUS, the size of the stack. The first call that is
//! none of these is the program's own.
//!
//! Later too the libraries look after themselves: memory that nobody shares,
//! alternate stacks, and all signals blocked, the library's own two among them,
//! while a thread or process is made. (Of one more the tracer itself knows: see
//! `tell_the_look`.)

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use super::memory::Memory;

/// Preparation, whatever they are given.
const PREPARES: &[&str] = &[
    "arch_prctl",
    "getrandom",
    "gettid",
    "mmap",
    "mremap",
    "munmap",
    "prlimit64",
    "rseq",
    "sched_getaffinity",
    "set_robust_list",
    "set_tid_address",
];
/// The C library's and Rust's own, at any time: memory, stacks.
const UPKEEP: &[&str] = &["brk", "madvise", "mprotect", "sigaltstack"];
/// Calls that go on with a file which preparation has opened.
const ON_A_FILE: &[&str] =
    &["close", "fstat", "lseek", "newfstatat", "pread64", "read"];
/// Where the C library looks for the size of the first thread's stack, and the
/// standard library for the number of processors.
const FILES: &[&str] = &["/proc/self/maps", "/proc/self/cgroup"];

const AT_BASE: u64 = 7;

/// How far a thread has come.
#[derive(Clone, Default)]
pub(super) struct Startup {
    begun: bool,
    /// Is it a thread that its process has made?
    thread: bool,
    loader: Range<u64>,
    opened: Option<i32>,
    /// Rust's runtime has set its last handler.
    handles: bool,
    /// The C library has blocked every signal for a moment.
    masked: bool,
}

/// Where memory lies that is nobody's but one process's.
#[derive(Default)]
pub(super) struct Private(BTreeSet<u64>);

impl Startup {
    /// Of a process that has just become this program.
    pub(super) fn of_program(pid: i32) -> Startup {
        let loader = loader(pid).unwrap_or_default();
        Startup { loader, ..Startup::default() }
    }

    /// Of a new thread in a process.
    pub(super) fn of_thread() -> Startup {
        Startup { thread: true, ..Startup::default() }
    }

    /// Of a process that was forked, and goes on where its parent was.
    pub(super) fn over() -> Startup {
        Startup { begun: true, ..Startup::default() }
    }

    /// Is this call not the program's own?
    pub(super) fn has(
        &mut self,
        name: &str,
        ip: u64,
        args: &[u64; 6],
        memory: Memory,
        private: &mut Private,
    ) -> bool {
        let prepares = !self.begun
            && (self.loader.contains(&ip)
                || PREPARES.contains(&name)
                || self.prepares(name, args, memory));
        let keeps_up = UPKEEP.contains(&name)
            || self.masks(name, args, memory)
            || private.has(name, args);
        self.begun |= !prepares && !keeps_up;
        prepares || keeps_up
    }

    fn prepares(
        &mut self,
        name: &str,
        args: &[u64; 6],
        memory: Memory,
    ) -> bool {
        let first = args[0] as i32;
        match name {
            "poll" | "ppoll" => args[1] == 3 && args[2] == 0,
            "rt_sigaction" if !self.handles => {
                // The last one of Rust's runtime.
                self.handles = first == libc::SIGBUS && args[1] != 0;
                let own = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];
                own.contains(&first)
            }
            // The C library blocks signals while it makes a thread.
            "rt_sigprocmask" => self.thread,
            "openat" => {
                let path = memory.text(args[1]);
                path.is_some_and(|path| FILES.contains(&path.as_str()))
            }
            name => ON_A_FILE.contains(&name) && self.opened == Some(first),
        }
    }

    /// Is it about signals that a program cannot mean? The C library leaves
    /// its own two, 32 and 33, out of every set that a program makes.
    fn masks(&mut self, name: &str, args: &[u64; 6], memory: Memory) -> bool {
        const OWN: u64 = 3 << 31;
        match name {
            "rt_sigaction" => matches!(args[0], 32 | 33),
            "rt_sigprocmask" => {
                let set = memory.word(args[1]).unwrap_or(0);
                let ends = self.masked && args[0] as i32 == libc::SIG_SETMASK;
                self.masked = !ends && set & OWN == OWN;
                ends || set & OWN == OWN
            }
            _ => false,
        }
    }

    /// A call that is not the program's own has returned.
    pub(super) fn returned(
        &mut self,
        name: &str,
        args: &[u64; 6],
        result: i64,
        private: &mut Private,
    ) {
        match name {
            "openat" if result >= 0 => self.opened = Some(result as i32),
            "close" if self.opened == Some(args[0] as i32) => {
                self.opened = None;
            }
            "mmap" if result > 0 => drop(private.0.insert(result as u64)),
            _ => {}
        }
    }
}

impl Private {
    fn has(&mut self, name: &str, args: &[u64; 6]) -> bool {
        let alone = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        match name {
            "mmap" => args[3] as i32 & alone == alone,
            "mremap" => self.0.contains(&args[0]),
            "munmap" => self.0.remove(&args[0]),
            _ => false,
        }
    }
}

/// Where the loader of a program lies; `None`: it has none, or /proc tells not.
fn loader(pid: i32) -> Option<Range<u64>> {
    let auxv = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let word =
        |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    let mut pairs = auxv.chunks_exact(16);
    let base = pairs.find(|pair| word(&pair[..8]) == AT_BASE)?;
    let base = word(&base[8..]);
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let parts = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(from)?..number(to)?, fields.nth(4)?))
    });
    let parts: Vec<(Range<u64>, &str)> = parts.collect();
    let file = parts.iter().find(|(part, _)| part.contains(&base))?.1;
    let end = parts.iter().filter(|part| part.1 == file).map(|p| p.0.end);
    Some(base..end.max()?)
}

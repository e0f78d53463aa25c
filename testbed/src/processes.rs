//! What a program's processes are and have used, from /proc (proc(5)).
//!
//! A program's processes are those in its mount namespace, which no descendant
//! can leave; zombies are in none, and are known by their parent or session.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Call, Result};
use crate::tracer;

/// A process of a program, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its number as this run's /proc counts.
    pub pid: i32,
    /// Its number as the program itself sees it.
    pub own_pid: i32,
    /// Its parent, as this run's /proc counts; who has lost it has the host's
    /// process 1.
    pub parent: i32,
    /// Its session, as this run's /proc counts.
    pub session: i32,
    /// The command name, at most 15 bytes (comm).
    pub name: String,
    /// R, S, D, Z, T, as proc_pid_stat(5) has them.
    pub state: char,
    /// How many threads it has; of a zombie, itself.
    pub threads: usize,
    /// The processor time of all its threads, those that have ended included.
    pub cpu: Duration,
    /// How often a thread that lives has gone to sleep.
    pub voluntary: u64,
    /// How often one was taken off its processor.
    pub involuntary: u64,
    /// When it began, in clock ticks since boot: tells it from another that
    /// had the number before.
    pub start: u64,
}

impl ProcessInfo {
    /// Has it ended without its parent having asked for the status?
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// How busy a program was for a while.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct Rest {
    /// How long it was watched.
    pub window: Duration,
    /// The processor time that all its processes used.
    pub cpu: Duration,
    /// How often its threads went to sleep. One that stays blocked in the
    /// kernel never does; one that polls does each time.
    pub voluntary: u64,
    /// How often they were taken off a processor.
    pub involuntary: u64,
}

impl Rest {
    /// From the processes before and after.
    pub(crate) fn between(
        before: &[ProcessInfo],
        after: &[ProcessInfo],
        window: Duration,
    ) -> Rest {
        let mut rest = Rest { window, ..Rest::default() };
        for now in after {
            let same = |old: &&ProcessInfo| {
                (old.pid, old.start) == (now.pid, now.start)
            };
            let (cpu, voluntary, involuntary) = match before.iter().find(same) {
                Some(old) => (old.cpu, old.voluntary, old.involuntary),
                None => Default::default(),
            };
            rest.cpu += now.cpu.saturating_sub(cpu);
            // A thread that has ended took its counts along.
            rest.voluntary += now.voluntary.saturating_sub(voluntary);
            rest.involuntary += now.involuntary.saturating_sub(involuntary);
        }
        rest
    }

    /// The part of one processor that it used: 1.0 for a busy loop.
    pub fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.window.as_secs_f64().max(1e-9)
    }

    /// How often in a second its threads went to sleep.
    pub fn sleeps_per_second(&self) -> f64 {
        self.voluntary as f64 / self.window.as_secs_f64().max(1e-9)
    }
}

/// The processes of the program that began as `leader`, which may have ended.
pub(crate) fn of_program(
    leader: Option<i32>,
    namespace: &OwnedFd,
) -> Result<Vec<ProcessInfo>> {
    let namespace = File::from(namespace.try_clone().call("dup ns/mnt")?);
    let namespace = namespace.metadata().call("fstat ns/mnt")?.ino();
    let mut all: Vec<Stat> = numbers(Path::new("/proc"))
        .filter_map(|pid| Stat::of(&format!("/proc/{pid}")))
        .collect();
    all.sort_by_key(|process| process.pid);
    let mut members: BTreeSet<i32> = all
        .iter()
        .filter(|process| {
            Some(process.session) == leader
                || inode(process.pid, "mnt") == Some(namespace)
        })
        .map(|process| process.pid)
        .collect();
    // Parents may have higher numbers than their children once numbers have
    // gone round: until nobody is added.
    loop {
        let children = all.iter().filter(|process| {
            !members.contains(&process.pid) && members.contains(&process.parent)
        });
        let children: Vec<i32> = children.map(|process| process.pid).collect();
        if children.is_empty() {
            break;
        }
        members.extend(children);
    }
    all.retain(|process| members.contains(&process.pid));
    Ok(all.into_iter().filter_map(Stat::in_full).collect())
}

/// Which namespace of a kind a process is in; `None`: it has ended.
pub(crate) fn inode(pid: i32, kind: &str) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino())
}

/// The entries of a directory that are numbers.
pub(crate) fn numbers(directory: &Path) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What /proc/PID/stat says of a process or a thread.
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: i32,
    session: i32,
    ticks: u64,
    start: u64,
}

impl Stat {
    /// `None`: it has ended.
    pub(crate) fn of(directory: &str) -> Option<Stat> {
        let text = fs::read_to_string(format!("{directory}/stat")).ok()?;
        // The name may have spaces and parentheses in it.
        let (head, tail) = text.rsplit_once(')')?;
        let (pid, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let pid = pid.trim().parse().ok()?;
        let state = fields.first()?.chars().next()?;
        Some(Stat {
            pid,
            name: name.to_string(),
            state: tracer::untraced_state(pid, state),
            parent: number(1)? as i32,
            session: number(3)? as i32,
            ticks: number(11)? + number(12)?,
            start: number(19)?,
        })
    }

    fn in_full(self) -> Option<ProcessInfo> {
        let directory = format!("/proc/{}", self.pid);
        let status = fs::read_to_string(format!("{directory}/status")).ok()?;
        let own_pid = field(&status, "NSpid:")?.split_whitespace().last()?;
        let (mut threads, mut cpu) = (0, Duration::ZERO);
        let (mut voluntary, mut involuntary) = (0, 0);
        for tid in numbers(&Path::new(&directory).join("task")) {
            let task = format!("{directory}/task/{tid}");
            let Ok(status) = fs::read_to_string(format!("{task}/status"))
            else {
                continue; // It has ended just now.
            };
            let count = |name| {
                let count = field(&status, name)?.parse::<u64>();
                count.ok()
            };
            threads += 1;
            voluntary += count("voluntary_ctxt_switches:").unwrap_or(0);
            involuntary += count("nonvoluntary_ctxt_switches:").unwrap_or(0);
            cpu += on_processor(&task);
        }
        // Threads that have ended are in the ticks alone.
        let ticks = Duration::from_secs(self.ticks) / TICKS_PER_SECOND;
        Some(ProcessInfo {
            pid: self.pid,
            own_pid: own_pid.parse().ok()?,
            parent: self.parent,
            session: self.session,
            name: self.name,
            state: self.state,
            threads,
            cpu: cpu.max(ticks),
            voluntary,
            involuntary,
            start: self.start,
        })
    }
}

/// USER_HZ, the same on each architecture that this course runs on.
const TICKS_PER_SECOND: u32 = 100;

/// The first number of schedstat, in nanoseconds; 0 from a kernel without.
pub(crate) fn on_processor(task: &str) -> Duration {
    let text = fs::read_to_string(format!("{task}/schedstat"));
    let text = text.unwrap_or_default();
    let first = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(first.unwrap_or(0))
}

/// What follows a line's beginning, trimmed.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim())
}

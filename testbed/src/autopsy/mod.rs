//! Why a program does not go on: where each of its threads is, and what would
//! have to happen.
//!
//! The call and its arguments are from /proc/PID/task/TID/syscall, which needs
//! the right to trace the program (ptrace(2), "Ptrace access mode checking").
//! This process has CAP_SYS_PTRACE over the run's user namespace, which is
//! enough up to Yama's ptrace_scope 2; where it is not, the text says so.

mod files;
mod scene;
mod sentences;
mod sockets;
mod waits;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::processes::{ProcessInfo, field, numbers, on_processor};
use scene::Scene;
pub(crate) use scene::World;

/// How long a thread that computes is watched.
const WATCH: Duration = Duration::from_millis(20);

/// Where the threads of a program are at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autopsy {
    /// The name that the scenario gave the program.
    pub program: String,
    /// Every thread of every process, by their numbers. Empty: it has ended.
    pub threads: Vec<Finding>,
}

/// Where one thread is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its process, as this run's /proc counts.
    pub pid: i32,
    /// Its process, as the program sees it.
    pub own_pid: i32,
    /// Its own number, as the program sees it; the first thread of a process
    /// has the process's.
    pub own_tid: i32,
    /// The program's name; of a process that has executed another file, its
    /// command name.
    pub name: String,
    /// Its state, as proc_pid_stat(5) has them.
    pub state: char,
    /// The call that it sits in; `None`: it is in none, or it cannot be seen.
    pub call: Option<SystemCall>,
    /// What it waits for, in a sentence without a full stop.
    pub sentence: String,
}

/// A system call that has not returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemCall {
    /// The number, which depends on the architecture.
    pub number: i64,
    /// The name, without which the number stands.
    pub name: String,
    /// The registers of the arguments; how many count depends on the call.
    pub arguments: [u64; 6],
}

impl Autopsy {
    /// Looks at the program's processes.
    pub(crate) fn of(program: &str, world: &World) -> Autopsy {
        let processes = world.processes.iter();
        let threads =
            processes.flat_map(|process| of_process(world, process)).collect();
        Autopsy { program: program.to_string(), threads }
    }

    /// Two lines for each thread: who sits in which call, and a sentence.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if self.threads.is_empty() {
            let _ = writeln!(text, "{}: has ended", self.program);
        }
        for finding in &self.threads {
            let Finding { name, own_pid, own_tid, .. } = finding;
            let _ = write!(text, "{name} {own_pid}");
            if own_tid != own_pid {
                let _ = write!(text, ", thread {own_tid}");
            }
            let place = match (&finding.call, finding.state) {
                (Some(call), _) => call.name.as_str(),
                (None, 'R') => "no system call",
                (None, 'Z') => "zombie",
                (None, 'T' | 't') => "stopped",
                (None, _) => "somewhere in the kernel",
            };
            let _ = writeln!(text, ": {place}\n  {}", finding.sentence);
        }
        text
    }
}

fn of_process(world: &World, process: &ProcessInfo) -> Vec<Finding> {
    let directory = format!("/proc/{}/task", process.pid);
    let mut tids: Vec<i32> = numbers(Path::new(&directory)).collect();
    tids.sort_unstable();
    let threads = tids.into_iter();
    threads.filter_map(|tid| of_thread(world, process, tid)).collect()
}

/// `None`: it has ended just now.
fn of_thread(
    world: &World,
    process: &ProcessInfo,
    tid: i32,
) -> Option<Finding> {
    let task = format!("/proc/{}/task/{tid}", process.pid);
    let status = fs::read_to_string(format!("{task}/status")).ok()?;
    let state = field(&status, "State:")?.chars().next()?;
    let own_tid = field(&status, "NSpid:")?.split_whitespace().last()?;
    let own_tid = own_tid.parse().ok()?;
    let (call, sentence) = match (state, place(&task)) {
        ('Z' | 'X', _) => (None, zombie(world, process)),
        ('T' | 't', _) => {
            (None, "is stopped by a signal, and waits for SIGCONT".to_string())
        }
        (_, Place::Computes) => (None, computes(&task)),
        (_, Place::Kernel) => {
            (None, format!("is in the kernel without a call{}", wchan(&task)))
        }
        (_, Place::Hidden) => {
            let place = wchan(&task);
            let text = format!(
                "sleeps{place}; this machine does not show in which call"
            );
            (None, text)
        }
        (_, Place::Call(call)) => {
            let scene = Scene::new(world, process, own_tid, &call);
            let sentence = scene.sentence();
            (Some(call), sentence)
        }
    };
    Some(Finding {
        pid: process.pid,
        own_pid: process.own_pid,
        own_tid,
        name: process.name.clone(),
        state,
        call,
        sentence,
    })
}

/// Where /proc/PID/task/TID/syscall says that a thread is.
enum Place {
    /// On a processor or waiting for one.
    Computes,
    /// In the kernel without a call: a page fault, or its end.
    Kernel,
    Call(SystemCall),
    /// We may not look.
    Hidden,
}

fn place(task: &str) -> Place {
    let Ok(text) = fs::read_to_string(format!("{task}/syscall")) else {
        return Place::Hidden;
    };
    call_in(&text).unwrap_or(match text.trim() {
        "running" => Place::Computes,
        _ => Place::Kernel,
    })
}

/// `0 0x3 0x7f 0x20000 0x0 0x0 0x0 STACK PROGRAM-COUNTER`
fn call_in(text: &str) -> Option<Place> {
    let mut words = text.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    if number < 0 {
        return None;
    }
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        let digits = words.next()?.trim_start_matches("0x");
        *argument = u64::from_str_radix(digits, 16).ok()?;
    }
    let name = crate::calls::names::name(number).map(str::to_string);
    let name = name.unwrap_or_else(|| format!("system call {number}"));
    Some(Place::Call(SystemCall { number, name, arguments }))
}

/// ` in FUNCTION`, the kernel's function in which it sleeps, if that is shown.
fn wchan(task: &str) -> String {
    match fs::read_to_string(format!("{task}/wchan")) {
        Ok(name) if name.len() > 1 => format!(" in {name} of the kernel"),
        _ => String::new(),
    }
}

/// A processor's share, by watching it for a moment.
fn computes(task: &str) -> String {
    let (before, start) = (on_processor(task), Instant::now());
    std::thread::sleep(WATCH);
    let used = on_processor(task).saturating_sub(before).as_secs_f64();
    let percent = used / start.elapsed().as_secs_f64() * 100.0;
    format!(
        "computes: it is not in a system call; {percent:.0} % of a processor"
    )
}

fn zombie(world: &World, process: &ProcessInfo) -> String {
    let parent = world.processes.iter().find(|p| p.pid == process.parent);
    match parent {
        Some(parent) => format!(
            "has ended; {} {}, its parent, has not waited for it and {}",
            parent.name,
            parent.own_pid,
            whereabouts(parent)
        ),
        None if process.parent == world.this_process => {
            "has ended, with some of its threads or children left".to_string()
        }
        None => "has ended, and nobody has waited for it".to_string(),
    }
}

/// `is in read`, `computes`, `is a zombie`: where a process's first thread is.
pub(super) fn whereabouts(process: &ProcessInfo) -> String {
    if process.is_zombie() {
        return "is a zombie".to_string();
    }
    match place(&format!("/proc/{0}/task/{0}", process.pid)) {
        Place::Call(call) => format!("is in {}", call.name),
        Place::Computes => "computes".to_string(),
        Place::Kernel | Place::Hidden => "is in the kernel".to_string(),
    }
}

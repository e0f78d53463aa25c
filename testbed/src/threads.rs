//! The threads of a process, from /proc/PID/task (proc_pid_task(5)).

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Call, Result};
use crate::tracer;

/// A thread of a program, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadInfo {
    /// Its number as this run's /proc counts; the first thread's is the
    /// process's.
    pub tid: u32,
    /// Its name, at most 15 bytes (pthread_setname_np(3)). A thread begins with
    /// the name of the one that made it.
    pub name: String,
    /// R, S, D, Z, T, as proc_pid_stat(5) has them.
    pub state: char,
}

/// The threads of a process in the order of their numbers; none once its end
/// has been waited for. One that has been joined is listed for a moment more:
/// the kernel wakes who joins it before it takes the task away.
pub(crate) fn of_process(pid: u32) -> Result<Vec<ThreadInfo>> {
    let tasks = format!("/proc/{pid}/task");
    let entries = match fs::read_dir(&tasks) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        other => other.call(format!("open {tasks}"))?,
    };
    let mut threads: Vec<ThreadInfo> =
        entries.flatten().filter_map(|task| of_task(&task.path())).collect();
    threads.sort_by_key(|thread| thread.tid);
    Ok(threads)
}

/// `None`: it has ended meanwhile.
fn of_task(task: &Path) -> Option<ThreadInfo> {
    let tid: u32 = task.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The name may have spaces and parentheses in it.
    let (name, fields) = stat.rsplit_once(')')?;
    let (_, name) = name.split_once('(')?;
    let state = fields.trim_start().chars().next()?;
    let state = tracer::untraced_state(tid as i32, state);
    Some(ThreadInfo { tid, name: name.to_string(), state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_listed_under_its_name() {
        let look = || of_process(std::process::id()).unwrap();
        let thread = std::thread::Builder::new().name("a (b) c".to_string());
        let seen = thread.spawn(look).unwrap().join().unwrap();
        assert!(seen.iter().any(|thread| thread.name == "a (b) c"));
        assert!(of_process(u32::MAX).unwrap().is_empty());
    }
}

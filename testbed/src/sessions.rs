//! What the processes of a session do, from proc_pid_stat(5).
//!
//! Each program is started as the leader of a session, and whatever it starts
//! is in that session unless it asks for another.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::error::{Call, Result};
use crate::tracer;

/// The number of the process behind a process descriptor, as /proc counts,
/// which may be another's than our own namespace's; `None`: it has ended.
pub(crate) fn number(process: &OwnedFd) -> Result<Option<i32>> {
    let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
    let info = fs::read_to_string(&path).call(format!("read {path}"))?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number = number.and_then(|number| number.trim().parse().ok());
    Ok(number.filter(|number| *number > 0))
}

/// Does any thread of this session run, or wait for a processor?
pub(crate) fn is_at_work(leader: i32) -> Result<bool> {
    has_thread(leader, 'R')
}

/// Does any wait where no signal reaches it, as for a page of its file? That is
/// over in a moment, mostly: the parent of a vfork(2) waits so for its child.
pub(crate) fn is_blocked(leader: i32) -> Result<bool> {
    has_thread(leader, 'D')
}

fn has_thread(leader: i32, state: char) -> Result<bool> {
    let processes = fs::read_dir("/proc").call("open /proc")?;
    Ok(processes.flatten().map(|entry| entry.path()).any(|process| {
        stat(&process).is_some_and(|(_, session)| session == leader)
            && threads(&process).any(|one| one == state)
    }))
}

fn threads(process: &Path) -> impl Iterator<Item = char> {
    let tasks = fs::read_dir(process.join("task")).into_iter();
    let tasks = tasks.flatten().flatten();
    tasks.filter_map(|task| Some(stat(&task.path())?.0))
}

/// The state and the session; `None`: not a process, or it has gone.
fn stat(process: &Path) -> Option<(char, i32)> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before them may have spaces and parentheses in it.
    let (number, _) = stat.split_once(' ')?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let state = tracer::untraced_state(number.parse().ok()?, state);
    Some((state, fields.nth(2)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_at_work() {
        let (state, session) = stat(Path::new("/proc/thread-self")).unwrap();
        assert_eq!(state, 'R');
        assert!(is_at_work(session).unwrap());
    }
}

//! Whatever ends `lab`, nothing of the run stays.
//!
//! 200 runs are ended at a random moment; LAB_KILLS is another number, LAB_SEED
//! replays one. Minutes, not seconds: `cargo test -p cli --test nothing_stays`.
//!
//! The test starts itself again in a process-id and a mount namespace of its
//! own, as process 1: every process that it then sees is of its making, every
//! orphan becomes its child, and whatever is written to /tmp is in a file
//! system that was empty before. So what it finds is what a run has left.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::apart::apart;
use support::{process, root, until};

/// After this long nothing may be left.
const LIMIT: Duration = Duration::from_secs(10);
/// Longer than a run of each lab takes, in milliseconds.
const RUNS: &[(&str, u64)] =
    &[("handshake", 160), ("byteorder", 160), ("backlog", 3400)];

/// Whom a killing meets, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    /// `lab`, by this signal.
    Lab(Signal),
    /// One of the processes below it.
    Inner,
}

#[test]
fn of_a_run_whose_lab_is_killed() {
    apart("of_a_run_whose_lab_is_killed", || {
        let runs = number("LAB_KILLS", 200);
        let blows = [Blow::Lab(Signal::SIGKILL)];
        strike(runs.div_ceil(2), &blows);
    });
}

#[test]
fn of_a_run_in_which_a_process_is_killed() {
    apart("of_a_run_in_which_a_process_is_killed", || {
        let runs = number("LAB_KILLS", 200);
        strike(runs.div_ceil(4), &[Blow::Inner]);
    });
}

#[test]
fn of_a_run_that_is_interrupted_or_terminated() {
    apart("of_a_run_that_is_interrupted_or_terminated", || {
        let runs = number("LAB_KILLS", 200);
        let blows = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        strike(runs.div_ceil(4), &blows.map(Blow::Lab));
    });
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(otherwise, |value| value.parse().expect(variable))
}

fn strike(runs: u64, blows: &[Blow]) {
    let seed = number("LAB_SEED", fastrand::u64(1..1_000_000));
    println!("LAB_SEED={seed}");
    let mut lots = fastrand::Rng::with_seed(seed);
    let before = traces();
    for run in 0..runs {
        let (lab, longest) = RUNS[lots.usize(..RUNS.len())];
        let blow = blows[lots.usize(..blows.len())];
        let moment = Duration::from_micros(lots.u64(..longest * 1000));
        let what = format!("run {run}: {lab}, {blow:?} after {moment:?}");
        one(lab, blow, moment, &mut lots);
        until(LIMIT, &format!("end of all its processes ({what})"), || {
            reap();
            others().is_empty().then_some(())
        });
        let after = traces();
        let more: Vec<&String> = after.difference(&before).collect();
        assert!(more.is_empty(), "{what}: {more:#?}");
    }
}

/// Starts a run, and strikes at this moment. There is nothing to wait for: any
/// moment will do.
fn one(lab: &str, blow: Blow, moment: Duration, lots: &mut fastrand::Rng) {
    let mut run = support::command(&["run", lab, "--solution"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    match blow {
        Blow::Lab(signal) => strike_one(run.id(), signal),
        Blow::Inner => {
            let mut below = others();
            below.retain(|pid| *pid != run.id());
            if let Some(pid) = lots.choice(below) {
                strike_one(pid, Signal::SIGKILL);
            }
        }
    }
    // A scenario that misses one of its programs waits for it in vain.
    let patience = LIMIT + Duration::from_secs(10);
    until(patience, "end of lab", || run.try_wait().unwrap());
}

/// It may have ended by itself already.
fn strike_one(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// Buries orphans, as process 1 must.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Every process but this one, zombies too.
fn others() -> Vec<u32> {
    let all = process::all().into_iter().map(|(pid, _)| pid);
    all.filter(|pid| *pid != std::process::id()).collect()
}

/// What a run could leave behind, a line each.
fn traces() -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut add = |kind: &str, what: &dyn std::fmt::Display| {
        traces.insert(format!("{kind} {what}"));
    };
    for (kind, table) in
        [("mount", "/proc/self/mountinfo"), ("socket", "/proc/net/unix")]
    {
        let table = std::fs::read_to_string(table).unwrap();
        table.lines().for_each(|line| add(kind, &line));
    }
    // The counters beside the names change.
    let interfaces = std::fs::read_to_string("/proc/net/dev").unwrap();
    let names = interfaces.lines().filter_map(|line| line.split_once(':'));
    names.for_each(|(name, _)| add("interface", &name.trim()));
    for (pid, _) in process::all() {
        if let Ok(network) = std::fs::read_link(format!("/proc/{pid}/ns/net")) {
            add("network", &network.display());
        }
    }
    let mut files = Vec::new();
    for dir in ["/tmp", "/dev/shm", "/run/user"] {
        list(Path::new(dir), &mut files);
    }
    list(root(), &mut files);
    files.iter().for_each(|file| add("file", &file.display()));
    traces
}

fn names(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Every file below, without what cargo and git write.
fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for path in names(dir) {
        let skipped = [root().join(".git"), support::target_dir()];
        if skipped.contains(&path) || path.ends_with("target") {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            list(&path, files);
        }
        files.push(path);
    }
}

/// The imitation of what is feared is seen, or the tests above prove nothing.
#[test]
fn what_stays_is_seen() {
    apart("what_stays_is_seen", || {
        let before = traces();
        assert_eq!(before, traces());
        std::fs::write("/tmp/left", "").unwrap();
        assert_ne!(before, traces());
        std::fs::remove_file("/tmp/left").unwrap();
        // An orphan: its parent ends at once.
        let script = "sleep 300 & exit 0";
        Command::new("/bin/sh").args(["-c", script]).status().unwrap();
        reap();
        let orphans = others();
        assert_eq!(orphans.len(), 1);
        strike_one(orphans[0], Signal::SIGKILL);
        until(LIMIT, "end of the orphan", || {
            reap();
            others().is_empty().then_some(())
        });
    });
}

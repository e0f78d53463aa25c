//! Programs that go wrong in ways that no lab is about: each gets a verdict
//! that says so, in time, and nothing of it is left.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::check::bad;
use crate::support::process::wait_until_none_runs;
use crate::support::{lab, root, target_dir};

/// The verdict's clock starts after the build.
const MOST_MILLIS: u64 = 15_000;
/// The scenarios' patience is 10 s; one that ends early must not wait for it.
const AT_ONCE: u64 = 6_000;

/// Grades a bad program as the lab `backlog`; its first failed check.
#[track_caller]
fn refused(name: &str, cause: &str, most_millis: u64) -> Value {
    let file = bad(name);
    let order = ["check", "backlog", "--file", &file, "--json"];
    let result = lab(&order).exits(1).json()["results"][0].clone();
    assert_eq!(result["verdict"], "fail", "{result:#}");
    assert_eq!(result["cause"], cause, "{result:#}");
    let millis = result["millis"].as_u64().unwrap();
    assert!(millis < most_millis, "{millis} ms: {result:#}");
    wait_until_none_runs(&binary_of(&file));
    let checks = result["checks"].as_array().unwrap();
    checks.iter().find(|check| check["ok"] == false).unwrap().clone()
}

/// The program that was built for a file: part of its command line.
fn binary_of(file: &str) -> String {
    let packages = std::fs::read_dir(target_dir().join("subjects")).unwrap();
    let package = packages
        .flatten()
        .find(|package| {
            let manifest = package.path().join("Cargo.toml");
            let text = std::fs::read_to_string(manifest).unwrap_or_default();
            text.contains(&format!("\"{file}\""))
        })
        .unwrap_or_else(|| panic!("no package for {file}"));
    format!("debug/{}", package.file_name().to_str().unwrap())
}

#[track_caller]
fn evidence(check: &Value, parts: &[&str]) {
    let evidence = check["evidence"].as_str().unwrap();
    for part in parts {
        assert!(evidence.contains(part), "no `{part}` in: {evidence}");
    }
}

#[test]
fn one_that_exits_at_once() {
    let check = refused("exits_at_once", "silent", AT_ONCE);
    evidence(&check, &["listening on", "ended with exit status 0"]);
}

#[test]
fn one_that_reaches_its_todo() {
    let check = refused("reaches_its_todo", "todo-reached", MOST_MILLIS);
    evidence(&check, &["not yet implemented: the rest", "todo.rs:5"]);
}

#[test]
fn one_that_prints_without_end() {
    let check =
        refused("prints_without_end", "prints-without-end", MOST_MILLIS);
    evidence(&check, &["5000 lines"]);
}

#[test]
fn one_that_prints_a_line_without_end() {
    refused("one_line_without_end", "prints-without-end", MOST_MILLIS);
}

#[test]
fn one_that_forks_without_end() {
    let check = refused("forks_without_end", "hangs", MOST_MILLIS);
    evidence(&check, &["listening on", "was still running"]);
    // The machine has processes left for others.
    let start = Instant::now();
    assert!(Command::new("true").status().unwrap().success());
    assert!(start.elapsed().as_secs() < 2);
}

#[test]
fn one_that_closes_its_output_and_lives_on() {
    let check = refused("closes_its_output", "hangs", AT_ONCE);
    evidence(&check, &["has closed its output", "was still running"]);
}

#[test]
fn one_that_never_ends() {
    let check = refused("never_ends", "deadline", MOST_MILLIS);
    evidence(&check, &["waited for backlog to end", "was still running"]);
}

#[test]
fn one_that_ignores_every_signal_and_leaves_a_child() {
    refused("ignores_every_signal", "hangs", MOST_MILLIS);
}

#[test]
fn one_that_wants_ten_gib() {
    let check = refused("allocates_ten_gib", "crashed", MOST_MILLIS);
    evidence(&check, &["memory allocation of"]);
}

#[test]
fn one_that_dumps_core() {
    let check = refused("dumps_core", "crashed", AT_ONCE);
    evidence(&check, &["SIGABRT"]);
    let cores = std::fs::read_dir(root()).unwrap().flatten();
    let cores = cores.filter(|file| file.file_name() == "core");
    assert_eq!(cores.count(), 0);
}

#[test]
fn one_that_leaves_a_daemon() {
    refused("escapes_as_a_daemon", "silent", AT_ONCE);
}

#[test]
fn one_that_kills_whom_it_can() {
    refused("kills_whom_it_can", "silent", AT_ONCE);
}

#[test]
fn one_that_fills_the_disk() {
    refused("fills_the_disk", "only-words", MOST_MILLIS);
    for directory in [root(), &target_dir().join("debug"), Path::new("/")] {
        let file = directory.join("filled-by-a-bad-program");
        assert!(!file.exists(), "{}", file.display());
    }
}

#[test]
fn one_that_looks_again_and_again() {
    refused("polls", "polls", AT_ONCE);
}

#[test]
fn one_that_never_sleeps() {
    refused("burns", "burns-cpu", MOST_MILLIS);
}

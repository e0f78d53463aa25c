//! Verdicts do not depend on how busy the machine is.
//!
//! A round over every subject of every lab on each backend, more than 1,700
//! verdicts, while every processor is kept busy; LAB_REPEATS is another number
//! of rounds. One test after the other, so that the load is the one named here:
//! `cargo test -p cli --test endurance -- --test-threads 1`. Ten minutes.

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::world::opens;
use support::{command, lab, not_run, prebuild, root, solution};

/// About 880 verdicts a round on what is performed; stubs are not.
const ROUNDS: u64 = 1;
/// Runs that may say nothing, because a frame was lost unasked.
const MOST_VOID: usize = 1;

/// Ends the load when it is dropped: a panic under load must end it too, or the
/// scope waits for its threads for ever.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps every processor busy while `f` runs.
fn under_load<T>(f: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(2, Into::into);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for _ in 0..threads {
            scope.spawn(|| {
                let mut number = 1_u64;
                while !done.load(Ordering::Relaxed) {
                    number = std::hint::black_box(number.wrapping_mul(3));
                }
            });
        }
        f()
    })
}

/// `lab verify`, and what it found.
fn verify(backend: &str, rounds: u64) -> Value {
    verify_with(backend, rounds, &[])
}

fn verify_with(backend: &str, rounds: u64, more: &[(&str, &str)]) -> Value {
    let rounds = rounds.to_string();
    let order = ["verify", "--json", "--on", backend, "--repeat", &rounds];
    // Into a file: so many verdicts with their evidence are more than a pipe.
    let mut file = tempfile::tempfile().unwrap();
    let start = Instant::now();
    let status = command(&order)
        .envs(more.iter().copied())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .status()
        .unwrap();
    let took = start.elapsed();
    use std::io::{Read, Seek};
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    let found: Value = serde_json::from_str(&text)
        .unwrap_or_else(|err| panic!("{status}, {err}: {text}"));
    println!("{backend}: {} in {took:?}", found["summary"]);
    found
}

/// The verdicts that are not what this subject always gets, with evidence.
fn odd_ones(found: &Value) -> String {
    let results = found["results"].as_array().unwrap();
    let key = |result: &Value| {
        (result["lab"].to_string(), result["subject"].to_string())
    };
    let word = |result: &Value| {
        (result["verdict"].to_string(), result["cause"].to_string())
    };
    let mut counts = BTreeMap::<_, BTreeMap<_, usize>>::new();
    for result in results {
        let of_subject = counts.entry(key(result)).or_default();
        *of_subject.entry(word(result)).or_default() += 1;
    }
    let odd = results.iter().filter(|result| {
        let of_subject = &counts[&key(result)];
        let usual = of_subject.iter().max_by_key(|(_, count)| **count);
        let is_odd = usual.is_some_and(|(usual, _)| *usual != word(result));
        is_odd && result["verdict"] != "void"
    });
    odd.map(|result| format!("{result:#}\n")).collect()
}

#[track_caller]
fn endures(backend: &str) {
    let rounds = std::env::var("LAB_REPEATS").ok();
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let found = under_load(|| verify(backend, rounds));
    let odd = odd_ones(&found);
    assert!(odd.is_empty(), "{odd}");
    let results = found["results"].as_array().unwrap().iter();
    let voids = results.filter(|one| one["verdict"] == "void").count();
    assert!(voids <= MOST_VOID, "{voids} void");
    if voids == 0 {
        all_right(&found["summary"]);
    }
}

#[track_caller]
fn all_right(summary: &Value) {
    assert_eq!(summary["flaky"], 0, "{summary}");
    for (good, all) in [
        ("solutions_passed", "labs"),
        ("stubs_not_started", "labs"),
        ("mutants_refused", "mutants"),
        ("mutants_right_cause", "mutants"),
        ("alternatives_accepted", "alternatives"),
    ] {
        assert_eq!(summary[good], summary[all], "{good}: {summary}");
    }
}

/// What a slow machine has every range widened to.
#[test]
fn with_the_widest_ranges() {
    let found = verify_with("pkt", 1, &[("LAB_SLACK", "8")]);
    all_right(&found["summary"]);
}

#[test]
fn on_packet_sockets() {
    endures("pkt");
}

#[test]
fn on_tap_devices() {
    if opens("/dev/net/tun").is_ok() {
        return endures("tap");
    }
    not_run(
        "LAB_NEEDS_TAP",
        "tap, since /dev/net/tun is closed to this user (sudo chmod 0666 \
         /dev/net/tun)",
    );
    lab(&["run", "handshake", "--on", "tap"]).exits(2).says(&["cure: "]);
}

/// Lab, file and the arguments of one `lab check`.
fn tasks() -> Vec<(&'static str, String)> {
    let mutant = |lab: &'static str, file: &str| {
        let file = root().join("tests/mutants").join(file);
        (lab, file.to_str().unwrap().to_string())
    };
    vec![
        ("handshake", solution("handshake")),
        ("byteorder", solution("byteorder")),
        ("backlog", solution("backlog")),
        mutant("handshake", "ch03_tcp/handshake/linger_zero.rs"),
        mutant("handshake", "ch03_tcp/handshake/server_closes_first.rs"),
        mutant("byteorder", "ch05_sockets/byteorder/sixteen_bits.rs"),
        mutant("backlog", "ch05_sockets/backlog/one_less.rs"),
        mutant("backlog", "ch05_sockets/backlog/accepts_in_background.rs"),
    ]
}

fn check((lab, file): &(&str, String)) -> Command {
    command(&["check", lab, "--file", file, "--json", "--seed", "77"])
}

/// The verdict, its cause, and each check with its word.
fn verdict(said: support::Said) -> Vec<String> {
    let result = said.json()["results"][0].clone();
    let checks = result["checks"].as_array().unwrap().iter();
    let checks =
        checks.map(|check| format!("{} {}", check["ok"], check["name"]));
    let head = [result["verdict"].to_string(), result["cause"].to_string()];
    head.into_iter().chain(checks).collect()
}

#[test]
fn eight_at_once_get_the_verdicts_that_each_gets_alone() {
    prebuild();
    let tasks = tasks();
    let alone: Vec<_> =
        tasks.iter().map(|task| verdict(support::run(check(task)))).collect();
    let deadline = Instant::now() + Duration::from_secs(300);
    for round in 0..5 {
        let together: Vec<_> = std::thread::scope(|scope| {
            let running = tasks
                .iter()
                .map(|task| scope.spawn(|| verdict(support::run(check(task)))))
                .collect::<Vec<_>>();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for ((task, alone), together) in tasks.iter().zip(&alone).zip(&together)
        {
            assert_eq!(alone, together, "round {round}: {task:?}");
        }
    }
    assert!(Instant::now() < deadline);
}

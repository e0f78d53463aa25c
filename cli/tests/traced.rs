//! Programs behave the same when every system call of theirs is traced.
//!
//! Every subject of every lab gets the verdict that it gets otherwise, with the
//! same evidence. Minutes: `cargo test -p cli --test traced`.

mod support;

use std::time::Duration;

use support::{command, root, run_within};

/// Every program is stopped twice for each of its calls.
const LIMIT: Duration = Duration::from_secs(900);

#[test]
fn every_verdict_is_the_same_when_traced() {
    let mut verify = command(&["verify", "--json"]);
    verify.env("LAB_SYSCALLS", "1").current_dir(root());
    let said = run_within(LIMIT, verify);
    let found = said.json();
    let summary = &found["summary"];
    println!("{summary}");
    let number = |name: &str| summary[name].as_u64().unwrap();
    for (all, good) in [
        ("labs", "solutions_passed"),
        ("mutants", "mutants_refused"),
        ("mutants", "mutants_right_cause"),
        ("alternatives", "alternatives_accepted"),
    ] {
        assert_eq!(number(good), number(all), "{good}: {said}");
    }
    assert_eq!(number("evidence_differs"), 0, "{said}");
    assert_eq!(said.code, Some(0), "{said}");
}

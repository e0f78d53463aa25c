//! Stub, first tries, a pass, a change.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::support;
use crate::support::checkout::{BACKLOG, Checkout, HANDSHAKE};

#[test]
fn from_the_stub_to_a_pass_and_on() {
    let copy = Checkout::fresh();
    let stub = copy.read("tests/pristine/ch05_sockets/backlog.rs");
    copy.write(BACKLOG, &stub);
    copy.write(HANDSHAKE, &copy.read("tests/pristine/ch03_tcp/handshake.rs"));

    assert_eq!(copy.state("backlog"), "not_started");
    copy.lab(&["check", "backlog"]).exits(1).says(&["backlog not started"]);
    let said = copy.lab(&["run", "backlog", "--text"]);
    said.exits(0).says(&["LISTEN"]);

    // Begun: the stub with another comment reaches its `todo!`.
    copy.write(BACKLOG, &format!("{stub}\n// begun\n"));
    assert_eq!(copy.state("backlog"), "in_progress");
    let said = copy.lab(&["check", "backlog"]).exits(1);
    said.says(&[
        "cause: todo-reached",
        "backlog is not started: 192.168.1.109",
    ]);

    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    copy.write(BACKLOG, &solution);
    assert_eq!(copy.state("backlog"), "in_progress");
    copy.lab(&["check", "backlog"]).exits(0).says(&["backlog pass"]);
    assert_eq!(copy.state("backlog"), "passed");
    let said = copy.lab(&["run", "backlog"]).exits(0);
    said.says(&["program  labs/ch05_sockets/backlog.rs", "listening on"]);

    // A pass belongs to the text that passed.
    copy.write(BACKLOG, &format!("{solution}\n// changed\n"));
    assert_eq!(copy.state("backlog"), "in_progress");
    copy.write(BACKLOG, &solution);
    assert_eq!(copy.state("backlog"), "passed");

    // A lab that does not compile takes no other with it.
    copy.write(HANDSHAKE, "fn main() { let half = ; }\n");
    copy.lab(&["check", "backlog"]).exits(0).says(&["backlog pass"]);
    let said = copy.lab(&["check", "handshake"]).exits(1);
    said.says(&["cause: does-not-compile", "labs/ch03_tcp/handshake.rs:1"]);
    let said = copy.lab(&["run", "handshake"]).exits(2);
    said.says(&["labs/ch03_tcp/handshake.rs does not compile"]);
}

#[test]
fn what_is_saved_while_the_compiler_works_is_not_forgotten() {
    let copy = Checkout::fresh();
    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    // A text that was never built, so that the compiler has to work.
    let seed = fastrand::u64(..);
    copy.write(BACKLOG, &format!("{solution}\n// {seed}\n"));
    let mut first = copy.command(&["check", "backlog"]);
    let mut first = first.stdout(Stdio::null()).spawn().unwrap();
    let linking = copy.target.join("debug/deps/backlog-");
    let linking = format!(" -o {}", linking.display());
    support::until(Duration::from_secs(60), "linker", || {
        let all = support::process::all();
        all.iter().any(|(_, line)| line.contains(&linking)).then_some(())
    });
    let wrong =
        solution.replace("println!(\"stopping\")", "println!(\"stop\")");
    assert_ne!(wrong, solution);
    copy.write(BACKLOG, &wrong);
    assert!(first.wait().unwrap().success(), "the text as it was");
    copy.lab(&["check", "backlog"]).exits(1).says(&["cause: output"]);
}

/// As if `lab` had been ended when the linker was done and nothing more.
#[test]
fn a_build_that_was_cut_short_is_not_taken_for_the_text_of_today() {
    let copy = Checkout::fresh();
    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    copy.write(BACKLOG, &solution);
    copy.lab(&["check", "backlog"]).exits(0);
    let wrong = solution.replace("\"stopping\"", "\"stop\"");
    assert_ne!(wrong, solution);
    copy.write(BACKLOG, &wrong);
    let binary = copy.target.join("debug/backlog");
    let later = SystemTime::now() + Duration::from_secs(1);
    File::open(binary).unwrap().set_modified(later).unwrap();
    copy.lab(&["check", "backlog"]).exits(1).says(&["cause: output"]);
}

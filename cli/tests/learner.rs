//! A learner's days in a checkout: stub, first tries, a pass, a change.
//!
//! In a copy of the files that git tracks, which is built once under the target
//! directory. Minutes at first: `cargo test -p cli --test learner`.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::{Said, target_dir};

/// There is one copy, and the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A copy of the checkout with a `lab` of its own.
struct Checkout {
    _turn: MutexGuard<'static, ()>,
    root: PathBuf,
    target: PathBuf,
}

impl Checkout {
    /// Anew, but for what cargo has built before.
    fn fresh() -> Checkout {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = target_dir().join("learner");
        let root = dir.join("checkout");
        let target = dir.join("target");
        let mut list = Command::new("git");
        list.current_dir(support::root()).args(["ls-files"]);
        let tracked = support::run(list).exits(0).stdout;
        let _ = fs::remove_dir_all(root.join(".lab"));
        for file in tracked.lines() {
            copy_if_changed(&support::root().join(file), &root.join(file));
        }
        let copy = Checkout { _turn: turn, root, target };
        let mut build = copy.cargo();
        build.args(["build", "--quiet", "--package", "cli"]);
        let built = build.status().unwrap();
        assert!(built.success(), "cargo build: {built}");
        copy
    }

    fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command.env_remove("CARGO_MANIFEST_DIR");
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.target.join("debug/lab"));
        command.args(args).env("CARGO_TARGET_DIR", &self.target);
        command.env_remove("RUST_BACKTRACE");
        command
    }

    fn lab(&self, args: &[&str]) -> Said {
        support::run(self.command(args))
    }

    fn state(&self, lab: &str) -> String {
        let list = self.lab(&["list", "--json"]).exits(0).json();
        let labs = list["labs"].as_array().unwrap().iter();
        let mut found = labs.filter(|one| one["id"] == lab);
        found.next().unwrap()["state"].as_str().unwrap().to_string()
    }

    fn write(&self, lab: &str, text: &str) {
        fs::write(self.root.join("labs").join(lab), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap()
    }
}

/// A new time stamp would have cargo build everything again.
fn copy_if_changed(from: &Path, to: &Path) {
    let Ok(text) = fs::read(from) else { return };
    if fs::read(to).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, text).unwrap();
}

const BACKLOG: &str = "ch05_sockets/backlog.rs";
const HANDSHAKE: &str = "ch03_tcp/handshake.rs";

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

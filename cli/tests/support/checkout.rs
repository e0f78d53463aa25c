//! A copy of the checkout, for tests that write into it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Said, target_dir};

pub const BACKLOG: &str = "ch05_sockets/backlog.rs";
pub const HANDSHAKE: &str = "ch03_tcp/handshake.rs";

/// There is one copy, and the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A copy of the checkout with a `lab` of its own.
pub struct Checkout {
    _turn: MutexGuard<'static, ()>,
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Checkout {
    /// Anew, but for what cargo has built before.
    pub fn fresh() -> Checkout {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = target_dir().join("learner");
        let root = dir.join("checkout");
        let target = dir.join("target");
        let mut list = Command::new("git");
        list.current_dir(super::root()).args(["ls-files"]);
        let tracked = super::run(list).exits(0).stdout;
        let _ = fs::remove_dir_all(root.join(".lab"));
        let tracked_files: BTreeSet<PathBuf> =
            tracked.lines().map(|file| root.join(file)).collect();
        for folder in ["book", "cli", "labs", "solutions", "testbed", "tests"] {
            remove_others(&root.join(folder), &tracked_files);
        }
        for file in tracked.lines() {
            copy_if_changed(&super::root().join(file), &root.join(file));
        }
        let copy = Checkout { _turn: turn, root, target };
        copy.build();
        copy
    }

    /// Builds `lab` as its sources are now.
    pub fn build(&self) {
        let mut build = self.cargo();
        build.args(["build", "--quiet", "--package", "cli"]);
        let built = build.status().unwrap();
        assert!(built.success(), "cargo build: {built}");
    }

    pub fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command.env_remove("CARGO_MANIFEST_DIR");
        command
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.target.join("debug/lab"));
        command.args(args).env("CARGO_TARGET_DIR", &self.target);
        command.env_remove("RUST_BACKTRACE");
        command
    }

    pub fn lab(&self, args: &[&str]) -> Said {
        super::run(self.command(args))
    }

    pub fn state(&self, lab: &str) -> String {
        let list = self.lab(&["list", "--json"]).exits(0).json();
        let labs = list["labs"].as_array().unwrap().iter();
        let mut found = labs.filter(|one| one["id"] == lab);
        found.next().unwrap()["state"].as_str().unwrap().to_string()
    }

    pub fn write(&self, lab: &str, text: &str) {
        fs::write(self.root.join("labs").join(lab), text).unwrap();
    }

    /// As many editors save: a new file, and a rename.
    pub fn write_by_rename(&self, lab: &str, text: &str) {
        let path = self.root.join("labs").join(lab);
        let new = path.with_extension("rs~");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// The progress as it is kept.
    pub fn progress(&self) -> serde_json::Value {
        serde_json::from_str(&self.read(".lab/progress.json")).unwrap()
    }

    pub fn set_progress(&self, progress: &serde_json::Value) {
        fs::create_dir_all(self.root.join(".lab")).unwrap();
        let text = progress.to_string();
        fs::write(self.root.join(".lab/progress.json"), text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
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

/// Kept copies and other leftovers of the tests before.
fn remove_others(folder: &Path, tracked: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_others(&path, tracked);
        } else if !tracked.contains(&path) {
            fs::remove_file(path).unwrap();
        }
    }
}

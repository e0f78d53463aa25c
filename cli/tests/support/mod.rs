//! What the tests of `lab` share. Each test program uses a part of it.
#![allow(dead_code)]

pub mod apart;
pub mod checkout;
pub mod http;
pub mod process;
pub mod seccomp;
pub mod terminal;
pub mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::Value;

/// No command of these tests takes longer, on a busy machine and with the
/// compiler at work.
const LIMIT: Duration = Duration::from_secs(120);

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(err) => panic!("not JSON, {err}: {self}"),
        }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Says all of these, on either stream.
    #[track_caller]
    pub fn says(self, expected: &[&str]) -> Said {
        for part in expected {
            let said = self.stdout.contains(part) || self.stderr.contains(part);
            assert!(said, "`{part}` was not said: {self}");
        }
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Said { code, stdout, stderr } = self;
        write!(f, "exit status {code:?}\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl From<std::process::Output> for Said {
    fn from(output: std::process::Output) -> Said {
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// `lab` with these arguments, nobody at its standard input.
pub fn lab(args: &[&str]) -> Said {
    run(command(args))
}

/// Runs a command to its end.
pub fn run(command: std::process::Command) -> Said {
    run_within(LIMIT, command)
}

/// The same for what takes its time.
pub fn run_within(limit: Duration, command: std::process::Command) -> Said {
    let mut command = Command::from_std(command);
    command.timeout(limit).output().unwrap().into()
}

/// The command that `lab` runs, to be changed further.
pub fn command(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(binary());
    command.args(args).env_remove("NO_COLOR").env_remove("RUST_BACKTRACE");
    command
}

pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lab"))
}

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo puts what `lab` has it build.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The labs' names and their chapters, in the order of the board.
pub fn labs() -> &'static [(String, String)] {
    static LABS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    LABS.get_or_init(|| {
        let list = lab(&["list", "--json"]).exits(0).json();
        let text = |lab: &Value, name: &str| {
            lab[name].as_str().unwrap_or_default().to_string()
        };
        let labs = list["labs"].as_array().unwrap().iter();
        labs.map(|lab| (text(lab, "id"), text(lab, "chapter"))).collect()
    })
}

/// The reference program of a lab, as a file to be graded.
pub fn solution(lab: &str) -> String {
    let mut labs = labs().iter();
    let (id, chapter) = labs.find(|(id, _)| id == lab).unwrap();
    let file = root().join("solutions").join(chapter).join(id);
    file.with_extension("rs").to_str().unwrap().to_string()
}

/// Has some reference programs built, as programs and as files to be graded: a
/// user who may not write to the target directory can then run them.
pub fn prebuild() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in ["handshake", "byteorder", "backlog"] {
            lab(&["run", name, "--solution", "--json"]).exits(0);
            lab(&["check", name, "--file", &solution(name)]).exits(0);
        }
    });
}

/// Is this program installed? Where it is not, what goes unseen is said aloud,
/// and with `needed` in the environment the test fails.
#[track_caller]
pub fn has(program: &str, needed: &str, unseen: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return true;
    }
    not_run(needed, &format!("{program} is not installed, {unseen}"));
    false
}

/// The same for a tool of root's, which need not be in PATH: where it is.
#[track_caller]
pub fn find_of_root(
    program: &str,
    needed: &str,
    unseen: &str,
) -> Option<PathBuf> {
    let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(Path::new);
    let found = places.map(|dir| dir.join(program));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        not_run(needed, &format!("{program} is not installed, {unseen}"));
    }
    found
}

/// Says aloud that a test, or a part of it, was not run and why; with `needed`
/// in the environment it fails.
#[track_caller]
pub fn not_run(needed: &str, why: &str) {
    assert!(std::env::var_os(needed).is_none(), "NOT RUN: {why}");
    // Not eprintln, which is hidden while the test passes.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

/// Waits for an event that shows in a value which has to be looked at.
#[track_caller]
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {limit:?}");
        // The value tells nobody that it has changed.
        std::thread::sleep(Duration::from_millis(2));
    }
}

//! A run's text against the recorded one, by insta.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};
use std::{fs, io};

use insta::Settings;

use crate::compile::target_dir;
use crate::hash::{is_whole, sum};
use crate::sys;
use crate::verdict::{Judge, side_by_side};

/// How insta behaves in every program of ours, unless its user says otherwise:
/// it never writes beside the snapshots, and reports only through us.
pub(crate) fn settle_environment() {
    for (name, value) in [
        ("INSTA_UPDATE", "no"),
        ("INSTA_OUTPUT", "none"),
        ("INSTA_WORKSPACE_ROOT", env!("CARGO_MANIFEST_DIR")),
    ] {
        // SAFETY: `first_of_all` runs before the first thread.
        unsafe { sys::set_default(name, value) };
    }
}

impl Judge {
    /// The normalised run must be the recorded one, `snapshots/NAME.snap`.
    pub fn snapshot(&mut self, cause: &str, name: &str, text: &str) -> bool {
        if let Some(note) = place(name).note {
            self.note(note);
        }
        // A wrong program's run must not become the recorded one.
        let same = if self.may_record {
            matches(name, text)
        } else {
            recorded(name).trim_end() == text.trim_end()
        };
        let evidence = if same {
            String::new()
        } else {
            let recorded = recorded(name);
            let expected: Vec<&str> = recorded.lines().collect();
            let actual: Vec<&str> = text.lines().collect();
            side_by_side(&expected, &actual)
        };
        self.check(cause, "the run is the recorded one", same, evidence)
    }
}

/// The lines in which this text differs from the recorded one,
/// `snapshots/NAME.snap`, with some around them; `None`: it does not.
pub fn difference(name: &str, text: &str) -> Option<String> {
    if matches(name, text) {
        return None;
    }
    let recorded = recorded(name);
    let diff = similar::TextDiff::from_lines(&recorded, text);
    Some(diff.unified_diff().context_radius(2).to_string())
}

include!(concat!(env!("OUT_DIR"), "/snapshots.rs"));

/// Where a recorded run is read from.
struct Place {
    directory: PathBuf,
    /// What is wrong with the file.
    note: Option<String>,
}

/// The file in the checkout, as long as it is what was built in; authors who
/// record have it in any case.
fn place(name: &str) -> Place {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let found = fs::read_to_string(directory.join(format!("{name}.snap")));
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
    let recording = std::env::var("INSTA_UPDATE").is_ok_and(|how| how != "no");
    let wrong = match (&found, built_in) {
        (Ok(found), Some((_, text))) if found == text => None,
        (Ok(_), Some(_)) => Some("was edited: graded by the built-in copy"),
        (Ok(found), None) if is_whole(found) => None,
        (Ok(_), None) => Some("was edited, and no other copy is there"),
        (Err(_), Some(_)) => Some("is not there: graded by the built-in copy"),
        (Err(_), None) => Some("is not there, and was never built in"),
    };
    let Some(wrong) = wrong.filter(|_| !recording) else {
        return Place { directory, note: None };
    };
    let cure = "`git checkout tests/snapshots` brings it back";
    let note = Some(format!("tests/snapshots/{name}.snap {wrong}; {cure}"));
    let copy = built_in.and_then(|(_, text)| write_copy(name, text).ok());
    Place { directory: copy.unwrap_or(directory), note }
}

/// Writes a built-in run where insta can read it; the folder.
fn write_copy(name: &str, text: &str) -> io::Result<PathBuf> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = target_dir().join("snapshots");
    let file = directory.join(format!("{name}.snap"));
    if fs::read_to_string(&file).is_ok_and(|there| there == text) {
        return Ok(directory);
    }
    fs::create_dir_all(&directory)?;
    // Another process may read the copy meanwhile.
    let new = directory.join(format!("{name}.{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, &file)?;
    Ok(directory)
}

/// insta reports a difference by a panic, which is an answer here.
fn matches(name: &str, text: &str) -> bool {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path(place(name).directory);
    settings.set_description(sum(text));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let compare = || settings.bind(|| insta::assert_snapshot!(name, text));
    quietly(|| panic::catch_unwind(AssertUnwindSafe(compare)).is_ok())
}

/// The recorded text, for the evidence; empty where none is recorded.
fn recorded(name: &str) -> String {
    let file = place(name).directory.join(format!("{name}.snap"));
    let text = fs::read_to_string(file).unwrap_or_default();
    // `---`, insta's own notes, `---`, the text.
    text.splitn(3, "---\n").nth(2).unwrap_or_default().to_string()
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` without the message that a panic of this thread would print.
fn quietly<T>(f: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = f();
    QUIET.set(false);
    result
}

//! The recorded runs are the graders' word, whatever becomes of the files.

use std::fs;

use crate::support::checkout::{BACKLOG, Checkout};

#[test]
fn a_right_program_passes_without_the_recorded_runs() {
    let copy = Checkout::fresh();
    copy.write(BACKLOG, &copy.read(&format!("solutions/{BACKLOG}")));
    fs::remove_dir_all(copy.root.join("tests/snapshots")).unwrap();
    let said = copy.lab(&["check", "backlog"]).exits(0);
    said.says(&["backlog-full.snap is not there: graded by the built-in"]);
    // The same when `lab` itself is built again, as `cargo run` does.
    copy.build();
    let said = copy.lab(&["check", "backlog"]).exits(0);
    said.says(&["graded by the built-in copy", "git checkout"]);
}

#[test]
fn an_edited_recorded_run_is_passed_over() {
    let copy = Checkout::fresh();
    copy.write(BACKLOG, &copy.read(&format!("solutions/{BACKLOG}")));
    let path = copy.root.join("tests/snapshots/backlog-full.snap");
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.replace("SYN-SENT     1", "SYN-SENT     2");
    assert_ne!(edited, text);
    fs::write(&path, &edited).unwrap();
    let said = copy.lab(&["check", "backlog"]).exits(0);
    said.says(&["backlog-full.snap was edited: graded by the built-in copy"]);
    copy.build();
    copy.lab(&["check", "backlog"]).exits(0).says(&["was edited"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), edited);
}

//! `lab reset`: the stub comes back, and nothing is lost.

use std::fs;

use crate::support::checkout::{BACKLOG, Checkout};

#[test]
fn the_learners_file_is_kept_and_no_copy_is_overwritten() {
    let copy = Checkout::fresh();
    let stub = copy.read("tests/pristine/ch05_sockets/backlog.rs");
    let file = format!("labs/{BACKLOG}");
    let kept = |n| format!("labs/ch05_sockets/backlog.kept-{n}.rs");

    copy.lab(&["reset", "backlog"]).exits(0).says(&["is the stub already"]);
    assert!(!copy.root.join(kept(1)).exists());

    copy.write(BACKLOG, "// first\n");
    copy.lab(&["reset", "backlog"]).exits(0).says(&[&kept(1)]);
    assert_eq!(copy.read(&file), stub);
    assert_eq!(copy.read(&kept(1)), "// first\n");

    // A name that is taken is passed over, whoever took it.
    fs::write(copy.root.join(kept(2)), "mine").unwrap();
    copy.write(BACKLOG, "// second\n");
    copy.lab(&["reset", "backlog"]).exits(0).says(&[&kept(3)]);
    assert_eq!(copy.read(&kept(1)), "// first\n");
    assert_eq!(copy.read(&kept(2)), "mine");
    assert_eq!(copy.read(&kept(3)), "// second\n");
    assert_eq!(copy.state("backlog"), "not_started");
}

#[test]
fn what_was_deleted_comes_back() {
    let copy = Checkout::fresh();
    let stub = copy.read("tests/pristine/ch05_sockets/backlog.rs");
    fs::remove_file(copy.root.join("labs").join(BACKLOG)).unwrap();
    assert_eq!(copy.state("backlog"), "not_started");
    let said = copy.lab(&["check", "backlog"]).exits(2);
    said.says(&["`lab reset backlog` brings it back"]);
    copy.lab(&["reset", "backlog"]).exits(0);
    assert_eq!(copy.read(&format!("labs/{BACKLOG}")), stub);
}

/// Several at once: every text is in one of the copies.
#[test]
fn resets_at_the_same_time_lose_nothing() {
    let copy = Checkout::fresh();
    for round in 0..20 {
        let text = format!("// round {round}\n");
        copy.write(BACKLOG, &text);
        let both: Vec<_> = (0..2)
            .map(|_| copy.command(&["reset", "backlog"]).spawn().unwrap())
            .collect();
        for mut one in both {
            one.wait().unwrap();
        }
        let chapter = fs::read_dir(copy.root.join("labs/ch05_sockets"));
        let kept = chapter
            .unwrap()
            .flatten()
            .any(|file| fs::read_to_string(file.path()).unwrap() == text);
        assert!(kept, "{text}");
    }
}

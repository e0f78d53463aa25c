//! `lab hint`: rungs, each keyed to the cause of the last failure.

use crate::support::checkout::{BACKLOG, Checkout, HANDSHAKE};

#[test]
fn whoever_has_not_begun_is_helped_to_begin_a_rung_at_a_time() {
    let copy = Checkout::fresh();
    let first = copy.lab(&["hint", "backlog"]).exits(0);
    let first = first.says(&["hint 1 of 2 for `not-started`"]);
    assert!(!first.stdout.contains("What is left"), "{first}");
    let second = copy.lab(&["hint", "backlog"]).exits(0);
    let second = second.says(&[
        "hint 2 of 2 for `not-started`",
        "book/src/ch05-sockets/backlog.md",
        "lab run backlog --solution",
    ]);
    assert!(!second.stdout.contains("hint 1 of 2"), "{second}");
    // All are shown: all of them again.
    copy.lab(&["hint", "backlog"]).says(&["hint 1 of 2", "hint 2 of 2"]);
    // Each lab has its own.
    copy.lab(&["hint", "handshake"]).says(&["hint 1 of 2"]);
}

#[test]
fn hints_are_keyed_to_the_cause_of_the_last_failure() {
    let copy = Checkout::fresh();
    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    let folder = "tests/mutants/ch05_sockets/backlog";
    let ignored = copy.read(&format!("{folder}/standard_listener.rs"));
    copy.write(BACKLOG, &ignored);
    let said = copy.lab(&["check", "backlog"]).exits(1);
    said.says(&["cause: backlog-ignored", "`cargo lab hint backlog`"]);

    // Without a name: the lab that was checked last.
    let said = copy.lab(&["hint"]).exits(0);
    said.says(&[
        "backlog failed for backlog-ignored",
        "never reached listen(2)",
        "hint 1 of 2 for `backlog-ignored`",
    ]);

    copy.write(BACKLOG, &copy.read(&format!("{folder}/one_less.rs")));
    let said = copy.lab(&["hint", "--json"]).exits(0).json();
    assert_eq!(said["about"], "older", "{said:#}");
    assert_eq!(said["cause"], "backlog-ignored");
    assert_eq!(said["rung"], 2);
    assert_eq!(said["hints"].as_array().unwrap().len(), 2);
    copy.lab(&["hint"]).says(&["the file has changed since"]);

    // Another cause begins at its own first rung.
    copy.write(BACKLOG, "fn main() { panic!() }\n");
    copy.lab(&["check", "backlog"]).exits(1);
    let said = copy.lab(&["hint", "--json"]).exits(0).json();
    assert_eq!(said["cause"], "crashed", "{said:#}");
    assert_eq!((&said["rung"], &said["of"]), (&1.into(), &2.into()));
    assert_eq!(said["about"], "this");

    // Another lab's verdict does not change this one's.
    copy.write(HANDSHAKE, "fn main() { let half = ; }\n");
    copy.lab(&["check", "handshake"]).exits(1);
    copy.lab(&["hint"]).says(&["handshake failed for does-not-compile"]);
    copy.lab(&["hint", "backlog"]).says(&["hint 2 of 2 for `crashed`"]);

    // The rungs of a cause that comes back stay shown.
    copy.write(BACKLOG, &ignored);
    copy.lab(&["check", "backlog"]).exits(1);
    copy.lab(&["hint"]).says(&["hint 1 of 2", "hint 2 of 2"]);

    copy.write(BACKLOG, &solution);
    let said = copy.lab(&["check", "backlog"]).exits(0);
    said.says(&["`cargo lab solution backlog`"]);
    let said = copy.lab(&["hint"]).exits(0);
    let said = said.says(&["backlog: passed, there is nothing to hint at"]);
    assert!(!said.stdout.contains("hint 1"), "{said}");
    copy.write(BACKLOG, &format!("{solution}\n// changed\n"));
    copy.lab(&["hint"]).exits(0).says(&["lab check backlog"]);
}

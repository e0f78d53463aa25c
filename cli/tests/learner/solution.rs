//! `lab solution`: after a pass, and beside the learner's own.

use crate::support::checkout::{BACKLOG, Checkout};
use crate::support::terminal::Terminal;

const ALL: &[&str] = &[
    "yours: labs/ch05_sockets/backlog.rs",
    "the reference: solutions/ch05_sockets/backlog.rs",
    "tests/alternatives/ch05_sockets/backlog/nix_nonblocking.rs",
    "tests/alternatives/ch05_sockets/backlog/std_listen_again.rs",
    "Another right program: nix listens and waits.",
];

#[test]
fn it_is_refused_before_a_pass_and_shown_after_one() {
    let copy = Checkout::fresh();
    let said = copy.lab(&["solution", "backlog"]).exits(1);
    let said = said.says(&["lab check backlog", "lab hint backlog", "--spoil"]);
    assert_eq!(said.stdout, "", "nothing is given away");
    copy.lab(&["solution", "backlog", "--spoil"]).exits(0).says(ALL);

    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    copy.write(BACKLOG, &solution);
    copy.lab(&["solution", "backlog"]).exits(1);
    copy.lab(&["check", "backlog"]).exits(0);
    // A pass stays one, whatever becomes of the text.
    copy.write(BACKLOG, "// another text\n");
    let said = copy.lab(&["solution", "backlog"]).exits(0).says(ALL);
    assert!(said.stdout.contains(&solution), "{said}");
    assert!(!said.stdout.contains('\x1b'), "colour in a pipe");
    copy.lab(&["reset", "backlog"]).exits(0);
    copy.lab(&["solution", "backlog"]).exits(0);
}

#[test]
fn a_wide_terminal_has_two_columns() {
    let copy = Checkout::fresh();
    let order = ["solution", "backlog", "--spoil"];
    let shown = |columns| {
        let terminal = Terminal::wide(copy.command(&order), columns);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{shown}");
        shown
    };
    let side_by_side = |shown: &str| {
        let mut lines = shown.lines();
        lines.any(|line| line.contains("yours") && line.contains("reference"))
    };
    assert!(side_by_side(&shown(164)), "{}", shown(164));
    assert!(!side_by_side(&shown(163)), "{}", shown(163));
}

//! The board, and what is refused before anything is started.

use crate::support::{command, lab, labs, root, run};

#[test]
fn without_a_terminal_the_board_is_printed_and_that_is_all() {
    let said = lab(&[]).exits(0).says(&["Chapter 3: tcp"]);
    let count = format!("of {} labs passed", labs().len());
    assert!(said.stdout.contains(&count), "{said}");
    assert!(!said.stdout.contains('\x1b'), "colour in a pipe: {said}");
    for (name, _) in labs() {
        assert!(said.stdout.contains(name), "{said}");
    }
}

#[test]
fn a_list_has_the_documented_fields() {
    let list = lab(&["list", "--json"]).exits(0).json();
    let labs = list["labs"].as_array().unwrap();
    assert_eq!(labs[0]["id"], "frames", "the order is the curriculum's");
    for lab in labs {
        let fields: Vec<&String> = lab.as_object().unwrap().keys().collect();
        let documented = [
            "chapter",
            "id",
            "machines_lack",
            "minutes",
            "needs",
            "state",
            "title",
        ];
        assert_eq!(fields, documented);
        assert!(lab["minutes"].as_u64().unwrap() > 0, "{lab}");
        assert!(lab["needs"].is_array(), "{lab}");
        assert!(lab["machines_lack"].is_array(), "{lab}");
        let state = lab["state"].as_str().unwrap();
        let states = ["not_started", "in_progress", "passed"];
        assert!(states.contains(&state), "{lab}");
    }
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let mut shell = std::process::Command::new("/bin/sh");
    let pipe = "\"$0\" list --json | true";
    shell.args(["-c", pipe]).arg(command(&[]).get_program());
    let said = run(shell).exits(0);
    assert_eq!(said.stderr, "");
}

#[test]
fn an_unknown_lab_is_refused_with_the_name_that_is_near() {
    let orders = ["run", "check", "watch", "hint", "reset", "solution"];
    for order in orders {
        let said = lab(&[order, "backlok"]).exits(2);
        assert_eq!(
            said.stderr,
            "error: there is no lab `backlok`; did you mean backlog?\n"
        );
        assert_eq!(said.stdout, "");
        lab(&[order, "xyz"]).exits(2).says(&["`lab list` shows them all"]);
    }
}

#[test]
fn a_shell_completes_the_labs_names() {
    let orders = ["run", "check", "watch", "hint", "reset", "solution"];
    let script = lab(&["completions", "fish"]).exits(0).stdout;
    for order in orders {
        let about = format!("__fish_lab_using_subcommand {order}\"");
        let mut lines = script.lines().filter(|line| line.contains(&about));
        assert!(lines.any(|line| line.contains("backlog")), "{order}");
    }
    let script = lab(&["completions", "bash"]).exits(0).stdout;
    let names: Vec<&str> =
        labs().iter().map(|(name, _)| name.as_str()).collect();
    let all = script.matches(&names.join(" ")).count();
    assert!(all >= orders.len(), "{all} of them");
}

#[test]
fn an_option_that_does_not_exist_is_refused() {
    lab(&["run", "handshake", "--sede", "4"]).exits(2).says(&["--seed"]);
    lab(&["run", "handshake", "--on", "loopback"]).exits(2).says(&["pkt"]);
    lab(&["check", "--file", "x.rs"])
        .exits(2)
        .says(&["--file needs one lab: lab check LAB --file PATH"]);
    let said = lab(&["check", "backlog", "--file", "missing.rs"]).exits(2);
    assert!(said.stderr.contains("missing.rs is not a file"), "{said}");
}

#[test]
fn a_rule_that_is_not_one_is_refused_with_the_cure() {
    let said = lab(&["run", "handshake", "--rule", "drop sin"]).exits(2);
    assert_eq!(said.stdout, "", "nothing is started");
    said.says(&[
        "rule `drop sin`: `sin` is not a kind of frame",
        "cure: a rule is ACTION [WHICH] KIND [from HOST] [port N]",
    ]);
}

#[test]
fn a_rule_about_nobody_is_refused_with_who_is_there() {
    let rule = "drop syn from ernest";
    let said = lab(&["run", "handshake", "--solution", "--rule", rule]);
    let said = said.exits(2).says(&[
        "no host `ernest` is on the wire",
        "cure: there are ernest-laptop, Kongming20",
    ]);
    assert!(!said.stdout.contains("listening on"), "it ran: {said}");
}

#[test]
fn it_finds_its_checkout_from_anywhere() {
    let mut command = command(&["check", "backlog"]);
    command.current_dir("/");
    let said = run(command);
    let stub = root().join("labs/ch05_sockets/backlog.rs");
    let pristine = root().join("tests/pristine/ch05_sockets/backlog.rs");
    if std::fs::read(stub).unwrap() == std::fs::read(pristine).unwrap() {
        said.exits(1).says(&["backlog not started", "the stub as shipped"]);
    } else {
        said.says(&["backlog"]);
    }
}

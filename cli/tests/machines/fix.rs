//! `lab doctor --fix`: shows, asks, and does what it was allowed to.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::terminal::Terminal;
use crate::support::world::World;
use crate::support::{run, target_dir};

const CURE: &str = "sudo sysctl -w user.max_user_namespaces=15000";

/// A machine whose cure is one command, for an ordinary user.
fn limited() -> World {
    World::ordinary().file("/proc/sys/user/max_user_namespaces", "0\n")
}

/// Puts a `sudo` first that only writes down what it was told to do.
struct Sudo {
    dir: tempfile::TempDir,
}

impl Sudo {
    fn new() -> Sudo {
        let dir = tempfile::tempdir_in(target_dir()).unwrap();
        let open = |path: &Path, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        };
        open(dir.path(), 0o777);
        let sudo = dir.path().join("sudo");
        let script = "#!/bin/sh\necho \"$@\" >> \"${0%/*}/told\"\n";
        std::fs::write(&sudo, script).unwrap();
        open(&sudo, 0o755);
        Sudo { dir }
    }

    fn first_in_path(&self, command: &mut std::process::Command) {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.dir.path().display()));
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("told"))
            .unwrap_or_default()
    }
}

#[test]
fn without_a_terminal_nobody_is_asked_and_nothing_changes() {
    let sudo = Sudo::new();
    let mut command = limited().command(&["doctor", "--fix"]);
    sudo.first_in_path(&mut command);
    let said = run(command).exits(1);
    said.says(&["To be run:", CURE, "Nobody is there", "Nothing was changed."]);
    assert_eq!(sudo.told(), "");
}

#[test]
fn whoever_says_no_keeps_the_machine_as_it_is() {
    for answer in ["n\n", "\n", "perhaps\n"] {
        let sudo = Sudo::new();
        let mut command = limited().command(&["doctor", "--fix"]);
        sudo.first_in_path(&mut command);
        let mut terminal = Terminal::start(command);
        let screen = terminal.wait_for("Run it? [y/N] ");
        assert!(screen.contains(CURE), "{screen}");
        terminal.type_keys(answer);
        let (status, screen) = terminal.end();
        assert_eq!(status, Some(1), "{screen}");
        assert!(screen.contains("Nothing was changed."), "{screen}");
        assert_eq!(sudo.told(), "");
    }
}

#[test]
fn whoever_says_yes_gets_what_was_shown_and_nothing_else() {
    let sudo = Sudo::new();
    let mut command = limited().command(&["doctor", "--fix"]);
    sudo.first_in_path(&mut command);
    let mut terminal = Terminal::start(command);
    terminal.wait_for("Run it? [y/N] ");
    assert_eq!(sudo.told(), "", "before the answer");
    terminal.type_keys("y\n");
    let (status, screen) = terminal.end();
    // This sudo has cured nothing, and the second look says so.
    assert_eq!(status, Some(1), "{screen}");
    assert_eq!(screen.matches("Labs cannot run here yet").count(), 2);
    assert_eq!(sudo.told(), "sysctl -w user.max_user_namespaces=15000\n");
}

#[test]
fn a_cure_that_fails_is_an_error() {
    let sudo = Sudo::new();
    std::fs::write(sudo.dir.path().join("sudo"), "#!/bin/sh\nexit 3\n")
        .unwrap();
    let mut command = limited().command(&["doctor", "--fix", "--yes"]);
    sudo.first_in_path(&mut command);
    run(command).exits(2).says(&["ended with exit status: 3"]);
}

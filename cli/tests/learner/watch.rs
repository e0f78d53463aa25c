//! `lab watch`: saves, keys, and nothing that stays.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::checkout::{BACKLOG, Checkout, HANDSHAKE};
use crate::support::process::{Running, born, descendants};
use crate::support::seccomp::Filter;
use crate::support::terminal::Terminal;
use crate::support::until;

/// A compiler that has to share its processor.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is killed is gone by then.
const SOON: Duration = Duration::from_secs(8);

/// A program whose run lasts until somebody loses patience.
const SITS: &str = "fn main() { std::thread::park() }\n";

const NOBODY: [u32; 0] = [];

/// A watcher that waits for saves.
fn watch(copy: &Checkout, more: &[&str]) -> Running {
    let mut watch = Running::start(copy.command(&[&["watch"], more].concat()));
    watch.wait_line("write   labs/");
    watch
}

/// Waits until the learner's program runs; all processes of the run.
#[track_caller]
fn under_way(copy: &Checkout, watch: &mut Running) -> Vec<(u32, String)> {
    let program = copy.target.join("debug/backlog");
    let runs = |pid: u32| {
        let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
        exe.is_ok_and(|exe| exe == program)
    };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let all = descendants(watch.pid());
        if all.iter().any(|(pid, _)| runs(*pid)) {
            return all;
        }
        // An execve in there is no event out here.
        std::thread::sleep(Duration::from_millis(2));
    }
    watch.wait_line("the program under way");
    unreachable!("no program runs")
}

fn left(of: &[(u32, String)]) -> Vec<u32> {
    let there =
        |(pid, time): &&(u32, String)| born(*pid).as_ref() == Some(time);
    of.iter().filter(there).map(|(pid, _)| *pid).collect()
}

#[test]
fn each_save_is_graded_and_a_pass_names_what_is_next() {
    let copy = Checkout::fresh();
    let stub = copy.read("tests/pristine/ch05_sockets/backlog.rs");
    let mut watch = watch(&copy, &[]);
    copy.write(BACKLOG, &format!("{stub}\n// begun\n"));
    watch.wait_line("backlog: grading labs/ch05_sockets/backlog.rs");
    watch.wait_line("cause: todo-reached");
    watch.wait_line("lab hint backlog");
    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    copy.write_by_rename(BACKLOG, &solution);
    watch.wait_line("backlog pass");
    watch.wait_line("lab solution backlog");
    watch.wait_line("Next: accept");
    assert_eq!(copy.state("backlog"), "passed");
    let colour = watch.heard().iter().any(|line| line.contains('\x1b'));
    assert!(!colour, "{:#?}", watch.heard());
    watch.kill(Signal::SIGINT);
}

#[test]
fn a_save_during_a_run_ends_it_and_starts_anew() {
    let copy = Checkout::fresh();
    let mut watch = watch(&copy, &[]);
    copy.write(BACKLOG, SITS);
    let first = under_way(&copy, &mut watch);
    assert!(first.len() >= 3, "lab, its network, the program: {first:?}");
    copy.write(BACKLOG, &copy.read(&format!("solutions/{BACKLOG}")));
    watch.wait_line("backlog: saved again");
    watch.wait_line("backlog: grading");
    assert_eq!(left(&first), NOBODY, "of the run that was ended");
    watch.wait_line("backlog pass");
    let told = watch.heard().iter().any(|line| line.contains("cause"));
    assert!(!told, "the first run's verdict: {:#?}", watch.heard());
    watch.kill(Signal::SIGTERM);
}

#[test]
fn a_save_while_the_compiler_works_ends_the_compiler() {
    let copy = Checkout::fresh();
    let solution = copy.read(&format!("solutions/{BACKLOG}"));
    let mut watch = watch(&copy, &["backlog"]);
    let seed = fastrand::u64(..);
    copy.write(BACKLOG, &format!("{solution}\n// {seed}\n"));
    let first = until(PATIENCE, "compiler", || {
        let all = descendants(watch.pid());
        let line = |pid: u32| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.unwrap_or_default()
        };
        let works = |pid| line(pid).contains("--crate-name\0backlog");
        all.iter().any(|(pid, _)| works(*pid)).then_some(all)
    });
    copy.write(BACKLOG, &solution.replace("\"stopping\"", "\"stop\""));
    watch.wait_line("backlog: saved again");
    watch.wait_line("backlog: grading");
    assert_eq!(left(&first), NOBODY, "of the build that was ended");
    watch.wait_line("cause: output");
    watch.kill(Signal::SIGINT);
}

#[test]
fn nothing_stays_of_a_watcher_that_is_killed() {
    let copy = Checkout::fresh();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
        copy.write(BACKLOG, "");
        // So slow a machine that the run would last longer than this waits.
        let mut command = copy.command(&["watch", "handshake", "backlog"]);
        command.env("LAB_SLACK", "8");
        let mut watch = Running::start(command);
        watch.wait_line("write   labs/");
        copy.write(BACKLOG, SITS);
        let run = under_way(&copy, &mut watch);
        watch.kill(signal);
        until(SOON, "end of all", || left(&run).is_empty().then_some(()));
    }
}

#[test]
fn only_another_text_is_graded() {
    let copy = Checkout::fresh();
    let stub = copy.read("tests/pristine/ch03_tcp/handshake.rs");
    let mut watch = watch(&copy, &[]);
    copy.write(HANDSHAKE, &stub);
    copy.write_by_rename(HANDSHAKE, &stub);
    copy.write("ch05_sockets/notes.rs", "not a lab's");
    copy.write(BACKLOG, "fn main() { let half = ; }\n");
    let line = watch.wait_line(": grading");
    assert!(line.starts_with("backlog"), "{line}");
    watch.wait_line("cause: does-not-compile");
    watch.kill(Signal::SIGINT);
}

#[test]
fn labs_that_are_saved_together_are_graded_one_after_the_other() {
    let copy = Checkout::fresh();
    let mut watch = watch(&copy, &[]);
    copy.write(BACKLOG, "fn main() { let half = ; }\n");
    watch.wait_line("backlog: grading");
    copy.write(HANDSHAKE, "fn main() { let half = ; }\n");
    watch.wait_line("backlog fail");
    watch.wait_line("handshake: grading");
    watch.wait_line("handshake fail");
    watch.kill(Signal::SIGINT);
}

#[test]
fn a_text_without_a_verdict_gets_one_at_the_start() {
    let copy = Checkout::fresh();
    copy.write(HANDSHAKE, "fn main() { let half = ; }\n");
    let mut first = watch(&copy, &["handshake", "backlog"]);
    first.wait_line("handshake: grading");
    first.wait_line("cause: does-not-compile");
    first.kill(Signal::SIGINT);
    // Known now: the first that is graded is the one that is saved.
    let mut second = watch(&copy, &["handshake", "backlog"]);
    copy.write(BACKLOG, "fn main() { let half = ; }\n");
    let line = second.wait_line(": grading");
    assert!(line.starts_with("backlog"), "{line}");
    second.kill(Signal::SIGINT);
}

#[test]
fn keys_ask_and_the_end_of_a_pipe_does_not_end_it() {
    let copy = Checkout::fresh();
    let mut watch = watch(&copy, &["handshake", "backlog"]);
    watch.type_line("h");
    watch.wait_line("hint 1 of 2 for `not-started`");
    watch.type_line("n");
    watch.wait_line("Next: backlog");
    watch.type_line("s");
    watch.wait_line("backlog has not passed yet");
    watch.type_line("r");
    watch.wait_line("backlog not started");
    watch.close_input();
    copy.write(BACKLOG, "fn main() { let half = ; }\n");
    watch.wait_line("cause: does-not-compile");
    watch.kill(Signal::SIGINT);
}

#[test]
fn q_ends_it_and_the_run_under_way() {
    let copy = Checkout::fresh();
    let mut watch = watch(&copy, &["backlog"]);
    copy.write(BACKLOG, SITS);
    let run = under_way(&copy, &mut watch);
    watch.type_line("q");
    assert_eq!(watch.end(), Some(0));
    assert_eq!(left(&run), NOBODY);
}

#[test]
fn a_terminal_is_told_the_keys() {
    let copy = Checkout::fresh();
    let mut terminal = Terminal::start(copy.command(&["watch"]));
    terminal.wait_for("q quit");
    terminal.type_keys("q\n");
    let (code, _) = terminal.end();
    assert_eq!(code, Some(0));
    // A terminal's end-of-file.
    let mut terminal = Terminal::start(copy.command(&["watch"]));
    terminal.wait_for("q quit");
    terminal.type_keys("\x04");
    assert_eq!(terminal.end().0, Some(0));
    // Ctrl-C.
    let mut terminal = Terminal::start(copy.command(&["watch"]));
    terminal.wait_for("q quit");
    terminal.type_keys("\x03");
    assert_eq!(terminal.end().0, None, "ended by the signal");
}

#[test]
fn a_terminal_is_told_what_takes_its_time() {
    let copy = Checkout::fresh();
    let mut terminal = Terminal::start(copy.command(&["watch"]));
    terminal.wait_for("q quit");
    copy.write(BACKLOG, SITS);
    terminal.wait_for("performing backlog ... 1 s");
    terminal.type_keys("q\n");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn a_file_without_text_is_graded_too() {
    let copy = Checkout::fresh();
    let mut watch = watch(&copy, &[]);
    copy.write(BACKLOG, "");
    watch.wait_line("cause: does-not-compile");
    watch.kill(Signal::SIGINT);
}

/// inotify(7): EMFILE, the user's limit of instances; ENOSPC, of watches.
#[test]
fn without_inotify_it_says_why_and_looks_by_itself() {
    let copy = Checkout::fresh();
    for (call, errno, limit) in [
        (libc::SYS_inotify_init1, libc::EMFILE, "max_user_instances"),
        (libc::SYS_inotify_add_watch, libc::ENOSPC, "max_user_watches"),
    ] {
        copy.write(BACKLOG, "// nothing yet\n");
        let filter = Filter::new().refuse(call, errno);
        let mut command: Command = copy.command(&["watch", "backlog"]);
        // SAFETY: `load` is async-signal-safe.
        unsafe { command.pre_exec(move || Ok(filter.load()?)) };
        let mut watch = Running::start(command);
        watch.wait_line("note: inotify_");
        watch.wait_line(&format!("cure: sudo sysctl fs.inotify.{limit}="));
        watch.wait_line("cause: does-not-compile");
        copy.write(BACKLOG, "fn main() {}\n");
        watch.wait_line("cause: silent");
        watch.kill(Signal::SIGINT);
    }
}

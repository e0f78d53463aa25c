//! Programs on hosts: well-behaved ones, and all the others.

use std::fs;
use std::time::{Duration, Instant};

use testbed::{Backend, Exit, Launch};

use crate::harness::{Done, Test, tests};
use crate::roles::role;
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    arguments_and_environment_are_as_given,
    it_starts_with_three_descriptors,
    lines_go_in_and_come_out,
    lines_are_counted_until_nothing_more_can_come,
    an_exit_status_or_a_signal_is_told,
    a_missing_program_is_named,
    one_that_ends_at_once_has_its_output_kept,
    one_that_prints_without_end_is_stopped,
    one_that_forks_without_end_is_contained,
    one_that_closes_its_output_lives_on,
    one_that_never_ends_is_killed_when_dropped,
    a_program_may_outlive_the_network_in_the_test,
    programs_have_no_capabilities_unless_told,
    killing_the_run_leaves_nothing,
];

fn arguments_and_environment_are_as_given(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("arguments").args(["a b", "", "c"]);
    let program = lan.laptop().start_program(launch)?;
    assert_eq!(program.wait_line("a b", SOON).unwrap(), "||c");
    let mut program = lan.laptop().start_program(role("environment"))?;
    program.wait(SOON)?.unwrap();
    let trace = lan.net.trace()?;
    let names = trace.stdout("environment");
    let names: Vec<&str> =
        names.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["PATH", "TMPDIR"]);
    Ok(())
}

/// Whatever else the run has open.
fn it_starts_with_three_descriptors(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let left_open = nix::unistd::dup(std::io::stderr())?;
    nix::fcntl::fcntl(
        &left_open,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )?;
    let mut program =
        lan.server().start_program(Launch::new("cat", "/bin/cat"))?;
    program.send_line("up");
    assert!(program.wait_line("up", SOON).is_some());
    let found = lan.server().descriptors(&program)?;
    let numbers: Vec<i32> = found.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [0, 1, 2], "{found:?}");
    Ok(())
}

fn lines_go_in_and_come_out(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("echo"))?;
    program.send_line("one");
    assert_eq!(program.wait_line("out ", SOON).as_deref(), Some("one"));
    program.send_line("two");
    program.send_line("three");
    assert_eq!(program.wait_line("out th", SOON).as_deref(), Some("ree"));
    program.close_stdin();
    assert!(program.wait(SOON)?.unwrap().is_success());
    assert_eq!(program.wait_line("out", SOON), None, "each line once");

    let trace = lan.net.trace()?;
    assert_eq!(
        trace.stdout("echo"),
        ["out one", "out two", "out three", "end of input"]
    );
    assert_eq!(trace.stderr("echo"), ["err one", "err two", "err three"]);
    assert!(trace.to_text().contains("Kongming20 prints: out one"));
    Ok(())
}

fn lines_are_counted_until_nothing_more_can_come(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("echo"))?;
    program.send_line("one");
    assert!(program.wait_lines(2, SOON), "on one stream each");
    assert!(program.wait_lines(1, Duration::ZERO));
    let (limit, start) = (Duration::from_millis(50), Instant::now());
    assert!(!program.wait_lines(3, limit));
    assert!(start.elapsed() >= limit);
    program.close_stdin();
    assert!(program.wait_lines(3, SOON));
    let start = Instant::now();
    assert!(!program.wait_lines(4, SOON));
    assert!(start.elapsed() < SOON / 2, "the end of output was not noticed");
    Ok(())
}

fn an_exit_status_or_a_signal_is_told(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let end = |launch: Launch| {
        let mut program = lan.server().start_program(launch).unwrap();
        program.wait(SOON).unwrap().unwrap()
    };
    assert_eq!(end(role("exit").arg("0")), Exit::Code(0));
    assert_eq!(end(role("exit").arg("3")), Exit::Code(3));
    let abort = end(role("abort"));
    assert_eq!(abort, Exit::Signal(libc::SIGABRT));
    assert_eq!(abort.to_string(), "killed by SIGABRT");
    Ok(())
}

fn a_missing_program_is_named(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = Launch::new("ghost", "/nonexistent/ghost");
    let err = lan.server().start_program(launch).err().unwrap().what();
    assert!(err.starts_with("exec /nonexistent/ghost: No such file"), "{err}");
    Ok(())
}

fn one_that_ends_at_once_has_its_output_kept(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for round in 0..20 {
        let word = format!("word{round}");
        let launch = Launch::new("brief", "/bin/echo").arg(&word);
        let mut program = lan.server().start_program(launch)?;
        assert!(program.wait(SOON)?.unwrap().is_success());
        let trace = lan.net.trace()?;
        assert_eq!(trace.stdout("brief").last(), Some(&word.as_str()));
    }
    Ok(())
}

fn one_that_prints_without_end_is_stopped(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let start = Instant::now();
    let mut program = lan.server().start_program(role("print"))?;
    assert_eq!(program.wait(SOON)?, Some(Exit::TooMuchOutput));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(lan.net.trace()?.stdout("print").len() >= 5_000);
    Ok(())
}

/// It is left without process numbers, its neighbours are not, and its host
/// takes all of it along. This process is the first of the run: its /proc lists
/// the processes of every host.
fn one_that_forks_without_end_is_contained(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let bomb = lan.server().start_program(role("fork"))?;
    let refused = bomb.wait_line("WouldBlock after ", SOON);
    let count: usize = refused.ok_or("nothing stopped the forks")?.parse()?;
    assert!((300..600).contains(&count), "{count}");
    assert!(processes() > count, "{} processes", processes());

    let neighbour = role("arguments").arg("alive");
    let neighbour = lan.laptop().start_program(neighbour)?;
    assert!(neighbour.wait_line("alive", SOON).is_some());
    drop(lan);
    drop((bomb, neighbour));
    assert_eq!(processes(), 1, "all ended with their hosts");
    Ok(())
}

fn one_that_closes_its_output_lives_on(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("close-output"))?;
    assert!(program.wait_line("closing", SOON).is_some());
    let start = Instant::now();
    assert_eq!(program.wait_line("more", SOON), None);
    assert!(start.elapsed() < SOON / 2, "the end of output was not noticed");
    assert_eq!(program.wait(Duration::ZERO)?, None, "it has not ended");
    program.kill();
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGKILL)));
    Ok(())
}

fn one_that_never_ends_is_killed_when_dropped(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let before = processes();
    let mut program = lan.server().start_program(role("sleep"))?;
    assert!(program.wait_line("sleeping", SOON).is_some());
    let limit = Duration::from_millis(150);
    let start = Instant::now();
    assert_eq!(program.wait(limit)?, None);
    assert!(start.elapsed() >= limit);
    assert_eq!(processes(), before + 1);
    drop(program);
    assert_eq!(processes(), before);
    Ok(())
}

/// Dropped in the wrong order, the network must not wait for the program.
fn a_program_may_outlive_the_network_in_the_test(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("sleep"))?;
    assert!(program.wait_line("sleeping", SOON).is_some());
    drop(lan);
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGKILL)));
    drop(program);
    assert_eq!(processes(), 1);
    Ok(())
}

fn programs_have_no_capabilities_unless_told(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let said = |launch: Launch| {
        let program = lan.server().start_program(launch).unwrap();
        program.wait_line("", SOON).unwrap()
    };
    let bind = || role("bind").arg("192.168.1.109:80");
    assert_eq!(said(bind()), "PermissionDenied");
    assert_eq!(said(bind().privileged()), "bound 192.168.1.109:80");
    assert_eq!(said(bind().sends_raw()), "PermissionDenied");
    assert_eq!(said(role("raw")), "PermissionDenied");
    assert_eq!(said(role("raw").sends_raw()), "opened");
    let high = role("bind").arg("192.168.1.109:8080");
    assert_eq!(said(high), "bound 192.168.1.109:8080");
    Ok(())
}

/// A run inside this one, with a program on one of its hosts, is killed from
/// outside. Its first process becomes a child of this process then, and ends
/// only after all the others.
fn killing_the_run_leaves_nothing(backend: Backend) -> Done {
    use std::io::{BufRead, BufReader};
    let mut run = std::process::Command::new("/proc/self/exe")
        .args([crate::roles::AS, "run", backend.name()])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut said)?;
    assert_eq!(said, "sleeping\n");
    assert!(processes() >= 6, "outer, first, two hosts, a program, and this");
    run.kill()?;
    run.wait()?;
    while nix::sys::wait::wait().is_ok() {}
    assert_eq!(processes(), 1);
    Ok(())
}

/// The processes of this run, those of its hosts included.
fn processes() -> usize {
    let entries = fs::read_dir("/proc").unwrap();
    let numbers = entries.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().parse::<u32>().is_ok()
    });
    numbers.count()
}

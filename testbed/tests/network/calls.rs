//! System calls: counted, told, held, and let go on.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::{Backend, Call, Calls, Exit, Launch, Program};

use crate::harness::{Done, Test, tests};
use crate::roles::role;
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    calls_are_counted_exactly,
    a_log_ends_and_the_count_goes_on,
    calls_are_told_with_thread_and_arguments,
    what_comes_before_the_program_is_not_its_call,
    a_watched_program_inherits_nothing_more,
    calls_that_are_not_watched_do_not_sleep,
    an_unknown_name_is_an_error,
    a_second_listener_is_explained,
    threads_stand_held_at_once,
    held_threads_go_on_in_the_order_that_is_asked,
    a_hold_catches_what_comes_after_it,
    a_step_goes_from_one_call_to_the_next,
    children_are_watched_too,
    a_killed_child_is_not_held,
    a_killed_program_ends_all_waiting,
    a_stopped_thread_is_told_once,
    a_program_dropped_while_held_is_gone,
    what_a_dropped_program_left_goes_on,
    a_network_may_go_while_a_thread_is_held,
    a_held_program_is_idle_and_a_busy_one_is_not,
    the_trace_has_the_calls,
];

/// Starts it on the server; its calls come with it.
fn start(lan: &Lan, launch: Launch) -> (Program, Calls) {
    let program = lan.server().start_program(launch).unwrap();
    let calls = program.calls().unwrap().clone();
    (program, calls)
}

fn ends_well(program: &mut Program) {
    assert_eq!(program.wait(SOON).unwrap(), Some(Exit::Code(0)));
}

fn first_arguments(calls: &[Call]) -> Vec<u64> {
    calls.iter().map(|call| call.args[0]).collect()
}

fn calls_are_counted_exactly(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("yield").args(["4", "250"]).watch(&["sched_yield"]);
    let (mut program, calls) = start(&lan, launch);
    ends_well(&mut program);
    assert_eq!(calls.count("sched_yield"), 1000);
    assert_eq!(calls.log().len(), 1000);
    assert!(!calls.wait_count("sched_yield", 1001, SOON), "all have ended");
    let mut threads: Vec<u32> = calls.log().iter().map(|c| c.thread).collect();
    threads.sort();
    threads.dedup();
    assert_eq!(threads, [1, 2, 3, 4]);
    Ok(())
}

fn a_log_ends_and_the_count_goes_on(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["1", "10001"]).watch(&["umask"]);
    let (mut program, calls) = start(&lan, launch);
    ends_well(&mut program);
    assert_eq!(calls.count("umask"), 10_001);
    assert_eq!(calls.log().len(), 10_000);
    assert_eq!(lan.net.trace()?.calls().count(), 10_000);
    Ok(())
}

fn calls_are_told_with_thread_and_arguments(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["1", "7"]).watch(&["umask", "umask"]);
    let (mut program, calls) = start(&lan, launch);
    ends_well(&mut program);
    let log = calls.log();
    assert_eq!(first_arguments(&log), [1, 11, 21, 31, 41, 51, 61]);
    assert!(log.iter().all(|call| call.name == "umask"));
    assert!(log.is_sorted_by(|a, b| a.t_ns < b.t_ns));
    assert_ne!(log[0].tid, program.pid(), "it is not the first thread");
    Ok(())
}

/// What the child does between fork and exec, and the execve itself.
fn what_comes_before_the_program_is_not_its_call(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let watched = ["sendmsg", "execve", "write", "exit_group", "capset"];
    let launch = Launch::new("sh", "/bin/sh").args([
        "-c",
        "/bin/echo one; /bin/echo two; exit 0", // two children
    ]);
    let (mut program, calls) = start(&lan, launch.watch(&watched));
    ends_well(&mut program);
    let counts = watched.map(|name| calls.count(name));
    assert_eq!(counts, [0, 2, 2, 3, 0]);

    let ghost = Launch::new("ghost", "/nonexistent/ghost").watch(&["execve"]);
    let err = lan.server().start_program(ghost).err().unwrap().what();
    assert!(err.starts_with("exec /nonexistent/ghost: No such file"), "{err}");
    Ok(())
}

fn a_watched_program_inherits_nothing_more(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let said = |launch: Launch| {
        let program = lan.server().start_program(launch).unwrap();
        program.wait_line("descriptors ", SOON).unwrap()
    };
    let bare = said(role("descriptors"));
    assert!(bare.starts_with("0 1 2"), "{bare}");
    assert_eq!(said(role("descriptors").watch(&["umask"])), bare);
    Ok(())
}

/// A call that waits for the supervisor is a voluntary context switch.
fn calls_that_are_not_watched_do_not_sleep(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let switches = |watched: &str| -> usize {
        let launch = role("switches").arg("1000").watch(&[watched]);
        let (program, calls) = start(&lan, launch);
        let said = program.wait_line("switches ", SOON).unwrap();
        let expected = if watched == "umask" { 1000 } else { 0 };
        assert_eq!(calls.log().len(), expected, "{watched}");
        said.parse().unwrap()
    };
    assert!(switches("umask") >= 1000);
    let few = switches("mount");
    assert!(few < 100, "{few}");
    Ok(())
}

fn an_unknown_name_is_an_error(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for launch in
        [role("sleep").watch(&["acept"]), role("sleep").hold(&["acept"])]
    {
        let err = lan.server().start_program(launch).err().unwrap();
        assert!(err.what().contains("`acept`"), "{err}");
        assert!(err.exact_cure().is_some());
    }
    // Only x86-64 has it; to watch it is no error elsewhere.
    let (mut program, calls) =
        start(&lan, role("exit").arg("0").watch(&["vfork"]));
    ends_well(&mut program);
    assert_eq!(calls.count("vfork"), 0);
    let count = || calls.count("umask");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(count));
    assert!(panic.is_err(), "what is not watched is not 0");
    assert!(lan.server().start_program(role("sleep"))?.calls().is_none());
    Ok(())
}

/// A run in a watched program cannot watch.
fn a_second_listener_is_explained(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("watching-run").privileged().watch(&["umask"]);
    let (mut program, _) = start(&lan, launch);
    let said = program.wait_line("error ", SOON);
    program.wait(SOON)?;
    let said = said.ok_or_else(|| lan.net.trace().unwrap().to_text())?;
    assert!(said.contains("Device or resource busy"), "{said}");
    assert!(said.contains("a listener is in force already"), "{said}");
    Ok(())
}

fn threads_stand_held_at_once(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("yield").args(["2", "1"]).hold(&["sched_yield"]);
    let (mut program, calls) = start(&lan, launch);
    assert!(calls.wait_held("sched_yield", 2, SOON));
    let held = calls.held();
    assert_eq!(held.len(), 2);
    assert_ne!(held[0].tid, held[1].tid);
    assert_eq!((held[0].thread, held[1].thread), (1, 2));
    assert_eq!(program.wait(Duration::from_millis(100))?, None);
    assert_eq!(calls.release_all("sched_yield"), 2);
    assert_eq!(calls.release_all("sched_yield"), 0);
    ends_well(&mut program);
    Ok(())
}

fn held_threads_go_on_in_the_order_that_is_asked(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for reverse in [false, true] {
        let launch = role("umask").args(["5", "1"]).hold(&["umask"]);
        let (mut program, calls) = start(&lan, launch);
        assert!(calls.wait_held("umask", 5, SOON));
        let mut held = calls.held();
        assert_eq!(held, calls.log(), "the first came first");
        if reverse {
            held.reverse();
        }
        for call in &held {
            let released = match reverse {
                true => calls.release(call),
                false => calls.release_one("umask"),
            };
            assert!(released);
            let passed = program.wait_line("passed ", SOON);
            assert_eq!(passed, Some(call.args[0].to_string()));
            assert!(!calls.release(call), "it has gone on");
        }
        assert!(!calls.release_one("umask"));
        ends_well(&mut program);
    }
    Ok(())
}

fn a_hold_catches_what_comes_after_it(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["1", "1000000"]).watch(&["umask"]);
    let (program, calls) = start(&lan, launch);
    assert!(calls.wait_count("umask", 10, SOON));
    for _ in 0..50 {
        calls.hold("umask");
        assert!(calls.wait_held("umask", 1, SOON));
        let count = calls.count("umask");
        assert!(program.wait_idle(SOON)?);
        assert_eq!(calls.count("umask"), count);
        assert_eq!(calls.let_go("umask"), 1);
        assert!(calls.wait_count("umask", count + 1, SOON));
    }
    Ok(())
}

fn a_step_goes_from_one_call_to_the_next(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["2", "3"]).hold(&["umask"]);
    let (mut program, calls) = start(&lan, launch);
    assert!(calls.wait_held("umask", 2, SOON));
    let [one, other] = calls.held().try_into().unwrap();
    let next = calls.step(&one, SOON).ok_or("it is held again")?;
    assert_eq!(next.tid, one.tid);
    assert_eq!(next.args[0], one.args[0] + 10);
    assert_eq!(calls.step(&one, SOON), None, "it has gone on");
    let last = calls.step(&next, SOON).ok_or("it is held again")?;
    let short = Duration::from_millis(100);
    assert_eq!(calls.step(&last, short), None, "that was its last");
    assert_eq!(calls.held(), [other]);
    calls.let_go("umask");
    ends_well(&mut program);
    Ok(())
}

fn children_are_watched_too(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("parent").args(["2", "yield", "1", "3"]);
    let (mut program, calls) = start(&lan, launch.watch(&["sched_yield"]));
    ends_well(&mut program);
    assert_eq!(calls.count("sched_yield"), 6);
    let log = calls.log();
    assert_ne!(log[0].tid, log[5].tid);
    assert_eq!((log[0].thread, log[5].thread), (1, 2));
    Ok(())
}

fn a_killed_child_is_not_held(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("parent").args(["1", "yield", "1", "1"]);
    let (mut program, calls) = start(&lan, launch.hold(&["sched_yield"]));
    assert!(calls.wait_held("sched_yield", 1, SOON));
    let call = calls.held().remove(0);
    kill(Pid::from_raw(call.tid as i32), Signal::SIGKILL)?;
    assert!(program.wait_line("child signal: 9", SOON).is_some());
    assert_eq!(calls.held(), []);
    assert!(!calls.release(&call));
    assert!(!calls.release_one("sched_yield"));
    ends_well(&mut program);
    assert_eq!(calls.count("sched_yield"), 1);
    Ok(())
}

fn a_killed_program_ends_all_waiting(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("yield").args(["3", "1"]).hold(&["sched_yield"]);
    let (mut program, calls) = start(&lan, launch);
    assert!(calls.wait_held("sched_yield", 3, SOON));
    program.kill();
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGKILL)));
    assert_eq!(calls.held(), []);
    let start = Instant::now();
    assert!(!calls.wait_held("sched_yield", 1, SOON));
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    Ok(())
}

/// A signal that comes while a thread is held does not end its wait.
fn a_stopped_thread_is_told_once(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["1", "1"]).hold(&["umask"]);
    let (mut program, calls) = start(&lan, launch);
    assert!(calls.wait_held("umask", 1, SOON));
    let pid = Pid::from_raw(program.pid() as i32);
    for _ in 0..20 {
        kill(pid, Signal::SIGSTOP)?;
        kill(pid, Signal::SIGCONT)?;
    }
    assert!(program.wait_idle(SOON)?);
    assert_eq!(calls.release_all("umask"), 1);
    ends_well(&mut program);
    assert_eq!(calls.count("umask"), 1);
    Ok(())
}

fn a_program_dropped_while_held_is_gone(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("yield").args(["3", "2"]).hold(&["sched_yield"]);
    let (program, calls) = start(&lan, launch);
    assert!(calls.wait_held("sched_yield", 3, SOON));
    let start = Instant::now();
    drop(program);
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    assert_eq!(calls.held(), []);
    assert_eq!(calls.count("sched_yield"), 3, "what was held did not go on");
    Ok(())
}

fn what_a_dropped_program_left_goes_on(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("parent").args(["1", "yield", "1", "1000000000"]);
    let (program, calls) = start(&lan, launch.hold(&["sched_yield"]));
    assert!(calls.wait_held("sched_yield", 1, SOON));
    drop(program);
    assert!(calls.wait_count("sched_yield", 3, SOON));
    calls.hold("sched_yield");
    let count = calls.count("sched_yield");
    assert!(calls.wait_count("sched_yield", count + 100, SOON));
    drop(lan);
    assert!(!calls.wait_held("sched_yield", 1, SOON), "it has ended");
    Ok(())
}

fn a_network_may_go_while_a_thread_is_held(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("parent").args(["1", "yield", "1", "3"]);
    let (mut program, calls) = start(&lan, launch.hold(&["sched_yield"]));
    assert!(calls.wait_held("sched_yield", 1, SOON));
    let start = Instant::now();
    drop(lan);
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGKILL)));
    assert!(!calls.wait_count("sched_yield", 2, SOON));
    Ok(())
}

/// A thread whose call waits for the supervisor's answer sleeps, as far as
/// /proc tells; it is at work all the same.
fn a_held_program_is_idle_and_a_busy_one_is_not(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["1", "1000000"]).hold(&["umask"]);
    let (program, calls) = start(&lan, launch);
    assert!(calls.wait_held("umask", 1, SOON));
    assert!(program.wait_idle(SOON)?);
    calls.let_go("umask");
    assert!(!program.wait_idle(Duration::from_millis(500))?);
    calls.hold("umask");
    assert!(program.wait_idle(SOON)?);
    Ok(())
}

fn the_trace_has_the_calls(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["2", "2"]).hold(&["umask"]);
    let (mut program, calls) = start(&lan, launch);
    for _ in 0..2 {
        assert!(calls.wait_held("umask", 2, SOON));
        calls.held().iter().for_each(|call| assert!(calls.release(call)));
    }
    ends_well(&mut program);
    let trace = lan.net.trace()?;
    let told: Vec<(u64, u32, u64)> = trace
        .calls()
        .map(|(event, call)| (event.t_ns, call.tid, call.args[0]))
        .collect();
    let logged: Vec<(u64, u32, u64)> = calls
        .log()
        .iter()
        .map(|call| (call.t_ns, call.tid, call.args[0]))
        .collect();
    assert_eq!(told, logged);
    assert!(!trace.to_text().contains("umask thread"));
    assert!(!trace.to_timeline().contains("umask thread"));
    let text = trace.to_text_with_calls();
    assert!(text.contains("Kongming20 umask thread 1: umask\n"), "{text}");
    assert!(text.contains("Kongming20 umask thread 2: umask\n"), "{text}");

    let json = trace.to_json("calls");
    let events = json["events"].as_array().unwrap();
    let call = events.iter().find(|e| e["kind"] == "call").unwrap();
    assert_eq!(call["program"], "umask");
    assert_eq!(call["thread"], 1);
    assert_eq!(call["args"][0], told[0].2);
    let back: testbed::Trace =
        serde_json::from_str(&serde_json::to_string(&trace)?)?;
    assert_eq!(back, trace);
    let mut without = trace.clone();
    let is_call = |e: &testbed::trace::Event| {
        matches!(e.what, testbed::trace::What::Call(_))
    };
    without.events.retain(|event| !is_call(event));
    assert!(without.events.len() + 4 == trace.events.len());
    assert_eq!(without.to_pcapng(), trace.to_pcapng());
    Ok(())
}

//! Every system call of a program, with its result, by a tracer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::trace::{CallEvent, ReturnEvent, What};
use testbed::{Backend, Exit, Launch, Program, Trace};

use crate::harness::{Done, Test, tests};
use crate::roles::role;
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    calls_are_told_with_their_results,
    each_return_follows_its_call,
    a_connection_is_told_from_both_sides,
    what_prepares_a_program_is_marked,
    children_are_traced_and_threads_numbered,
    a_call_that_waits_has_no_return_yet,
    a_stopped_program_is_stopped_and_goes_on,
    a_signal_reaches_its_handler,
    an_ignored_signal_interrupts_nothing,
    a_parent_gets_the_end_of_its_children,
    a_traced_program_is_idle_as_any_other,
    watched_calls_are_held_and_traced,
    calls_that_are_too_many_are_counted,
    a_program_that_cannot_be_started_is_named,
    a_killed_program_has_gone,
    a_network_may_go_while_programs_are_traced,
    a_traced_program_inherits_nothing_more,
    the_texts_tell_the_calls,
    a_call_costs_microseconds,
];

fn start(lan: &Lan, launch: Launch) -> Program {
    lan.server().start_program(launch.trace()).unwrap()
}

fn ends_well(program: &mut Program) {
    assert_eq!(program.wait(SOON).unwrap(), Some(Exit::Code(0)));
}

/// A program's own calls as one line each: `write(1, "x", 1) = 1`.
fn told(trace: &Trace) -> Vec<String> {
    trace.traced_calls().iter().map(|call| call.text()).collect()
}

#[track_caller]
fn assert_told(trace: &Trace, expected: &[&str]) {
    let told = told(trace);
    let mut rest = told.iter();
    for line in expected {
        assert!(
            rest.any(|one| one == line),
            "`{line}` is not told, or not in this order:\n{}",
            told.join("\n")
        );
    }
}

fn sh(order: &str) -> Launch {
    Launch::new("sh", "/bin/sh").args(["-c", order])
}

fn calls_are_told_with_their_results(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let order = "echo one; cd /nowhere; exec 4</dev/null; read x <&4; exit 3";
    let mut program = start(&lan, sh(order));
    assert_eq!(program.wait(SOON)?, Some(Exit::Code(3)));
    let expected = [
        r#"write(1, "one\n", 4) = 4"#,
        r#"chdir("/nowhere") = -1 ENOENT"#,
        "dup2(4, 0) = 0",
        "read(0) = 0",
        "exit_group(3)",
    ];
    assert_told(&lan.net.trace()?, &expected);
    Ok(())
}

fn each_return_follows_its_call(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = start(&lan, role("umask").args(["3", "50"]));
    ends_well(&mut program);
    let trace = lan.net.trace()?;
    let mut open: BTreeSet<(u32, String, u64)> = BTreeSet::new();
    let mut umasks = 0;
    for event in &trace.events {
        match &event.what {
            What::Call(call) => {
                let CallEvent { thread, name, .. } = call;
                assert!(!open.iter().any(|one| one.0 == *thread), "{call:?}");
                open.insert((*thread, name.clone(), event.t_ns));
                umasks += usize::from(name == "umask");
            }
            What::Return(returned) => {
                let ReturnEvent { thread, name, entered_ns, .. } = returned;
                let own = (*thread, name.clone(), *entered_ns);
                assert!(open.remove(&own), "{returned:?}");
                assert!(*entered_ns < event.t_ns);
            }
            _ => {}
        }
    }
    assert_eq!(umasks, 150);
    // Three threads and the first one end in calls that do not return.
    let names: Vec<&str> = open.iter().map(|one| one.1.as_str()).collect();
    assert_eq!(names, ["exit_group", "exit", "exit", "exit"], "{open:?}");
    Ok(())
}

fn a_connection_is_told_from_both_sides(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let address = lan.address(4711).to_string();
    let mut server = start(&lan, role("serve-once").arg(&address));
    server.wait_line("listening", SOON).unwrap();
    assert!(server.wait_idle(SOON)?, "it waits in accept4");
    let client = role("say").args([&address, "hello"]).trace();
    let mut client = lan.laptop().start_program(client)?;
    ends_well(&mut client);
    ends_well(&mut server);
    let trace = lan.net.trace()?;
    let expected = [
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3",
        "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, 1) = 0",
        "bind(3, 192.168.1.109:4711) = 0",
    ];
    assert_told(&trace, &expected);
    assert_told(&trace, &["connect(3, 192.168.1.109:4711) = 0"]);
    let said = "sendto(3, \"hello\", 5, MSG_NOSIGNAL) = 5";
    assert_told(&trace, &[said]);
    assert_told(
        &trace,
        &["recvfrom(4) = 5 bytes \"hello\"", "recvfrom(4) = 0"],
    );
    let text = told(&trace).join("\n");
    assert!(!text.contains("F_GETFD"), "the library's own look:\n{text}");
    assert!(
        text.contains("accept4(3, SOCK_CLOEXEC) = 4, 192.168.1.108:"),
        "{text}"
    );
    // The call that waited has the frames of the connection in between.
    let calls = trace.traced_calls();
    let accepted = calls.iter().find(|one| one.call.name == "accept4");
    let accepted =
        accepted.and_then(|one| Some((one.event.t_ns, one.returned?.0.t_ns)));
    let (from, to) = accepted.ok_or("accept4 returned")?;
    let syn = trace.select("syn")?;
    let syn = syn.frames().next().ok_or("there was a SYN")?.0.t_ns;
    assert!(from < syn && syn < to, "{from} {syn} {to}");
    Ok(())
}

fn what_prepares_a_program_is_marked(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = start(&lan, role("exit").arg("0"));
    ends_well(&mut program);
    let trace = lan.net.trace()?;
    assert_eq!(told(&trace), ["exit_group(0)"]);
    let all = trace.events.iter();
    let calls = all.filter(|event| matches!(event.what, What::Call(_)));
    assert!(calls.count() > 20, "the loader's are in the trace");
    Ok(())
}

fn children_are_traced_and_threads_numbered(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("parent").args(["2", "umask", "2", "1"]);
    let mut program = start(&lan, launch);
    ends_well(&mut program);
    let trace = lan.net.trace()?;
    let calls = trace.traced_calls();
    let by = |name: &str| -> Vec<u32> {
        let calls = calls.iter().filter(|one| one.call.name == name);
        let mut threads: Vec<u32> = calls.map(|one| one.call.thread).collect();
        threads.sort();
        threads
    };
    // The parent is 1, its children with their threads are 2 to 4 and 5 to 7.
    assert_eq!(by("umask"), [3, 4, 6, 7]);
    assert_eq!(by("execve"), [2, 5]);
    assert_eq!(by("exit_group"), [1, 2, 5]);
    let text = told(&trace).join("\n");
    assert!(text.contains(r#""--as", "umask", "2", "1"]) = 0"#), "{text}");
    Ok(())
}

fn a_call_that_waits_has_no_return_yet(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = start(&lan, role("echo"));
    assert!(program.wait_idle(SOON)?);
    let trace = lan.net.trace()?;
    assert_eq!(told(&trace).last().unwrap(), "read(0)");
    assert!(trace.to_timeline_with_calls().contains("echo: read(0) …\n"));
    program.send_line("hello");
    program.wait_line("out hello", SOON).unwrap();
    let expected = [r#"read(0) = 6 bytes "hello\n""#];
    assert_told(&lan.net.trace()?, &expected);
    program.close_stdin();
    ends_well(&mut program);
    assert_told(&lan.net.trace()?, &["read(0) = 0", "exit_group(0)"]);
    Ok(())
}

fn state(program: &Program) -> char {
    program.processes().unwrap()[0].state
}

#[track_caller]
fn becomes(program: &Program, wanted: char) {
    let deadline = Instant::now() + SOON;
    while state(program) != wanted {
        let state = state(program);
        assert!(Instant::now() < deadline, "it is {state}, not {wanted}");
        // The kernel has no event for this.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_stopped_program_is_stopped_and_goes_on(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = start(&lan, role("echo"));
    assert!(program.wait_idle(SOON)?);
    for _ in 0..20 {
        program.signal(libc::SIGSTOP)?;
        becomes(&program, 'T');
        assert!(program.wait_idle(SOON)?);
        program.send_line("more");
        let short = Duration::from_millis(20);
        assert_eq!(program.wait_line("out", short), None, "it is stopped");
        program.signal(libc::SIGCONT)?;
        assert!(program.wait_line("out more", SOON).is_some());
        becomes(&program, 'S');
    }
    program.close_stdin();
    ends_well(&mut program);

    // Its parent hears of it too.
    let order = "kill -STOP $$; echo on";
    let launch = Launch::new("sh", "/bin/sh");
    let order = format!("(sh -c '{order}') & sleep 0.1; wait; echo done");
    let mut program = start(&lan, launch.args(["-c", &order]));
    let child = || {
        let all = program.processes().unwrap();
        all.iter().find(|one| one.state == 'T').map(|one| one.pid)
    };
    let deadline = Instant::now() + SOON;
    let child = loop {
        if let Some(pid) = child() {
            break pid;
        }
        assert!(Instant::now() < deadline, "none has stopped");
    };
    kill(Pid::from_raw(child), Signal::SIGCONT)?;
    assert!(program.wait_line("on", SOON).is_some());
    assert!(program.wait_line("done", SOON).is_some());
    ends_well(&mut program);
    Ok(())
}

fn a_signal_reaches_its_handler(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let order = "trap 'echo caught; exit 7' TERM; echo ready; \
                 while :; do sleep 0.05; done";
    let mut program = start(&lan, sh(order));
    program.wait_line("ready", SOON).unwrap();
    program.signal(libc::SIGTERM)?;
    assert!(program.wait_line("caught", SOON).is_some());
    assert_eq!(program.wait(SOON)?, Some(Exit::Code(7)));

    let mut program = start(&lan, role("sleep"));
    program.wait_line("sleeping", SOON).unwrap();
    program.signal(libc::SIGTERM)?;
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGTERM)));
    Ok(())
}

/// epoll_wait(2) is one of the calls that fail with EINTR whenever a signal
/// wakes them; an ignored one wakes nobody, unless somebody traces.
fn an_ignored_signal_interrupts_nothing(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for traced in [false, true] {
        let launch = role("wait-in-epoll");
        let launch = if traced { launch.trace() } else { launch };
        let mut program = lan.server().start_program(launch)?;
        program.wait_line("waiting", SOON).unwrap();
        assert!(program.wait_idle(SOON)?);
        for _ in 0..10 {
            program.signal(libc::SIGCHLD)?;
            program.signal(libc::SIGWINCH)?;
            assert!(program.wait_idle(SOON)?);
        }
        program.signal(libc::SIGUSR1)?;
        let said = program.wait_line("epoll_wait ", SOON);
        assert_eq!(said.as_deref(), Some("EINTR"), "traced: {traced}");
        ends_well(&mut program);
        let before = program.lines_printed();
        assert_eq!(before, 2, "nothing else woke it, traced: {traced}");
    }
    let told = told(&lan.net.trace()?).join("\n");
    assert!(told.contains("= ? ERESTARTNOHAND"), "{told}");
    Ok(())
}

fn a_parent_gets_the_end_of_its_children(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let order = "sh -c 'exit 5'; echo $?; sh -c 'kill -9 $$'; echo $?";
    let mut program = start(&lan, sh(order));
    assert_eq!(program.wait_line("", SOON).as_deref(), Some("5"));
    assert_eq!(program.wait_line("", SOON).as_deref(), Some("137"));
    ends_well(&mut program);
    let told = told(&lan.net.trace()?).join("\n");
    assert!(told.contains(", exited 5"), "{told}");
    assert!(told.contains(", killed by SIGKILL"), "{told}");
    Ok(())
}

fn a_traced_program_is_idle_as_any_other(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let program = start(&lan, role("umask").args(["1", "100000000"]));
    // That it is at work has no event: it prints nothing.
    std::thread::sleep(Duration::from_millis(50));
    assert!(!program.wait_idle(Duration::from_millis(300))?, "it is at work");
    let program = start(&lan, role("sleep"));
    assert!(program.wait_idle(SOON)?);
    let rest = program.rests(Duration::from_millis(50))?;
    assert_eq!((rest.voluntary, rest.cpu), (0, Duration::ZERO));
    Ok(())
}

fn watched_calls_are_held_and_traced(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("umask").args(["2", "2"]).hold(&["umask"]);
    let mut program = start(&lan, launch);
    let calls = program.calls().unwrap().clone();
    for _ in 0..2 {
        assert!(calls.wait_held("umask", 2, SOON));
        assert!(program.wait_idle(SOON)?);
        calls.held().iter().for_each(|call| assert!(calls.release(call)));
    }
    ends_well(&mut program);
    assert_eq!(calls.count("umask"), 4);
    let trace = lan.net.trace()?;
    assert_eq!(trace.calls().count(), 4, "as without a tracer");
    let told = told(&trace);
    let umasks = told.iter().filter(|call| call.starts_with("umask("));
    assert_eq!(umasks.count(), 4);
    let text = trace.to_text_with_calls();
    assert_eq!(text.matches("umask(").count(), 4, "each once:\n{text}");
    Ok(())
}

fn calls_that_are_too_many_are_counted(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = start(&lan, role("umask").args(["1", "10500"]));
    ends_well(&mut program);
    let trace = lan.net.trace()?;
    let of = |wanted: fn(&What) -> bool| {
        trace.events.iter().filter(|event| wanted(&event.what)).count()
    };
    let calls = of(|what| matches!(what, What::Call(_)));
    let returns = of(|what| matches!(what, What::Return(_)));
    assert_eq!(calls, 10_000);
    assert!(calls - returns <= 2, "{returns}");
    let left_out = trace.calls_not_kept;
    assert!((500..700).contains(&left_out), "{left_out}");
    let said = format!("({left_out} calls more, not recorded)\n");
    assert!(trace.to_text_with_calls().ends_with(&said));
    assert!(!trace.to_text().contains("calls more"));
    Ok(())
}

fn a_program_that_cannot_be_started_is_named(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let ghost = Launch::new("ghost", "/nonexistent/ghost").trace();
    let err = lan.server().start_program(ghost).err().unwrap().what();
    assert!(err.starts_with("exec /nonexistent/ghost: No such file"), "{err}");
    let mut program = start(&lan, role("exit").arg("0"));
    ends_well(&mut program);
    Ok(())
}

fn a_killed_program_has_gone(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("parent").args(["1", "umask", "3", "100000000"]);
    let mut program = start(&lan, launch);
    assert!(!program.wait_idle(Duration::from_millis(100))?);
    assert!(program.processes()?.len() == 2);
    program.kill();
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGKILL)));
    let start = Instant::now();
    drop(program);
    drop(lan);
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    only_the_office_is_left()
}

fn a_network_may_go_while_programs_are_traced(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut asleep = start(&lan, role("echo"));
    let mut busy = start(&lan, role("umask").args(["2", "100000000"]));
    let mut stopped = start(&lan, role("echo"));
    assert!(asleep.wait_idle(SOON)?);
    assert!(stopped.wait_idle(SOON)?);
    stopped.signal(libc::SIGSTOP)?;
    becomes(&stopped, 'T');
    let start = Instant::now();
    drop(lan);
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    for program in [&mut asleep, &mut busy, &mut stopped] {
        assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGKILL)));
    }
    only_the_office_is_left()
}

/// Of this run's processes there is this one, and the one that forks tracers.
fn only_the_office_is_left() -> Done {
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let names = entries.filter_map(|entry| {
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            let comm = entry.path().join("comm");
            let name = std::fs::read_to_string(comm).ok()?;
            (number != 1).then(|| name.trim().to_string())
        });
        names.collect()
    };
    let deadline = Instant::now() + SOON;
    while names() != ["tracers"] {
        assert!(Instant::now() < deadline, "{:?} are left", names());
        // Their parent waits for them: nobody else is told.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn a_traced_program_inherits_nothing_more(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let said = |launch: Launch| {
        let program = lan.server().start_program(launch).unwrap();
        program.wait_line("descriptors ", SOON).unwrap()
    };
    let bare = said(role("descriptors"));
    assert_eq!(said(role("descriptors").trace()), bare);
    Ok(())
}

fn the_texts_tell_the_calls(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = start(&lan, role("bind").arg("192.168.1.109:4711"));
    ends_well(&mut program);
    let trace = lan.net.trace()?;
    let line = "Kongming20 bind: bind(3, Kongming20:PORT) = 0\n";
    let text = trace.to_text_with_calls();
    assert!(text.contains(line), "{text}");
    let line = "Kongming20 bind: bind(3, 192.168.1.109:4711) = 0\n";
    assert!(trace.to_timeline_with_calls().contains(line));
    assert!(!trace.to_timeline().contains("bind: bind"));

    let json = trace.to_json("calls");
    let events = json["events"].as_array().unwrap();
    let find = |kind: &str| {
        let mut events = events.iter();
        let found =
            events.find(|e| e["kind"] == kind && e["name"] == "bind").unwrap();
        found.clone()
    };
    let (call, returned) = (find("call"), find("return"));
    assert_eq!(call["text"], "bind(3, 192.168.1.109:4711)");
    assert_eq!(call["t_ns"], returned["entered_ns"]);
    assert_eq!(
        (&returned["result"], &returned["text"]),
        (&0.into(), &"= 0".into())
    );
    let back: Trace = serde_json::from_str(&serde_json::to_string(&trace)?)?;
    assert_eq!(back, trace);
    Ok(())
}

/// What a call costs, printed with --nocapture.
fn a_call_costs_microseconds(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let nanos = |launch: Launch| -> u64 {
        let program = lan.server().start_program(launch).unwrap();
        let said = program.wait_line("each ", SOON).unwrap();
        said.parse().unwrap()
    };
    let bare = nanos(role("cost").arg("1000"));
    let traced = nanos(role("cost").arg("1000").trace());
    eprintln!("a call: {bare} ns, traced {traced} ns");
    assert!(traced < 1_000_000, "a call takes {traced} ns");
    Ok(())
}

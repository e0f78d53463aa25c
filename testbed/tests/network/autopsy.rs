//! Why a program does not go on: the sentence for each thing to wait for.

use std::io::Write;
use std::time::Duration;

use testbed::{Autopsy, Backend, Launch, Program};

use crate::harness::{Done, Test, tests};
use crate::processes::{shell, until};
use crate::roles::role;
use crate::traffic::{Lan, SOON, assert_text};

pub const TESTS: &[Test] = tests![
    accept_says_who_has_connected,
    accept_says_that_a_syn_was_refused_or_lost,
    connect_says_who_answers_nothing,
    a_receiver_says_what_it_waits_for,
    a_sender_says_who_does_not_read,
    standard_input_is_told,
    a_pipe_says_who_has_its_other_end_open,
    a_full_pipe_says_who_could_read_it,
    a_parent_says_where_its_child_is,
    sleeping_and_computing_are_told_apart,
    a_lock_and_a_join_are_told_apart,
    a_zombie_and_a_stopped_one_are_told,
    poll_and_select_say_what_they_watch,
    epoll_says_what_was_left_unread,
    datagrams_and_signals_are_waited_for,
    a_file_lock_says_who_has_it,
    objects_of_system_v_say_their_values,
    a_posix_queue_says_how_full_it_is,
    it_reads_back_from_json,
    one_that_has_ended_says_so,
    one_that_may_not_be_seen_says_so,
];

/// The text with each number, but for those of addresses, as `#`: the numbers
/// of processes and descriptors, and sizes, are the kernel's choice.
fn masked(autopsy: &Autopsy) -> String {
    let text = autopsy.to_text();
    let words = text.split_inclusive([' ', '\n', ',', '(', ')', ';']);
    let mask = |word: &str| -> String {
        let end = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let separator = |c: char| c.is_ascii_punctuation() || c == ' ';
        let is_number =
            end.len() < word.len() && end.trim_end().chars().all(separator);
        if is_number { format!("#{end}") } else { word.to_string() }
    };
    let text: String = words.map(mask).collect();
    text.replace(&format!("{} #", autopsy.program), "NAME #")
}

/// Starts it on the server, and looks once it does no more by itself.
fn sitting(lan: &Lan, launch: Launch) -> (Program, String) {
    let program = lan.server().start_program(launch).unwrap();
    assert!(program.wait_line("", SOON).is_some());
    assert!(program.wait_idle(SOON).unwrap());
    let autopsy = lan.net.autopsy("Kongming20", &program).unwrap();
    (program, masked(&autopsy))
}

fn sit(lan: &Lan, what: &str) -> String {
    sitting(lan, role("sit").arg(what)).1
}

fn accept_says_who_has_connected(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("accept").args(["192.168.1.109:4711"]);
    let (program, text) = sitting(&lan, launch.arg("2"));
    let waits = "NAME #: accept4\n  waits in accept on 192.168.1.109:4711, \
                 whose queue is empty";
    assert_text(&text, &format!("{waits}: nobody has connected"));
    let own = lan.server().autopsy(&program)?;
    assert_text(&masked(&own), waits);
    let client = lan.connect(4711);
    assert!(program.wait_line("accepted", SOON).is_some());
    assert!(program.wait_idle(SOON)?);
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    let port = client.local_addr()?.port();
    let peer = format!("ernest-laptop:{port}");
    assert_text(&text, &format!("{waits}: connected so far: {peer}"));
    Ok(())
}

fn accept_says_that_a_syn_was_refused_or_lost(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let address = lan.address(4711);
    let connect = move || std::net::TcpStream::connect(address);
    assert!(lan.laptop().at(connect)?.is_err());
    let launch = role("accept").arg(address.to_string());
    let (program, text) = sitting(&lan, launch);
    assert!(text.contains("empty: the SYN of ernest-laptop:"), "{text}");
    let end = "was answered with RST before it listened\n";
    assert!(text.ends_with(end), "{text}");

    lan.net.wire().arm("drop every syn")?;
    let _late = lan.laptop().thread(connect)?;
    assert!(lan.net.wait_frames("syn", 2, SOON)?);
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    assert!(text.contains("before it listened; the SYN of"), "{text}");
    assert!(text.ends_with(" has never arrived\n"), "{text}");
    Ok(())
}

fn connect_says_who_answers_nothing(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    lan.net.wire().arm("drop every syn")?;
    let launch = role("sit").args(["connect", "192.168.1.108:80"]);
    let (_program, text) = sitting(&lan, launch);
    assert_text(
        &text,
        "NAME #: connect\n  waits in connect for ernest-laptop:80, which \
         answers nothing: it has sent its SYN once",
    );
    Ok(())
}

fn a_receiver_says_what_it_waits_for(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let address = "192.168.1.108:7000";
    let listener =
        lan.laptop().at(|| std::net::TcpListener::bind(address))??;
    let (program, text) = sitting(&lan, role("receive").arg(address));
    let (_peer, _) = listener.accept()?;
    let waits = "NAME #: recvfrom\n  waits to receive from \
                 ernest-laptop:7000 in ESTABLISHED: nothing is in its \
                 receive queue";
    assert_text(&text, &format!("{waits}; the other end has # bytes unread"));
    let own = lan.server().autopsy(&program)?;
    assert_text(&masked(&own), waits);
    Ok(())
}

fn a_sender_says_who_does_not_read(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let address = "192.168.1.108:7000";
    let listener =
        lan.laptop().at(|| std::net::TcpListener::bind(address))??;
    let launch = role("send").arg(address);
    let program = lan.server().start_program(launch)?;
    let (_peer, _) = listener.accept()?;
    let full = "NAME #: sendto\n  waits to send to ernest-laptop:7000 in \
                ESTABLISHED: # bytes fill its send queue, and the other end \
                has # bytes unread\n";
    // The peer's window closes only after a while.
    for _ in 0..500 {
        let text = masked(&lan.net.autopsy("Kongming20", &program)?);
        if text == full {
            return Ok(());
        }
        // The kernel has no event for this.
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    assert_text(&text, full);
    Ok(())
}

fn standard_input_is_told(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (_program, text) = sitting(&lan, shell("echo; read line; echo"));
    assert_text(
        &text,
        "NAME #: read\n  waits for a line on its standard input",
    );
    Ok(())
}

fn a_pipe_says_who_has_its_other_end_open(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_text(
        &sit(&lan, "pipe-self"),
        "NAME #: read\n  waits to read from an empty pipe, descriptor #; it \
         has the end to write to open itself, as descriptor #, and there is \
         no end-of-file before it closes that",
    );
    let launch = role("sit").arg("pipe-child");
    let program = lan.server().start_program(launch)?;
    until(&program, |all| all.iter().any(|one| one.name == "sleep"))?;
    assert!(program.wait_idle(SOON)?);
    assert_text(
        &masked(&lan.net.autopsy("Kongming20", &program)?),
        "NAME #: read\n  waits to read from an empty pipe, descriptor #; \
         there is no end-of-file before sleep # (descriptor #) closes the end \
         to write to\nsleep #: clock_nanosleep\n  sleeps for 1000s",
    );
    Ok(())
}

fn a_full_pipe_says_who_could_read_it(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("sit").arg("pipe-full");
    let program = lan.server().start_program(launch)?;
    until(&program, |all| all.iter().any(|one| one.name == "sleep"))?;
    assert!(program.wait_idle(SOON)?);
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    let first = "NAME #: write\n  waits to write to a pipe, descriptor #, \
                 that is full; who could read from it is sleep #, as \
                 descriptor #\n";
    assert!(text.starts_with(first), "{text}");
    Ok(())
}

fn a_parent_says_where_its_child_is(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let program =
        lan.server().start_program(shell("echo; sleep 1000; echo"))?;
    until(&program, |all| all.iter().any(|one| one.name == "sleep"))?;
    assert!(program.wait_idle(SOON)?);
    assert_text(
        &masked(&lan.net.autopsy("Kongming20", &program)?),
        "NAME #: wait4\n  waits for its child sleep #, which is in \
         clock_nanosleep, to end\nsleep #: clock_nanosleep\n  sleeps for \
         1000s",
    );
    Ok(())
}

fn sleeping_and_computing_are_told_apart(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_text(
        &sit(&lan, "sleep"),
        "NAME #: clock_nanosleep\n  sleeps for 1000s",
    );
    let program = lan.server().start_program(role("spin"))?;
    assert!(program.wait_line("spinning", SOON).is_some());
    assert_text(
        &masked(&lan.net.autopsy("Kongming20", &program)?),
        "NAME #: no system call\n  computes: it is not in a system call; # % \
         of a processor",
    );
    Ok(())
}

fn a_lock_and_a_join_are_told_apart(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_text(
        &sit(&lan, "mutex"),
        "NAME #: futex\n  waits for a lock or a condition",
    );
    let text = sit(&lan, "join");
    let first = "NAME #: futex\n  waits for its thread # to end\nNAME #, \
                 thread #: pause\n  waits for a signal\n";
    assert_text(&text.replace("rt_sigsuspend", "pause"), first);
    Ok(())
}

fn a_zombie_and_a_stopped_one_are_told(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let program = lan.server().start_program(role("zombie"))?;
    until(&program, |all| all.iter().any(|one| one.is_zombie()))?;
    assert!(program.wait_idle(SOON)?);
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    let last = "true #: zombie\n  has ended; NAME #, its parent, has not \
                waited for it and is in pause\n";
    assert!(text.ends_with(last), "{text}");

    let program = lan.server().start_program(role("sleep"))?;
    assert!(program.wait_line("sleeping", SOON).is_some());
    program.signal(libc::SIGSTOP)?;
    until(&program, |all| all[0].state == 'T')?;
    assert_text(
        &masked(&lan.net.autopsy("Kongming20", &program)?),
        "NAME #: stopped\n  is stopped by a signal, and waits for SIGCONT",
    );
    Ok(())
}

fn poll_and_select_say_what_they_watch(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("sit").args(["poll", "192.168.1.109:7000"]);
    assert_text(
        &sitting(&lan, launch).1,
        "NAME #: poll\n  waits in poll for 60s at most on # (pipe (read end)) \
         and # (TCP LISTEN 192.168.1.109:7000)",
    );
    assert_text(
        &sit(&lan, "select").replace("pselect6", "select"),
        "NAME #: select\n  waits in select without a limit on # (pipe (read \
         end))",
    );
    Ok(())
}

fn epoll_says_what_was_left_unread(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let address = "192.168.1.108:7000";
    let listener =
        lan.laptop().at(|| std::net::TcpListener::bind(address))??;
    let launch = role("sit").args(["epoll", address]);
    let program = lan.server().start_program(launch)?;
    let (mut peer, from) = listener.accept()?;
    peer.write_all(b"hello")?;
    lan.net
        .wait_sockets("Kongming20", SOON, |sockets| {
            sockets.iter().any(|socket| socket.receive_queue == 4)
        })?
        .map_err(|last| format!("{last:?}"))?;
    assert!(program.wait_idle(SOON)?);
    assert_text(
        &masked(&lan.net.autopsy("Kongming20", &program)?),
        &format!(
            "NAME #: epoll_wait\n  waits in epoll_wait without a limit on # \
             (TCP ESTABLISHED {from} -> ernest-laptop:7000, # bytes unread)"
        ),
    );
    Ok(())
}

fn datagrams_and_signals_are_waited_for(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("sit").args(["udp", "192.168.1.109:5000"]);
    assert_text(
        &sitting(&lan, launch).1,
        "NAME #: recvfrom\n  waits for a datagram on UDP 192.168.1.109:5000",
    );
    assert_text(&sit(&lan, "pause"), "NAME #: pause\n  waits for a signal");
    Ok(())
}

fn a_file_lock_says_who_has_it(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = role("sit").arg("flock");
    let program = lan.server().start_program(launch)?;
    until(&program, |all| all.len() == 2)?;
    assert!(program.wait_idle(SOON)?);
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    let first = "NAME #: pause\n  waits for a signal\nNAME #: flock\n  waits \
                 for a lock on file ";
    assert!(text.starts_with(first), "{text}");
    let last = "/locked at offset #, which NAME # has\n";
    assert!(text.ends_with(last), "{text}");
    Ok(())
}

fn objects_of_system_v_say_their_values(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_text(
        &sit(&lan, "semop").replace("semtimedop", "semop"),
        "NAME #: semop\n  waits in semop on set # (key 0x4d2): semaphore # is \
         #, and it wants to take #",
    );
    assert_text(
        &sit(&lan, "msgrcv"),
        "NAME #: msgrcv\n  waits for a message in queue # (key 0x4d3), which \
         has #: it wants one of type #",
    );
    assert_text(
        &sit(&lan, "msgsnd"),
        "NAME #: msgsnd\n  waits for room in queue # (key 0x4d3), which has # \
         messages of # bytes in all",
    );
    Ok(())
}

fn a_posix_queue_says_how_full_it_is(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_text(
        &sit(&lan, "mq"),
        "NAME #: mq_timedreceive\n  waits for a message from message queue \
         /queue, which holds # of #",
    );
    Ok(())
}

fn it_reads_back_from_json(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (program, _) = sitting(&lan, role("sleep"));
    let autopsy = lan.net.autopsy("Kongming20", &program)?;
    let json = serde_json::to_string(&autopsy)?;
    assert_eq!(serde_json::from_str::<Autopsy>(&json)?, autopsy);
    let call = autopsy.threads[0].call.as_ref().unwrap();
    assert_eq!(call.number, libc::SYS_pause);
    Ok(())
}

fn one_that_has_ended_says_so(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("exit").arg("0"))?;
    program.wait(SOON)?;
    let autopsy = lan.net.autopsy("Kongming20", &program)?;
    assert_text(&autopsy.to_text(), "exit: has ended");
    Ok(())
}

/// A program that its user may execute and not read: nobody but the machine's
/// root may look into its process (ptrace(2), "dumpable").
fn one_that_may_not_be_seen_says_so(backend: Backend) -> Done {
    use std::os::unix::fs::PermissionsExt;
    let lan = Lan::up(backend)?;
    let file = std::env::current_exe()?
        .with_extension(format!("secret-{}", backend.name()));
    std::fs::copy("/bin/sleep", &file)?;
    let mode = std::fs::Permissions::from_mode(0o111);
    std::fs::set_permissions(&file, mode)?;
    let launch = Launch::new("secret", &file).arg("1000");
    let started = lan.server().start_program(launch);
    std::fs::remove_file(&file)?;
    let program = started?;
    assert!(program.wait_idle(SOON)?);
    assert_eq!(program.processes()?.len(), 1, "it is known all the same");
    let text = masked(&lan.net.autopsy("Kongming20", &program)?);
    let (_, text) = text.split_once(": ").unwrap();
    if nix::unistd::geteuid().is_root() {
        assert_text(text, "clock_nanosleep\n  sleeps for 1000s");
    } else {
        assert!(
            text.starts_with("somewhere in the kernel\n  sleeps"),
            "{text}"
        );
        let end = "; this machine does not show in which call\n";
        assert!(text.ends_with(end), "{text}");
    }
    Ok(())
}

//! What a program's processes are, have open, leave behind, and may write to.

use std::fs;
use std::path::Path;
use std::time::Duration;

use testbed::{
    Backend, Descriptor, DescriptorKind, Exit, Host, IpcKind, Launch,
    ProcessInfo, Program,
};

use crate::harness::{Done, Test, tests};
use crate::roles::role;
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    a_program_is_its_processes_and_no_others,
    one_that_has_left_its_session_is_still_its_own,
    a_zombie_is_told,
    descriptors_are_named,
    sockets_are_named_with_state_and_peer,
    the_descriptors_that_it_may_have_are_bounded,
    objects_of_system_v_are_found_after_its_end,
    objects_of_posix_are_found_after_its_end,
    each_host_has_its_own_objects,
    who_is_blocked_rests_and_who_polls_does_not,
    a_program_can_write_to_its_scratch_directory_alone,
    the_scratch_directory_is_bounded,
    two_programs_of_a_host_meet_in_the_scratch_directory,
    the_scratch_directory_covers_no_program,
    who_may_do_everything_is_where_the_run_is,
    signals_reach_the_host_s_programs_alone,
];

pub fn shell(script: &str) -> Launch {
    Launch::new("sh", "/bin/sh").args(["-c", script])
}

fn names(processes: &[ProcessInfo]) -> Vec<&str> {
    let mut names: Vec<&str> =
        processes.iter().map(|process| process.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Waits until the program's processes are so.
pub fn until(
    program: &Program,
    done: impl Fn(&[ProcessInfo]) -> bool,
) -> Result<Vec<ProcessInfo>, Box<dyn std::error::Error>> {
    for _ in 0..5_000 {
        let processes = program.processes()?;
        if done(&processes) {
            return Ok(processes);
        }
        // There is no event for it that costs less than looking again.
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(format!("it has {:?}", names(&program.processes()?)).into())
}

fn a_program_is_its_processes_and_no_others(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let other = lan.server().start_program(role("sleep"))?;
    assert!(other.wait_line("sleeping", SOON).is_some());
    let mut program = lan
        .server()
        .start_program(shell("sleep 100 & sleep 100 & echo $$; wait"))?;
    let own: i32 = program.wait_line("", SOON).unwrap().parse()?;
    let processes = until(&program, |processes| {
        names(processes) == ["sh", "sleep", "sleep"]
    })?;
    let shell = processes.iter().find(|one| one.name == "sh").unwrap();
    assert_eq!(shell.own_pid, own);
    assert_eq!(shell.pid as u32, program.pid());
    assert_eq!(shell.threads, 1);
    assert!(shell.cpu > Duration::ZERO, "{shell:?}");
    let children = processes.iter().filter(|one| one.parent == shell.pid);
    assert_eq!(children.count(), 2);
    assert_eq!(other.processes()?.len(), 1);
    program.kill();
    until(&program, |processes| names(processes) == ["sleep", "sleep"])?;
    Ok(())
}

/// Twice forked, and with another session: nothing of it but where its files
/// are tells whose it is.
fn one_that_has_left_its_session_is_still_its_own(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let script = "setsid sh -c 'sleep 100 & echo off' & wait; echo done";
    let mut program = lan.server().start_program(shell(script))?;
    assert!(program.wait_line("done", SOON).is_some());
    let other = lan.server().start_program(shell("sleep 100"))?;
    // The pipes stay open in the daemon.
    assert_eq!(program.wait(SOON)?, Some(Exit::Code(0)));
    let left = until(&program, |processes| names(processes) == ["sleep"])?;
    assert_ne!(left[0].session, program.pid() as i32);
    assert_ne!(left[0].parent, 1, "its host's process 1 has it");
    assert!(!other.processes()?.iter().any(|one| one.pid == left[0].pid));
    Ok(())
}

fn a_zombie_is_told(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let program = lan.server().start_program(role("zombie"))?;
    let child: i32 = program.wait_line("child ", SOON).unwrap().parse()?;
    let processes =
        until(&program, |all| all.iter().any(ProcessInfo::is_zombie))?;
    let zombie = processes.iter().find(|one| one.is_zombie()).unwrap();
    // Nobody but root may look into its /proc/PID/fd (proc(5)): it has none.
    assert!(lan.server().descriptors_of(zombie.pid)?.is_empty());
    assert_eq!((processes.len(), zombie.own_pid), (2, child));
    Ok(())
}

fn text_of(descriptors: &[Descriptor], number: i32) -> &str {
    let found = descriptors.iter().find(|one| one.number == number);
    found.map_or("closed", |one| one.text.as_str())
}

fn descriptors_are_named(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let program = lan.server().start_program(role("hold"))?;
    let said = program.wait_line("holds ", SOON).unwrap();
    let fds: Vec<i32> =
        said.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let found = lan.server().descriptors(&program)?;
    let texts: Vec<&str> = fds.iter().map(|fd| text_of(&found, *fd)).collect();
    let cwd = fs::read_link(format!("/proc/{}/cwd", program.pid()))?;
    let file = format!("file {}/file at offset 5", cwd.display());
    let expected = [
        "eventfd",
        &format!("epoll, watching {}", fds[0]),
        "pipe (read end)",
        "pipe (write end)",
        "/dev/null",
        &file,
        "directory /",
        "unix stream",
        "UDP, not bound",
        "UDP 192.168.1.109:5000 -> ernest-laptop:5001",
        "TCP, not connected",
    ];
    assert_eq!(texts, expected);
    let of = |number: i32| {
        found.iter().find(|one| one.number == number).unwrap().clone()
    };
    assert_eq!(of(fds[2]).inode, of(fds[3]).inode, "one pipe");
    assert!(of(fds[0]).nonblocking && of(fds[0]).close_on_exec);
    assert!(!of(fds[2]).nonblocking && !of(fds[2]).close_on_exec);
    assert_eq!(text_of(&found, 0), "pipe (read end)");
    Ok(())
}

fn sockets_are_named_with_state_and_peer(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let address = lan.address(7000).to_string();
    let launch = role("accept").arg(&address);
    let program = lan.server().start_program(launch)?;
    assert!(program.wait_line("listening", SOON).is_some());
    let client = lan.connect(7000);
    assert!(program.wait_line("accepted", SOON).is_some());
    let port = client.local_addr()?.port();
    let found = lan.server().descriptors(&program)?;
    let tcp: Vec<&str> = found
        .iter()
        .filter(|one| one.kind == DescriptorKind::Tcp)
        .map(|one| one.text.as_str())
        .collect();
    assert_eq!(
        tcp,
        [
            "TCP LISTEN 192.168.1.109:7000",
            &format!(
                "TCP ESTABLISHED 192.168.1.109:7000 -> ernest-laptop:{port}"
            ),
        ]
    );
    assert!(lan.laptop().descriptors_of(99_999).is_err());
    Ok(())
}

fn the_descriptors_that_it_may_have_are_bounded(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let launch = shell("ulimit -n; ulimit -Hn").limit_files(20);
    let program = lan.server().start_program(launch)?;
    assert_eq!(program.wait_line("", SOON).as_deref(), Some("20"));
    assert_eq!(program.wait_line("", SOON).as_deref(), Some("20"));
    Ok(())
}

fn kinds(host: &Host) -> testbed::Result<Vec<IpcKind>> {
    let mut kinds: Vec<IpcKind> =
        host.ipc()?.iter().map(|object| object.kind).collect();
    kinds.sort();
    Ok(kinds)
}

fn objects_of_system_v_are_found_after_its_end(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_eq!(kinds(lan.server())?, []);
    let mut program = lan.server().start_program(role("system-v"))?;
    assert!(program.wait_line("made", SOON).is_some());
    let attached = lan.server().ipc()?;
    let memory =
        attached.iter().find(|one| one.kind == IpcKind::SharedMemory).unwrap();
    assert_eq!((memory.attached, memory.bytes), (1, 4096));
    assert_eq!(memory.pids[0], program.pid() as i32);
    program.close_stdin();
    assert!(program.wait(SOON)?.unwrap().is_success());
    let left = lan.server().ipc()?;
    let brief: Vec<_> = left
        .iter()
        .map(|one| {
            (one.kind, one.name.as_str(), one.values.as_slice(), one.messages)
        })
        .collect();
    assert_eq!(
        brief,
        [
            (IpcKind::SemaphoreSet, "0x4d2", &[0, 3][..], 0),
            (IpcKind::SharedMemory, "private", &[], 0),
            (IpcKind::MessageQueue, "0x4d3", &[], 1),
        ]
    );
    assert_eq!((left[1].attached, left[2].bytes), (0, 5));
    Ok(())
}

fn objects_of_posix_are_found_after_its_end(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("posix"))?;
    assert!(program.wait(SOON)?.unwrap().is_success());
    let left = lan.server().ipc()?;
    let brief: Vec<_> = left
        .iter()
        .map(|one| (one.kind, one.name.as_str(), one.bytes, one.messages))
        .collect();
    let size = size_of::<libc::sem_t>() as u64;
    assert_eq!(
        brief,
        [
            (IpcKind::PosixSharedMemory, "/memory", 100, 0),
            (IpcKind::PosixSemaphore, "/semaphore", size, 0),
            (IpcKind::PosixMessageQueue, "/queue", 5, 1),
        ]
    );
    assert_eq!(
        (left[1].values.as_slice(), left[2].most_messages),
        (&[2][..], 4)
    );
    Ok(())
}

fn each_host_has_its_own_objects(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for name in ["system-v", "posix"] {
        let mut program = lan.server().start_program(role(name))?;
        program.close_stdin();
        assert!(program.wait(SOON)?.unwrap().is_success());
    }
    assert_eq!(kinds(lan.server())?.len(), 6);
    assert_eq!(kinds(lan.laptop())?, []);
    Ok(())
}

fn who_is_blocked_rests_and_who_polls_does_not(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let window = Duration::from_millis(300);
    let watch = |launch: Launch| {
        let program = lan.server().start_program(launch).unwrap();
        program.wait_line("", SOON).unwrap();
        program.rests(window).unwrap()
    };
    let blocked = watch(role("sleep"));
    assert!(blocked.voluntary <= 1, "{blocked:?}");
    assert!(blocked.share() < 0.05, "{blocked:?}");
    let polls = watch(role("poll-often"));
    assert!(polls.sleeps_per_second() > 50.0, "{polls:?}");
    assert!(polls.share() < 0.5, "{polls:?}");
    let spins = watch(role("spin"));
    assert!(spins.share() > 0.15, "{spins:?}");
    assert!(spins.window >= window);
    Ok(())
}

/// Where the course is, where everybody may write, and the devices.
fn a_program_can_write_to_its_scratch_directory_alone(
    backend: Backend,
) -> Done {
    let lan = Lan::up(backend)?;
    let own = std::env::current_exe()?;
    let beside = own.with_extension("intruder");
    let script = format!(
        "w() {{ if (echo x > \"$1\") 2>/dev/null; then echo yes; \
         else echo no; fi; }}
         w file; w \"$TMPDIR/other\"; w /dev/null; w '{}'; w '{}'; \
         if [ $TMPDIR = /tmp ]; then w /var/tmp/intruder; \
         else w /tmp/intruder; fi; w /etc/hosts; w /proc/sys/vm/swappiness",
        beside.display(),
        own.display(),
    );
    let mut program = lan.server().start_program(shell(&script))?;
    assert!(program.wait(SOON)?.unwrap().is_success());
    let intruded = fs::remove_file(&beside).is_ok();
    let trace = lan.net.trace()?;
    let said = trace.stdout("sh");
    assert_eq!(said, ["yes", "yes", "yes", "no", "no", "no", "no", "no"]);
    let scratch = lan.server().scratch().unwrap();
    assert_eq!(fs::read_to_string(scratch.join("file"))?, "x\n");
    let other = lan.laptop().scratch().unwrap();
    assert_eq!(fs::read_dir(other)?.count(), 0, "the laptop has its own");
    assert!(!intruded);
    Ok(())
}

fn the_scratch_directory_is_bounded(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let script = "for n in 1 2 3 4; do head -c 30000000 /dev/zero > $n; done";
    let mut program = lan.server().start_program(shell(script))?;
    assert!(!program.wait(SOON)?.unwrap().is_success());
    let scratch = lan.server().scratch().unwrap();
    let mut sum = 0;
    for file in fs::read_dir(scratch)? {
        sum += file?.metadata()?.len();
    }
    assert!((60 << 20..=64 << 20).contains(&sum), "{sum}");
    Ok(())
}

fn two_programs_of_a_host_meet_in_the_scratch_directory(
    backend: Backend,
) -> Done {
    let lan = Lan::up(backend)?;
    let writer = shell("echo hello > note");
    assert!(
        lan.server().start_program(writer)?.wait(SOON)?.unwrap().is_success()
    );
    let reader = lan.server().start_program(shell("cat note"))?;
    assert_eq!(reader.wait_line("", SOON).as_deref(), Some("hello"));
    fs::write(lan.laptop().scratch().unwrap().join("note"), "from the run\n")?;
    let reader = lan.laptop().start_program(shell("cat note"))?;
    assert_eq!(reader.wait_line("", SOON).as_deref(), Some("from the run"));
    Ok(())
}

/// Not even one that lies where it would be, nor one that a link leads to.
fn the_scratch_directory_covers_no_program(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let where_is = |path: &Path| -> Result<String, testbed::Error> {
        let launch =
            Launch::new("sh", path).args(["-c", "echo x > file && pwd"]);
        let program = lan.server().start_program(launch)?;
        Ok(program.wait_line("", SOON).unwrap())
    };
    let usual = where_is(Path::new("/bin/sh"))?;
    let name = format!("testbed-{}-{backend:?}", nix::unistd::getppid());
    let under = Path::new(&usual).join(name);
    fs::create_dir(&under)?;
    fs::copy("/bin/sh", under.join("sh"))?;
    let link = std::env::current_exe()?.with_extension(backend.name());
    let linked = std::os::unix::fs::symlink(under.join("sh"), &link);
    let found = [where_is(&under.join("sh")), where_is(&link)];
    fs::remove_dir_all(&under)?;
    linked.and(fs::remove_file(&link))?;
    for place in found {
        assert_ne!(place?, usual);
    }
    assert!(lan.server().scratch().unwrap().join("file").exists());
    Ok(())
}

fn who_may_do_everything_is_where_the_run_is(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    // Twice: the host's thread has been elsewhere in between.
    for _ in 0..2 {
        let program = lan.server().start_program(shell("pwd").privileged())?;
        let here = std::env::current_dir()?;
        let said = program.wait_line("", SOON).unwrap();
        assert_eq!(said, here.to_string_lossy());
        lan.server().start_program(shell("pwd"))?.wait(SOON)?;
    }
    let file = std::env::current_exe()?.with_extension("proof");
    let script = format!("echo x > '{}'", file.display());
    let mut program =
        lan.server().start_program(shell(&script).privileged())?;
    assert!(program.wait(SOON)?.unwrap().is_success());
    fs::remove_file(file)?;
    Ok(())
}

fn signals_reach_the_host_s_programs_alone(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let start = || lan.server().start_program(role("sleep")).unwrap();
    let mut program = start();
    program.signal(libc::SIGTERM)?;
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGTERM)));
    program.signal(libc::SIGTERM)?;
    let mut program = start();
    let pid = program.pid() as i32;
    let err = lan.laptop().signal(pid, libc::SIGTERM).unwrap_err();
    assert_eq!(err.what(), format!("{pid} is no program of ernest-laptop"));
    assert!(lan.server().signal(1, libc::SIGTERM).is_err());
    let first = fs::read_to_string(format!("/proc/self/fdinfo/{}", {
        use std::os::fd::AsRawFd;
        lan.server().process().unwrap().as_raw_fd()
    }))?;
    let first = first.lines().find_map(|line| line.strip_prefix("Pid:"));
    let first: i32 = first.unwrap().trim().parse()?;
    assert!(lan.server().signal(first, libc::SIGTERM).is_err());
    lan.server().signal(pid, libc::SIGTERM)?;
    assert_eq!(program.wait(SOON)?, Some(Exit::Signal(libc::SIGTERM)));
    Ok(())
}

//! `lab shell`: onto a host of a fresh network, and of a running one.

mod support;

use std::process::Command;

use support::process::{Running, holder};
use support::terminal::Terminal;
use support::{command, has, lab, prebuild, target_dir};

/// With this in the environment a tool that is not installed is a failure.
const TOOLS: &str = "LAB_NEEDS_TOOLS";

/// `lab shell HOST --of PID -- SCRIPT`, of the network that a `lab` runs.
fn shell_of(running: &Running, host: &str, script: &str) -> Command {
    let pid = holder(running.pid()).to_string();
    command(&["shell", host, "--of", &pid, "--", "/bin/sh", "-c", script])
}

/// A shell on a fresh network, with a script that keeps it up.
fn fresh(host: &str, script: &str) -> Command {
    command(&["shell", host, "--fresh", "--", "/bin/sh", "-c", script])
}

#[test]
fn a_command_runs_on_the_host_it_was_sent_to() {
    for host in ["Kongming20", "ernest-laptop"] {
        let said = lab(&["shell", host, "--fresh", "--", "uname", "-n"]);
        let said = said.exits(0);
        assert_eq!(said.stdout, format!("{host}\n"));
        assert_eq!(said.stderr, "");
    }
}

#[test]
fn a_fresh_host_has_a_network_and_processes_of_its_own() {
    let script = "cat /proc/net/tcp | wc -l; cat /etc/hosts; \
                  ls /sys/class/net 2>/dev/null; ls -d /proc/[0-9]* | wc -l";
    let said = support::run(fresh("Kongming20", script)).exits(0);
    let said = said.says(&["192.168.1.108 ernest-laptop", "192.168.1.109"]);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[0], "1", "the heading, and no socket: {said}");
    let processes: u32 = lines.last().unwrap().parse().unwrap();
    assert!(processes < 10, "{said}");
}

#[test]
fn ss_sees_the_hosts_sockets_and_no_others() {
    if !has("ss", TOOLS, "so nobody lists a host's sockets") {
        return;
    }
    let said = support::run(fresh("Kongming20", "ss -tanH")).exits(0);
    assert_eq!(said.stdout, "");
}

#[test]
fn the_commands_exit_status_is_passed_on() {
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)] {
        support::run(fresh("Kongming20", script)).exits(status);
    }
    support::run(fresh("Kongming20", "kill -9 $$")).exits(128 + 9);
    let said =
        lab(&["shell", "Kongming20", "--fresh", "--", "no-such-program"]);
    said.exits(2).says(&["exec no-such-program on Kongming20"]);
}

#[test]
fn an_unknown_host_is_told_who_is_there() {
    let said = lab(&["shell", "Kongming", "--fresh", "--", "true"]);
    said.exits(2).says(&["no host `Kongming`", "ernest-laptop, Kongming20"]);
    let said = lab(&["shell", "Kongming20", "--of", "1", "--", "true"]);
    said.exits(2).says(&["no network of process 1 runs"]);
}

#[test]
fn a_running_scenario_can_be_looked_into() {
    prebuild();
    let order = ["run", "backlog", "--solution", "--", "4"];
    let mut run = Running::start(command(&order));
    let line = run.wait_line("listening on ");
    let port = line.rsplit(':').next().unwrap();
    let hex = format!(":{:04X} 00000000:0000 0A", port.parse::<u16>().unwrap());
    let table = support::run(shell_of(&run, "Kongming20", "cat /proc/net/tcp"));
    assert!(table.stdout.contains(&hex), "no LISTEN on {port}: {table}");
    if !has("ss", TOOLS, "so nobody sees a listener's backlog") {
        return;
    }
    let said = support::run(shell_of(&run, "Kongming20", "ss -ltnH")).exits(0);
    let columns: Vec<&str> = said.stdout.split_whitespace().collect();
    assert_eq!(columns[0], "LISTEN", "{said}");
    assert_eq!(columns[2], "4", "the backlog, as Send-Q: {said}");
    assert_eq!(columns[3], format!("192.168.1.109:{port}"), "{said}");
    let said = support::run(shell_of(&run, "ernest-laptop", "ss -ltnH"));
    assert_eq!(said.exits(0).stdout, "");
}

/// What `ss` prints of a host's sockets: each one's local name and its peer's.
fn names_by_ss(network: &Running, host: &str, options: &str) -> Vec<String> {
    let script = format!("ss {options}");
    let said = support::run(shell_of(network, host, &script)).exits(0);
    let names = said.stdout.lines().map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        format!("local {}, peer {}", columns[3], columns[4])
    });
    names.collect()
}

#[test]
fn ss_has_the_names_that_the_reference_program_prints() {
    if !has("ss", TOOLS, "so nobody else says what a socket's names are") {
        return;
    }
    lab(&["run", "sock_names", "--solution", "--json"]).exits(0);
    let program = target_dir().join("debug/sock_names-solution");
    let program = program.display();
    let script = format!("exec {program} server 0.0.0.0:0");
    let mut server = Running::start(fresh("Kongming20", &script));
    server.wait_line("socket: ");
    server.type_line("");
    server.wait_line("bind: ");
    server.type_line("");
    let line = server.wait_line("listen: ");
    let local = line.split_once("listen: local ").unwrap().1;
    let (local, _) = local.split_once(", peer ENOTCONN").unwrap();
    let listening = format!("local {local}, peer 0.0.0.0:*");
    assert_eq!(names_by_ss(&server, "Kongming20", "-tlnH"), [listening]);

    let port = local.rsplit(':').next().unwrap();
    let script = format!("exec {program} tcp 192.168.1.109:{port}");
    let client = shell_of(&server, "ernest-laptop", &script);
    let mut client = Running::start(client);
    let mut lines = Vec::new();
    for (end, host, step) in [
        (&mut client, "ernest-laptop", "connect: "),
        (&mut server, "Kongming20", "accept: "),
    ] {
        end.type_line("");
        let line = end.wait_line(step);
        lines.push((host, line.split_once(step).unwrap().1.to_string()));
    }
    for (host, names) in lines {
        assert_eq!(names_by_ss(&server, host, "-tnH"), [names], "{host}");
    }
}

#[test]
fn two_shells_meet_on_one_network() {
    let script = "echo up; read line; cat /proc/sys/net/ipv4/tcp_retries2";
    let mut first = Running::start(fresh("Kongming20", script));
    first.wait_line("up");
    let change = "uname -n; echo 11 > /proc/sys/net/ipv4/tcp_retries2";
    let said = support::run(shell_of(&first, "Kongming20", change)).exits(0);
    assert_eq!(said.stdout, "Kongming20\n");
    first.type_line("");
    first.wait_line("11");
    assert_eq!(first.end(), Some(0));
}

#[test]
fn the_network_goes_with_the_shell_that_made_it() {
    let mut first = Running::start(fresh("Kongming20", "echo up; read line"));
    first.wait_line("up");
    let pid = holder(first.pid()).to_string();
    assert_eq!(first.end(), Some(1)); // read(1) at end-of-file
    // Its last process ends a moment after the shell.
    let gone = format!("no network of process {pid} runs");
    support::until(std::time::Duration::from_secs(5), "end", || {
        let said = lab(&["shell", "Kongming20", "--of", &pid, "--", "true"]);
        said.exits(2).stderr.contains(&gone).then_some(())
    });
}

#[test]
fn a_person_gets_a_shell_with_job_control() {
    let mut command = command(&["shell", "Kongming20", "--fresh"]);
    command.env("SHELL", "/bin/sh").env("PS1", "ready> ");
    let mut terminal = Terminal::start(command);
    let screen = terminal.wait_for("ready> ");
    assert!(screen.contains("192.168.1.109"), "no greeting: {screen}");
    terminal.type_keys("uname -n | tr K k\n");
    terminal.wait_for("kongming20");
    // Ctrl-C is for the program in the foreground, and for nobody else.
    let program = "sh -c 'echo sle\"\"eping; exec sleep 100'\n";
    terminal.type_keys(program);
    terminal.wait_for("sleeping");
    terminal.type_keys("\x03");
    terminal.type_keys("set -o | grep monitor; exit 5\n");
    let (status, screen) = terminal.end();
    assert_eq!(status, Some(5), "{screen}");
    assert!(!screen.contains("job control"), "{screen}");
    assert!(!screen.contains("access tty"), "{screen}");
    let on = |line: &str| {
        line.contains("monitor") && line.trim_end().ends_with(" on")
    };
    assert!(screen.lines().any(on), "{screen}");
}

/// tcpdump gives up root for a user of its own, which is there because users
/// are mapped to themselves.
#[test]
fn tcpdump_shows_what_an_ordinary_user_sends() {
    prebuild();
    if !has("tcpdump", TOOLS, "so nobody captures on a host") {
        return;
    }
    let user = support::world::World::ordinary();
    let dump = "exec tcpdump -n -l -i eth0 -c 1 'tcp[tcpflags] & tcp-syn != 0'";
    let order = ["shell", "Kongming20", "--fresh", "--", "/bin/sh", "-c", dump];
    let mut dump = Running::start(user.command(&order));
    dump.wait_line("listening on eth0");
    let client = target_dir().join("debug/handshake-solution");
    let client = client.to_str().unwrap();
    let pid = holder(dump.pid()).to_string();
    let order = ["shell", "ernest-laptop", "--of", &pid, "--", client];
    let order = [&order[..], &["client", "192.168.1.109:99"]].concat();
    let refused = support::run(user.command(&order));
    refused.says(&["Connection refused"]);
    let line = dump.wait_line("192.168.1.108.");
    assert!(line.contains("> 192.168.1.109.99: Flags [S]"), "{line}");
    assert_eq!(dump.end(), Some(0));
}

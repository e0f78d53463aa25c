//! The programs that tests start on their hosts: this one, under other names.

use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use testbed::{Backend, Launch, Network};

/// The hidden word: be the program that is named next.
pub const AS: &str = "--as";

/// How to start this program in a role.
pub fn role(name: &str) -> Launch {
    let path = std::env::current_exe().unwrap();
    Launch::new(name, path).arg(AS).arg(name)
}

/// Does what the role's name says.
pub fn play(role: &str, arguments: &[&str]) -> ExitCode {
    match (role, arguments) {
        ("abort", []) => std::process::abort(),
        ("arguments", _) => println!("{}", arguments.join("|")),
        ("bind", [address]) => bind(address.parse().unwrap()),
        ("close-output", []) => close_output(),
        ("echo", []) => echo(),
        ("environment", []) => environment(),
        ("exit", [code]) => return ExitCode::from(code.parse::<u8>().unwrap()),
        ("fork", []) => fork_for_ever(),
        ("print", []) => print_for_ever(),
        ("resolve", [name]) => resolve(name),
        ("run", [backend]) => run(backend),
        ("sleep", []) => sleep_for_ever(),
        ("world", []) => world(),
        _ if crate::subjects::play(role, arguments) => {}
        _ => {
            eprintln!("nobody plays {role} {arguments:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A whole run, with a program that never ends on one of its hosts.
fn run(backend: &str) {
    testbed::enter().unwrap();
    let backend = match backend {
        "tap" => Backend::Tap,
        _ => Backend::Pkt,
    };
    let net = Network::lan().backend(backend).up().unwrap();
    let host = net.host("Kongming20").unwrap();
    let program = host.start_program(role("sleep")).unwrap();
    let limit = Duration::from_secs(10);
    program.wait_line("sleeping", limit).unwrap();
    sleep_for_ever();
}

fn sleep_for_ever() {
    println!("sleeping");
    nix::unistd::pause();
}

fn print_for_ever() {
    while writeln!(io::stdout(), "more").is_ok() {}
}

/// Each line of standard input to both outputs.
fn echo() {
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        println!("out {line}");
        eprintln!("err {line}");
    }
    println!("end of input");
}

/// Closes what a reader would wait at, and lives on.
fn close_output() {
    println!("closing");
    for fd in [1, 2] {
        nix::unistd::close(fd).unwrap();
    }
    nix::unistd::pause();
}

fn bind(address: SocketAddr) {
    match TcpListener::bind(address) {
        Ok(listener) => println!("bound {}", listener.local_addr().unwrap()),
        Err(err) => println!("{:?}", err.kind()),
    }
}

/// getaddrinfo(3), a line for each address.
fn resolve(name: &str) {
    match (name, 80).to_socket_addrs() {
        Ok(addresses) => addresses.for_each(|a| println!("{}", a.ip())),
        Err(err) => println!("error {err}"),
    }
}

fn environment() {
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
}

/// What a program sees of its host.
fn world() {
    let host = nix::unistd::gethostname().unwrap();
    println!("hostname {}", host.to_string_lossy());
    println!("pid {}", std::process::id());
    let mut commands: Vec<String> = numbered("/proc")
        .map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")))
        .map(|comm| comm.unwrap().trim().to_string())
        .collect();
    commands.sort();
    println!("processes {}", commands.join(" "));
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    println!("resolv.conf {}", resolv.trim());
}

fn numbered(dir: &str) -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok())
}

/// Starts programs that stay until the kernel refuses one more; bounded here
/// too, for the day when nothing else bounds it.
fn fork_for_ever() {
    let mut sleep = std::process::Command::new("/bin/sleep");
    sleep.arg("1000");
    let refusal = (0..5_000).find_map(|count| {
        let err = sleep.spawn().err()?;
        Some(format!("{:?} after {count}", err.kind()))
    });
    println!("{}", refusal.as_deref().unwrap_or("never refused"));
    nix::unistd::pause();
}

//! The programs that tests start on their hosts: this one, under other names.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
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
        ("cost", [times]) => cost(times.parse().unwrap()),
        ("descriptors", []) => descriptors(),
        ("echo", []) => echo(),
        ("environment", []) => environment(),
        ("exit", [code]) => return ExitCode::from(code.parse::<u8>().unwrap()),
        ("fork", []) => fork_for_ever(),
        ("parent", [count, arguments @ ..]) => parent(count, arguments),
        ("print", []) => print_for_ever(),
        ("raw", []) => raw(),
        ("resolve", [name]) => resolve(name),
        ("run", [backend]) => run(backend),
        ("say", [address, what]) => say(address, what),
        ("serve-once", [address]) => serve_once(address),
        ("sleep", []) => sleep_for_ever(),
        ("switches", [times]) => switches(times.parse().unwrap()),
        ("umask", [threads, times]) => {
            let times: u32 = times.parse().unwrap();
            in_threads(threads, move |number| {
                (0..times).for_each(|round| umask(round * 10 + number));
                println!("passed {number}");
            });
        }
        ("wait-in-epoll", []) => wait_in_epoll(),
        ("watching-run", []) => watching_run(),
        ("world", []) => world(),
        ("yield", [threads, times]) => {
            let times: u32 = times.parse().unwrap();
            in_threads(threads, move |_| {
                (0..times).for_each(|_| std::thread::yield_now());
            });
        }
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

/// A run that watches a program of its own.
fn watching_run() {
    testbed::enter().unwrap();
    let net = Network::lan().backend(Backend::Pkt).up().unwrap();
    let host = net.host("Kongming20").unwrap();
    match host.start_program(role("sleep").watch(&["umask"])) {
        Ok(_) => println!("watched"),
        Err(err) => println!("error {}", err.to_string().replace('\n', "; ")),
    }
}

/// Does it in so many threads, numbered from 1.
fn in_threads(count: &str, work: impl Fn(u32) + Copy + Send + 'static) {
    let count: u32 = count.parse().unwrap();
    let threads: Vec<_> = (1..=count)
        .map(|number| std::thread::spawn(move || work(number)))
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A call that nothing else makes, with a number for an argument.
fn umask(number: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_retain(number));
}

/// How often this process has slept of itself during so many calls.
fn switches(times: u32) {
    use nix::sys::resource::{UsageWho, getrusage};
    let count = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        usage.voluntary_context_switches()
    };
    let before = count();
    (0..times).for_each(umask);
    println!("switches {}", count() - before);
}

/// What one of so many calls takes.
fn cost(times: u32) {
    let start = std::time::Instant::now();
    (0..times).for_each(umask);
    println!("each {}", start.elapsed().as_nanos() / u128::from(times));
}

fn say(address: &str, what: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(what.as_bytes()).unwrap();
}

/// One connection, read to its end.
fn serve_once(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    println!("listening");
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 64];
    while stream.read(&mut buffer).unwrap() > 0 {}
}

/// Waits for events that never come, until a signal that it handles does.
fn wait_in_epoll() {
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
    use nix::sys::signal::{SigHandler, Signal, signal};
    extern "C" fn handle(_: i32) {}
    // SAFETY: the handler does nothing; that it has run is enough.
    unsafe { signal(Signal::SIGUSR1, SigHandler::Handler(handle)) }.unwrap();
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    println!("waiting");
    let mut events = [EpollEvent::empty()];
    match epoll.wait(&mut events, EpollTimeout::NONE) {
        Err(err) => println!("epoll_wait {err:?}"),
        Ok(count) => println!("epoll_wait {count}"),
    }
}

/// Starts this program in a role, so many times, each after the other's end.
fn parent(count: &str, arguments: &[&str]) {
    for _ in 0..count.parse().unwrap() {
        let mut child =
            std::process::Command::new(std::env::current_exe().unwrap());
        let status = child.arg(AS).args(arguments).status().unwrap();
        println!("child {status}");
    }
}

/// What it has open, but for what lists them.
fn descriptors() {
    let open: Vec<u32> = numbered("/proc/self/fd").collect();
    let open = open.iter().map(u32::to_string).collect::<Vec<_>>();
    println!("descriptors {}", open.join(" "));
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

fn raw() {
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    match socket(family, kind, SockFlag::empty(), None) {
        Ok(_) => println!("opened"),
        Err(err) => println!("{:?}", io::Error::from(err).kind()),
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

//! Programs that hold, leave or wait for something, so that a test can see it.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::sitters;

/// Does what the role's name says; `false`: there is no such role.
pub fn play(role: &str, arguments: &[&str]) -> bool {
    match (role, arguments) {
        ("accept", [address]) => accept(address, 1),
        ("accept", [address, count]) => accept(address, count.parse().unwrap()),
        ("hold", []) => hold(),
        ("receive", [address]) => sitters::receive(address),
        ("send", [address]) => sitters::send(address),
        ("sit", [what]) => sitters::sit(what, ""),
        ("sit", [what, address]) => sitters::sit(what, address),
        ("poll-often", []) => poll_often(),
        ("posix", []) => posix(),
        ("spin", []) => spin(),
        ("system-v", []) => system_v(),
        ("zombie", []) => zombie(),
        _ => return false,
    }
    true
}

fn accept(address: &str, count: usize) {
    let listener = TcpListener::bind(address).unwrap();
    println!("listening");
    let mut clients = Vec::new();
    while clients.len() < count {
        clients.push(listener.accept().unwrap());
        println!("accepted");
    }
    nix::unistd::pause();
}

/// One of each kind; the numbers, in the order in which they are made.
fn hold() {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let event = EventFd::from_flags(flags).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let interest = EpollEvent::new(EpollFlags::EPOLLIN, 0);
    epoll.add(&event, interest).unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let mut file = File::create("file").unwrap();
    file.write_all(b"hello").unwrap();
    let root = File::open("/").unwrap();
    let (unix, _other) = UnixStream::pair().unwrap();
    let new = |kind| {
        let flags = SockFlag::empty();
        socket(AddressFamily::Inet, kind, flags, None).unwrap()
    };
    let (udp, tcp) = (new(SockType::Datagram), new(SockType::Stream));
    let bound = UdpSocket::bind("192.168.1.109:5000").unwrap();
    bound.connect("192.168.1.108:5001").unwrap();
    let fds: [RawFd; 11] = [
        event.as_fd().as_raw_fd(),
        epoll.0.as_raw_fd(),
        read.as_raw_fd(),
        write.as_raw_fd(),
        null.as_raw_fd(),
        file.as_raw_fd(),
        root.as_raw_fd(),
        unix.as_raw_fd(),
        udp.as_raw_fd(),
        bound.as_raw_fd(),
        tcp.as_raw_fd(),
    ];
    println!("holds {}", fds.map(|fd| fd.to_string()).join(" "));
    nix::unistd::pause();
}

fn poll_often() {
    println!("polling");
    loop {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn spin() {
    println!("spinning");
    loop {
        std::hint::spin_loop();
    }
}

fn zombie() {
    let mut child = Command::new("/bin/true").spawn().unwrap();
    println!("child {}", child.id());
    nix::unistd::pause();
    child.wait().unwrap();
}

fn checked(result: i64) -> i32 {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result as i32
}

/// A set of two semaphores, a page of memory, and a queue with a message; stays
/// until its input ends, and leaves all of them.
fn system_v() {
    const CREATE: i32 = libc::IPC_CREAT | 0o600;
    // SAFETY: calls with plain integers; the pointers are to a message that
    // outlives its call, and to memory that stays attached.
    unsafe {
        let set = checked(libc::semget(1234, 2, CREATE).into());
        checked(libc::semctl(set, 1, libc::SETVAL, 3).into());
        let memory = libc::shmget(libc::IPC_PRIVATE, 4096, CREATE);
        let memory = checked(memory.into());
        checked(libc::shmat(memory, std::ptr::null(), 0) as i64);
        let queue = checked(libc::msgget(1235, CREATE).into());
        let message = (1i64, *b"hello");
        let sent = libc::msgsnd(queue, (&raw const message).cast(), 5, 0);
        checked(sent.into());
    }
    println!("made");
    let _ = io::stdin().read_line(&mut String::new());
}

/// A semaphore of 2, 100 bytes of memory, and a queue with a message.
fn posix() {
    const CREATE: i32 = libc::O_CREAT | libc::O_RDWR;
    // SAFETY: all strings end in NUL, and the attributes are whole.
    unsafe {
        let semaphore =
            libc::sem_open(c"/semaphore".as_ptr(), CREATE, 0o600, 2);
        assert!(semaphore != libc::SEM_FAILED);
        let memory = libc::shm_open(c"/memory".as_ptr(), CREATE, 0o600);
        let memory = checked(memory.into());
        checked(libc::ftruncate(memory, 100).into());
        let mut attributes: libc::mq_attr = std::mem::zeroed();
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (4, 64);
        let name = c"/queue".as_ptr();
        let queue = libc::mq_open(name, CREATE, 0o600, &raw mut attributes);
        let queue = checked(queue.into());
        let sent = libc::mq_send(queue, c"hello".as_ptr(), 5, 0);
        checked(sent.into());
    }
}

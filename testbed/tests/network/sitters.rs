//! Programs that say a line and then sit in a system call for good.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{
    Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout,
};
use nix::unistd::{ForkResult, fork, pause, pipe};

/// Sits in what is named; the address is for those who need one.
pub fn sit(what: &str, address: &str) {
    println!("sits");
    match what {
        "connect" => drop(TcpStream::connect(address)),
        "epoll" => epolls(address),
        "flock" => locks(),
        "join" => joins(),
        "mutex" => locks_twice(),
        "mq" => receives_posix(),
        "msgrcv" | "msgsnd" => messages(what == "msgsnd"),
        "pause" => pause(),
        "pipe-child" => reads_pipe(true),
        "pipe-full" => fills_pipe(),
        "pipe-self" => reads_pipe(false),
        "poll" => polls(address),
        "select" => selects(),
        "semop" => takes(),
        "sleep" => std::thread::sleep(Duration::from_secs(1000)),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "udp" => {
            let socket = UdpSocket::bind(address).unwrap();
            let _ = socket.recv(&mut [0]);
        }
        _ => panic!("nobody sits in {what}"),
    }
}

/// Connects, sends a byte and reads two.
pub fn receive(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"x").unwrap();
    println!("connected");
    let _ = stream.read_exact(&mut [0; 2]);
}

/// Connects and sends until nobody takes it any more.
pub fn send(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    println!("connected");
    let _ = stream.write_all(&vec![0; 64 << 20]);
}

fn polls(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    let stdin = std::io::stdin();
    let mut fds = [
        PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut fds, PollTimeout::from(60_000u16)).unwrap();
}

/// Told of changes alone, it does not read what has come before.
fn epolls(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll.add(&stream, EpollEvent::new(flags, 0)).unwrap();
    let mut events = [EpollEvent::empty()];
    epoll.wait(&mut events, EpollTimeout::NONE).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    epoll.wait(&mut events, EpollTimeout::NONE).unwrap();
}

fn selects() {
    let mut set = nix::sys::select::FdSet::new();
    let stdin = std::io::stdin();
    set.insert(stdin.as_fd());
    let _ = nix::sys::select::select(1, &mut set, None, None, None);
}

/// The end to write to is open here, or in a child that has inherited it.
#[allow(clippy::zombie_processes)] // Nobody ends before the host does.
fn reads_pipe(in_child: bool) {
    let (read, write) = pipe().unwrap();
    if in_child {
        Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        drop(write);
    }
    File::from(read).read_exact(&mut [0]).unwrap();
}

/// A pipe that only its child could read, and does not.
#[allow(clippy::zombie_processes)]
fn fills_pipe() {
    let (read, write) = pipe().unwrap();
    Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    drop(read);
    File::from(write).write_all(&vec![0; 1 << 20]).unwrap();
}

fn locks_twice() {
    let lock = Mutex::new(());
    let first = lock.lock();
    let second = lock.lock();
    drop((first, second));
}

fn joins() {
    let asleep = std::thread::spawn(pause);
    asleep.join().unwrap();
}

/// A child that this one's lock keeps waiting.
fn locks() {
    let open = || File::create("locked").unwrap();
    let lock = Flock::lock(open(), FlockArg::LockExclusive).unwrap();
    // SAFETY: this process has one thread.
    if let ForkResult::Child = unsafe { fork() }.unwrap() {
        let _ = Flock::lock(open(), FlockArg::LockExclusive);
    }
    pause();
    drop(lock);
}

fn takes() {
    // SAFETY: plain integers, and one operation that outlives the call.
    unsafe {
        let set = libc::semget(1234, 2, libc::IPC_CREAT | 0o600);
        libc::semctl(set, 1, libc::SETVAL, 1);
        let mut take = libc::sembuf { sem_num: 1, sem_op: -2, sem_flg: 0 };
        libc::semop(set, &raw mut take, 1);
    }
}

fn messages(send: bool) {
    let mut message = (1i64, [0u8; 8000]);
    let pointer = &raw mut message;
    // SAFETY: the pointer and the size are the message's.
    unsafe {
        let queue = libc::msgget(1235, libc::IPC_CREAT | 0o600);
        if send {
            while libc::msgsnd(queue, pointer.cast(), 8000, 0) == 0 {}
        } else {
            libc::msgsnd(queue, pointer.cast(), 5, 0);
            libc::msgrcv(queue, pointer.cast(), 8000, 7, 0);
        }
    }
}

fn receives_posix() {
    let mut message = [0u8; 64];
    // SAFETY: the name ends in NUL, the attributes are whole, and pointer and
    // length are the buffer's.
    unsafe {
        let mut attributes: libc::mq_attr = std::mem::zeroed();
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (4, 64);
        let flags = libc::O_CREAT | libc::O_RDWR;
        let name = c"/queue".as_ptr();
        let queue = libc::mq_open(name, flags, 0o600, &raw mut attributes);
        let pointer = message.as_mut_ptr().cast();
        libc::mq_receive(queue, pointer, 64, std::ptr::null_mut());
    }
}

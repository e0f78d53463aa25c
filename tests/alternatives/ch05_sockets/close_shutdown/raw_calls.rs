//! The calls themselves: fork, a signal handler that writes into a pipe, and a
//! child that closes every descriptor from 3 up but its own with close_range.
//!
//! Usage: close_shutdown ADDRESS:PORT
//! See also: sigaction(2), pipe(2), close_range(2), shutdown(2)

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::Context;
use nix::errno::Errno;

static BELL: AtomicI32 = AtomicI32::new(-1);

extern "C" fn ring(_signal: libc::c_int) {
    let errno = Errno::last_raw();
    let bell = BELL.load(Ordering::Relaxed);
    // SAFETY: write(2) may be called in a handler; it reads one byte of ours.
    unsafe { libc::write(bell, c"!".as_ptr().cast(), 1) };
    Errno::set_raw(errno);
}

struct Client {
    number: usize,
    pid: i32,
    conn: i32,
}

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.context("usage: close_shutdown ADDRESS:PORT")?;
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    let mut pipe = [0; 2];
    // SAFETY: pipe2(2) fills an array of two; the handler is a function that
    // stays, and calls nothing but write(2).
    unsafe {
        call(libc::pipe2(pipe.as_mut_ptr(), libc::O_NONBLOCK))?;
        BELL.store(pipe[1], Ordering::Relaxed);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ring as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        let none = std::ptr::null_mut();
        call(libc::sigaction(libc::SIGCHLD, &action, none))?;
    }
    let listener = TcpListener::bind(address).context("bind")?;
    listener.set_nonblocking(true).context("O_NONBLOCK")?;
    println!("listening on {address}");

    let mut clients = Vec::new();
    let mut count = 0;
    let mut listener = Some(listener);
    while listener.is_some() || !clients.is_empty() {
        let door = listener.as_ref().map_or(-1, |door| door.as_raw_fd());
        let typed = if door < 0 { -1 } else { 0 };
        let mut fds = [typed, pipe[0], door]
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // SAFETY: three descriptors, in an array of three.
        if unsafe { libc::poll(fds.as_mut_ptr(), 3, -1) } < 0 {
            continue; // EINTR: the pipe tells why
        }
        let mut buf = [0_u8; 64];
        if fds[1].revents != 0 {
            read(pipe[0], &mut buf);
        }
        reap(&mut clients);
        if fds[0].revents != 0 {
            match read(0, &mut buf) {
                0 => listener = None,
                n => obey(&String::from_utf8_lossy(&buf[..n]), &clients),
            }
        }
        let Some(door) = &listener else { continue };
        let Ok((conn, peer)) = door.accept() else { continue };
        count += 1;
        println!("client {count} is {peer}");
        let conn = conn.into_raw_fd();
        // SAFETY: there is one thread.
        match call(unsafe { libc::fork() })? {
            0 => {
                // SAFETY: nothing of what is closed is used below.
                unsafe {
                    libc::dup2(conn, 3);
                    libc::close_range(4, libc::c_uint::MAX, 0);
                }
                serve(count, 3);
                std::process::exit(0);
            }
            pid => clients.push(Client { number: count, pid, conn }),
        }
    }
    println!("stopped");
    Ok(())
}

fn reap(clients: &mut Vec<Client>) {
    clients.retain(|client| {
        // SAFETY: no status is asked for.
        let ended = unsafe {
            libc::waitpid(client.pid, std::ptr::null_mut(), libc::WNOHANG)
        };
        if ended == client.pid {
            // SAFETY: the descriptor is this client's, and is forgotten.
            unsafe { libc::close(client.conn) };
            println!("client {}: closed", client.number);
        }
        ended != client.pid
    });
}

fn obey(line: &str, clients: &[Client]) {
    let Some((word, number)) = line.trim_end().split_once(' ') else { return };
    let (how, name) = match word {
        "write" => (libc::SHUT_WR, "SHUT_WR"),
        "read" => (libc::SHUT_RD, "SHUT_RD"),
        _ => (libc::SHUT_RDWR, "SHUT_RDWR"),
    };
    let found = clients.iter().find(|it| it.number.to_string() == number);
    let Some(client) = found else { return };
    // SAFETY: shutdown(2) takes no pointers.
    match call(unsafe { libc::shutdown(client.conn, how) }) {
        Ok(_) => println!("client {number}: {name}"),
        Err(_) => println!("client {number}: {:?}", Errno::last()),
    }
}

fn serve(number: usize, conn: i32) {
    let (mut bytes, mut sent) = (0, 0);
    let mut buf = [0_u8; 512];
    let end = loop {
        // SAFETY: the buffer is as long as it says.
        let n = unsafe { libc::recv(conn, buf.as_mut_ptr().cast(), 512, 0) };
        match n {
            0 => break "end of file".to_string(),
            -1 => break format!("{:?}", Errno::last()),
            n => bytes += n,
        }
        let quiet = libc::MSG_NOSIGNAL;
        // SAFETY: so many bytes of the buffer have been filled.
        let n = unsafe {
            libc::send(conn, buf.as_ptr().cast(), n as usize, quiet)
        };
        sent += n.max(0);
    };
    println!("child {number}: {bytes} bytes in, {sent} bytes out, {end}");
}

fn read(fd: i32, buf: &mut [u8; 64]) -> usize {
    // SAFETY: the buffer is as long as it says.
    let n = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), 64) };
    n.max(0) as usize
}

fn call(answer: i32) -> io::Result<i32> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

//! Another right program: no signal at all. A process descriptor (Linux 5.3)
//! becomes readable when its process has ended, so `poll` waits for each child
//! by itself. The child reads line by line.
//!
//! Usage: zombies ADDRESS:PORT
//! See also: pidfd_open(2), waitpid(2)

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// A child that has not been waited for.
struct Child {
    pid: Pid,
    end: OwnedFd,
    peer: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let address =
        std::env::args().nth(1).context("usage: zombies ADDR:PORT")?;
    let address: SocketAddr = address.parse().context("parse ADDR:PORT")?;
    let listener = TcpListener::bind(address).context("bind")?;
    println!("listening on {address}");

    let mut children: Vec<Child> = Vec::new();
    loop {
        let stdin = io::stdin();
        let mut fds = vec![stdin.as_fd(), listener.as_fd()];
        fds.extend(children.iter().map(|child| child.end.as_fd()));
        let ready = wait(fds).context("poll")?;
        // From the back, so that the places in front of one stay.
        for at in (0..children.len()).rev().filter(|at| ready[at + 2]) {
            bury(children.remove(at)).context("waitpid")?;
        }
        if ready[1] {
            let (conn, peer) = listener.accept().context("accept")?;
            println!("child for {peer}");
            match start_process().context("fork")? {
                ForkResult::Child => {
                    drop(listener);
                    let lines = serve(conn).unwrap_or_default();
                    std::process::exit(lines);
                }
                ForkResult::Parent { child: pid } => {
                    let end = pidfd_open(pid).context("pidfd_open")?;
                    children.push(Child { pid, end, peer });
                }
            }
        }
        if ready[0] {
            break;
        }
    }
    drop(listener);
    println!("closing");
    children.into_iter().try_for_each(bury).context("waitpid")?;
    println!("stopped");
    Ok(())
}

fn serve(mut conn: TcpStream) -> io::Result<i32> {
    let mut from = BufReader::new(conn.try_clone()?);
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        conn.write_all(&line)?;
        lines += i32::from(line.ends_with(b"\n"));
    }
}

fn bury(child: Child) -> nix::Result<()> {
    if let WaitStatus::Exited(_, status) = waitpid(child.pid, None)? {
        println!("child for {} ended with status {status}", child.peer);
    }
    Ok(())
}

fn wait(fds: Vec<std::os::fd::BorrowedFd>) -> nix::Result<Vec<bool>> {
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds: Vec<PollFd> = fds.into_iter().map(watch).collect();
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect())
}

fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread.
    unsafe { fork() }
}

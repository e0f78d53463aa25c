//! Another right program: raw calls, and it knows beforehand for how many it
//! has descriptors, so that accept never fails.
//!
//! Usage: accept ADDRESS:PORT
//! See also: getrlimit(2), accept4(2), poll(2), recv(2)

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::Context;
use libc::{c_int, sockaddr_in, socklen_t};

const USAGE: &str = "usage: accept ADDRESS:PORT";
/// Three standard streams, the listener, and one in reserve.
const BESIDE: usize = 5;
const STDIN: RawFd = 0;

struct Client {
    number: usize,
    conn: OwnedFd,
    bytes: usize,
}

fn main() -> anyhow::Result<()> {
    let arg = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = arg.parse().context("parse ADDRESS:PORT")?;

    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    listener.set_nonblocking(true).context("fcntl O_NONBLOCK")?;
    println!("listening on {address}");
    while !matches!(read_input().context("read")?, 0 | b'\n') {}

    let most = most_descriptors().context("getrlimit")? - BESIDE;
    let mut clients = Vec::<Client>::new();
    let mut accepted = 0;
    loop {
        let mut fds = vec![STDIN, listener.as_raw_fd()];
        fds.extend(clients.iter().map(|client| client.conn.as_raw_fd()));
        let ready = wait(&fds).context("poll")?;
        if ready[0] && read_input().context("read")? == 0 {
            println!("stopping, {} still connected", clients.len());
            return Ok(());
        }
        while let Some((conn, peer)) = accept(&listener).context("accept")? {
            if clients.len() == most {
                println!("turned away {peer}");
                continue;
            }
            accepted += 1;
            println!("client {accepted} is {peer}");
            clients.push(Client { number: accepted, conn, bytes: 0 });
        }
        clients.retain_mut(Client::serve);
    }
}

impl Client {
    /// Sends back all that has come; `false`: that was the end.
    fn serve(&mut self) -> bool {
        let fd = self.conn.as_raw_fd();
        let end = loop {
            let mut buf = [0; 64];
            match receive(fd, &mut buf).and_then(|n| send(fd, &buf[..n])) {
                Ok(0) => break "end of file",
                Ok(count) => self.bytes += count,
                Err(err) => match err.raw_os_error() {
                    Some(libc::EAGAIN) => return true,
                    Some(libc::ECONNRESET) => break "reset",
                    _ => break "lost",
                },
            }
        };
        println!("client {}: {end} after {} bytes", self.number, self.bytes);
        false
    }
}

/// One byte of standard input; 0 at its end.
fn read_input() -> io::Result<u8> {
    let mut byte = [0];
    // SAFETY: there is room for one byte.
    check(unsafe { libc::read(STDIN, byte.as_mut_ptr().cast(), 1) })?;
    Ok(byte[0])
}

fn wait(fds: &[RawFd]) -> io::Result<Vec<bool>> {
    let events = libc::POLLIN;
    let wish = |fd: &RawFd| libc::pollfd { fd: *fd, events, revents: 0 };
    let mut wishes: Vec<libc::pollfd> = fds.iter().map(wish).collect();
    let count = wishes.len() as libc::nfds_t;
    // SAFETY: as many as the count says, and they outlive the call.
    check(unsafe { libc::poll(wishes.as_mut_ptr(), count, -1) } as isize)?;
    Ok(wishes.iter().map(|wish| wish.revents != 0).collect())
}

fn most_descriptors() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    let returned =
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    check(returned as isize)?;
    Ok(limit.rlim_cur as usize)
}

/// The next connection; `None`: there is none just now.
fn accept(
    listener: &TcpListener,
) -> io::Result<Option<(OwnedFd, SocketAddrV4)>> {
    let mut length = size_of::<sockaddr_in>() as socklen_t;
    // SAFETY: sockaddr_in is plain numbers, for which zero is a value.
    let mut name: sockaddr_in = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for `length` bytes at the address.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut name).cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC,
        )
    };
    match check(fd as isize) {
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        other => other?,
    };
    // SAFETY: the kernel has just given out this descriptor.
    let conn = unsafe { OwnedFd::from_raw_fd(fd) };
    let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
    Ok(Some((conn, SocketAddrV4::new(ip, u16::from_be(name.sin_port)))))
}

fn receive(fd: c_int, buf: &mut [u8]) -> io::Result<usize> {
    let (room, flags) = (buf.as_mut_ptr().cast(), libc::MSG_DONTWAIT);
    // SAFETY: the buffer is valid for writes of its length.
    check(unsafe { libc::recv(fd, room, buf.len(), flags) })
}

/// A few bytes: a socket's buffer has room for them.
fn send(fd: c_int, bytes: &[u8]) -> io::Result<usize> {
    let (data, flags) = (bytes.as_ptr().cast(), libc::MSG_NOSIGNAL);
    // SAFETY: the buffer is valid for reads of its length.
    check(unsafe { libc::send(fd, data, bytes.len(), flags) })
}

/// What a system call returned, or errno.
fn check(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

//! What several probes need: addresses as bytes, descriptors, interruption.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use super::Got;
use crate::ground::{Call, Ground, SOON};
use crate::stage::Halt;
use crate::sys::calls::{self, Returned};

/// What a failed socket(2) returns, and what is no descriptor.
pub(super) const NONE: RawFd = -1;
/// How often a call is interrupted until it has ended.
const BETWEEN: Duration = Duration::from_millis(2);
/// A process may have no more descriptors than this while one thread uses up
/// those that it may have.
const MOST_FILES: u64 = 512;

/// A probe's play.
pub(super) type Play = Result<Got, Halt>;

/// A socket address as connect(2) takes it: ip(7), ipv6(7).
pub(super) fn address(of: SocketAddr) -> Vec<u8> {
    let port = of.port().to_be_bytes();
    match of.ip() {
        IpAddr::V4(ip) => {
            let family = (libc::AF_INET as u16).to_ne_bytes();
            [&family[..], &port, &ip.octets(), &[0; 8]].concat()
        }
        IpAddr::V6(ip) => {
            let family = (libc::AF_INET6 as u16).to_ne_bytes();
            [&family[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat()
        }
    }
}

/// A Unix socket's address: unix(7).
pub(super) fn unix(path: &str) -> Vec<u8> {
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    [&family[..], path.as_bytes(), &[0]].concat()
}

/// A descriptor that is no socket.
pub(super) fn file() -> Result<File, Halt> {
    File::open("/dev/null").call("open /dev/null")
}

/// A UDP socket of a host, with no address.
pub(super) fn datagrams(
    ground: &Ground<'_>,
    host: &str,
) -> Result<Socket, Halt> {
    ground.at(host, "socket", || {
        Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
    })
}

/// A Unix socket.
pub(super) fn unix_socket(kind: Type) -> Result<Socket, Halt> {
    Socket::new(Domain::UNIX, kind, None).call("socket")
}

/// Makes a call on a host.
pub(super) fn on(
    ground: &Ground<'_>,
    host: &str,
    call: impl FnOnce() -> Returned + Send,
) -> Result<Returned, Halt> {
    Ok(ground.host(host)?.at(call)?)
}

/// The same without any capability: as an ordinary user's program makes it.
pub(super) fn unprivileged(
    ground: &Ground<'_>,
    host: &str,
    call: impl FnOnce() -> Returned + Send,
) -> Result<Returned, Halt> {
    ground.at(host, "capset", || {
        calls::give_up_capabilities()?;
        Ok(call())
    })
}

/// The same where no descriptor is left: the thread has a table of its own.
pub(super) fn without_descriptors(
    ground: &Ground<'_>,
    host: &str,
    call: impl FnOnce() -> Returned + Send,
) -> Result<Returned, Halt> {
    calls::limit_files(MOST_FILES).call("setrlimit")?;
    ground.at(host, "unshare CLONE_FILES", || {
        unshare(CloneFlags::CLONE_FILES)?;
        let null = File::open("/dev/null")?;
        let mut all: Vec<File> = Vec::new();
        while let Ok(another) = null.try_clone() {
            all.push(another);
        }
        Ok(call())
    })
}

/// The same with signals that interrupt it, until it has ended.
pub(super) fn interrupted(
    ground: &Ground<'_>,
    host: &str,
    call: impl FnOnce() -> Returned + Send + 'static,
) -> Result<Returned, Halt> {
    calls::handle_user_signal().call("sigaction")?;
    let (sender, number) = channel();
    let acting = ground.host(host)?.thread(move || {
        let _ = sender.send(calls::thread_number()); // Somebody waits for it.
        call()
    })?;
    let gone = |_| io::Error::other("a thread ended before it had begun");
    let thread = number.recv().map_err(gone).call("gettid")?;
    let end = Instant::now() + SOON * ground.stage.slack;
    while !acting.is_finished() {
        if Instant::now() > end {
            return Err(Halt::Missed("waited for the signal's effect".into()));
        }
        calls::signal_thread(thread);
        std::thread::sleep(BETWEEN); // It may not have called yet.
    }
    Ok(acting.join())
}

/// A call that is given what is no descriptor.
pub(super) fn not_open(call: impl FnOnce(RawFd) -> Returned) -> Play {
    Ok(call(NONE).given("the descriptor -1"))
}

/// A call that is given a file's descriptor.
pub(super) fn not_a_socket(call: impl FnOnce(RawFd) -> Returned) -> Play {
    let file = file()?;
    Ok(call(file.as_raw_fd()).given("the descriptor of `/dev/null`"))
}

/// A call that is given a pointer to nowhere, with a TCP socket.
pub(super) fn bad_pointer(
    ground: &Ground<'_>,
    host: &str,
    call: &'static str,
) -> Play {
    let socket = OwnedFd::from(ground.socket(host)?);
    let returned = calls::with_a_bad_pointer(call, socket.as_raw_fd());
    Ok(returned.given("a pointer to address 8, where nothing is"))
}

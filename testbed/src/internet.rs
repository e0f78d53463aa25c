//! The servers of [`Network::internet`](crate::Network::internet): DNS and Web.
//!
//! `ns.example.test` answers DNS queries (RFC 1035) on UDP port 53. Its zone:
//!
//! | name               | type  | data                         |
//! |--------------------|-------|------------------------------|
//! | `ns.example.test`  | A     | 203.0.113.53                 |
//! | `ns.example.test`  | AAAA  | 2001:db8:2::53               |
//! | `www.example.test` | CNAME | `web.example.test`           |
//! | `web.example.test` | A     | 203.0.113.80 and 203.0.113.81 |
//! | `web.example.test` | AAAA  | 2001:db8:2::80               |
//! | `www.lab4.test`    | CNAME | `web.example.test`           |
//!
//! `www.lab4.test` has 13 characters, so a query for it is 31 bytes long, as one
//! for the book's `www.baidu.com` is. Any other name does not exist (NXDOMAIN).
//!
//! `www.example.test` answers HTTP/1.1 (RFC 9112) on TCP port 80 of its three
//! addresses: GET and HEAD of `/` with [`PAGE`].
//!
//! ```no_run
//! # fn main() -> testbed::Result<()> {
//! let net = testbed::Network::internet().up()?;
//! let _servers = testbed::internet::serve(&net)?;
//! # Ok(())
//! # }
//! ```

mod dns;
mod http;

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use crate::error::{Call, Result};
use crate::host::{Acting, Host};
use crate::running::Testbed;

pub use http::PAGE;

const DNS_PORT: u16 = 53;
const HTTP_PORT: u16 = 80;

/// The running servers. They stop when this is dropped.
pub struct Internet {
    stop: Stop,
    threads: Vec<Acting<()>>,
}

/// Starts the servers. They answer once this has returned.
///
/// # Errors
///
/// The network is not [`Network::internet`](crate::Network::internet): one of
/// the two hosts is missing, or its port is taken.
pub fn serve(net: &Testbed) -> Result<Internet> {
    let (ns, www) =
        (net.host("ns.example.test")?, net.host("www.example.test")?);
    let sockets = bind_each(ns, DNS_PORT, UdpSocket::bind)?;
    let listeners = bind_each(www, HTTP_PORT, TcpListener::bind)?;

    let mut servers = Internet { stop: Stop::new()?, threads: Vec::new() };
    let stop = servers.stop.clone();
    servers.threads.push(ns.thread(move || dns::serve(&sockets, &stop))?);
    let stop = servers.stop.clone();
    servers.threads.push(www.thread(move || http::serve(&listeners, &stop))?);
    Ok(servers)
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.stop.ring();
        for thread in self.threads.drain(..) {
            thread.join();
        }
    }
}

/// A socket for each address of the host, not one for all: an answer must come
/// from the address that was asked, and a datagram does not say which it was.
fn bind_each<T: Send>(
    host: &Host,
    port: u16,
    bind: fn(SocketAddr) -> std::io::Result<T>,
) -> Result<Vec<T>> {
    let addresses = host.addresses().into_iter().filter(|ip| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    });
    let bound = addresses.map(|ip| {
        let address = SocketAddr::new(ip, port);
        host.at(|| bind(address))?.call(format!("bind {address}"))
    });
    bound.collect()
}

/// A bell that, once rung, keeps ringing: every thread that polls it hears it.
#[derive(Clone)]
struct Stop(Arc<EventFd>);

impl Stop {
    fn new() -> Result<Stop> {
        Ok(Stop(Arc::new(EventFd::new().call("eventfd")?)))
    }

    fn ring(&self) {
        let _ = self.0.write(1); // Fails at 2^64 - 1 rings alone.
    }

    /// Sleeps until one of the descriptors can be read: its place in the list.
    /// `None`: it is time to stop, or `limit` has passed.
    fn wait(&self, fds: &[BorrowedFd<'_>], limit: Duration) -> Option<usize> {
        let fds = fds.iter().copied().chain([self.0.as_fd()]);
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        while let Err(nix::Error::EINTR) = poll(&mut fds, timeout) {}
        let readable = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        if fds.last().is_some_and(readable) {
            return None;
        }
        fds.iter().position(readable)
    }
}

//! TCP sockets as the kernel sees them, by sock_diag(7).
//!
//! A dump lists what /proc/net/tcp and `ss` list: listening sockets,
//! connections, request sockets (SYN-RECV, before any `accept`) and the small
//! entries that stand for a connection in TIME-WAIT.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use serde::{Deserialize, Serialize};

use crate::error::{Call, Result};

/// A state of RFC 9293, section 3.3.2, by the name that `ss` gives it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
#[allow(missing_docs)] // The names are the RFC's.
pub enum TcpState {
    Established,
    SynSent,
    SynRecv,
    #[serde(rename = "FIN-WAIT-1")]
    FinWait1,
    #[serde(rename = "FIN-WAIT-2")]
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl TcpState {
    /// From the number in <net/tcp_states.h>.
    fn from_kernel(number: u8) -> Option<TcpState> {
        Some(match number {
            1 => TcpState::Established,
            2 => TcpState::SynSent,
            3 | 12 => TcpState::SynRecv, // 12: a request socket
            4 => TcpState::FinWait1,
            5 => TcpState::FinWait2,
            6 => TcpState::TimeWait,
            7 => TcpState::Closed,
            8 => TcpState::CloseWait,
            9 => TcpState::LastAck,
            10 => TcpState::Listen,
            11 => TcpState::Closing,
            _ => return None,
        })
    }

    /// The name as `ss` and this crate's traces print it.
    pub fn name(self) -> &'static str {
        match self {
            TcpState::Established => "ESTABLISHED",
            TcpState::SynSent => "SYN-SENT",
            TcpState::SynRecv => "SYN-RECV",
            TcpState::FinWait1 => "FIN-WAIT-1",
            TcpState::FinWait2 => "FIN-WAIT-2",
            TcpState::TimeWait => "TIME-WAIT",
            TcpState::Closed => "CLOSED",
            TcpState::CloseWait => "CLOSE-WAIT",
            TcpState::LastAck => "LAST-ACK",
            TcpState::Listen => "LISTEN",
            TcpState::Closing => "CLOSING",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One TCP socket of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSocket {
    /// Where the connection is in its life.
    pub state: TcpState,
    /// The address and port of this end.
    pub local: SocketAddr,
    /// The other end; port 0 while listening.
    pub peer: SocketAddr,
    /// Bytes not yet read; for a listener, connections waiting for `accept`.
    pub receive_queue: u32,
    /// Bytes not yet acknowledged; for a listener, its backlog.
    pub send_queue: u32,
    /// The most memory that what is received may use: SO_RCVBUF. 0 where no
    /// whole socket stands for the connection, as in TIME-WAIT.
    #[serde(default)]
    pub receive_buffer: u32,
    /// The same for what is to be sent: SO_SNDBUF.
    #[serde(default)]
    pub send_buffer: u32,
    /// The timer that runs, if any.
    pub timer: Option<Timer>,
    /// Times that the current segment was sent again.
    pub retransmits: u8,
    /// The inode behind the descriptor; 0 when no process holds one.
    pub inode: u32,
}

/// A running timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// What it is for.
    pub kind: TimerKind,
    /// Milliseconds until it expires.
    pub expires_ms: u32,
}

/// The timers that inet_diag tells apart (`idiag_timer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum TimerKind {
    Retransmit,
    Keepalive,
    TimeWait,
    ZeroWindow,
}

/// A question to the kernel about the sockets of one network namespace: that
/// of the thread that opened it, wherever it is used from later.
pub(crate) struct Inspector {
    socket: Socket,
}

impl Inspector {
    pub(crate) fn open() -> Result<Inspector> {
        let mut socket =
            Socket::new(NETLINK_SOCK_DIAG).call("socket NETLINK_SOCK_DIAG")?;
        socket.bind_auto().call("bind NETLINK_SOCK_DIAG")?;
        Ok(Inspector { socket })
    }

    /// Every TCP socket, IPv4 before IPv6, in the kernel's order.
    pub(crate) fn tcp(&self) -> Result<Vec<TcpSocket>> {
        let mut found = Vec::new();
        self.dump(libc::AF_INET as u8, &mut found)
            .call("sock_diag SOCK_DIAG_BY_FAMILY tcp")?;
        match self.dump(libc::AF_INET6 as u8, &mut found) {
            // A kernel without IPv6 has no such sockets.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            other => other.call("sock_diag SOCK_DIAG_BY_FAMILY tcp6")?,
        }
        Ok(found)
    }

    fn dump(&self, family: u8, found: &mut Vec<TcpSocket>) -> io::Result<()> {
        self.socket.send(&dump_request(family), 0)?;
        loop {
            let (answer, _from) = self.socket.recv_from_full()?;
            let mut rest = answer.as_slice();
            while let Some((kind, body, next)) = next_message(rest) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return Err(error_of(body)),
                    _ => found.extend(parse(body)),
                }
                rest = next;
            }
        }
    }
}

const HEADER: usize = 16; // struct nlmsghdr
const REQUEST: usize = HEADER + 56; // struct inet_diag_req_v2
const MESSAGE: usize = 72; // struct inet_diag_msg
const INET_DIAG_SKMEMINFO: u16 = 7;

/// `SOCK_DIAG_BY_FAMILY` for all TCP sockets of a family, in any state.
fn dump_request(family: u8) -> [u8; REQUEST] {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut request = [0; REQUEST];
    request[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[16] = family;
    request[17] = libc::IPPROTO_TCP as u8;
    request[18] = 1 << (INET_DIAG_SKMEMINFO - 1); // idiag_ext
    request[20..24].copy_from_slice(&u32::MAX.to_ne_bytes()); // idiag_states
    request
}

/// Splits the first message off: its type, its body, and what follows.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((kind, body, &bytes[next..]))
}

fn error_of(body: &[u8]) -> io::Error {
    let code = body.get(0..4).and_then(|code| code.try_into().ok());
    io::Error::from_raw_os_error(-i32::from_ne_bytes(code.unwrap_or_default()))
}

/// A `struct inet_diag_msg` of <linux/inet_diag.h>, and its attributes.
fn parse(body: &[u8]) -> Option<TcpSocket> {
    let byte = |at: usize| body.get(at).copied();
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?))
    };
    let address = |port_at: usize, at: usize| -> Option<SocketAddr> {
        let port = body.get(port_at..port_at + 2)?.try_into().ok()?;
        let ip = if i32::from(byte(0)?) == libc::AF_INET {
            let octets: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
            IpAddr::V4(Ipv4Addr::from(octets))
        } else {
            let octets: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port)))
    };
    let kind = match byte(2)? {
        1 => Some(TimerKind::Retransmit),
        2 => Some(TimerKind::Keepalive),
        3 => Some(TimerKind::TimeWait),
        4 => Some(TimerKind::ZeroWindow),
        _ => None,
    };
    let expires_ms = word(52)?;
    let memory = attribute(body.get(MESSAGE..)?, INET_DIAG_SKMEMINFO);
    let (receive_buffer, send_buffer) = memory.map_or((0, 0), buffers);
    Some(TcpSocket {
        state: TcpState::from_kernel(byte(1)?)?,
        local: address(4, 8)?,
        peer: address(6, 24)?,
        receive_queue: word(56)?,
        send_queue: word(60)?,
        receive_buffer,
        send_buffer,
        timer: kind.map(|kind| Timer { kind, expires_ms }),
        retransmits: byte(3)?,
        inode: word(68)?,
    })
}

/// The value of an attribute (`struct rtattr`: length, type, value).
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let half = |at: usize, bytes: &[u8]| -> Option<u16> {
        Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
    };
    loop {
        let length = usize::from(half(0, bytes)?);
        let value = bytes.get(4..length)?;
        if half(2, bytes)? == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// SO_RCVBUF and SO_SNDBUF of `SK_MEMINFO_*` in <linux/sock_diag.h>.
fn buffers(memory: &[u8]) -> (u32, u32) {
    let word = |number: usize| {
        let bytes = memory.get(4 * number..4 * number + 4);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    (word(1), word(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::{RcvBuf, SndBuf};
    use std::net::TcpListener;

    #[test]
    fn a_listener_shows_its_backlog() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets = Inspector::open().unwrap().tcp().unwrap();
        let mine = sockets.iter().find(|s| s.local == address).unwrap();
        assert_eq!(mine.state, TcpState::Listen);
        assert!(mine.send_queue >= 128, "{mine:?}");
        let asked = getsockopt(&listener, RcvBuf).unwrap();
        assert_eq!(mine.receive_buffer as usize, asked);
        let asked = getsockopt(&listener, SndBuf).unwrap();
        assert_eq!(mine.send_buffer as usize, asked);
    }

    #[test]
    fn truncated_answers_are_not_sockets() {
        assert_eq!(parse(&[2, 1, 0, 0]), None);
        assert!(next_message(&[40, 0, 0, 0, 20, 0]).is_none());
    }
}

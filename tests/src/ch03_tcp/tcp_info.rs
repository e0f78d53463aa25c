//! What a kernel thinks of one of the grader's own connections: `struct tcp_info`
//! of <linux/tcp.h>.

use std::io;
use std::os::fd::AsFd;

use crate::sys;

/// The part that this chapter asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpInfo {
    /// Open, Disorder, CWR, Recovery or Loss: 0 to 4.
    pub(super) ca_state: u8,
    /// How often the retransmission timer has expired for the oldest segment.
    pub(super) retransmits: u8,
    /// The retransmission timeout, in microseconds.
    pub(super) rto: u32,
    /// Segments sent and not acknowledged.
    pub(super) unacked: u32,
    /// The smoothed round-trip time, in microseconds.
    pub(super) rtt: u32,
    /// Its mean deviation, in microseconds.
    pub(super) rttvar: u32,
    /// The slow start threshold, in segments.
    pub(super) ssthresh: u32,
    /// The congestion window, in segments.
    pub(super) cwnd: u32,
    /// Segments that have come for this connection (Linux 4.2).
    pub(super) segs_in: u32,
}

impl TcpInfo {
    /// Asks the kernel.
    pub(super) fn of(socket: &impl AsFd) -> io::Result<TcpInfo> {
        let bytes = sys::tcp_info(socket.as_fd())?;
        let word = |at: usize| {
            let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u32::from_ne_bytes(word)
        };
        Ok(TcpInfo {
            ca_state: bytes[1],
            retransmits: bytes[2],
            rto: word(8),
            unacked: word(24),
            rtt: word(68),
            rttvar: word(72),
            ssthresh: word(76),
            cwnd: word(80),
            segs_in: word(140),
        })
    }

    /// `tcpi_ca_state` in words.
    pub(super) fn ca(&self) -> &'static str {
        ["Open", "Disorder", "CWR", "Recovery", "Loss"]
            .get(usize::from(self.ca_state))
            .unwrap_or(&"?")
    }
}

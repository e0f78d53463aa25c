//! The wire's end of a host's cable: a TAP device or a packet socket.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SocketError;

use crate::error::{Call, Result};
use crate::{netlink, sys};

/// Where the wire reads what a host sends and writes what it is to receive.
pub(crate) trait Port: Send {
    /// Readable when a frame waits.
    fn fd(&self) -> BorrowedFd<'_>;

    /// The next frame, or WouldBlock.
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize>;

    /// Gives a frame to the host.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;

    /// Link up or down, as the host's driver would see it.
    fn set_carrier(&mut self, on: bool) -> Result<()>;

    /// The wire's own device at this end of the cable, if it is one.
    fn device(&self) -> Option<&str> {
        None
    }

    /// Frames lost between the host and the wire since the last call.
    fn drops(&mut self) -> u64;
}

/// The file behind a TAP device: a read is a frame that the host's kernel has
/// sent, a write a frame that it receives before the write returns.
pub(crate) struct Tap(pub(crate) File);

impl Port for Tap {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        self.0.read(frame)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(frame)
    }

    fn set_carrier(&mut self, on: bool) -> Result<()> {
        sys::set_carrier(&self.0, on).call("ioctl TUNSETCARRIER")
    }

    fn drops(&mut self) -> u64 {
        0 // They are counted by the device (tx_dropped).
    }
}

/// A packet socket on the far end of a host's veth pair.
pub(crate) struct Pkt {
    socket: File,
    interface: String,
}

impl Pkt {
    pub(crate) fn new(socket: OwnedFd, interface: String) -> Pkt {
        Pkt { socket: File::from(socket), interface }
    }
}

impl Port for Pkt {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        self.socket.read(frame)
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.socket.write_all(frame)
    }

    /// Runs on the wire's thread, whose namespace holds the far ends.
    fn set_carrier(&mut self, on: bool) -> Result<()> {
        netlink::set_up(&self.interface, on)?;
        // A device that goes down leaves ENETDOWN in the socket: the next call
        // would fail with it, though the link may be up again by then.
        getsockopt(&self.socket, SocketError).call("getsockopt SO_ERROR")?;
        Ok(())
    }

    fn device(&self) -> Option<&str> {
        Some(&self.interface)
    }

    fn drops(&mut self) -> u64 {
        sys::packet_drops(&self.socket).unwrap_or(0)
    }
}

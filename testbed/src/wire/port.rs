//! The wire's end of a host's cable: a TAP device or a packet socket.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SocketError;

use crate::error::{Call, Error, Result};
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
    /// `None`: a machine's own, in a network that the wire is not in.
    interface: Option<String>,
}

impl Pkt {
    pub(crate) fn new(socket: OwnedFd, interface: String) -> Pkt {
        Pkt { socket: File::from(socket), interface: Some(interface) }
    }

    /// The way from this machine to the others.
    pub(crate) fn uplink(socket: OwnedFd) -> Pkt {
        Pkt { socket: File::from(socket), interface: None }
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
        let Some(interface) = &self.interface else {
            return Err(Error::new("the machine's own link is not the wire's"));
        };
        netlink::set_up(interface, on)?;
        // A device that goes down leaves ENETDOWN in the socket: the next call
        // would fail with it, though the link may be up again by then.
        getsockopt(&self.socket, SocketError).call("getsockopt SO_ERROR")?;
        Ok(())
    }

    fn device(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    fn drops(&mut self) -> u64 {
        sys::packet_drops(&self.socket).unwrap_or(0)
    }
}

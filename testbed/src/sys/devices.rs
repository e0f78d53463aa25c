//! The wire's ends of the hosts' interfaces: TAP devices and packet sockets.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ulong};

use super::cvt;

/// `TUNSETIFF`: the device behind an open /dev/net/tun, in the network
/// namespace of the thread that opened it. Whole Ethernet frames, no header.
pub(crate) fn create_tap(tun: &impl AsRawFd, name: &str) -> io::Result<()> {
    let mut request = InterfaceRequest::new(name);
    let flags = (libc::IFF_TAP | libc::IFF_NO_PI) as u16;
    request.data[..2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one ifreq, which this is.
    cvt(unsafe {
        libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request)
    })?;
    Ok(())
}

/// `TUNSETCARRIER`, since Linux 5.0: link up or down, as with a real cable.
pub(crate) fn set_carrier(tap: &impl AsRawFd, on: bool) -> io::Result<()> {
    const TUNSETCARRIER: c_ulong = 0x4004_54e2;
    let value = c_int::from(on);
    // SAFETY: TUNSETCARRIER reads one int.
    cvt(unsafe {
        libc::ioctl(tap.as_raw_fd(), TUNSETCARRIER as _, &raw const value)
    })?;
    Ok(())
}

/// Switches an interface's offloads off (`SIOCETHTOOL`): checksums are then
/// real and no frame is longer than the MTU allows.
pub(crate) fn no_offload(name: &str) -> io::Result<()> {
    /// ETHTOOL_STXCSUM, SSG, STSO, SGSO, SGRO of <linux/ethtool.h>.
    const OFF: [u32; 5] = [0x17, 0x19, 0x1f, 0x24, 0x2c];
    const SIOCETHTOOL: c_ulong = 0x8946;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    for command in OFF {
        let mut value = [command, 0];
        let mut request = InterfaceRequest::new(name);
        let pointer = value.as_mut_ptr() as usize;
        request.data[..8].copy_from_slice(&pointer.to_ne_bytes());
        // SAFETY: the request points at an ethtool_value, two u32, which
        // lives until the call is over.
        cvt(unsafe {
            libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request)
        })?;
    }
    Ok(())
}

/// An AF_PACKET socket bound to the interface with this index: every frame
/// that arrives there, and none that we send (packet(7)).
pub(crate) fn packet_socket(index: u32) -> io::Result<OwnedFd> {
    const PACKET_IGNORE_OUTGOING: c_int = 23;
    const QUEUE: c_int = 8 << 20;
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain integer arguments.
    let fd = cvt(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the kernel has just given us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_option(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
    // Capped by rmem_max and wmem_max; what is granted will do.
    set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, QUEUE)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, QUEUE)?;
    // SAFETY: all fields of sockaddr_ll are integers; zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `address`.
    cvt(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length)
    })?;
    Ok(fd)
}

/// Frames that an AF_PACKET socket had no room for (`PACKET_STATISTICS`,
/// which starts again at 0 with each call).
pub(crate) fn packet_drops(fd: &impl AsRawFd) -> io::Result<u64> {
    let mut stats = [0u32; 2]; // tp_packets, tp_drops
    let mut length = mem::size_of_val(&stats) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `stats`.
    cvt(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            stats.as_mut_ptr().cast(),
            &mut length,
        )
    })?;
    Ok(u64::from(stats[1]))
}

/// A request of netdevice(7): an interface's name and 24 bytes of argument.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    data: [u8; 24],
}

impl InterfaceRequest {
    fn new(name: &str) -> InterfaceRequest {
        let mut request =
            InterfaceRequest { name: [0; libc::IFNAMSIZ], data: [0; 24] };
        let len = name.len().min(libc::IFNAMSIZ - 1);
        request.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        request
    }
}

fn set_option(
    fd: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `value`.
    cvt(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    })?;
    Ok(())
}

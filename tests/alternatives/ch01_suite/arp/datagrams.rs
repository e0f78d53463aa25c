//! Another right program: SOCK_DGRAM, where the kernel writes the Ethernet
//! header from the address of sendto(2) and takes it off what arrives. It waits
//! with poll(2), and hears frames of every kind.
//!
//! Usage: arp INTERFACE ADDRESS [MILLISECONDS]

use std::io;
use std::mem::size_of_val;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    recv, socket,
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let target: Ipv4Addr = args[2].parse().context("parse ADDRESS")?;
    let wait = args.get(3).map_or(Ok(1000), |text| text.parse())?;
    let (mut link, mut own) = (None, None);
    for entry in getifaddrs()?.filter(|one| one.interface_name == args[1]) {
        let Some(address) = entry.address else { continue };
        link = link.or(address.as_link_addr().copied());
        own = own.or(address.as_sockaddr_in().map(|v4| v4.ip()));
    }
    let (link, own) = link.zip(own).context("no such interface")?;
    let all = SockProtocol::EthAll;
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, all)
        .context("socket")?;
    bind(fd.as_raw_fd(), &link).context("bind")?;
    let station = link.addr().context("no station address")?;

    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(station);
    arp.extend(own.octets());
    arp.extend([0xff; 6]); // whatever: nobody looks at it
    arp.extend(target.octets());
    for _ in 0..3 {
        println!("who has {target}? tell {own}");
        send_to_everybody(&fd, &arp, &link).context("sendto")?;
        if let Some(at) = wait_for(&fd, target, Duration::from_millis(wait))? {
            let at: Vec<String> =
                at.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("{target} is at {}", at.join(":"));
            return Ok(());
        }
    }
    println!("no answer from {target}");
    Ok(())
}

fn wait_for(
    fd: &OwnedFd,
    target: Ipv4Addr,
    wait: Duration,
) -> anyhow::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left.as_millis())?;
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, left).context("poll")? == 0 {
            return Ok(None);
        }
        let mut packet = [0; 100];
        let flags = MsgFlags::MSG_DONTWAIT;
        let length = recv(fd.as_raw_fd(), &mut packet, flags)?;
        let is_reply = packet.starts_with(&[0, 1, 8, 0, 6, 4, 0, 2]);
        if length >= 28 && is_reply && packet[14..18] == target.octets() {
            return Ok(Some(packet[8..14].to_vec()));
        }
    }
}

/// `sendto(2)` with the address of all stations.
fn send_to_everybody(
    fd: &OwnedFd,
    bytes: &[u8],
    link: &LinkAddr,
) -> io::Result<()> {
    let mut to: libc::sockaddr_ll = *link.as_ref();
    to.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
    to.sll_halen = 6;
    to.sll_addr = [0xff; 8];
    // SAFETY: the pointers and lengths are those of `bytes` and `to`.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const to).cast(),
            size_of_val(&to) as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

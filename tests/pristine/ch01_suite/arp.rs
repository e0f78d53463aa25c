//! Ask which station has an IP address: an ARP request in bytes, and its reply.
//!
//! An Ethernet frame goes to a station, so before an IP packet can leave, the
//! kernel asks all stations on the wire who has its address, and the one that
//! has it answers (RFC 826). ARP lies directly on Ethernet: no socket with an
//! address and a port can send it. A packet socket can (packet(7)). It takes and
//! gives whole frames, 14 bytes of Ethernet header first, and it needs
//! CAP_NET_RAW.
//!
//! Usage: arp INTERFACE ADDRESS [MILLISECONDS]
//! See also: packet(7), arp(7), getifaddrs(3), arping(8); RFC 826, RFC 894

use std::io::{self, ErrorKind, Read};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::LinkAddr;
use socket2::Socket;

const USAGE: &str = "usage: arp INTERFACE ADDRESS [MILLISECONDS]";
const TRIES: usize = 3;

type Station = [u8; 6];

/// What the request says of us.
struct Own {
    /// The interface and its station address, as bind(2) takes them.
    link: LinkAddr,
    station: Station,
    address: Ipv4Addr,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let interface = args.next().context(USAGE)?;
    let target: Ipv4Addr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS")?;
    let wait = args.next().unwrap_or("1000".to_string());
    let wait = Duration::from_millis(wait.parse().context(USAGE)?);
    let own = Own::of(&interface).context("getifaddrs")?;

    let socket = open(&own)?;
    for _ in 0..TRIES {
        println!("who has {target}? tell {}", own.address);
        socket.send(&request(&own, target)).context("send")?;
        if let Some(station) = reply(&socket, target, wait).context("recv")? {
            println!("{target} is at {}", text(station));
            return Ok(());
        }
    }
    println!("no answer from {target}");
    Ok(())
}

/// A socket for the ARP frames of one interface.
fn open(own: &Own) -> anyhow::Result<Socket> {
    // 1. Open a socket of the family AF_PACKET (`Domain::PACKET`) and the type
    //    SOCK_RAW, for the protocol ETH_P_ARP, which socket(2) wants in network
    //    byte order.
    // 2. Bind it to `own.link`: it then sends from that interface, and receives
    //    what arrives there.
    todo!("open is not written: {}", own.link)
}

/// The whole frame: 14 bytes of Ethernet, 28 of ARP.
fn request(own: &Own, target: Ipv4Addr) -> Vec<u8> {
    // 3. Ethernet: the receiver's station address, which is every station's;
    //    ours; the type ETH_P_ARP.
    // 4. ARP: hardware type 1 (Ethernet), protocol type ETH_P_IP, the lengths 6
    //    and 4, the operation 1 (request); our station and IP address; the
    //    target's station address, which is not known: zeros; its IP address.
    //    Numbers of 16 bits go most significant byte first.
    todo!("request is not written: {:?} {target}", own.station)
}

/// The station, if this frame is a reply, and says who has `target`.
fn is_at(frame: &[u8], target: Ipv4Addr) -> Option<Station> {
    // 5. None, unless the frame has 14 + 28 bytes, its operation is 2 (reply),
    //    and its sender's IP address is `target`. The station that is wanted is
    //    then the sender's.
    todo!("is_at is not written: {} bytes, {target}", frame.len())
}

/// Reads frames until one has the answer, or there has been none for so long.
fn reply(
    mut socket: &Socket,
    target: Ipv4Addr,
    wait: Duration,
) -> io::Result<Option<Station>> {
    let deadline = Instant::now() + wait;
    let mut frame = [0; 1514];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        // Every ARP frame that reaches this host comes here, whoever asked.
        match socket.read(&mut frame) {
            Ok(length) => match is_at(&frame[..length], target) {
                None => continue,
                station => return Ok(station),
            },
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(err) => return Err(err),
        }
    }
}

impl Own {
    /// getifaddrs(3) has an entry for each address of an interface: one is its
    /// station address, one its IPv4 address.
    fn of(interface: &str) -> anyhow::Result<Own> {
        let (mut link, mut address) = (None, None);
        for entry in getifaddrs()?.filter(|e| e.interface_name == interface) {
            let Some(found) = entry.address else { continue };
            link = link.or(found.as_link_addr().copied());
            address = address.or(found.as_sockaddr_in().map(|v4| v4.ip()));
        }
        let link = link.with_context(|| format!("no interface {interface}"))?;
        let station = link.addr().context("no station address")?;
        let address = address.context("no IPv4 address")?;
        Ok(Own { link, station, address })
    }
}

fn text(station: Station) -> String {
    station.map(|byte| format!("{byte:02x}")).join(":")
}

//! The mistake: it takes the reply's target for the answer, as if the fields
//! stood as in the request.
//!
//! Usage: arp INTERFACE ADDRESS [MILLISECONDS]
//! See also: packet(7), arp(7), getifaddrs(3), arping(8); RFC 826, RFC 894

use std::io::{self, ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: arp INTERFACE ADDRESS [MILLISECONDS]";
const TRIES: usize = 3;
const ETHERNET: usize = 14; // the header's length

// Operations.
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

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
    // The protocol is the type in the Ethernet header, in its byte order.
    let arp = i32::from((libc::ETH_P_ARP as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(arp.into()))
        .context("socket AF_PACKET")?;
    bind(socket.as_raw_fd(), &own.link).context("bind")?;
    Ok(socket)
}

/// The whole frame: 14 bytes of Ethernet, 28 of ARP.
fn request(own: &Own, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend([0xff; 6]); // to every station: who has it is the question
    frame.extend(own.station);
    frame.extend((libc::ETH_P_ARP as u16).to_be_bytes());

    frame.extend(1u16.to_be_bytes()); // hardware: Ethernet
    frame.extend((libc::ETH_P_IP as u16).to_be_bytes()); // protocol: IPv4
    frame.extend([6, 4]); // the lengths of their addresses
    frame.extend(REQUEST.to_be_bytes());
    frame.extend(own.station);
    frame.extend(own.address.octets());
    frame.extend([0; 6]); // what is asked for
    frame.extend(target.octets());
    frame
}

/// The station, if this frame is a reply, and says who has `target`.
fn is_at(frame: &[u8], target: Ipv4Addr) -> Option<Station> {
    let arp = frame.get(ETHERNET..ETHERNET + 28)?;
    let is_reply = arp[6..8] == REPLY.to_be_bytes();
    // In a reply, the one that was asked for is the sender.
    let is_about = arp[14..18] == target.octets();
    if is_reply && is_about { arp[18..24].try_into().ok() } else { None }
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

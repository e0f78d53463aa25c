//! Hear ICMP redirects, and say which router a packet goes to.
//!
//! A router that sends a packet back to the wire from which it came tells the
//! sender of the better router there. The message quotes the packet, and the
//! destination in the quote is what it is about. A host that believes it holds
//! an exception for that one address; its routing table stays as it is. Anybody
//! can send such a message, so not every one is to be believed.
//!
//! Usage: redirect INTERFACE ADDRESS/LENGTH GATEWAY
//!        (then a destination a line on standard input)
//! See also: raw(7), icmp(7), ip-route(8); RFC 792, RFC 1122, section 3.2.2.2

#![allow(dead_code)] // Until your code uses what is given here.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: redirect INTERFACE ADDRESS/LENGTH GATEWAY";
const REDIRECT: u8 = 5;

/// What the host knows of the way.
struct Host {
    interface: String,
    address: Ipv4Addr,
    mask: Ipv4Addr,
    /// The gateway of the default route.
    gateway: Ipv4Addr,
    /// What redirects have changed: a destination, and its gateway.
    exceptions: HashMap<Ipv4Addr, Ipv4Addr>,
}

/// A redirect: who says so, of which destination, and the better gateway.
struct Redirect {
    from: Ipv4Addr,
    destination: Ipv4Addr,
    gateway: Ipv4Addr,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [interface, address, gateway] = &args[..] else {
        anyhow::bail!(USAGE);
    };
    let (address, length) = address.split_once('/').context(USAGE)?;
    let length: u32 = length.parse().context("parse LENGTH")?;
    let mut host = Host {
        interface: interface.clone(),
        address: address.parse().context("parse ADDRESS")?,
        mask: Ipv4Addr::from(u32::MAX.checked_shl(32 - length).unwrap_or(0)),
        gateway: gateway.parse().context("parse GATEWAY")?,
        exceptions: HashMap::new(),
    };
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .context("socket IPPROTO_ICMP")?;
    println!("listening");

    let mut typed = String::new();
    loop {
        if wait(&socket).context("poll")? {
            let packet = receive(&socket).context("recv")?;
            hear(&mut host, &packet).context("read the settings")?;
        } else if !read(&mut typed).context("read standard input")? {
            return Ok(());
        }
        while let Some((line, rest)) = typed.split_once('\n') {
            let to = line.trim().parse().context("parse a destination")?;
            println!("{to} by {}", host.next_hop(to));
            typed = rest.to_string();
        }
    }
}

/// Acts on an ICMP message, if it is a redirect.
fn hear(host: &mut Host, packet: &[u8]) -> io::Result<()> {
    let Some(redirect) = parse(packet) else { return Ok(()) };
    let Redirect { from, destination, gateway } = redirect;
    let what = format!("redirect from {from}: {destination} by {gateway}");
    match host.objection(&redirect)? {
        Some(objection) => println!("{what}, ignored: {objection}"),
        None => {
            host.exceptions.insert(destination, gateway);
            println!("{what}, taken");
        }
    }
    Ok(())
}

/// The redirect in an IP packet with an ICMP message; `None`: it is another
/// message, or its checksum is wrong, or it quotes too little.
fn parse(packet: &[u8]) -> Option<Redirect> {
    // 1. After the IP header: type 5, a code, the checksum, four bytes with the
    //    better gateway's address, and what the message quotes: an IP header
    //    and 8 bytes at least.
    // 2. The checksum is over the whole message; a raw socket gets its copy
    //    before the kernel looks at it.
    // 3. The sender of the message is in its own IP header, the destination
    //    that it is about in the quoted one.
    todo!("parse is not started: {} bytes", packet.len())
}

impl Host {
    /// The gateway to which a packet to this destination goes now.
    fn next_hop(&self, to: Ipv4Addr) -> Ipv4Addr {
        // 1. What a redirect has changed, or else the default route's.
        todo!("next_hop is not started: {to}")
    }

    /// Why a redirect is not to be followed, if it is not.
    fn objection(&self, redirect: &Redirect) -> io::Result<Option<&str>> {
        // 1. `not accepted`: accept_redirects is 0, both the interface's and
        //    that of `all`; on a host one of the two is enough.
        // 2. `not from its gateway`: the sender is not the one to which a
        //    packet to this destination goes now.
        // 3. `no gateway here`: the new gateway is not on this wire, by
        //    address and mask, or is this host or the sender itself.
        todo!("objection is not started: {}", redirect.destination)
    }
}

/// A setting of an interface, or of `all`: is it 1?
fn setting(interface: &str) -> io::Result<bool> {
    let path = "/proc/sys/net/ipv4/conf";
    let path = format!("{path}/{interface}/accept_redirects");
    Ok(fs::read_to_string(path)?.trim() == "1")
}

/// The Internet checksum (RFC 1071): 0 over a message that is whole.
fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    };
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum + (sum >> 16)) as u16
}

/// The address at a place that is known to be there.
fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// Sleeps until an ICMP message is there, `true`, or something is typed, or
/// standard input has ended.
fn wait(socket: &Socket) -> nix::Result<bool> {
    let stdin = io::stdin();
    let mut fds = [
        PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(fds[0].any().unwrap_or(false))
}

/// The IP packet of the next ICMP message.
fn receive(mut socket: &Socket) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 2048];
    let length = socket.read(&mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

/// Adds what has been typed; `false`: it has ended.
fn read(typed: &mut String) -> nix::Result<bool> {
    let mut buf = [0; 512];
    let length = nix::unistd::read(io::stdin(), &mut buf)?;
    typed.push_str(&String::from_utf8_lossy(&buf[..length]));
    Ok(length > 0)
}

//! The mistake: the message is believed, whatever its checksum says.
//!
//! Usage: redirect INTERFACE ADDRESS/LENGTH GATEWAY
//!        (then a destination a line on standard input)
//! See also: raw(7), icmp(7), ip-route(8); RFC 792, RFC 1122, section 3.2.2.2

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
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header..)?;
    if *message.first()? != REDIRECT || message[1..].len() < 27 {
        return None;
    }
    // Code 0 says network and code 1 host, but a message has no mask in it:
    // RFC 1122 takes each for the one destination that it quotes.
    let quoted = &message[8..];
    Some(Redirect {
        from: address(packet, 12),
        destination: address(quoted, 16),
        gateway: address(message, 4),
    })
}

impl Host {
    /// The gateway to which a packet to this destination goes now.
    fn next_hop(&self, to: Ipv4Addr) -> Ipv4Addr {
        self.exceptions.get(&to).copied().unwrap_or(self.gateway)
    }

    /// Why a redirect is not to be followed, if it is not.
    fn objection(&self, redirect: &Redirect) -> io::Result<Option<&str>> {
        let Redirect { from, destination, gateway } = *redirect;
        let here = gateway & self.mask == self.address & self.mask;
        // On a host one of the two settings is enough; a router needs both.
        let accepts = setting("all")? || setting(&self.interface)?;
        Ok(if !accepts {
            Some("not accepted")
        } else if from != self.next_hop(destination) {
            Some("not from its gateway")
        } else if !here || gateway == self.address || gateway == from {
            Some("no gateway here")
        } else {
            None
        })
    }
}

/// A setting of an interface, or of `all`: is it 1?
fn setting(interface: &str) -> io::Result<bool> {
    let path = "/proc/sys/net/ipv4/conf";
    let path = format!("{path}/{interface}/accept_redirects");
    Ok(fs::read_to_string(path)?.trim() == "1")
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

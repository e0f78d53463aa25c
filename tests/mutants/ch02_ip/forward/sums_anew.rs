//! The mistake: the checksum is made anew, and never looked at before.
//!
//! Usage: forward router            (its kernel's net.ipv4.ip_forward is 0)
//!        forward trace ADDRESS
//! See also: packet(7), raw(7), ip(7); RFC 1812, RFC 1624, RFC 792, RFC 826

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, recvfrom, sendto};
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: forward router | forward trace ADDRESS";
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
/// Unreachable, source quench, redirect, time exceeded, parameter problem.
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
/// Where nobody listens, so that the destination says so.
const FIRST_PORT: u16 = 33434;
const MOST_HOPS: u16 = 5;
/// How long an answer may take, a router's and a neighbour's.
const PATIENCE: Duration = Duration::from_secs(2);

/// An interface of the router.
struct Link {
    name: String,
    index: usize,
    address: Ipv4Addr,
    mask: Ipv4Addr,
    station: [u8; 6],
}

/// What is done with a packet.
enum Action<'a> {
    /// It is for the router's kernel.
    Leave,
    /// It goes no further, and the reason.
    Drop(&'static str),
    /// It has no time left.
    Expire,
    /// It goes on, as it now is, by this link.
    Forward(&'a Link),
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["router"] => route(),
        ["trace", address] => trace(address.parse().context("parse ADDRESS")?),
        _ => bail!(USAGE),
    }
}

/// Forwards until the end of standard input.
fn route() -> anyhow::Result<()> {
    let links = links().context("getifaddrs")?;
    // SOCK_DGRAM: the Ethernet header comes as an address, and goes as one.
    let packets = packet_socket(libc::ETH_P_IP).context("socket AF_PACKET")?;
    let errors = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .context("socket IPPROTO_ICMP")?;
    let mut neighbours = HashMap::new();
    let names: Vec<&str> = links.iter().map(|l| l.name.as_str()).collect();
    println!("routing between {}", names.join(" and "));

    while wait(&packets).context("poll")? {
        let (mut packet, from) = receive(&packets).context("recvfrom")?;
        let broadcast = from.pkttype() != libc::PACKET_HOST;
        let before = packet.clone();
        let action = decide(&mut packet, broadcast, &links);
        if let Action::Leave = action {
            continue;
        }
        let way = format!("{} > {}", source(&before), destination(&before));
        match action {
            Action::Leave => {}
            Action::Drop(why) => println!("{way} dropped: {why}"),
            Action::Expire => match time_exceeded(&packet) {
                None => println!("{way} expired"),
                Some(message) => {
                    println!("{way} expired, told");
                    let to = SocketAddr::new(source(&packet).into(), 0);
                    errors.send_to(&message, &to.into()).context("sendto")?;
                }
            },
            Action::Forward(link) => {
                let next = destination(&packet);
                let station = station(link, next, &mut neighbours);
                let Some(station) = station.context("ask by ARP")? else {
                    println!("{way} dropped: no answer by ARP");
                    continue;
                };
                let (ttl, name) = (packet[8], &link.name);
                println!("{way} by {name}, ttl {} then {ttl}", before[8]);
                send(&packets, &packet, link, libc::ETH_P_IP, station)
                    .context("sendto")?;
            }
        }
    }
    Ok(())
}

/// What becomes of a packet that has arrived on a link of the router; `packet`
/// is then as it goes on.
fn decide<'a>(
    packet: &mut [u8],
    broadcast: bool,
    links: &'a [Link],
) -> Action<'a> {
    let to = destination(packet);
    if links.iter().any(|link| link.address == to)
        || to.is_broadcast()
        || to.is_multicast()
        || to.is_loopback()
    {
        return Action::Leave;
    }
    let header = usize::from(packet[0] & 0x0f) * 4;
    if header < 20 || header > packet.len() {
        return Action::Drop("header");
    }
    if broadcast {
        return Action::Drop("broadcast");
    }
    let inside = |link: &&Link| link.address & link.mask == to & link.mask;
    let Some(link) = links.iter().find(inside) else {
        return Action::Drop("no route");
    };
    // Before it is lowered: a packet never leaves with 0 to live.
    if packet[8] <= 1 {
        return Action::Expire;
    }
    packet[8] -= 1;
    mend(packet);
    Action::Forward(link)
}

/// The header checksum after the time to live has gone down by one.
fn mend(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let new = sum(&packet[..header]);
    packet[10..12].copy_from_slice(&new.to_be_bytes());
}

/// The message for the sender of a packet whose time is used up, from its type
/// to the end of what it quotes; `None`: nobody may be told.
fn time_exceeded(packet: &[u8]) -> Option<Vec<u8>> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff;
    // RFC 1122, section 3.2.2: an error about an error could go on for ever.
    let error = packet[9] == libc::IPPROTO_ICMP as u8
        && packet.get(header).is_none_or(|kind| ERRORS.contains(kind));
    if fragment != 0 || error {
        return None;
    }
    let mut message = vec![TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0];
    message.extend(&packet[..packet.len().min(header + 8)]);
    let sum = sum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(message)
}

/// Sends datagrams with 1, 2, 3 ... to live, and prints who answers.
fn trace(to: Ipv4Addr) -> anyhow::Result<()> {
    let answers = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .context("socket IPPROTO_ICMP")?;
    let probe = UdpSocket::bind("0.0.0.0:0").context("bind")?;
    let port = probe.local_addr().context("getsockname")?.port();
    for hop in 1..=MOST_HOPS {
        probe.set_ttl(hop.into()).context("setsockopt IP_TTL")?;
        let ports = (port, FIRST_PORT + hop);
        probe.send_to(b"", (to, ports.1)).context("sendto")?;
        match answer(&answers, to, ports).context("recv")? {
            None => println!("{hop} *"),
            Some((who, TIME_EXCEEDED)) => println!("{hop} {who}"),
            Some((who, _)) => {
                println!("{hop} {who}, there");
                break;
            }
        }
    }
    Ok(())
}

/// Waits for the error that quotes this probe: who says so, and its type.
fn answer(
    socket: &Socket,
    to: Ipv4Addr,
    ports: (u16, u16),
) -> io::Result<Option<(Ipv4Addr, u8)>> {
    let deadline = Instant::now() + PATIENCE;
    while let Some(packet) = receive_until(socket, deadline)? {
        let header = usize::from(packet[0] & 0x0f) * 4;
        let icmp = packet.get(header..).unwrap_or_default();
        let Some((head, quoted)) = icmp.split_at_checked(8) else { continue };
        let inner = usize::from(quoted.first().unwrap_or(&0) & 0x0f) * 4;
        // The socket gets a copy of every ICMP message to this host.
        let Some(found) = quoted.get(inner..inner + 4) else { continue };
        let mine = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        if [UNREACHABLE, TIME_EXCEEDED].contains(&head[0])
            && quoted[9] == libc::IPPROTO_UDP as u8
            && destination(quoted) == to
            && found == mine
        {
            return Ok(Some((source(&packet), head[0])));
        }
    }
    Ok(None)
}

/// The Internet checksum (RFC 1071): 0 over a header that is whole.
fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn source(packet: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15])
}

fn destination(packet: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19])
}

/// The router's links: those with an IPv4 address, and not the loopback.
fn links() -> nix::Result<Vec<Link>> {
    let all: Vec<_> = getifaddrs()?.collect();
    let links = all.iter().filter_map(|one| {
        let address = one.address?.as_sockaddr_in()?.ip();
        let mask = one.netmask?.as_sockaddr_in()?.ip();
        let name = one.interface_name.clone();
        let same = all.iter().filter(|other| other.interface_name == name);
        let link = same.filter_map(|other| other.address).find_map(|address| {
            address.as_link_addr().map(|l| (l.ifindex(), l.addr()))
        });
        let (index, station) = link?;
        let link = Link { name, index, address, mask, station: station? };
        (!address.is_loopback()).then_some(link)
    });
    Ok(links.collect())
}

/// Sleeps until a packet is there; `false`: standard input has ended.
fn wait(packets: &Socket) -> nix::Result<bool> {
    let stdin = io::stdin();
    let mut fds = [
        PollFd::new(packets.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(fds[0].any().unwrap_or(false))
}

/// The next packet, without the padding of a short frame, and its sender.
fn receive(socket: &Socket) -> nix::Result<(Vec<u8>, LinkAddr)> {
    let mut packet = vec![0; 65536];
    loop {
        let received = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut packet)?;
        let (read, Some(from)) = received else { continue };
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        if read < 20 || packet[0] >> 4 != 4 || !(20..=read).contains(&length) {
            continue; // No IPv4 packet, or not all of it.
        }
        packet.truncate(length);
        return Ok((packet, from));
    }
}

/// The next packet of a raw socket; `None`: it is too late.
fn receive_until(
    socket: &Socket,
    deadline: Instant,
) -> io::Result<Option<Vec<u8>>> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(None);
    }
    socket.set_read_timeout(Some(left))?;
    let mut buf = [MaybeUninit::uninit(); 2048];
    match socket.recv(&mut buf) {
        Ok(length) => {
            // SAFETY: recv has written this many bytes.
            let byte = |b: &MaybeUninit<u8>| unsafe { b.assume_init() };
            Ok(Some(buf[..length].iter().map(byte).collect()))
        }
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(err) => Err(err),
    }
}

/// The station address of a neighbour on a link, asked for by ARP (RFC 826)
/// unless it is known; `None`: nobody answers.
fn station(
    link: &Link,
    neighbour: Ipv4Addr,
    known: &mut HashMap<Ipv4Addr, [u8; 6]>,
) -> anyhow::Result<Option<[u8; 6]>> {
    if let Some(station) = known.get(&neighbour) {
        return Ok(Some(*station));
    }
    let socket = packet_socket(libc::ETH_P_ARP).context("socket AF_PACKET")?;
    // Ethernet, IPv4, lengths 6 and 4, a request; sender; target.
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend(link.station);
    request.extend(link.address.octets());
    request.extend([0; 6]);
    request.extend(neighbour.octets());
    send(&socket, &request, link, libc::ETH_P_ARP, [0xff; 6])?;
    let deadline = Instant::now() + PATIENCE;
    while let Some(arp) = receive_until(&socket, deadline)? {
        let from = arp.get(14..18).unwrap_or_default();
        if arp.get(..8) == Some(&[0, 1, 8, 0, 6, 4, 0, 2])
            && from == neighbour.octets()
        {
            let station = arp[8..14].try_into().context("a station")?;
            known.insert(neighbour, station);
            return Ok(Some(station));
        }
    }
    Ok(None)
}

/// A packet socket for one protocol, on every link.
fn packet_socket(protocol: i32) -> io::Result<Socket> {
    let protocol = i32::from((protocol as u16).to_be());
    Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(protocol)))
}

/// Sends a packet to a station on a link; its kernel writes the Ethernet header.
fn send(
    socket: &Socket,
    packet: &[u8],
    link: &Link,
    protocol: i32,
    station: [u8; 6],
) -> nix::Result<()> {
    // SAFETY: all fields of sockaddr_ll are integers; zero is valid.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = (protocol as u16).to_be();
    to.sll_ifindex = link.index as i32;
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(&station);
    // SAFETY: the pointer is to a whole sockaddr_ll of the family AF_PACKET.
    let to = unsafe { LinkAddr::from_raw((&raw const to).cast(), None) };
    let to = to.ok_or(nix::Error::EINVAL)?;
    sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty())?;
    Ok(())
}

//! The protocol suite: frames, ARP, UDP and DNS.

mod arp;
mod dns;
mod udp;

use super::bytes::{self, Datagram, ICMP, IP, word};
use super::ground::{Call, Ground, SOON, list, yes};
use super::{Probe, Seen, ch02};
use crate::stage::{Halt, KONGMING, LAPTOP};

pub(super) const PROBES: &[Probe] = &[
    Probe::lan("1.1-1", icmp_checksum),
    Probe::lan("1.1-2", icmp_types).with_internet(),
    Probe::lan("1.1-3", arp::reverse),
    Probe::lan("1.1-4", udp::cut_off),
    Probe::lan("1.1-5", udp::tells_the_sender),
    Probe::lan("1.1-6", udp::keeps_no_copy),
    Probe::lan("1.2-1", ethernet),
    Probe::lan("1.3-1", ether_types),
    Probe::lan("1.3-3", protocol_field),
    Probe::lan("1.5-1", arp::lengths),
    Probe::lan("1.5-3", arp::fields),
    Probe::lan("1.5-4", arp::broadcast).with_internet(),
    Probe::lan("1.5-5", arp::cache),
    Probe::lan("1.6-3", dns::types).with_internet(),
    Probe::lan("1.6-4", dns::name_field).with_internet(),
    Probe::lan("1.6-5", dns::length).with_internet(),
    Probe::lan("1.6-6", dns::by_address).with_internet(),
    Probe::lan("1.6-7", dns::counts).with_internet(),
];

/// 1.1-1
fn icmp_checksum(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let mut echo = bytes::echo(8);
    // Two words of its data change places; then one bit is another.
    echo[8..12].copy_from_slice(&[2, 3, 0, 1]);
    let answered = |ground: &Ground<'_>, echo: &[u8]| {
        let before = ground.icmp_from(KONGMING)?.len();
        let frame = Datagram::new(ends, ICMP, echo).frame(ends.1);
        ground.throw(LAPTOP, &frame)?;
        ground.round_trip()?;
        Ok::<usize, Halt>(ground.icmp_from(KONGMING)?.len() - before)
    };
    let exchanged = answered(ground, &echo)?;
    echo[8] ^= 1;
    let changed = answered(ground, &echo)?;
    let evidence = format!(
        "echo requests with two words exchanged, and with one bit changed: \
         {exchanged} and {changed} answered"
    );
    Ok(Seen::other(exchanged == 0, exchanged == 1 && changed == 0, evidence))
}

/// 1.1-2
fn icmp_types(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let closed = ground.address(KONGMING)?;
    let socket = ground.udp(LAPTOP)?;
    socket.connect(closed).call("connect")?;
    socket.send(b"hello").call("send")?;
    let _ = socket.recv(&mut [0]);
    let unreachable = ground.icmp_from(KONGMING)?;
    let unreachable = unreachable.first().map(|m| (m[0], m[1]));
    ground.ping(LAPTOP, ground.ip(KONGMING)?, 8, SOON)?;
    let echo = ground.icmp_from(LAPTOP)?;
    let echo = echo.first().map(|message| message[0]);
    let redirect = ch02::provoke_redirect(ground)?.map(|m| (m[0], m[1]));
    let told = |found: Option<(u8, u8)>| match found {
        Some((kind, code)) => format!("type {kind} code {code}"),
        None => "none".to_string(),
    };
    let evidence = format!(
        "port unreachable: {}; echo request: type {}; redirect for a host: {}",
        told(unreachable),
        echo.unwrap_or_default(),
        told(redirect)
    );
    let so = unreachable == Some((3, 3))
        && echo == Some(8)
        && redirect == Some((5, 1));
    Ok(Seen::so(so, evidence))
}

/// 1.2-1
fn ethernet(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    if ground.broken {
        ground.host(LAPTOP)?.set_mtu("eth0", 1400)?;
    }
    let mtu = ground.setting(LAPTOP, "net.ipv6.conf.eth0.mtu")?;
    let (client, server) = ground.udp_pair()?;
    for length in [1472, 1473] {
        client.send(&vec![b'.'; length]).call("send")?;
        server.recv(&mut [0; 2000]).call("recv")?;
    }
    let frames = ground.frames("ip from ernest-laptop")?;
    let lengths: Vec<usize> =
        frames.iter().map(|frame| frame.2.len()).collect();
    let (laptop, kongming) = ground.ends(LAPTOP, KONGMING)?;
    let header = &frames[0].2;
    let named = header[..6] == bytes::station(kongming)
        && header[6..12] == bytes::station(laptop)
        && word(header, 12) == 0x0800;
    let evidence = format!(
        "the MTU is {mtu}; packets of 1500 and 1501 bytes left in frames of \
         {lengths}; two addresses of 6 bytes and a type: {named}",
        lengths = list(&lengths),
        named = yes(named),
    );
    let so = mtu == "1500" && lengths == [1514, 1514, 35] && named;
    Ok(Seen::so(so, evidence))
}

/// 1.3-1
fn ether_types(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    let server = ground.host(KONGMING)?;
    let ip = match (ground.broken, server.ip6()) {
        (true, Some(ip)) => ip,
        _ => server.ip(),
    };
    let address = SocketAddr::new(ip, 2000);
    let _listener =
        ground.at(KONGMING, "bind", || TcpListener::bind(address))?;
    ground.at(LAPTOP, "connect", || TcpStream::connect(address))?;
    let kind = |what: &str| {
        let frames = ground.frames(what)?;
        let kind = frames.first().map(|frame| word(&frame.2, 12));
        Ok::<_, Halt>(kind.map_or("none".into(), |kind| format!("{kind:#06x}")))
    };
    let (ip, arp) = (kind("tcp")?, kind("arp")?);
    let evidence =
        format!("EtherType of a packet with a segment {ip}, of ARP {arp}");
    Ok(Seen::so(ip == "0x0800" && arp == "0x0806", evidence))
}

/// 1.3-3
fn protocol_field(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let echo = bytes::echo(8);
    let mut datagram = Datagram::new(ends, ICMP, &echo);
    datagram.ttl = 200;
    let frame = datagram.frame(ends.1);
    let both = word(&frame, IP + 8);
    ground.throw(LAPTOP, &frame)?;
    ground.round_trip()?;
    let answered = ground.icmp_from(KONGMING)?.len();
    let evidence = format!(
        "with {both:#06x} in those 16 bits, TTL 200 and protocol 1, an echo \
         request is answered: {answered}"
    );
    Ok(Seen::other(answered == 0, answered == 1, evidence))
}

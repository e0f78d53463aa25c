//! What happens: a program asks, and then its kernel does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use testbed::Neighbour;

use super::frame::{Frame, OWN, Station, station, text};
use super::{ANSWERED, TRIES};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// The step from which on the kernel asks, and no program does.
pub(super) const TURN: &str = "the program has ended: now the kernel's own";

const INTERFACE: &str = "eth0";
/// How long a program of the take `silent` waits for each answer: long enough
/// for two frames to arrive meanwhile.
const WAIT_MS: u64 = 300;
/// What a program waits that is not told how long.
const USUAL_WAIT_MS: u64 = 1000;
/// How long the kernel waits in a verdict, not in a run that is looked at.
const RETRANS_MS: &str = "50";

pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    stage.fact("own address", OWN.to_string());
    stage.fact("own", text(station(OWN)));
    if stage.take == ANSWERED { answered(stage) } else { silent(stage) }
}

/// Whoever looks on may have another address asked for.
fn target(stage: &Stage) -> Result<Ipv4Addr, Halt> {
    let kongming = match stage.net.host(KONGMING)?.ip() {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let asked = stage.values.first().and_then(|text| text.parse().ok());
    Ok(asked.unwrap_or(kongming))
}

fn answered(stage: &mut Stage) -> Result<(), Halt> {
    let target = target(stage)?;
    stage.fact("arp asks for", target.to_string());
    let there = stage.net.host(KONGMING)?.ip() == IpAddr::V4(target);
    if there {
        stage.fact("arp finds", text(station(target)));
    }
    stage.fact("wait", USUAL_WAIT_MS);
    let args = [INTERFACE.to_string(), target.to_string()];
    let program = stage.start("arp", LAPTOP, args)?;
    stage.end(program)?;
    let left = show_table(stage, LAPTOP)?;
    stage.fact("table", left);
    show_table(stage, KONGMING)?;
    if !there {
        return Ok(()); // The kernel would ask for the same, and not find it.
    }
    the_kernels_turn(stage)
}

/// The neighbour table of the laptop's kernel, from empty to FAILED.
fn the_kernels_turn(stage: &mut Stage) -> Result<(), Halt> {
    stage.step(LAPTOP, TURN)?;
    let address = stage.address(KONGMING)?;
    let kongming = address.ip();
    let peer = stage.net.host(KONGMING)?.at(|| UdpSocket::bind(address))?;
    let peer = peer.map_err(|err| missed("bind", err))?;

    send(stage, address, Some(&peer), "a datagram to Kongming20")?;
    show_table(stage, LAPTOP)?;
    send(stage, address, Some(&peer), "another one")?;

    stage.step(LAPTOP, "the entry is deleted; a third datagram")?;
    stage.net.host(LAPTOP)?.forget_neighbour(INTERFACE, kongming)?;
    send_quietly(stage, address, Some(&peer))?;

    stage.step(LAPTOP, "the entry is set by hand; a fourth datagram")?;
    set(stage, kongming, kongming)?;
    send_quietly(stage, address, Some(&peer))?;
    show_table(stage, LAPTOP)?;

    stage.step(LAPTOP, "set by hand to a station that nobody has; a fifth")?;
    set(stage, kongming, IpAddr::from([192, 168, 1, 99]))?;
    send_quietly(stage, address, None)?;

    stage
        .step(LAPTOP, "the entry is deleted; a connect, and no reply comes")?;
    stage.net.host(LAPTOP)?.forget_neighbour(INTERFACE, kongming)?;
    nobody_replies(stage, address)
}

/// The kernel asks as often as it does, and gives up.
fn nobody_replies(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let laptop = stage.net.host(LAPTOP)?;
    if !stage.story {
        let setting = "net/ipv4/neigh/eth0/retrans_time_ms";
        laptop.set_sysctl(setting, RETRANS_MS)?;
    }
    stage.net.wire().arm("drop every arp from Kongming20")?;
    let refused = laptop.at(|| TcpStream::connect(address))?;
    let how = match refused {
        Ok(_) => "connect: connected".to_string(),
        Err(err) => format!("connect: {err}"),
    };
    stage.step(LAPTOP, how)?;
    show_table(stage, LAPTOP)?;
    Ok(())
}

fn send(
    stage: &Stage,
    to: SocketAddr,
    peer: Option<&UdpSocket>,
    text: &str,
) -> Result<(), Halt> {
    stage.step(LAPTOP, text)?;
    send_quietly(stage, to, peer)
}

/// A datagram from the laptop; it has arrived where it should, if anywhere.
fn send_quietly(
    stage: &Stage,
    to: SocketAddr,
    peer: Option<&UdpSocket>,
) -> Result<(), Halt> {
    let socket = stage.net.host(LAPTOP)?.at(|| UdpSocket::bind((OWN, 0)))?;
    let socket = socket.map_err(|err| missed("bind", err))?;
    socket.send_to(b"hello", to).map_err(|err| missed("sendto", err))?;
    let Some(peer) = peer else { return Ok(()) };
    let limit = stage.left().max(std::time::Duration::from_millis(1));
    peer.set_read_timeout(Some(limit)).map_err(|err| missed("recv", err))?;
    peer.recv(&mut [0; 64]).map_err(|err| missed("recv", err))?;
    Ok(())
}

fn missed(call: &str, err: std::io::Error) -> Halt {
    Halt::Missed(format!("the datagrams of the kernel's turn: {call}: {err}"))
}

fn set(stage: &Stage, address: IpAddr, like: IpAddr) -> Result<(), Halt> {
    let IpAddr::V4(like) = like else { return Ok(()) };
    let laptop = stage.net.host(LAPTOP)?;
    Ok(laptop.set_neighbour(INTERFACE, address, station(like))?)
}

/// A step that says what a host's table has, of IPv4; the entries.
fn show_table(stage: &Stage, host: &str) -> Result<Vec<String>, Halt> {
    let mut table = stage.net.host(host)?.neighbours(INTERFACE)?;
    table.retain(|entry| entry.address.is_ipv4());
    let entries: Vec<String> = table.iter().map(line).collect();
    let shown = match entries.is_empty() {
        true => "empty".to_string(),
        false => entries.join(", "),
    };
    stage.step(host, format!("neighbour table: {shown}"))?;
    Ok(entries)
}

fn line(entry: &Neighbour) -> String {
    let station = entry.station.map(|bytes| format!(" {}", text(bytes)));
    let station = station.unwrap_or_default();
    format!("{}{station} {}", entry.address, entry.state)
}

/// The first reply is lost, and what comes instead is none; and an address that
/// nobody has is asked for in vain.
fn silent(stage: &mut Stage) -> Result<(), Halt> {
    let target = target(stage)?;
    let nobody = Ipv4Addr::new(192, 168, 1, stage.draw.count(120..=250) as u8);
    let other = Ipv4Addr::new(192, 168, 1, stage.draw.count(2..=99) as u8);
    let (another, cut) = (draw_station(stage), draw_station(stage));
    stage.fact("lost asks for", target.to_string());
    stage.fact("lost finds", text(station(target)));
    stage.fact("nobody asks for", nobody.to_string());
    stage.fact("another", text(another));
    stage.fact("cut", text(cut));
    stage.fact("wait", WAIT_MS);

    let args = |address: Ipv4Addr| {
        [INTERFACE.to_string(), address.to_string(), WAIT_MS.to_string()]
    };
    let in_vain = stage.start("nobody", LAPTOP, args(nobody))?;
    stage.net.wire().arm("drop arp from Kongming20")?;
    let lost = stage.start("lost", LAPTOP, args(target))?;
    if stage.soon("arp from Kongming20", 1)? {
        let kongming = stage.net.host(KONGMING)?;
        let frame = Frame::reply(other, another).bytes();
        kongming.send_frame(INTERFACE, &frame)?;
        let frame = Frame::reply(target, cut).cut();
        kongming.send_frame(INTERFACE, &frame)?;
    }
    stage.end(lost)?;
    stage.soon("arp from ernest-laptop", 2 + TRIES)?;
    stage.end(in_vain)
}

fn draw_station(stage: &mut Stage) -> Station {
    let [a, b, c, d] = stage.draw.word().to_be_bytes();
    [0x52, 0x55, a, b, c, d]
}

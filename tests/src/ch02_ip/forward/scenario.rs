//! What happens on the way through Kongming20 and the router.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::super::packets::{
    EVERYONE, Header, ICMP, icmp, packets, send, station, sum,
};
use super::{
    ECHO_REPLY, INSIDE, MIDDLE, NAME_SERVER, NEAR, ROUTER, TIME_EXCEEDED,
    UNREACHABLE, probes,
};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// How long its answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// RFC 1035, section 4.1: number 0x0fd2, recursion desired, one question: the
/// address (A, IN) of www.lab4.test.
const QUERY: &[u8] = b"\x0f\xd2\x01\0\0\x01\0\0\0\0\0\0\
    \x03www\x04lab4\x04test\0\0\x01\0\x01";

pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    stage.net.host(ROUTER)?.set_sysctl("net.ipv4.ip_forward", "0")?;
    let kongming = stage.net.host(KONGMING)?;
    kongming.set_sysctl("net.ipv4.ip_forward", "1")?;
    for interface in ["all", "eth0"] {
        let name = format!("net.ipv4.conf.{interface}.send_redirects");
        kongming.set_sysctl(&name, "0")?;
    }
    let laptop = stage.net.host(LAPTOP)?;
    laptop.replace_route(&format!("default via {MIDDLE}"))?;
    let drawn = Ipv4Addr::new(203, 0, 113, 80 + stage.draw.count(0..=1) as u8);
    let given = stage.values.first().and_then(|value| value.parse().ok());
    let to = given.unwrap_or(drawn);
    stage.fact("destination", to);

    let router = stage.start("router", ROUTER, ["router"])?;
    stage.line(router, "routing between ")?;
    let args = ["trace".to_string(), to.to_string()];
    // What comes back from the router is held until another's has been there.
    let hold = match stage.story {
        true => None,
        false => Some(stage.net.wire().arm("hold icmp from router")?),
    };
    let trace = stage.start("trace", LAPTOP, args)?;
    if let Some(hold) = hold {
        stage.soon("icmp from router", 1)?;
        answer_of_another(stage)?;
        stage.idle(trace)?;
        stage.net.wire().release(&hold)?;
    }
    stage.end(trace)?;

    stage.step(LAPTOP, "asks the name server for www.lab4.test")?;
    stage.fact("answered", name_server_answers(stage)?);
    unusual(stage, to)?;
    stage.rests(router)?;
    stage.step(ROUTER, "end of the program's input")?;
    stage.close_stdin(router);
    stage.end(router)
}

/// A time exceeded from Kongming20 that quotes a datagram of another program on
/// ernest-laptop, one that traces the same way.
fn answer_of_another(stage: &mut Stage) -> Result<(), Halt> {
    let trace = stage.net.trace()?;
    let probes = probes(&packets(&trace));
    let Some(last) = probes.last() else { return Ok(()) };
    let mut quoted = last.bytes[..28].to_vec();
    quoted[20] ^= 0x01; // Its source port.
    let header = Header {
        id: 0,
        fragment: 0,
        ttl: 64,
        protocol: ICMP,
        source: MIDDLE,
        destination: NEAR,
    };
    let message = icmp(TIME_EXCEEDED, 0, [0; 4], &quoted);
    let seen = count(stage, "icmp from Kongming20")?;
    let kongming = stage.net.host(KONGMING)?;
    send(kongming, MIDDLE, station(NEAR), &header.build(&message))?;
    stage.frames("icmp from Kongming20", seen + 1)
}

fn count(stage: &Stage, what: &str) -> Result<usize, Halt> {
    Ok(stage.net.trace()?.select(what)?.frames().count())
}

/// Does the name server's answer come through?
fn name_server_answers(stage: &Stage) -> Result<bool, Halt> {
    let patience = PATIENCE * stage.slack;
    let answered = stage.net.host(LAPTOP)?.at(|| {
        let socket = UdpSocket::bind((NEAR, 0))?;
        socket.set_read_timeout(Some(patience))?;
        socket.connect((NAME_SERVER, 53))?;
        socket.send(QUERY)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        Ok::<_, std::io::Error>(
            length > QUERY.len() && answer[..2] == QUERY[..2],
        )
    })?;
    Ok(answered.is_ok_and(|right| right))
}

/// A packet that a kernel would not send.
struct Unusual {
    what: &'static str,
    to: [u8; 6],
    packet: Vec<u8>,
}

/// What each of them is: the sequence number of its echo reply says which, from
/// 1. A kernel that gets such a reply, and has not asked, says nothing.
pub(super) const UNUSUAL: [&str; 9] = [
    "a header with options",
    "a checksum that carries",
    "a checksum that becomes 0",
    BROKEN,
    BROADCAST,
    "a last hop",
    ERROR,
    FRAGMENT,
    "a plain packet",
];
pub(super) const BROKEN: &str = "a header that is broken";
pub(super) const BROADCAST: &str = "a packet by broadcast";
pub(super) const ERROR: &str = "an error at its last hop";
pub(super) const FRAGMENT: &str = "a later fragment at its last hop";

/// Sends them past Kongming20, straight to the router's station.
fn unusual(stage: &mut Stage, to: Ipv4Addr) -> Result<(), Halt> {
    let mut last = Vec::new();
    for (at, what) in UNUSUAL.into_iter().enumerate() {
        let Unusual { what, to, packet } =
            sample(stage, to, at as u8 + 1, what);
        stage.step(LAPTOP, format!("sends {what}"))?;
        send(stage.net.host(LAPTOP)?, NEAR, to, &packet)?;
        last = packet;
    }
    // What comes before the last has been dealt with when the last has.
    stage.patiently(|stage, glance| {
        let trace = stage.net.trace()?;
        let through = packets(&trace)
            .iter()
            .any(|seen| seen.host == ROUTER && seen.bytes[12..] == last[12..]);
        if through {
            return Ok(Some(()));
        }
        stage.net.wait_frames("any", trace.frames().count() + 1, glance)?;
        Ok(None)
    })?;
    Ok(())
}

fn sample(
    stage: &mut Stage,
    destination: Ipv4Addr,
    number: u8,
    what: &'static str,
) -> Unusual {
    let plain = Header {
        id: stage.draw.count(0x1000..=0xe000) as u16,
        fragment: 0,
        ttl: stage.draw.count(3..=200) as u8,
        protocol: ICMP,
        source: NEAR,
        destination,
    };
    let data = stage.draw.letters(16);
    let echo = icmp(ECHO_REPLY, 0, [0, 0, 0, number], data.as_bytes());
    let short = Header { ttl: 1, ..plain };
    let low = stage.draw.count(0x10..=0xe0) as u16;
    let mut to = station(INSIDE);
    let packet = match what {
        "a header with options" => with_options(plain.build(&echo)),
        "a checksum that carries" => {
            plain.with_checksum(0xff00 | low, echo.len()).build(&echo)
        }
        "a checksum that becomes 0" => {
            plain.with_checksum(0xfeff, echo.len()).build(&echo)
        }
        BROKEN => {
            let mut packet = plain.build(&echo);
            packet[10] ^= 0x10;
            packet
        }
        BROADCAST => {
            to = EVERYONE;
            plain.build(&echo)
        }
        "a last hop" => short.build(&echo),
        ERROR => {
            let about = plain.build(&echo);
            short.build(&icmp(UNREACHABLE, 1, [0, 0, 0, number], &about))
        }
        FRAGMENT => Header { fragment: 185, ..short }.build(&echo),
        _ => plain.build(&echo),
    };
    Unusual { what, to, packet }
}

/// The same packet with four options that do nothing.
fn with_options(mut packet: Vec<u8>) -> Vec<u8> {
    packet.splice(20..20, [1, 1, 1, 1]);
    packet[0] = 0x46;
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[10..12].fill(0);
    let checksum = sum(&packet[..24]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

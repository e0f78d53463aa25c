//! What happens: line after line, sound, damaged, and forged.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use testbed::trace::What;

use super::PROGRAM;
use super::frame::checksum;
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// The step from which on the frames are the scenario's own.
pub(super) const AGAIN: &str =
    "the last frame again, with one bit of the IPv4 checksum turned over";

const INTERFACE: &str = "eth0";
const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 108);
/// What of the kernel's counting says that a datagram is lost; the last grows
/// with the first too.
const ERRORS: [&str; 4] =
    ["UdpInCsumErrors", "IpInHdrErrors", "UdpNoPorts", "UdpInErrors"];
const LONGEST: usize = 2000;

pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let (texts, damaged) = texts(stage);
    // The line before the damaged one has the checksum 0, by its sender's port.
    let zero = damaged.map(|at| at - 1);
    let port = match zero.and_then(|at| texts.get(at)) {
        Some(text) => port_for(address, text),
        None => stage.draw.port(),
    };
    stage.fact("texts", &texts);
    stage.fact("told", told(address, port, ""));
    let peer = stage.net.host(KONGMING)?.at(|| UdpSocket::bind(address))?;
    let peer = peer.map_err(missed)?;
    peer.set_nonblocking(true).map_err(missed)?;

    let station = hex_station(address);
    let args = [INTERFACE, &port.to_string(), &station, &address.to_string()];
    let program = stage.start(PROGRAM, LAPTOP, args)?;
    let mut fates = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        if damaged == Some(at) {
            stage.step(LAPTOP, "the next datagram is damaged on the way")?;
            stage.net.wire().arm("corrupt ip from ernest-laptop")?;
        }
        let before = errors(stage)?;
        stage.send(program, text);
        stage.line(program, "sent ")?;
        fates.push(fate(stage, &peer, before, text)?);
        stage.fact("fates", &fates);
    }
    stage.close_stdin(program);
    stage.end(program)?;
    let table = stage.net.host(LAPTOP)?.neighbours(INTERFACE)?;
    let table = table.iter().filter(|entry| entry.address.is_ipv4());
    let table: Vec<String> = table.map(|e| e.address.to_string()).collect();
    stage.fact("table", &table);
    if !table.is_empty() {
        return Ok(()); // They were not the program's frames.
    }
    let Some(mut frame) = last_frame(stage)? else { return Ok(()) };
    stage.step(LAPTOP, AGAIN)?;
    frame[25] ^= 1;
    let before = errors(stage)?;
    stage.net.host(LAPTOP)?.send_frame(INTERFACE, &frame)?;
    fates.push(fate(stage, &peer, before, "")?);
    stage.fact("fates", &fates);
    Ok(())
}

/// The lines, and which of them is damaged. Whoever looks on may say others.
fn texts(stage: &mut Stage) -> (Vec<String>, Option<usize>) {
    if !stage.values.is_empty() {
        return (stage.values.clone(), None);
    }
    let even = 2 * stage.draw.count(3..=9) as usize;
    let odd = 2 * stage.draw.count(3..=9) as usize + 1;
    let lengths = [even, odd, 0, even + 2, odd + 2, odd];
    let texts = lengths.map(|length| stage.draw.letters(length));
    (texts.to_vec(), Some(4))
}

/// A frame as it should be, but for its checksums and identification.
fn told(to: SocketAddr, port: u16, text: &str) -> Vec<u8> {
    let IpAddr::V4(ip) = to.ip() else { return Vec::new() };
    let station = |ip: Ipv4Addr| [&[0x52, 0x54], &ip.octets()[..]].concat();
    let length = 8 + text.len() as u16;
    let mut bytes = [station(ip), station(OWN), vec![8, 0, 0x45, 0]].concat();
    bytes.extend((20 + length).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    bytes.extend(OWN.octets());
    bytes.extend(ip.octets());
    for word in [port, to.port(), length, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// The port from which the checksum of this text's datagram comes to 0.
fn port_for(to: SocketAddr, text: &str) -> u16 {
    let frame = told(to, 0, text);
    let mut summed = frame[26..34].to_vec();
    summed.extend([0, 17]);
    summed.extend(&frame[38..40]);
    summed.extend(&frame[34..]);
    // Added to the sum it gives 0xffff, whose complement is 0.
    checksum(&summed)
}

fn hex_station(address: SocketAddr) -> String {
    let bytes = &told(address, 0, "")[..6];
    let bytes: Vec<String> =
        bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// What Kongming20's kernel has counted as lost.
fn errors(stage: &Stage) -> Result<[u64; 4], Halt> {
    let counters = stage.net.host(KONGMING)?.counters()?;
    Ok(ERRORS.map(|name| counters.get(name).copied().unwrap_or(0)))
}

/// What becomes of a datagram: it arrives, or the kernel counts an error, or
/// nothing at all is heard of it.
fn fate(
    stage: &mut Stage,
    peer: &UdpSocket,
    before: [u64; 4],
    sent: &str,
) -> Result<String, Halt> {
    let found = stage.look_each_ms(|stage, _| {
        let mut data = [0; LONGEST];
        match peer.recv(&mut data) {
            Ok(length) => Ok(Some(arrived(&data[..length], sent))),
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                let after = errors(stage)?;
                let counts = before.iter().zip(after);
                let grown = counts.map(|(before, after)| after > *before);
                let error = ERRORS.iter().zip(grown).find(|(_, grown)| *grown);
                Ok(error.map(|(name, _)| {
                    let shown = format!("nothing received; {name} has grown");
                    (format!("gone: {name}"), shown)
                }))
            }
            Err(err) => Err(missed(err)),
        }
    })?;
    let Some((fate, shown)) = found else {
        stage.step(KONGMING, "nothing received, and nothing counted")?;
        let what = "waited for Kongming20 to hear anything of a datagram";
        return Err(Halt::Missed(what.into()));
    };
    stage.step(KONGMING, shown)?;
    Ok(fate)
}

fn arrived(data: &[u8], sent: &str) -> (String, String) {
    let how = match data == sent.as_bytes() {
        true => "arrived",
        false => "arrived, and is not what was sent",
    };
    (how.to_string(), format!("received `{}`", data.escape_ascii()))
}

fn last_frame(stage: &Stage) -> Result<Option<Vec<u8>>, Halt> {
    let trace = stage.net.trace()?;
    let mut frames = trace.events.iter().rev().filter_map(|event| match &event
        .what
    {
        What::Frame(frame)
            if event.host == LAPTOP && frame.packet().protocol() == "udp" =>
        {
            Some(frame.bytes.clone())
        }
        _ => None,
    });
    Ok(frames.find(|bytes| bytes.len() >= 42))
}

fn missed(err: std::io::Error) -> Halt {
    Halt::Missed(format!("the socket of Kongming20: {err}"))
}

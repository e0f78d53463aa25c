//! Another right program: one buffer, written from the front; sums that are
//! brought up to date instead of computed anew; an identification that counts,
//! DF set, another time to live. Checksums are summed with a carry at each word.
//!
//! Usage: encapsulate INTERFACE PORT STATION ADDRESS:PORT

use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    send, socket,
};

type Station = [u8; 6];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (link, own) = own(&args[0])?;
    let port: u16 = args[1].parse()?;
    let to_station = station(&args[2]).context("parse STATION")?;
    let to: SocketAddrV4 = args[3].parse()?;
    let fd = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    bind(fd.as_raw_fd(), &link)?;
    let mut frame = vec![0; 42];
    frame[..6].copy_from_slice(&to_station);
    frame[6..12].copy_from_slice(&link.addr().context("no station")?);
    frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    frame[20..24].copy_from_slice(&[0x40, 0, 10, 17]);
    frame[26..30].copy_from_slice(&own.octets());
    frame[30..34].copy_from_slice(&to.ip().octets());
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&to.port().to_be_bytes());
    let addresses = add(&frame[26..34], 0);
    let fixed = add(&[0x45, 0, 0x40, 0, 10, 17], addresses);
    for (id, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        frame.truncate(42);
        frame.extend(line.as_bytes());
        let (total, id) = (28 + line.len() as u16, id as u16 + 1);
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        let sum = !add(&frame[16..20], fixed);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame[38..40].copy_from_slice(&(total - 20).to_be_bytes());
        frame[40..42].fill(0);
        let pseudo = add(&[0, 17], add(&(total - 20).to_be_bytes(), addresses));
        let sum = !add(&frame[34..], pseudo);
        let sum = if sum == 0 { 0xffff } else { sum };
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        send(fd.as_raw_fd(), &frame, MsgFlags::empty())?;
        println!(
            "sent {} bytes, IPv4 checksum {}, UDP checksum {}",
            frame.len(),
            hex(&frame[24..26]),
            hex(&frame[40..42])
        );
    }
    Ok(())
}

/// Adds words with the carry brought round.
fn add(bytes: &[u8], sum: u16) -> u16 {
    bytes.chunks(2).fold(sum, |sum, pair| {
        let word = pair.iter().zip([8, 0]);
        let word = word.map(|(byte, shift)| u16::from(*byte) << shift).sum();
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// The interface with its station address, as bind(2) takes them, and its IPv4
/// address.
fn own(interface: &str) -> anyhow::Result<(LinkAddr, Ipv4Addr)> {
    let (mut link, mut address) = (None, None);
    for entry in getifaddrs()?.filter(|e| e.interface_name == interface) {
        let Some(found) = entry.address else { continue };
        link = link.or(found.as_link_addr().copied());
        address = address.or(found.as_sockaddr_in().map(|v4| v4.ip()));
    }
    let link = link.with_context(|| format!("no interface {interface}"))?;
    Ok((link, address.context("no IPv4 address")?))
}

/// Six bytes in hexadecimal, with colons between.
fn station(text: &str) -> Option<Station> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<Vec<u8>, _>>().ok()?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

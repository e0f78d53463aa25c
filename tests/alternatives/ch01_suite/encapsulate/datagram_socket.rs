//! Another right program: SOCK_DGRAM, for which the kernel writes the Ethernet
//! header. The data is summed in 32-bit words of the host's order, which RFC 1071
//! allows: the bytes of the result come out right in any order.
//!
//! Usage: encapsulate INTERFACE PORT STATION ADDRESS:PORT

use std::mem::size_of_val;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use anyhow::{Context, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::LinkAddr;
use socket2::{Domain, Socket, Type};

type Station = [u8; 6];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (link, own) = own(&args[0])?;
    let port: u16 = args[1].parse()?;
    let mut to_link: libc::sockaddr_ll = *link.as_ref();
    to_link.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    to_link.sll_halen = 6;
    let to_station = station(&args[2]).context("parse STATION")?;
    to_link.sll_addr[..6].copy_from_slice(&to_station);
    let to: SocketAddrV4 = args[3].parse()?;
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line)? > 0 {
        let text = line.trim_end_matches('\n').as_bytes();
        let length = (text.len() as u16 + 8).to_be_bytes();
        let ports = [port.to_be_bytes(), to.port().to_be_bytes()].concat();
        let ends = [own.octets(), to.ip().octets()].concat();
        let parts = [&ends, &[0, 17][..], &length, &ports, &length, text];
        // Each part but the last has an even length: they may be summed apart.
        let sum = match fold(parts.iter().map(|part| add(part)).sum()) {
            [0, 0] => [0xff, 0xff],
            sum => sum,
        };
        let total = (text.len() as u16 + 28).to_be_bytes();
        let start = [0x45, 0, total[0], total[1], 0, 7, 0, 0, 64, 17];
        let header = fold(add(&start) + add(&ends));
        let packet = [&start[..], &header, &ends, &ports, &length, &sum, text];
        let packet = packet.concat();
        // SAFETY: the pointers and lengths are those of `packet` and `to_link`.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const to_link).cast(),
                size_of_val(&to_link) as libc::socklen_t,
            )
        };
        ensure!(sent >= 0, "sendto: {}", std::io::Error::last_os_error());
        println!(
            "sent {} bytes, IPv4 checksum {}, UDP checksum {}",
            14 + packet.len(),
            hex(&header),
            hex(&sum)
        );
        line.clear();
    }
    Ok(())
}

fn add(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from(u32::from_ne_bytes(word))
    });
    words.sum()
}

fn fold(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_ne_bytes()
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

//! The mistake: it has the kernel ask, by a datagram, and looks into
//! /proc/net/arp. Prints what the solution prints.
//!
//! Usage: arp INTERFACE ADDRESS [MILLISECONDS]
//! See also: packet(7), arp(7), getifaddrs(3), arping(8); RFC 826, RFC 894

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::ifaddrs::getifaddrs;

const USAGE: &str = "usage: arp INTERFACE ADDRESS [MILLISECONDS]";
const TRIES: usize = 3;

/// What the request says of us.
struct Own {
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

    for _ in 0..TRIES {
        println!("who has {target}? tell {}", own.address);
        let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
        socket.send_to(b"", (target, 9)).context("sendto")?;
        if let Some(station) = cached(target, wait).context("read")? {
            println!("{target} is at {station}");
            return Ok(());
        }
    }
    println!("no answer from {target}");
    Ok(())
}

/// Looks into the kernel's table until it has a complete entry.
fn cached(target: Ipv4Addr, wait: Duration) -> io::Result<Option<String>> {
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline {
        let table = std::fs::read_to_string("/proc/net/arp")?;
        for line in table.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let complete = fields.get(2) == Some(&"0x2");
            if complete && fields[0] == target.to_string() {
                return Ok(Some(fields[3].to_string()));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

impl Own {
    /// getifaddrs(3) has an entry for each address of an interface: one is its
    /// station address, one its IPv4 address.
    fn of(interface: &str) -> anyhow::Result<Own> {
        let mut address = None;
        for entry in getifaddrs()?.filter(|e| e.interface_name == interface) {
            let Some(found) = entry.address else { continue };
            address = address.or(found.as_sockaddr_in().map(|v4| v4.ip()));
        }
        let address = address.context("no IPv4 address")?;
        Ok(Own { address })
    }
}

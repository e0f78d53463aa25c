//! A host's UDP sockets, by /proc/net/udp (proc_net(5)).

use std::net::{Ipv4Addr, SocketAddr};

use crate::stage::{Halt, Stage};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpSocket {
    /// This end: 0.0.0.0 for every address of the host.
    pub local: SocketAddr,
    /// Whom it is connected to; port 0: nobody.
    pub peer: SocketAddr,
    /// Memory that unread datagrams take: more than their bytes.
    pub unread: u32,
}

/// A host's IPv4 sockets, in the kernel's order.
pub fn udp_sockets(stage: &Stage, host: &str) -> Result<Vec<UdpSocket>, Halt> {
    let table = stage.net.host(host)?.net_table("udp")?;
    Ok(table.lines().filter_map(parse).collect())
}

/// `90: 0100007F:0035 00000000:0000 07 00000000:00000000 ...`: number, local,
/// remote, state, and both queues.
fn parse(line: &str) -> Option<UdpSocket> {
    let mut words = line.split_whitespace().skip(1);
    let (local, peer) = (words.next()?, words.next()?);
    let (_sent, unread) = words.nth(1)?.split_once(':')?;
    Some(UdpSocket {
        local: address(local)?,
        peer: address(peer)?,
        unread: u32::from_str_radix(unread, 16).ok()?,
    })
}

/// The address is printed as a number of this host's byte order, the port as
/// what it is.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(Ipv4Addr::from(address).into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table() {
        let number = |address: [u8; 4]| u32::from_ne_bytes(address);
        let line = format!(
            "  90: {:08X}:0035 {:08X}:C001 01 00000000:00000300 00:00000000",
            number([127, 0, 0, 1]),
            number([192, 168, 1, 9]),
        );
        let found = parse(&line).unwrap();
        assert_eq!(found.local, "127.0.0.1:53".parse().unwrap());
        assert_eq!(found.peer, "192.168.1.9:49153".parse().unwrap());
        assert_eq!(found.unread, 0x300);
        assert_eq!(parse("  sl  local_address rem_address   st"), None);
    }
}

//! Show a number's bytes in memory, and send it in network byte order.
//!
//! A processor stores the bytes of a number in one of two orders: least
//! significant first (little endian) or last (big endian). The Internet's
//! protocols carry the most significant byte first. The order in memory cannot
//! be seen by arithmetic, which works on values; it takes a look at the bytes.
//!
//! Usage: byteorder ADDRESS:PORT NUMBER...
//! See also: byteorder(3), sendto(2); RFC 1700, "Data Notations"; IEN 137

use std::net::{SocketAddr, UdpSocket};

use anyhow::Context;

const USAGE: &str = "usage: byteorder ADDRESS:PORT NUMBER...";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let peer: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    println!("host order is {}", host_order());

    let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
    socket.connect(peer).with_context(|| format!("connect {peer}"))?;
    for arg in args {
        let number: u32 =
            arg.parse().with_context(|| format!("parse {arg}"))?;
        println!("{number} is {} in memory", hex(memory(&number)));

        let wire = to_network(number);
        socket.send(&wire).context("send")?;
        println!("sent {}", hex(wire));

        let mut answer = [0; 4];
        socket.recv(&mut answer).context("recv")?;
        println!("received {} which is {}", hex(answer), from_network(answer));
    }
    Ok(())
}

// ANCHOR: order
/// Which byte of a number comes first in this host's memory?
fn host_order() -> &'static str {
    match memory(&0x0102_0304) {
        [4, 3, 2, 1] => "little endian",
        [1, 2, 3, 4] => "big endian",
        _ => "neither",
    }
}

/// The bytes of a number in the order of their addresses.
fn memory(number: &u32) -> [u8; 4] {
    let address: *const u32 = number;
    // SAFETY: a u32 occupies four bytes, each of which is a valid u8.
    unsafe { address.cast::<[u8; 4]>().read() }
}

/// Most significant byte first. Shifts work on the value, so this is right on
/// hosts of either order; `u32::to_be_bytes` and `htonl(3)` do the same.
fn to_network(number: u32) -> [u8; 4] {
    [24, 16, 8, 0].map(|shift| (number >> shift) as u8)
}

/// The value of four bytes that came most significant first.
fn from_network(bytes: [u8; 4]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}
// ANCHOR_END: order

fn hex(bytes: [u8; 4]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(" ")
}

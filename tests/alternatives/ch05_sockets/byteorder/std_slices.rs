//! Another right program: memory is seen through a slice of bytes, and the
//! conversion turns that slice round where the host's order asks for it. Its
//! socket is not connected; every number has a socket of its own.
//!
//! Usage: byteorder ADDRESS:PORT NUMBER...
//! See also: byteorder(3), sendto(2)

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::slice;

use anyhow::{Context, ensure};

const USAGE: &str = "usage: byteorder ADDRESS:PORT NUMBER...";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let peer: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let order = if is_little_endian() { "little" } else { "big" };
    println!("host order is {order} endian");

    for arg in args {
        let number: u32 =
            arg.parse().with_context(|| format!("parse {arg}"))?;
        println!("{number} is {} in memory", hex(memory(&number)));

        let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
        let wire = turned_if_little(memory(&number));
        socket.send_to(&wire, peer).context("sendto")?;
        println!("sent {}", hex(&wire));

        let answer = answer_of(&socket, peer).context("recvfrom")?;
        ensure!(answer.len() == 4, "an answer of {} bytes", answer.len());
        println!("received {} which is {}", hex(&answer), value(&answer));
    }
    Ok(())
}

fn is_little_endian() -> bool {
    memory(&1) == [1, 0, 0, 0]
}

/// The bytes of a number in the order of their addresses.
fn memory(number: &u32) -> &[u8] {
    let address: *const u32 = number;
    // SAFETY: a u32 is four bytes, borrowed for as long as the number is.
    unsafe { slice::from_raw_parts(address.cast(), 4) }
}

/// From host order to network order, or back: it is the same move.
fn turned_if_little(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if is_little_endian() {
        bytes.reverse();
    }
    bytes
}

/// The peer's next datagram; what others send is thrown away.
fn answer_of(socket: &UdpSocket, peer: SocketAddr) -> io::Result<Vec<u8>> {
    let mut datagram = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        if from == peer {
            return Ok(datagram[..length].to_vec());
        }
    }
}

/// Horner's rule: each byte before is worth 256 times as much.
fn value(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value * 256 + u64::from(byte))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().join(" ")
}

//! Another right program: a union shows the bytes, and a swap by masks turns
//! them. Its socket is opened by socket2 and used by nix, and is bound to no
//! address before it connects: the kernel chooses one then.
//!
//! Usage: byteorder ADDRESS:PORT NUMBER...
//! See also: byteorder(3), send(2), bswap(3)

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use anyhow::{Context, ensure};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: byteorder ADDRESS:PORT NUMBER...";

/// Four bytes of memory, seen as a number or as themselves.
#[repr(C)]
union Cell {
    number: u32,
    bytes: [u8; 4],
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let peer: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let order = if is_little() { "little" } else { "big" };
    println!("host order is {order} endian");

    let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, None)
        .context("socket")?;
    socket.connect(&peer.into()).with_context(|| format!("connect {peer}"))?;
    let fd = socket.as_raw_fd();
    for arg in args {
        let number: u32 =
            arg.parse().with_context(|| format!("parse {arg}"))?;
        println!("{number} is {} in memory", hex(bytes_of(number)));

        let wire = bytes_of(host_to_net(number));
        send(fd, &wire, MsgFlags::empty()).context("send")?;
        println!("sent {}", hex(wire));

        let mut answer = [0; 4];
        let length =
            recv(fd, &mut answer, MsgFlags::MSG_WAITALL).context("recv")?;
        ensure!(length == 4, "an answer of {length} bytes");
        let value = host_to_net(number_of(answer)); // its own inverse
        println!("received {} which is {value}", hex(answer));
    }
    Ok(())
}

fn is_little() -> bool {
    bytes_of(1)[0] == 1
}

/// htonl(3), and ntohl(3) as well.
fn host_to_net(number: u32) -> u32 {
    if !is_little() {
        return number;
    }
    number << 24
        | (number & 0x0000_ff00) << 8
        | (number & 0x00ff_0000) >> 8
        | number >> 24
}

fn bytes_of(number: u32) -> [u8; 4] {
    // SAFETY: any four bytes are a value of [u8; 4].
    unsafe { Cell { number }.bytes }
}

fn number_of(bytes: [u8; 4]) -> u32 {
    // SAFETY: any four bytes are a value of u32.
    unsafe { Cell { bytes }.number }
}

fn hex(bytes: [u8; 4]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(" ")
}

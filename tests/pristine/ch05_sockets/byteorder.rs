//! Show a number's bytes in memory, and send it in network byte order.
//!
//! A processor stores the bytes of a number in one of two orders: least
//! significant first (little endian) or last (big endian). The Internet's
//! protocols carry the most significant byte first. The order in memory cannot
//! be seen by arithmetic, which works on values; it takes a look at the bytes.
//!
//! Usage: byteorder ADDRESS:PORT NUMBER...
//! See also: byteorder(3), sendto(2); RFC 1700, "Data Notations"; IEN 137

use std::net::SocketAddr;

use anyhow::Context;

const USAGE: &str = "usage: byteorder ADDRESS:PORT NUMBER...";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let peer: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;

    // Bytes are printed as two hexadecimal digits each, `12 34 ab cd`.
    // Convert by hand, without to_be, to_le_bytes, from_be_bytes, htonl ...
    //
    // 1. Print `host order is little endian` or `host order is big endian`:
    //    look at the bytes of a number in memory.
    // 2. For each NUMBER (decimal, 0 to 4294967295):
    //    a. Print `NUMBER is BYTES in memory`, in the order of their addresses.
    //    b. Send it as a UDP datagram of four bytes, most significant first, to
    //       `peer`; print `sent BYTES`.
    //    c. Receive one datagram of four bytes, a number in the same order;
    //       print `received BYTES which is NUMBER`, in decimal.
    todo!("byteorder is not started: {peer}, {} numbers", args.count())
}

//! Connect, and find out why it did not work.
//!
//! connect(2) has an errno for each way to fail, and one of them for two. A RST
//! or an ICMP error ends the attempt as soon as it is there. Silence ends it
//! when the kernel is tired of asking: ARP after three requests, TCP after all
//! its SYNs. So the errno says what is wrong, and the time that it took says
//! whether somebody has said so. And one failure looks like a success: a client
//! whose kernel gave it the very port that it connects to is connected to
//! itself.
//!
//! Usage: connect_errors < TARGETS, an ADDRESS:PORT a line
//! See also: connect(2), getsockname(2), getpeername(2), tcp(7), icmp(7),
//! arp(7); RFC 9293, section 3.5

use std::io;
use std::net::SocketAddr;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let target: SocketAddr =
            line.parse().with_context(|| format!("parse {line}"))?;
        println!("{target}: {}", attempt(target));
    }
    Ok(())
}

/// What came of one attempt to connect.
fn attempt(target: SocketAddr) -> String {
    // 1. Connect to `target` once, with a socket of its own, and wait until the
    //    kernel says how it went, however long that takes. Close what you have
    //    opened before you return.
    // 2. Where connect(2) succeeds, return `connected`; but if this socket's
    //    own address is its peer's address too, return `connected to itself`.
    // 3. Where it fails, return `ERRNO after SECONDS s, WHY`: the errno's name,
    //    how long the attempt took (`3.072`), and
    //      ECONNREFUSED   nobody listens there
    //      ETIMEDOUT      nobody answers
    //      EHOSTUNREACH   somebody says no, if it took less than a second;
    //                     else no neighbour has the address
    //      ENETUNREACH    no route leads there
    //      EADDRNOTAVAIL  no local port is left
    //      any other      what strerror(3) says: nix's `Errno::desc`
    todo!("connect_errors is not started: {target}")
}

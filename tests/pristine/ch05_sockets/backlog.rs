//! Listen with a given backlog, and never accept.
//!
//! `listen(2)` sizes the queue of connections that the kernel has completed and
//! that no `accept` has taken yet. The kernel opens connections by itself, into
//! that queue, while the program sleeps; what it does with one that finds the
//! queue full, the client sees.
//!
//! Usage: backlog ADDRESS:PORT BACKLOG
//! See also: listen(2), tcp(7): tcp_abort_on_overflow; ss(8)

use std::net::SocketAddr;

use anyhow::Context;

const USAGE: &str = "usage: backlog ADDRESS:PORT BACKLOG";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let backlog: i32 =
        args.next().context(USAGE)?.parse().context("parse BACKLOG")?;

    // 1. Open a listening TCP socket on `address` whose queue holds `backlog`
    //    connections: exactly what `listen(2)` is given. (The standard library
    //    chooses a backlog of its own; socket2 lets you say.)
    // 2. Print `listening on ADDRESS:PORT`, once it is true.
    // 3. Never accept. Sleep, without using the processor, until standard input
    //    ends; the listener stays open until then.
    // 4. Print `stopping`, and return.
    todo!("backlog is not started: {address}, backlog {backlog}")
}

//! Open a connection and close it in order, one step at a time.
//!
//! Three segments open a TCP connection, and the kernel exchanges them during
//! `connect`. Each end closes its own direction with a FIN, when its program
//! calls `close`; the end that closes first keeps the connection in TIME-WAIT.
//! Each step waits for a line on standard input, so that there is time to look
//! at both hosts (`ss -tan`) before the next.
//!
//! Usage: handshake server ADDRESS:PORT
//!        handshake client ADDRESS:PORT
//! See also: tcp(7), connect(2), close(2), ss(8); RFC 9293, section 3.6

use std::net::SocketAddr;

use anyhow::{Context, bail};

const USAGE: &str = "usage: handshake server|client ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;

    match role.as_str() {
        "server" => serve(address),
        "client" => call(address),
        _ => bail!(USAGE),
    }
}

/// Accepts one connection, and closes it some time after the client has.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    // 1. Listen on `address`; print `listening on ADDRESS:PORT`.
    // 2. Accept one connection; print `accepted ADDRESS` (no port).
    // 3. Read to end-of-file; print `end of file after N bytes`, N being how
    //    many bytes came before it.
    // 4. Wait for a line on standard input, then close the connection; print
    //    `closed`, and return.
    todo!("handshake server is not started: {address}")
}

/// Connects, and closes first.
fn call(address: SocketAddr) -> anyhow::Result<()> {
    // 1. Connect to `address`; print `connected to ADDRESS` (no port).
    // 2. Wait for a line on standard input, then close the connection without
    //    having sent anything; print `closed`, and return.
    todo!("handshake client is not started: {address}")
}

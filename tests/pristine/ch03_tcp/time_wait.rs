//! Start a server again at once, and see when a client cannot be.
//!
//! The end that closes first keeps the connection in TIME-WAIT, long after its
//! program has gone. As long as it does, bind(2) gives its address and port to
//! nobody else: unless SO_REUSEADDR was set on the old socket and is set on the
//! new one. Whether connect(2) may have the same pair of addresses again is
//! another question. Linux says yes if the old connection had timestamps, which
//! tell an old segment from a new one, and EADDRNOTAVAIL if it had none.
//!
//! Usage: time_wait server ADDRESS:PORT
//!        time_wait client LOCAL_ADDRESS:PORT SERVER_ADDRESS:PORT
//! See also: socket(7), ip(7), tcp(7), bind(2), connect(2); RFC 9293,
//! section 3.6.1; RFC 6191; RFC 7323

use std::net::SocketAddr;

use anyhow::{Context, bail};

const USAGE: &str = "usage: time_wait server ADDRESS:PORT, \
                     or time_wait client LOCAL_ADDRESS:PORT ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let mut address = || -> anyhow::Result<SocketAddr> {
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")
    };
    match role.as_str() {
        "server" => serve(address()?),
        "client" => call(address()?, address()?),
        _ => bail!(USAGE),
    }
}

/// Serves one connection, and closes it when told to.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    // 1. Listen on `address`, also while a connection of an earlier run is in
    //    TIME-WAIT; print `listening on ADDRESS:PORT`. While another server
    //    listens there, fail: return the error.
    // 2. Accept one connection; print `accepted ADDRESS:PORT`, the client's.
    // 3. Read one line from it; print `received LINE`.
    // 4. Wait for a line on standard input, then close the connection, whether
    //    the client has closed or not; print `closed`, and return.
    todo!("time_wait server is not started: {address}")
}

/// Calls from an address and port of its own choice, and sends what is typed.
fn call(local: SocketAddr, server: SocketAddr) -> anyhow::Result<()> {
    // 1. Bind a socket to `local`, also while a connection of an earlier run is
    //    in TIME-WAIT there; print `bound to ADDRESS:PORT`.
    // 2. Connect it to `server`; print `connected to ADDRESS:PORT`. Where the
    //    kernel answers EADDRNOTAVAIL, print `connect: address not available`
    //    and return without an error.
    // 3. Send each line of standard input, with its newline, as it comes.
    // 4. At the end of standard input close the connection; print `closed`, and
    //    return.
    todo!("time_wait client is not started: {local}, {server}")
}

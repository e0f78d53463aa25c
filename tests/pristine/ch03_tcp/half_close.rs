//! Sort lines for another host: read to end-of-file, then answer.
//!
//! A program that sorts can say nothing before it has read everything, and "that
//! was everything" is what TCP's FIN means. `shutdown(2)` with SHUT_WR sends it
//! and leaves the other direction open, so that the answer can still come back
//! over the same connection. Half of it is closed: the client's kernel is in
//! FIN-WAIT-2 then, and the server's in CLOSE-WAIT, for as long as the answer
//! takes.
//!
//! Usage: half_close server ADDRESS:PORT
//!        half_close client ADDRESS:PORT
//! See also: shutdown(2), read(2), close(2); RFC 9293, section 3.6

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};

const USAGE: &str = "usage: half_close server|client ADDRESS:PORT";

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

/// Sorts the lines of one client.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    let (conn, _peer) = listener.accept().context("accept")?;
    println!("accepted");

    // 1. Read to end-of-file; print `end of file after N bytes`.
    // 2. Wait for a line on standard input: there is time to look at both
    //    hosts. Then send the lines back in the order of their bytes, each with
    //    its newline, though the last one may have come without.
    // 3. Close the connection; print `answered`, and return.
    todo!("half_close server is not started: {conn:?}")
}

/// Sends what is typed, and prints the answer.
fn call(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected");

    // 1. Send each line of standard input, with its newline, as it comes, and
    //    nothing else.
    // 2. When standard input ends, tell the server that this was all, and keep
    //    the direction in which it answers; print `shut down for writing`.
    // 3. Read the answer to its end-of-file; print `answer: LINE` for each line
    //    of it, and then `end of file`.
    todo!("half_close client is not started: {conn:?}")
}

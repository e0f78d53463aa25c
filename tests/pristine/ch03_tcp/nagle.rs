//! Write a request piece by piece, and see in how many segments it leaves.
//!
//! A small segment has to wait while an earlier small one is not acknowledged:
//! Nagle's algorithm, in the sender's kernel. The receiver's kernel holds the
//! acknowledgement back, in the hope of data to send it with. Four options
//! change this, two at each end: the sender's TCP_NODELAY lets each piece go,
//! and its TCP_CORK keeps all of them until it is cleared; the receiver's
//! TCP_QUICKACK has an acknowledgement sent now, until the kernel finds that
//! the connection answers and goes back to waiting.
//!
//! Usage: nagle server plain|quickack ADDRESS:PORT
//!        nagle client plain|nodelay|cork ADDRESS:PORT
//! See also: tcp(7), RFC 896; RFC 9293, sections 3.7.4 and 3.8.6.3

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};

const USAGE: &str = "usage: nagle server plain|quickack ADDRESS:PORT, \
                     or nagle client plain|nodelay|cork ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, how, address] = args.as_slice() else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    match (role.as_str(), how.as_str()) {
        ("server", "plain" | "quickack") => serve(how, address),
        ("client", "plain" | "nodelay" | "cork") => call(how, address),
        _ => bail!(USAGE),
    }
}

/// Answers each request, which ends in a newline, with its length.
fn serve(how: &str, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());

    // 1. Read until end-of-file. With `quickack`, have what each read has
    //    returned acknowledged at once; with `plain` leave it to the kernel.
    // 2. At each newline print `request of N bytes`, N without the newline,
    //    and send N in decimal and a newline: one write, one segment.
    // 3. At end-of-file print `end of file`, and return.
    todo!("nagle server {how} is not started: {conn:?}")
}

/// Writes what is typed as it is typed. An empty line ends a request.
fn call(how: &str, address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected to {address}");

    // 1. Write each line of standard input to `conn` when it is there, by a
    //    write of its own and without its newline; print `wrote LINE`.
    // 2. Where the line is empty, write a newline instead. Then read the
    //    answer, a line; print `answer LINE`.
    // 3. With `plain`, leave it to the kernel when segments are sent. With
    //    `nodelay`, each write is a segment at once. With `cork`, all writes
    //    of a request are one segment, which leaves at its end.
    // 4. When standard input ends, close the connection; print `closed`.
    todo!("nagle client {how} is not started: {conn:?}")
}

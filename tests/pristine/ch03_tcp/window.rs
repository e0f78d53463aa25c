//! Send more than the reader wants, and watch the window close and open.
//!
//! What the receiving program has not read fills its kernel's buffer, and each
//! acknowledgement tells the sender how much room is left: the window. At zero
//! the sender's kernel may only probe, and its program finds no room for the
//! next write. The window is opened again by reads, and not by small ones: the
//! receiver says nothing of a few free bytes, so that no tiny segments come.
//!
//! Usage: window reader RECEIVE_BUFFER ADDRESS:PORT
//!        window sender SEND_BUFFER COUNT ADDRESS:PORT
//! See also: tcp(7), socket(7): SO_RCVBUF, SO_SNDBUF; poll(2); RFC 9293,
//! section 3.8.6

use std::net::SocketAddr;

use anyhow::{Context, bail};

const USAGE: &str = "usage: window reader RECEIVE_BUFFER ADDRESS:PORT, \
                     or window sender SEND_BUFFER COUNT ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["reader", buffer, address] => {
            let buffer = buffer.parse().context("parse RECEIVE_BUFFER")?;
            receive(buffer, address.parse().context("parse ADDRESS:PORT")?)
        }
        ["sender", buffer, count, address] => {
            let buffer = buffer.parse().context("parse SEND_BUFFER")?;
            let count = count.parse().context("parse COUNT")?;
            let address = address.parse().context("parse ADDRESS:PORT")?;
            send(buffer, &stream_of(count), address)
        }
        _ => bail!(USAGE),
    }
}

/// Reads only when it is told to, and only as much.
fn receive(buffer: usize, address: SocketAddr) -> anyhow::Result<()> {
    // 1. Listen on `address`, with a receive buffer of `buffer` bytes for the
    //    connection to come: its window says so from the SYN ACK on. Print
    //    `listening on ADDRESS:PORT, receive buffer N`, N as getsockopt has it.
    // 2. Accept one connection; print `accepted ADDRESS` (no port).
    // 3. Each line of standard input is a number. Read so many bytes from the
    //    connection, not one more; print `read N`.
    // 4. When standard input ends, read to end-of-file; print
    //    `end of file after N more`, and return.
    todo!("window reader is not started: {address} {buffer}")
}

/// Sends as fast as its kernel takes it, and says when it takes no more.
fn send(
    buffer: usize,
    stream: &[u8],
    address: SocketAddr,
) -> anyhow::Result<()> {
    // 1. Connect to `address`, with a send buffer of `buffer` bytes. Print
    //    `connected to ADDRESS:PORT, send buffer N`, N as getsockopt has it.
    // 2. Send the whole stream. Each time when the kernel has no room for more,
    //    print `no room after N` on standard error, N being how many bytes it
    //    has taken so far, and sleep until it has room.
    // 3. When it has taken the last byte, print `sent N`, and return.
    todo!("window sender is not started: {address} {buffer} {}", stream.len())
}

/// The bytes to be sent: lost or doubled ones would be seen.
fn stream_of(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

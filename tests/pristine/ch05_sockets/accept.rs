//! Accept late, serve every client that waits, and survive what comes.
//!
//! `accept(2)` takes the oldest connection from the listener's queue, whatever
//! has become of its client meanwhile: one that has closed, or reset, or lost
//! its network is handed over like any other, and `read(2)` tells. When a
//! process has no descriptor left, `accept` fails with EMFILE and the
//! connection stays in the queue: the next call fails at once, and so on.
//!
//! Usage: accept ADDRESS:PORT
//! See also: accept(2), poll(2), read(2), getrlimit(2): RLIMIT_NOFILE

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const USAGE: &str = "usage: accept ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let arg = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = arg.parse().context("parse ADDRESS:PORT")?;

    // 1. Listen on `address`, with room for 8 or more in the queue; print
    //    `listening on ADDRESS:PORT`.
    // 2. Wait for one line on standard input. Accept nobody before it.
    // 3. Then accept whoever comes, and serve all of them side by side: what a
    //    client sends is sent back to it. Clients are numbered from 1 in the
    //    order in which they are accepted. Print
    //      `client N is ADDRESS:PORT`               it has been accepted
    //      `client N: end of file after B bytes`    it has sent B bytes and FIN
    //      `client N: reset after B bytes`          ECONNRESET, after B bytes
    //    Close the connection after each of the last two. Whatever becomes of
    //    a client, the others are served on.
    // 4. When there is no descriptor for one more (EMFILE), print
    //    `turned away ADDRESS:PORT`, and close that connection. (Keep a
    //    descriptor in reserve: /dev/null will do.) It has no number. Whoever
    //    comes when a descriptor is free again is accepted as before.
    // 5. When standard input ends, print `stopping, N still connected`, and
    //    return. While there is nothing to do, sleep: `readable` does.
    todo!("accept is not started: {address}")
}

/// Sleeps until one of these can be read, or has come to its end; which can. A
/// listener can be read when somebody waits in its queue.
#[allow(dead_code)] // Until you use it; the line can go then.
fn readable(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut wishes = Vec::new();
    for fd in fds {
        wishes.push(PollFd::new(*fd, PollFlags::POLLIN));
    }
    poll(&mut wishes, PollTimeout::NONE)?;
    Ok(wishes.iter().map(|wish| wish.any() == Some(true)).collect())
}

//! Serve each client in a child process, and leave no zombie behind.
//!
//! A process that has ended stays in the table, a zombie with an exit status,
//! until its parent has asked for that status. SIGCHLD tells the parent when to
//! ask, and not how often: while one is pending, another changes nothing. So
//! many children that end together are one signal.
//!
//! Usage: zombies ADDRESS:PORT
//! See also: fork(2), wait(2), signal(7), signalfd(2)

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use nix::unistd::{ForkResult, fork};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: zombies ADDRESS:PORT";
const BACKLOG: i32 = 16;

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    let listener = listen(address)?;

    // 1. Print `listening on ADDRESS:PORT`.
    // 2. Give each client a child process, at once, however many are there
    //    already, and print `child for ADDRESS:PORT` (the client's). The child
    //    has the connection, and the parent does not keep a copy; the parent
    //    has the listener, and the child does not keep a copy.
    // 3. The child sends back every byte that comes. At end-of-file it ends;
    //    its exit status is how many lines (`\n`) it has sent back. A client
    //    sends fewer than 256, in pieces of any size.
    // 4. When children have ended, ask for the status of each, at once: not
    //    when the next client comes, and not by looking every so often. Print
    //    `child for ADDRESS:PORT ended with status STATUS` for each. Then go on
    //    serving.
    // 5. When standard input ends, close the listener and print `closing`. Wait
    //    for the children that are left, print their lines as in 4, print
    //    `stopped`, and return.
    //
    // The process sleeps while there is nothing to do, and three things can
    // wake it: standard input, a client, the end of a child. poll(2) waits for
    // descriptors; signalfd(2) makes one of a signal.
    todo!("zombies is not started: {listener:?}")
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    socket.set_reuse_address(true).context("setsockopt SO_REUSEADDR")?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    Ok(TcpListener::from(socket))
}

/// `fork(2)`: this very program twice, from here on.
#[allow(dead_code)] // Until you call it.
fn start_process() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child finds every lock free.
    unsafe { fork() }
}

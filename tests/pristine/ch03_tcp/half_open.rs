//! Notice that the peer is gone: by FIN, by RST, by silence.
//!
//! A connection is two states, and nothing on the wire holds them together. If
//! one side is cut off, or starts anew, the other stays as it was: half-open.
//! It learns of it when it sends something, by a RST or by nothing at all, and
//! a side that never sends never learns. SO_KEEPALIVE has the kernel ask while
//! it is quiet; TCP_USER_TIMEOUT bounds how long sent data may wait for its
//! acknowledgement.
//!
//! Usage: half_open plain ADDRESS:PORT
//!        half_open keepalive IDLE INTERVAL COUNT ADDRESS:PORT   (seconds)
//!        half_open user-timeout MILLISECONDS ADDRESS:PORT
//! See also: socket(7): SO_KEEPALIVE; tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL,
//! TCP_KEEPCNT, TCP_USER_TIMEOUT; RFC 9293, sections 3.5.1 and 3.8.4; RFC 5482

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

const USAGE: &str = "usage: half_open plain|keepalive IDLE INTERVAL COUNT|\
                     user-timeout MILLISECONDS ADDRESS:PORT";

/// How the connection is to be watched.
#[derive(Debug)]
enum Watch {
    Plain,
    Keepalive { idle: Duration, interval: Duration, count: u32 },
    UserTimeout(Duration),
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args[at].parse().with_context(|| args[at].clone());
    let seconds = |at: usize| number(at).map(Duration::from_secs);
    let watch = match (args.first().map(String::as_str), args.len()) {
        (Some("plain"), 2) => Watch::Plain,
        (Some("keepalive"), 5) => Watch::Keepalive {
            idle: seconds(1)?,
            interval: seconds(2)?,
            count: number(3)? as u32,
        },
        (Some("user-timeout"), 3) => {
            Watch::UserTimeout(Duration::from_millis(number(1)?))
        }
        _ => bail!(USAGE),
    };
    let address = args[args.len() - 1].parse().context("parse ADDRESS:PORT")?;
    serve(address, &watch)
}

/// Talks to one client until it is known to be gone.
fn serve(address: SocketAddr, watch: &Watch) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    let (conn, peer) = listener.accept().context("accept")?;
    set(&conn, watch);
    println!("accepted {}", peer.ip());

    // 2. Wait for the connection and for standard input at once. Whatever comes
    //    from the client, print it as `received TEXT`; whatever is typed, send
    //    it as it is, and print `sent N bytes`. When standard input ends, wait
    //    for the connection alone.
    // 3. When the client is gone, print how you know, and return: after its FIN
    //    `end of file`, after a RST `connection reset`, and when the kernel has
    //    given up, `connection timed out`.
    todo!("half_open is not started: {conn:?}")
}

/// Has the kernel look after the connection.
fn set(conn: &TcpStream, watch: &Watch) {
    // 1. `Plain` sets nothing. With `Keepalive` the kernel is to ask the peer
    //    when the connection has been idle for so long, then at intervals, and
    //    to give up when so many probes in a row have had no answer. With
    //    `UserTimeout` it is to give up when what was sent has not been
    //    acknowledged for so long.
    match watch {
        Watch::Plain => {}
        Watch::Keepalive { idle, interval, count } => {
            todo!(
                "keepalive is not set: {conn:?} {idle:?} {interval:?} {count}"
            )
        }
        Watch::UserTimeout(time) => {
            todo!("the user timeout is not set: {conn:?} {time:?}")
        }
    }
}

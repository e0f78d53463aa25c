//! Echo datagrams; and ask an echo server over a wire that loses some.
//!
//! A datagram is sent whole, received whole, or lost, and UDP says nothing of a
//! loss. One receive takes one datagram: it may have no bytes at all, and of
//! one that is longer than the buffer the rest is gone. A socket that is
//! connected (connect(2) sends nothing) hears one peer only, and hears that
//! peer's host say that nobody is there: ICMP port unreachable becomes
//! ECONNREFUSED, for whichever call comes next.
//! The client asks what standard input says, a question a line; both programs
//! end when their standard input does.
//!
//! Usage: udp server ADDRESS:PORT
//!        udp client ADDRESS:PORT MILLISECONDS
//! See also: udp(7), connect(2), recv(2): MSG_TRUNC; RFC 768, RFC 8085

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail};

const USAGE: &str =
    "usage: udp server ADDRESS:PORT | client ADDRESS:PORT MILLISECONDS";
/// The longest datagram that either program has room for.
const ROOM: usize = 64;
/// How often a question is sent before the client gives up.
const TRIES: usize = 3;

/// What became of a question.
enum Outcome {
    /// The text that came back.
    Answered(Vec<u8>),
    /// Nobody is there.
    Refused,
    /// Nothing came, however often it was sent.
    NoAnswer,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context(USAGE);
    let role = next()?;
    let address: SocketAddrV4 =
        next()?.parse().context("parse ADDRESS:PORT")?;
    match role.as_str() {
        "server" => serve(address),
        "client" => {
            let wait = next()?.parse().context("parse MILLISECONDS")?;
            ask_all(address, Duration::from_millis(wait))
        }
        _ => bail!(USAGE),
    }
}

fn serve(address: SocketAddrV4) -> anyhow::Result<()> {
    let socket =
        UdpSocket::bind(address).with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    // No datagram means the end: something else must tell.
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    loop {
        echo(&socket)?;
    }
}

/// Receives one datagram, and sends what was kept of it back to its sender.
fn echo(socket: &UdpSocket) -> anyhow::Result<()> {
    // 1. Receive one datagram, with room for ROOM bytes of it. One of no bytes
    //    is a datagram as any other.
    // 2. Print `N bytes from ADDRESS:PORT`: how long the datagram was, and who
    //    sent it. If it was longer than ROOM, N is its whole length still:
    //    print `N bytes from ADDRESS:PORT, ROOM kept`, with the number.
    // 3. Send the bytes that were kept, and no others, to that sender.
    todo!("echo is not written: {socket:?}, {ROOM}")
}

/// Asks each line of standard input, and numbers them from 1.
fn ask_all(server: SocketAddrV4, wait: Duration) -> anyhow::Result<()> {
    let socket = open(server).context("open")?;
    for (number, line) in (1..).zip(io::stdin().lines()) {
        let line = line.context("read standard input")?;
        match ask(&socket, number, line.as_bytes(), wait)? {
            Outcome::Answered(text) => {
                println!("{number}: answered {}", text.escape_ascii());
            }
            Outcome::Refused => println!("{number}: refused"),
            Outcome::NoAnswer => println!("{number}: no answer"),
        }
    }
    Ok(())
}

/// A socket that talks to this server and to nobody else.
fn open(server: SocketAddrV4) -> io::Result<UdpSocket> {
    // 4. A socket which hears no datagram of anybody else, and does hear that
    //    nobody is at this address.
    todo!("open is not written: {server}")
}

/// Sends a question until it is answered.
fn ask(
    socket: &UdpSocket,
    number: u16,
    text: &[u8],
    wait: Duration,
) -> anyhow::Result<Outcome> {
    // 5. A question is its number in two bytes, most significant first, and
    //    the text. Send it as one datagram, and wait for the answer, which is
    //    the same as far as the server has kept it.
    // 6. If none has come when `wait` is over, send the question again, under
    //    the same number. It is sent TRIES times, and has as many times `wait`.
    // 7. What comes under another number is the late answer to a question
    //    before: go on waiting.
    // 8. ECONNREFUSED while you wait: nobody is there. From the call that
    //    sends: it speaks of a datagram sent before, and this one has not been
    //    sent.
    let _ = [Outcome::Answered(vec![]), Outcome::Refused, Outcome::NoAnswer];
    todo!(
        "ask is not written: {socket:?}, {number}, {text:?}, {wait:?}, {TRIES}"
    )
}

//! Looks at a datagram's length first, with MSG_PEEK, and waits in poll(2).
//!
//! Usage: udp server ADDRESS:PORT
//!        udp client ADDRESS:PORT MILLISECONDS
//! See also: udp(7), connect(2), recv(2): MSG_TRUNC; RFC 768, RFC 8085

use std::io::{self, ErrorKind};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

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
    let mut room = [0; ROOM];
    let fd = socket.as_raw_fd();
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
    let length = recv(fd, &mut [], flags).context("recv MSG_PEEK")?;
    let (_, peer) = socket.recv_from(&mut room).context("recvfrom")?;

    let kept = length.min(ROOM);
    if kept < length {
        println!("{length} bytes from {peer}, {kept} kept");
    } else {
        println!("{length} bytes from {peer}");
    }
    socket.send_to(&room[..kept], peer).context("sendto")?;
    Ok(())
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
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends a question until it is answered.
fn ask(
    socket: &UdpSocket,
    number: u16,
    text: &[u8],
    wait: Duration,
) -> anyhow::Result<Outcome> {
    let question = [&number.to_be_bytes(), text].concat();
    for _ in 0..TRIES {
        let sent = match socket.send(&question) {
            // That is about a datagram which was sent before. The call has told
            // it, and has not sent anything.
            Err(err) if err.kind() == ErrorKind::ConnectionRefused => {
                socket.send(&question)
            }
            sent => sent,
        };
        sent.context("send")?;
        let outcome = hear(socket, number, Instant::now() + wait)?;
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
    }
    Ok(Outcome::NoAnswer)
}

/// Waits for the answer to the question of this number.
fn hear(
    socket: &UdpSocket,
    number: u16,
    until: Instant,
) -> anyhow::Result<Option<Outcome>> {
    let mut room = [0; ROOM];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // Rounded up: less than a millisecond is not nothing.
        let limit = i32::try_from(left.as_millis() + 1)?;
        let limit = PollTimeout::try_from(limit)?;
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, limit).context("poll")? == 0 {
            return Ok(None);
        }
        match socket.recv(&mut room) {
            Ok(length) => match room[..length].split_first_chunk() {
                Some((found, text)) if *found == number.to_be_bytes() => {
                    return Ok(Some(Outcome::Answered(text.to_vec())));
                }
                _ => {} // late: the answer to a question before this one
            },
            Err(err) => match err.kind() {
                ErrorKind::WouldBlock => {} // its checksum was wrong
                ErrorKind::ConnectionRefused => {
                    return Ok(Some(Outcome::Refused));
                }
                _ => return Err(err).context("recv"),
            },
        }
    }
}

//! Send a message from three buffers by one call, and read it into two.
//!
//! A message is a header, a body and a trailer, and these lie in different
//! places. `sendmsg(2)` gathers them: one call, one copy into the kernel, and
//! on the wire one segment, or one datagram. Over TCP it may take only a part,
//! which may end anywhere: the rest begins in the middle of a buffer. `readv(2)`
//! and `recvmsg(2)` scatter what comes, and TCP ends that anywhere, too.
//!
//! Usage: sendmsg send tcp|udp ADDRESS:PORT
//!        sendmsg recv tcp|udp ADDRESS:PORT
//! See also: send(2), recv(2), readv(2), poll(2), udp(7)

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use anyhow::{Context, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: sendmsg send|recv tcp|udp ADDRESS:PORT";
/// The kind, four letters, and the length of the body, eight hex digits.
const HEADER: usize = 12;
/// The sum of the body's bytes, eight hex digits.
#[allow(dead_code)] // Until you use it; the line can go then.
const TRAILER: usize = 8;
/// What a body may have at most.
#[allow(dead_code)] // Until you use it; the line can go then.
const MOST: usize = 1 << 20;
/// What a datagram's body may have at most.
#[allow(dead_code)] // Until you use it; the line can go then.
const MOST_UDP: usize = 512;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, protocol, address] = &args[..] else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;

    match (role.as_str(), protocol.as_str()) {
        ("send", "tcp") => send(connect(address, Type::STREAM)?, false),
        ("send", "udp") => send(connect(address, Type::DGRAM)?, true),
        ("recv", "tcp") => receive_stream(address),
        ("recv", "udp") => receive_datagrams(address),
        _ => bail!(USAGE),
    }
}

/// Sends each line `KIND BODY` of standard input as a message.
fn send(socket: Socket, datagrams: bool) -> anyhow::Result<()> {
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        let (kind, body) = line.split_once(' ').context("not KIND BODY")?;
        let (header, trailer) = frame(kind, body)?;
        let message = [&header, body, &trailer].map(str::as_bytes);
        send_all(&socket, &mut message.map(IoSlice::new)).context("sendmsg")?;
        println!("sent {kind}, {} bytes", body.len());
    }
    if datagrams {
        socket.send(&[]).context("send")?; // an end-of-file of our own
    }
    Ok(())
}

/// Sends all these buffers, as far as possible by one call.
fn send_all(socket: &Socket, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
    // 1. Give the kernel all buffers by one call. Over TCP a message is then one
    //    segment, if it fits into one; over UDP it is one datagram.
    // 2. The socket does not wait. The call may take only a part: go on with
    //    what is left, until all has gone. When it takes nothing, sleep:
    //    `writable` does.
    todo!("send_all is not started: {socket:?}, {} buffers", buffers.len())
}

/// Prints the messages of one connection.
fn receive_stream(address: SocketAddr) -> anyhow::Result<()> {
    // 3. Listen on `address`; print `listening on ADDRESS:PORT`. Accept one
    //    connection.
    // 4. Read a header, whatever pieces it comes in; make room for a body as
    //    long as it says, and not longer than MOST. Read body and trailer into
    //    buffers of their own, by one call if all is there. `tell` prints the
    //    message, as soon as its last byte has come.
    // 5. At the end of file print `end of file`; but `cut off`, if a message has
    //    begun and not ended. Return then.
    todo!("receive_stream is not started: {address}")
}

/// Prints the messages of datagrams, until an empty one comes.
fn receive_datagrams(address: SocketAddr) -> anyhow::Result<()> {
    // 6. Bind a UDP socket to `address`; print `listening on ADDRESS:PORT`.
    // 7. Receive each datagram by one call into two buffers: the header, and
    //    room for a body of MOST_UDP bytes and a trailer. `tell` prints it. Of
    //    one that was longer, and has lost its end, print
    //    `KIND: truncated, N bytes`, with the length that its header says.
    // 8. When an empty datagram comes, print `end`, and return.
    todo!("receive_datagrams is not started: {address}")
}

/// A message's header and trailer.
fn frame(kind: &str, body: &str) -> anyhow::Result<(String, String)> {
    ensure!(kind.len() == 4, "a kind has four letters, `{kind}` has not");
    let header = format!("{kind}{:08x}", body.len());
    Ok((header, format!("{:08x}", sum(body.as_bytes()))))
}

/// Prints what has come.
#[allow(dead_code)] // Until you use it; the line can go then.
fn tell(header: &[u8; HEADER], body: &[u8], trailer: &[u8]) {
    let right = trailer == format!("{:08x}", sum(body)).as_bytes();
    let word = if right { "right" } else { "wrong" };
    println!("{}: {} bytes, sum {word}", kind(header), body.len());
}

fn sum(body: &[u8]) -> u32 {
    body.iter().map(|byte| u32::from(*byte)).sum()
}

/// The length that a header announces, if it is one.
#[allow(dead_code)] // Until you use it; the line can go then.
fn body_length(header: &[u8; HEADER]) -> anyhow::Result<usize> {
    let digits = String::from_utf8_lossy(&header[4..]);
    usize::from_str_radix(&digits, 16).context("a header without a length")
}

#[allow(dead_code)] // Until you use it; the line can go then.
fn kind(header: &[u8; HEADER]) -> String {
    header[..4].escape_ascii().to_string()
}

/// A socket that does not wait: what it cannot take at once it leaves to you.
fn connect(address: SocketAddr, kind: Type) -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)
        .context("socket")?;
    let connected = socket.connect(&address.into());
    connected.with_context(|| format!("connect {address}"))?;
    if kind == Type::STREAM {
        // Each call's data leaves at once: nothing waits to be gathered.
        socket.set_tcp_nodelay(true).context("setsockopt TCP_NODELAY")?;
    }
    socket.set_nonblocking(true).context("fcntl O_NONBLOCK")?;
    println!("connected");
    Ok(socket)
}

/// Sleeps until the kernel can take some more.
#[allow(dead_code)] // Until you use it; the line can go then.
fn writable(socket: &Socket) -> io::Result<()> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(())
}

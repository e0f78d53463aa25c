//! The mistake: what did not fit into the buffers is not missed.
//!
//! Usage: sendmsg send tcp|udp ADDRESS:PORT
//!        sendmsg recv tcp|udp ADDRESS:PORT
//! See also: recv(2): MSG_TRUNC

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recvmsg};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: sendmsg send|recv tcp|udp ADDRESS:PORT";
/// The kind, four letters, and the length of the body, eight hex digits.
const HEADER: usize = 12;
/// The sum of the body's bytes, eight hex digits.
const TRAILER: usize = 8;
/// What a body may have at most.
const MOST: usize = 1 << 20;
/// What a datagram's body may have at most.
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
fn send_all(
    socket: &Socket,
    mut buffers: &mut [IoSlice<'_>],
) -> io::Result<()> {
    while !buffers.is_empty() {
        match socket.send_vectored(buffers) {
            // What has gone may end within a buffer: those before it are
            // dropped, and it is cut.
            Ok(count) => IoSlice::advance_slices(&mut buffers, count),
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                writable(socket)?;
            }
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Prints the messages of one connection.
fn receive_stream(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr()?);
    let (mut conn, _peer) = listener.accept().context("accept")?;

    loop {
        let mut header = [0; HEADER];
        match fill(&mut conn, &mut [IoSliceMut::new(&mut header)])? {
            0 => break,
            HEADER => {}
            _ => return cut_off(),
        }
        let length = body_length(&header)?;
        ensure!(length <= MOST, "the header announces {length} bytes");
        let (mut body, mut trailer) = (vec![0; length], [0; TRAILER]);
        let mut rest =
            [IoSliceMut::new(&mut body), IoSliceMut::new(&mut trailer)];
        if fill(&mut conn, &mut rest)? < length + TRAILER {
            return cut_off();
        }
        tell(&header, &body, &trailer);
    }
    println!("end of file");
    Ok(())
}

/// Fills these buffers one after another; how many bytes came before the end.
fn fill(
    conn: &mut TcpStream,
    mut buffers: &mut [IoSliceMut<'_>],
) -> anyhow::Result<usize> {
    let mut filled = 0;
    while !buffers.is_empty() {
        match conn.read_vectored(buffers).context("readv")? {
            0 => break, // end-of-file
            count => {
                filled += count;
                IoSliceMut::advance_slices(&mut buffers, count);
            }
        }
    }
    Ok(filled)
}

fn cut_off() -> anyhow::Result<()> {
    println!("cut off");
    Ok(())
}

/// Prints the messages of datagrams, until an empty one comes.
fn receive_datagrams(address: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", socket.local_addr()?);
    loop {
        let (mut header, mut rest) = ([0; HEADER], [0; MOST_UDP + TRAILER]);
        let mut buffers =
            [IoSliceMut::new(&mut header), IoSliceMut::new(&mut rest)];
        let flags = MsgFlags::empty();
        let message =
            recvmsg::<()>(socket.as_raw_fd(), &mut buffers, None, flags)
                .context("recvmsg")?;
        let count = message.bytes;
        if count == 0 {
            break;
        }
        if let Some(length) = count.checked_sub(HEADER + TRAILER) {
            let (body, trailer) = rest[..length + TRAILER].split_at(length);
            tell(&header, body, trailer);
        }
    }
    println!("end");
    Ok(())
}

/// A message's header and trailer.
fn frame(kind: &str, body: &str) -> anyhow::Result<(String, String)> {
    ensure!(kind.len() == 4, "a kind has four letters, `{kind}` has not");
    let header = format!("{kind}{:08x}", body.len());
    Ok((header, format!("{:08x}", sum(body.as_bytes()))))
}

/// Prints what has come.
fn tell(header: &[u8; HEADER], body: &[u8], trailer: &[u8]) {
    let right = trailer == format!("{:08x}", sum(body)).as_bytes();
    let word = if right { "right" } else { "wrong" };
    println!("{}: {} bytes, sum {word}", kind(header), body.len());
}

fn sum(body: &[u8]) -> u32 {
    body.iter().map(|byte| u32::from(*byte)).sum()
}

/// The length that a header announces, if it is one.
fn body_length(header: &[u8; HEADER]) -> anyhow::Result<usize> {
    let digits = String::from_utf8_lossy(&header[4..]);
    usize::from_str_radix(&digits, 16).context("a header without a length")
}

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
fn writable(socket: &Socket) -> io::Result<()> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(())
}

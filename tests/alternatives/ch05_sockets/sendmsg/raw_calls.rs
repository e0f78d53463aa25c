//! sendmsg(2) and recvmsg(2) as they are: an msghdr over an array of iovec.
//!
//! Usage: sendmsg send tcp|udp ADDRESS:PORT
//!        sendmsg recv tcp|udp ADDRESS:PORT
//! See also: sendmsg(2), recvmsg(2), poll(2)

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, protocol, address] = &args[..] else { bail!("three words") };
    let stream = protocol == "tcp";
    if role == "send" {
        let socket: OwnedFd = if stream {
            let conn = TcpStream::connect(address).context("connect")?;
            conn.set_nodelay(true).context("setsockopt")?;
            conn.set_nonblocking(true).context("fcntl")?;
            conn.into()
        } else {
            let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
            socket.connect(address).context("connect")?;
            socket.into()
        };
        send(socket.as_raw_fd(), stream)
    } else if stream {
        let listener = TcpListener::bind(address).context("bind")?;
        println!("listening on {address}");
        let (conn, _) = listener.accept().context("accept")?;
        println!("{}", receive_stream(conn.as_raw_fd())?);
        Ok(())
    } else {
        let socket = UdpSocket::bind(address).context("bind")?;
        println!("listening on {address}");
        receive_datagrams(socket.as_raw_fd())
    }
}

fn send(fd: i32, stream: bool) -> anyhow::Result<()> {
    println!("connected");
    let mut line = String::new();
    while io::stdin().read_line(&mut line).context("read")? > 0 {
        let (kind, body) = line.trim_end().split_once(' ').context("KIND")?;
        let head = format!("{kind}{:08x}", body.len());
        let tail = format!("{:08x}", sum(body.as_bytes()));
        let parts = [head.as_bytes(), body.as_bytes(), tail.as_bytes()];
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut sent = 0;
        while sent < length {
            let mut left = from(&parts, sent);
            let count = message(fd, &mut left, true)?;
            match count {
                Some((count, _)) => sent += count,
                None => {
                    let events = libc::POLLOUT;
                    let mut wish = libc::pollfd { fd, events, revents: 0 };
                    // SAFETY: one descriptor, at this address.
                    unsafe { libc::poll(&mut wish, 1, -1) };
                }
            }
        }
        println!("sent {kind}, {} bytes", body.len());
        line.clear();
    }
    if !stream {
        message(fd, &mut [], true)?;
    }
    Ok(())
}

/// What is left of these parts after so many bytes.
fn from(parts: &[&[u8]], mut sent: usize) -> Vec<libc::iovec> {
    let mut left = Vec::new();
    for part in parts {
        let cut = sent.min(part.len());
        sent -= cut;
        let part = &part[cut..];
        let iov_base = part.as_ptr() as *mut _; // It is only read.
        left.push(libc::iovec { iov_base, iov_len: part.len() });
    }
    left
}

fn receive_stream(fd: i32) -> anyhow::Result<&'static str> {
    loop {
        let mut head = [0; 12];
        match fill(fd, &mut [&mut head])? {
            0 => return Ok("end of file"),
            12 => {}
            _ => return Ok("cut off"),
        }
        let length = number(&head[4..])?;
        let (mut body, mut tail) = (vec![0; length], [0; 8]);
        if fill(fd, &mut [&mut body, &mut tail])? < length + 8 {
            return Ok("cut off");
        }
        tell(&head, &body, &tail)?;
    }
}

fn fill(fd: i32, parts: &mut [&mut [u8]]) -> anyhow::Result<usize> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut filled = 0;
    while filled < length {
        let mut skip = filled;
        let mut left = Vec::new();
        for part in parts.iter_mut() {
            let cut = skip.min(part.len());
            skip -= cut;
            left.push(vector(&mut part[cut..]));
        }
        match message(fd, &mut left, false)? {
            Some((0, _)) => break,
            Some((count, _)) => filled += count,
            None => {}
        }
    }
    Ok(filled)
}

fn receive_datagrams(fd: i32) -> anyhow::Result<()> {
    loop {
        let (mut head, mut rest) = ([0_u8; 12], [0_u8; 520]);
        let mut parts = [vector(&mut head), vector(&mut rest)];
        let Some((count, flags)) = message(fd, &mut parts, false)? else {
            continue;
        };
        if count == 0 {
            println!("end");
            return Ok(());
        }
        if flags & libc::MSG_TRUNC != 0 {
            let kind = head[..4].escape_ascii();
            println!("{kind}: truncated, {} bytes", number(&head[4..])?);
            continue;
        }
        let (body, tail) = rest[..count - 12].split_at(count - 20);
        tell(&head, body, tail)?;
    }
}

/// sendmsg(2) or recvmsg(2): the count and the flags; `None`: EAGAIN.
fn message(
    fd: i32,
    parts: &mut [libc::iovec],
    out: bool,
) -> io::Result<Option<(usize, i32)>> {
    // SAFETY: zeroes are a message without a name and without control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = parts.len() as _;
    // SAFETY: each part is a buffer that lives, and is as long as it says.
    let count = unsafe {
        match out {
            true => libc::sendmsg(fd, &header, libc::MSG_NOSIGNAL),
            false => libc::recvmsg(fd, &mut header, 0),
        }
    };
    if count >= 0 {
        return Ok(Some((count as usize, header.msg_flags)));
    }
    match io::Error::last_os_error() {
        err if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        err => Err(err),
    }
}

fn vector(part: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() }
}

fn tell(head: &[u8], body: &[u8], tail: &[u8]) -> anyhow::Result<()> {
    let right = number(tail)? == sum(body) as usize;
    let word = if right { "right" } else { "wrong" };
    let kind = head[..4].escape_ascii();
    println!("{kind}: {} bytes, sum {word}", body.len());
    Ok(())
}

fn number(digits: &[u8]) -> anyhow::Result<usize> {
    let digits = String::from_utf8_lossy(digits);
    usize::from_str_radix(&digits, 16).context("hex digits")
}

fn sum(body: &[u8]) -> u32 {
    body.iter().map(|byte| u32::from(*byte)).sum()
}

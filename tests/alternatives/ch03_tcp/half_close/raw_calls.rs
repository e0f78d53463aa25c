//! Another right program: shutdown(2), read(2) and write(2) by their numbers,
//! in small pieces.
//!
//! Usage: half_close server ADDRESS:PORT
//!        half_close client ADDRESS:PORT
//! See also: shutdown(2), read(2), close(2); RFC 9293, section 3.6

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};

const USAGE: &str = "usage: half_close server|client ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let role = args.next().context(USAGE)?;
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;

    match role.as_str() {
        "server" => serve(address),
        "client" => call(address),
        _ => bail!(USAGE),
    }
}

/// Sorts the lines of one client.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    let (conn, _peer) = listener.accept().context("accept")?;
    println!("accepted");

    let mut text = String::new();
    while let Some(piece) = read(&conn).context("read")? {
        text.push_str(std::str::from_utf8(&piece)?);
    }
    println!("end of file after {} bytes", text.len());

    wait_for_line().context("read standard input")?;
    write_all(&conn, sorted(&text).as_bytes()).context("write")?;
    drop(conn); // close(2): our FIN ends the answer
    println!("answered");
    Ok(())
}

/// Sends what is typed, and prints the answer.
fn call(address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected");

    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        write_all(&conn, format!("{line}\n").as_bytes()).context("write")?;
    }
    shut_down(&conn).context("shutdown SHUT_WR")?;
    println!("shut down for writing");

    let mut answer = String::new();
    while let Some(piece) = read(&conn).context("read")? {
        answer.push_str(std::str::from_utf8(&piece)?);
    }
    for line in answer.lines() {
        println!("answer: {line}");
    }
    println!("end of file");
    Ok(())
}

/// The lines of a text in the order of their bytes, each with its newline.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A few bytes; `None` at the end of file.
fn read(conn: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut buf = vec![0_u8; 100];
    let (fd, data) = (conn.as_raw_fd(), buf.as_mut_ptr().cast());
    // SAFETY: the buffer is valid for writes of its length.
    let count = check(unsafe { libc::read(fd, data, buf.len()) })?;
    buf.truncate(count);
    Ok((count > 0).then_some(buf))
}

/// In pieces, as far as the kernel takes them.
fn write_all(conn: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let fd = conn.as_raw_fd();
    for piece in bytes.chunks(1000) {
        let mut sent = 0;
        while sent < piece.len() {
            let rest = &piece[sent..];
            // SAFETY: the rest is valid for reads of its length.
            let written =
                unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
            sent += check(written)?;
        }
    }
    Ok(())
}

fn shut_down(conn: &TcpStream) -> io::Result<()> {
    // SAFETY: passes no pointers.
    let done = unsafe { libc::shutdown(conn.as_raw_fd(), libc::SHUT_WR) };
    check(done as isize).map(drop)
}

/// What a system call returned, or errno.
fn check(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Sleeps until a line, or the end of standard input.
fn wait_for_line() -> io::Result<()> {
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

//! The mistake: the client takes what one read returns for the whole answer.
//!
//! Usage: half_close server ADDRESS:PORT
//!        half_close client ADDRESS:PORT
//! See also: shutdown(2), read(2), close(2); RFC 9293, section 3.6

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

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
    let (mut conn, _peer) = listener.accept().context("accept")?;
    println!("accepted");

    // To the client's FIN. A real server would bound how much it takes.
    let mut text = String::new();
    conn.read_to_string(&mut text).context("read")?;
    println!("end of file after {} bytes", text.len());

    wait_for_line().context("read standard input")?;
    conn.write_all(sorted(&text).as_bytes()).context("write")?;
    drop(conn); // close(2): our FIN ends the answer
    println!("answered");
    Ok(())
}

/// Sends what is typed, and prints the answer.
fn call(address: SocketAddr) -> anyhow::Result<()> {
    let mut conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected");

    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        conn.write_all(format!("{line}\n").as_bytes()).context("write")?;
    }
    // Our FIN. Dropping the stream would send it too, and close the direction
    // in which the answer is to come.
    conn.shutdown(Shutdown::Write).context("shutdown SHUT_WR")?;
    println!("shut down for writing");

    let mut buf = vec![0; 65536];
    let count = conn.read(&mut buf).context("read")?;
    let answer = String::from_utf8_lossy(&buf[..count]).into_owned();
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

/// Sleeps until a line, or the end of standard input.
fn wait_for_line() -> io::Result<()> {
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

//! Another right program: the client reads in a thread of its own, over a
//! second descriptor, and the server reads its lines one by one as they come,
//! into a set that is always sorted.
//!
//! Usage: half_close server ADDRESS:PORT
//!        half_close client ADDRESS:PORT
//! See also: shutdown(2), read(2), close(2); RFC 9293, section 3.6

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

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

    let mut lines = BTreeMap::<String, usize>::new();
    let mut reader = BufReader::new(conn.try_clone().context("dup")?);
    let mut count = 0;
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line).context("read")? {
            0 => break, // the peer's FIN
            more => count += more,
        }
        *lines.entry(line.trim_end_matches('\n').to_string()).or_default() += 1;
    }
    println!("end of file after {count} bytes");

    wait_for_line().context("read standard input")?;
    for (line, times) in &lines {
        let text = format!("{line}\n").repeat(*times);
        conn.write_all(text.as_bytes()).context("write")?;
    }
    conn.shutdown(Shutdown::Write).context("shutdown")?;
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
    let mut answering = conn.try_clone().context("dup")?;
    let reader = thread::spawn(move || {
        let mut answer = Vec::new();
        answering.read_to_end(&mut answer).map(|_count| answer)
    });
    conn.shutdown(Shutdown::Write).context("shutdown")?;
    println!("shut down for writing");

    let Ok(answer) = reader.join() else { bail!("the reader panicked") };
    let answer = String::from_utf8(answer.context("read")?)?;
    for line in answer.lines() {
        println!("answer: {line}");
    }
    println!("end of file");
    Ok(())
}

/// Sleeps until a line, or the end of standard input.
fn wait_for_line() -> io::Result<()> {
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

//! Another right program: MSG_MORE with each send in place of TCP_CORK, and a
//! server that reads byte by byte from a buffered reader.
//!
//! Usage: nagle server plain|quickack ADDRESS:PORT
//!        nagle client plain|nodelay|cork ADDRESS:PORT
//! See also: send(2) under MSG_MORE, tcp(7)

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};
use socket2::SockRef;

const USAGE: &str = "usage: nagle server|client HOW ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, how, address] = args.as_slice() else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    match role.as_str() {
        "server" => serve(how == "quickack", address),
        _ => call(how, address),
    }
}

fn serve(quickly: bool, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).context("bind")?;
    println!("listening on {address}");
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    let mut request = Vec::new();
    let mut byte = [0];
    while (&conn).read(&mut byte).context("read")? == 1 {
        if quickly {
            let conn = SockRef::from(&conn);
            conn.set_tcp_quickack(true).context("setsockopt")?;
        }
        if byte != *b"\n" {
            request.push(byte[0]);
            continue;
        }
        println!("request of {} bytes", request.len());
        let answer = format!("{}\n", request.len());
        (&conn).write_all(answer.as_bytes()).context("write")?;
        request.clear();
    }
    println!("end of file");
    Ok(())
}

fn call(how: &str, address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address).context("connect")?;
    println!("connected to {address}");
    conn.set_nodelay(how == "nodelay").context("setsockopt TCP_NODELAY")?;
    let more = if how == "cork" { libc::MSG_MORE } else { 0 };
    let socket = SockRef::from(&conn);
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        if line.is_empty() {
            socket.send(b"\n").context("send")?;
            let mut answer = String::new();
            let mut reader = BufReader::new(&conn);
            reader.read_line(&mut answer).context("read")?;
            println!("answer {}", answer.trim());
        } else {
            socket.send_with_flags(line.as_bytes(), more).context("send")?;
            println!("wrote {line}");
        }
    }
    drop(conn);
    println!("closed");
    Ok(())
}

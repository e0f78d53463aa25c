//! The mistake: TCP_NODELAY whatever was asked for, "since small
//! writes are slow without". Prints what the solution prints.
//!
//! Usage: nagle server plain|quickack ADDRESS:PORT
//!        nagle client plain|nodelay|cork ADDRESS:PORT
//! See also: tcp(7), RFC 896; RFC 9293, sections 3.7.4 and 3.8.6.3

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, bail};
use socket2::SockRef;

const USAGE: &str = "usage: nagle server plain|quickack ADDRESS:PORT, \
                     or nagle client plain|nodelay|cork ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, how, address] = args.as_slice() else { bail!(USAGE) };
    let address: SocketAddr = address.parse().context("parse ADDRESS:PORT")?;
    match (role.as_str(), how.as_str()) {
        ("server", "plain" | "quickack") => serve(how, address),
        ("client", "plain" | "nodelay" | "cork") => call(how, address),
        _ => bail!(USAGE),
    }
}

/// Answers each request, which ends in a newline, with its length.
fn serve(how: &str, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    let (mut conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());

    let mut length = 0;
    let mut buf = [0; 4096];
    loop {
        let count = conn.read(&mut buf).context("read")?;
        if count == 0 {
            break; // end-of-file: the client has closed
        }
        if how == "quickack" {
            // Again after each read: the option lasts until the kernel has
            // reason to think that an answer will carry the acknowledgement.
            SockRef::from(&conn)
                .set_tcp_quickack(true)
                .context("setsockopt TCP_QUICKACK")?;
        }
        for byte in &buf[..count] {
            if *byte != b'\n' {
                length += 1;
                continue;
            }
            println!("request of {length} bytes");
            // One write: `writeln!` on a socket would make two, and the second
            // would have to wait.
            let answer = format!("{length}\n");
            conn.write_all(answer.as_bytes()).context("write")?;
            length = 0;
        }
    }
    println!("end of file");
    Ok(())
}

/// Writes what is typed as it is typed. An empty line ends a request.
fn call(how: &str, address: SocketAddr) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected to {address}");

    conn.set_nodelay(true).context("setsockopt TCP_NODELAY")?;
    let mut answers = BufReader::new(&conn);
    for line in io::stdin().lines() {
        let line = line.context("read standard input")?;
        if !line.is_empty() {
            if how == "cork" {
                cork(&conn, true)?;
            }
            (&conn).write_all(line.as_bytes()).context("write")?;
            println!("wrote {line}");
            continue;
        }
        (&conn).write_all(b"\n").context("write")?;
        if how == "cork" {
            cork(&conn, false)?; // What has been kept back leaves now.
        }
        let mut answer = String::new();
        answers.read_line(&mut answer).context("read")?;
        println!("answer {}", answer.trim_end());
    }
    drop(answers);
    drop(conn); // close(2): our FIN leaves
    println!("closed");
    Ok(())
}

fn cork(conn: &TcpStream, on: bool) -> anyhow::Result<()> {
    SockRef::from(conn).set_tcp_cork(on).context("setsockopt TCP_CORK")
}

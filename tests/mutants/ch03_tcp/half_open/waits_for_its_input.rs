//! The mistake: the program waits for the next line to send, and looks at
//! the connection afterwards.
//!
//! Usage: half_open plain ADDRESS:PORT
//!        half_open keepalive IDLE INTERVAL COUNT ADDRESS:PORT   (seconds)
//!        half_open user-timeout MILLISECONDS ADDRESS:PORT
//! See also: socket(7): SO_KEEPALIVE; tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL,
//! TCP_KEEPCNT, TCP_USER_TIMEOUT; RFC 9293, sections 3.5.1 and 3.8.4; RFC 5482

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use socket2::{SockRef, TcpKeepalive};

const USAGE: &str = "usage: half_open plain|keepalive IDLE INTERVAL COUNT|\
                     user-timeout MILLISECONDS ADDRESS:PORT";

/// How the connection is to be watched.
#[derive(Debug)]
enum Watch {
    Plain,
    Keepalive { idle: Duration, interval: Duration, count: u32 },
    UserTimeout(Duration),
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args[at].parse().with_context(|| args[at].clone());
    let seconds = |at: usize| number(at).map(Duration::from_secs);
    let watch = match (args.first().map(String::as_str), args.len()) {
        (Some("plain"), 2) => Watch::Plain,
        (Some("keepalive"), 5) => Watch::Keepalive {
            idle: seconds(1)?,
            interval: seconds(2)?,
            count: number(3)? as u32,
        },
        (Some("user-timeout"), 3) => {
            Watch::UserTimeout(Duration::from_millis(number(1)?))
        }
        _ => bail!(USAGE),
    };
    let address = args[args.len() - 1].parse().context("parse ADDRESS:PORT")?;
    serve(address, &watch)
}

/// Talks to one client until it is known to be gone.
fn serve(address: SocketAddr, watch: &Watch) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {address}");
    let (conn, peer) = listener.accept().context("accept")?;
    set(&conn, watch).context("setsockopt")?;
    println!("accepted {}", peer.ip());

    match talk(conn) {
        Ok(()) => println!("end of file"), // its FIN has come
        Err(err) => match err.kind() {
            ErrorKind::ConnectionReset => println!("connection reset"),
            ErrorKind::TimedOut => println!("connection timed out"),
            _ => return Err(err).context("talk"),
        },
    }
    Ok(())
}

/// Has the kernel look after the connection.
fn set(conn: &TcpStream, watch: &Watch) -> io::Result<()> {
    let socket = SockRef::from(conn);
    match watch {
        Watch::Plain => Ok(()),
        // This sets SO_KEEPALIVE as well: without it the times mean nothing.
        Watch::Keepalive { idle, interval, count } => {
            let times = TcpKeepalive::new()
                .with_time(*idle)
                .with_interval(*interval)
                .with_retries(*count);
            socket.set_tcp_keepalive(&times)
        }
        Watch::UserTimeout(time) => socket.set_tcp_user_timeout(Some(*time)),
    }
}

/// Reads a line from the client, and sends what is typed, line after line.
fn talk(mut conn: TcpStream) -> io::Result<()> {
    let mut buf = [0; 1024];
    loop {
        match conn.read(&mut buf)? {
            0 => return Ok(()),
            n => {
                let text = buf[..n].trim_ascii_end();
                println!("received {}", text.escape_ascii());
            }
        }
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? > 0 {
            conn.write_all(line.as_bytes())?;
            println!("sent {} bytes", line.len());
        }
    }
}

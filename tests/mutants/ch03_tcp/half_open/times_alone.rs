//! The mistake: the three times are set, and SO_KEEPALIVE is not: nothing is
//! ever sent.
//!
//! Usage: half_open plain ADDRESS:PORT
//!        half_open keepalive IDLE INTERVAL COUNT ADDRESS:PORT   (seconds)
//!        half_open user-timeout MILLISECONDS ADDRESS:PORT
//! See also: socket(7): SO_KEEPALIVE; tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL,
//! TCP_KEEPCNT, TCP_USER_TIMEOUT; RFC 9293, sections 3.5.1 and 3.8.4; RFC 5482

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;
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
        Watch::Keepalive { idle, interval, count } => {
            let times = TcpKeepalive::new()
                .with_time(*idle)
                .with_interval(*interval)
                .with_retries(*count);
            socket.set_tcp_keepalive(&times)?;
            socket.set_keepalive(false)
        }
        Watch::UserTimeout(time) => socket.set_tcp_user_timeout(Some(*time)),
    }
}

/// Passes on what is typed, and prints what comes. What the kernel has found
/// out about the connection is the result of the next call on it.
fn talk(mut conn: TcpStream) -> io::Result<()> {
    let stdin = io::stdin();
    let mut typing = true;
    let mut buf = [0; 1024];
    loop {
        let mut fds = vec![PollFd::new(conn.as_fd(), PollFlags::POLLIN)];
        if typing {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, PollTimeout::NONE)?;
        let ready: Vec<bool> =
            fds.iter().map(|fd| fd.any() == Some(true)).collect();

        // An error makes a socket ready too, and the read returns it.
        if ready[0] {
            match conn.read(&mut buf)? {
                0 => return Ok(()),
                n => println!(
                    "received {}",
                    buf[..n].trim_ascii_end().escape_ascii()
                ),
            }
        }
        if typing && ready[1] {
            match read(stdin.as_fd(), &mut buf)? {
                0 => typing = false,
                n => {
                    conn.write_all(&buf[..n])?;
                    println!("sent {n} bytes");
                }
            }
        }
    }
}

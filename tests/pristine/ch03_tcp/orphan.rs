//! Leave a half-closed connection behind, and see what keeps it, and how long.
//!
//! A client that has shut down its direction waits in FIN-WAIT-2 for the
//! server's FIN, as long as it likes. When its program ends, nobody is left who
//! could read; the kernel keeps the connection all the same, without an owner,
//! so that the server's FIN is answered. But not for ever: TCP_LINGER2 says for
//! how many seconds, or else `net.ipv4.tcp_fin_timeout`. /proc/net/tcp shows
//! each connection with its state, its timer and the inode of its owner.
//!
//! Usage: orphan client ADDRESS:PORT SECONDS
//!        orphan watch PORT
//! See also: tcp(7): TCP_LINGER2, tcp_fin_timeout, tcp_max_orphans; proc(5);
//! RFC 9293, section 3.6; RFC 1122, section 4.2.2.13

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};

const USAGE: &str = "usage: orphan client ADDRESS:PORT SECONDS, \
                     or orphan watch PORT";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context(USAGE);
    match next()?.as_str() {
        "client" => {
            let address = next()?.parse().context("parse ADDRESS:PORT")?;
            call(address, next()?.parse().context("parse SECONDS")?)
        }
        "watch" => watch(next()?.parse().context("parse PORT")?),
        _ => bail!(USAGE),
    }
}

/// Connects, closes one direction, and ends without closing the other.
fn call(address: SocketAddr, seconds: i32) -> anyhow::Result<()> {
    let conn = TcpStream::connect(address)
        .with_context(|| format!("connect {address}"))?;
    println!("connected");
    read_line()?;

    // 1. See to it that the kernel keeps the connection for `seconds`, and not
    //    for its default time, once it is in FIN-WAIT-2 and nobody owns it:
    //    `set_linger2` is at the end of this file.
    // 2. Close the direction in which this program sends, and keep the other;
    //    print `shut down for writing`.
    // 3. Wait for a line; print `leaving`, and return, with nothing read.
    todo!("orphan client is not started: {conn:?} {seconds}")
}

/// At each line of input says what this host has of connections to `port`.
fn watch(port: u16) -> anyhow::Result<()> {
    println!("watching port {port}");
    while read_line()? {
        let table = std::fs::read_to_string("/proc/net/tcp")
            .context("read /proc/net/tcp")?;
        let found: Vec<String> = table
            .lines()
            .skip(1) // the columns' names
            .filter_map(|line| describe(line, port))
            .collect();
        match found.is_empty() {
            true => println!("no connection"),
            false => println!("{}", found.join("\n")),
        }
    }
    Ok(())
}

/// What a line of the table says, if it is about a connection to `port`.
fn describe(line: &str, port: u16) -> Option<String> {
    // 1. Split the line into its columns: proc(5) has them, and so has
    //    Documentation/networking/proc_net_tcp.rst of the kernel. Pass over
    //    (`None`) what is not a connection whose *remote* port is `port`.
    // 2. Return `STATE owned` if a process holds the socket.
    // 3. Return `STATE orphan, N s left` if none does: N seconds, rounded up,
    //    until the timer in that line runs out.
    let state = name(0);
    todo!("orphan watch is not started: {line} {port} {state}")
}

/// A state of <net/tcp_states.h>, as ss(8) and RFC 9293 call it.
fn name(state: u8) -> &'static str {
    const NAMES: [&str; 11] = [
        "ESTABLISHED",
        "SYN-SENT",
        "SYN-RECV",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "CLOSED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
    ];
    let at = usize::from(state).wrapping_sub(1);
    NAMES.get(at).copied().unwrap_or("unknown")
}

/// Sleeps until there is a line; `false`: the input has ended.
fn read_line() -> anyhow::Result<bool> {
    let count = io::stdin().read_line(&mut String::new());
    Ok(count.context("read standard input")? > 0)
}

/// `setsockopt(2)` with TCP_LINGER2, which neither nix nor socket2 has: how many
/// seconds the kernel keeps FIN-WAIT-2 when nobody owns the connection.
#[allow(dead_code)] // Step 1 is to call it.
fn set_linger2(conn: &TcpStream, seconds: i32) -> io::Result<()> {
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_LINGER2);
    let length = size_of::<i32>() as libc::socklen_t;
    let value = (&raw const seconds).cast();
    // SAFETY: `value` points at `length` bytes that outlive the call.
    let done = unsafe {
        libc::setsockopt(conn.as_raw_fd(), level, option, value, length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

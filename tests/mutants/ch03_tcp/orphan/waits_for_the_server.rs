//! The mistake: the client says that it leaves, and waits for the server's end
//! of file first.
//!
//! Usage: orphan client ADDRESS:PORT SECONDS
//!        orphan watch PORT
//! See also: tcp(7): TCP_LINGER2, tcp_fin_timeout, tcp_max_orphans; proc(5);
//! RFC 9293, section 3.6; RFC 1122, section 4.2.2.13

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
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
    // 0 leaves it to net.ipv4.tcp_fin_timeout.
    set_linger2(&conn, seconds).context("setsockopt TCP_LINGER2")?;
    println!("connected");
    read_line()?;
    conn.shutdown(Shutdown::Write).context("shutdown SHUT_WR")?;
    println!("shut down for writing");
    read_line()?;
    println!("leaving");
    io::copy(&mut &conn, &mut io::sink()).context("read")?;
    Ok(()) // whatever is still open, the kernel closes
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
    let columns: Vec<&str> = line.split_whitespace().collect();
    // sl local remote st tx:rx tr:when retrnsmt uid timeout inode
    let &[_, _, remote, state, _, timer, _, _, _, inode, ..] = &columns[..]
    else {
        return None;
    };
    let (_, remote_port) = remote.split_once(':')?;
    if u16::from_str_radix(remote_port, 16) != Ok(port) {
        return None;
    }
    let state = name(u8::from_str_radix(state, 16).ok()?);
    if inode != "0" {
        return Some(format!("{state} owned"));
    }
    // In hundredths of a second, whatever the kernel's own clock ticks in.
    let (_, left) = timer.split_once(':')?;
    let left = u32::from_str_radix(left, 16).ok()?.div_ceil(100);
    Some(format!("{state} orphan, {left} s left"))
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

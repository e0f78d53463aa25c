//! Another way: asks with FIONREAD how much is unread, once poll has returned,
//! and takes as many whole records as there are; the options are set in two
//! rounds.
//!
//! Usage: sockopts ADDRESS:PORT RECORD [OPTION=VALUE]...
//! See also: socket(7), tcp(7), setsockopt(2), poll(2), close(2)

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: sockopts ADDRESS:PORT RECORD [OPTION=VALUE]...";
const BACKLOG: i32 = 64;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr =
        args.next().context(USAGE)?.parse().context("parse ADDRESS:PORT")?;
    let record: i32 =
        args.next().context(USAGE)?.parse().context("parse RECORD")?;
    let mut options = Vec::new();
    for arg in args {
        let (name, value) = arg.split_once('=').context(USAGE)?;
        options.push((name.to_string(), value.parse().context("parse VALUE")?));
    }

    let listener = listen(address, record, &options)?;
    io::stdin().read_line(&mut String::new()).context("read the line")?;
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());
    serve(conn, record as usize)
}

/// A listener whose connections will have these options.
fn listen(
    address: SocketAddr,
    record: i32,
    options: &[(String, i32)],
) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .context("socket")?;
    for (name, value) in options {
        let done = set(&socket, name, *value);
        let has = get(&socket, name).with_context(|| format!("get {name}"))?;
        let text = match done {
            Ok(()) => format!("asked for {value}"),
            Err(err) => errno(&err),
        };
        println!("{name}: {text}, has {has}");
    }
    set(&socket, "SO_RCVLOWAT", record).context("set SO_RCVLOWAT")?;
    let mark = get(&socket, "SO_RCVLOWAT").context("get SO_RCVLOWAT")?;
    println!("SO_RCVLOWAT: asked for {record}, has {mark}");
    ensure!(mark >= record, "the mark is {mark}");

    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG).context("listen")?;
    println!("listening on {address}");
    Ok(socket.into())
}

/// Takes whole records, answers how many there were, and closes.
fn serve(mut conn: TcpStream, record: usize) -> anyhow::Result<()> {
    let (mut records, mut have) = (0, 0);
    loop {
        wait(&conn)?;
        let mut unread: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int, and there is room for it.
        let result = unsafe {
            libc::ioctl(conn.as_raw_fd(), libc::FIONREAD, &raw mut unread)
        };
        Errno::result(result).context("ioctl FIONREAD")?;
        let whole = unread as usize / record * record;
        let mut buf = vec![0; if whole > 0 { whole } else { record }];
        let count = conn.read(&mut buf).context("read")?;
        if count < record {
            have += count;
            if count == 0 {
                break;
            }
            continue;
        }
        for text in buf[..count].chunks_exact(record) {
            println!("record {}", text.escape_ascii());
            records += 1;
        }
    }
    println!("left over {have} bytes");
    let answer = format!("{records} records\n");
    conn.write_all(answer.as_bytes()).context("write")?;
    drop(conn); // With SO_LINGER, close(2) waits for the acknowledgement.
    println!("closed");
    Ok(())
}

/// Sleeps until as much is there as SO_RCVLOWAT says, or the end of file.
fn wait(conn: &TcpStream) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(conn.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::NONE).context("poll")?;
    Ok(())
}

/// The error's name, as in errno(3).
fn errno(err: &io::Error) -> String {
    let errno = err.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| err.to_string(), |errno| format!("{errno:?}"))
}

/// Sets an option of the socket level. SO_LINGER takes seconds.
fn set(socket: &Socket, name: &str, value: i32) -> io::Result<()> {
    if name == "SO_LINGER" {
        let time = Duration::from_secs(value.unsigned_abs().into());
        return socket.set_linger(Some(time));
    }
    set_int(socket, number(name)?, value)
}

/// What the socket has of an option. SO_LINGER is -1 when it is off.
fn get(socket: &Socket, name: &str) -> io::Result<i32> {
    if name == "SO_LINGER" {
        let time = socket.linger()?;
        return Ok(time.map_or(-1, |time| time.as_secs() as i32));
    }
    get_int(socket, number(name)?)
}

/// The number of an option in <sys/socket.h>. socket2 has a method for most of
/// these; there is none for the low-water marks.
fn number(name: &str) -> io::Result<libc::c_int> {
    Ok(match name {
        "SO_REUSEADDR" => libc::SO_REUSEADDR,
        "SO_REUSEPORT" => libc::SO_REUSEPORT,
        "SO_KEEPALIVE" => libc::SO_KEEPALIVE,
        "SO_SNDBUF" => libc::SO_SNDBUF,
        "SO_RCVBUF" => libc::SO_RCVBUF,
        "SO_SNDLOWAT" => libc::SO_SNDLOWAT,
        "SO_RCVLOWAT" => libc::SO_RCVLOWAT,
        _ => return Err(io::Error::other(format!("no option {name}"))),
    })
}

/// `setsockopt(2)` of the level SOL_SOCKET, for an int.
fn set_int(socket: &Socket, option: i32, value: i32) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one int from `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size,
        )
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// `getsockopt(2)` of the level SOL_SOCKET, for an int.
fn get_int(socket: &Socket, option: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes, which is all of `value`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    Errno::result(result).map(|_| value).map_err(io::Error::from)
}

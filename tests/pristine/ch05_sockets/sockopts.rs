//! Set socket options in time, and believe what the kernel says it has.
//!
//! setsockopt(2) that returns 0 has set something; getsockopt(2) says what. A
//! buffer is doubled, and there is a least and a most; a low-water mark is cut
//! down to what the buffer can hold. A connection inherits the options of the
//! listener as they are when its SYN comes, and some are needed before that:
//! the SYN ACK already tells how large the window is.
//!
//! Usage: sockopts ADDRESS:PORT RECORD [OPTION=VALUE]...
//! See also: socket(7), tcp(7), setsockopt(2), poll(2), close(2)

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

const USAGE: &str = "usage: sockopts ADDRESS:PORT RECORD [OPTION=VALUE]...";

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
    // 1. Set each of `options`, in their order, and then SO_RCVLOWAT to
    //    `record`. After each print what became of it:
    //      `NAME: asked for N, has M`   M as getsockopt has it
    //      `NAME: ERRNO, has M`         where setsockopt has failed
    //    and go on; but if the low-water mark is not a whole record, return an
    //    error: nobody listens then.
    // 2. Listen on `address`, with room for 64 connections in the queue; print
    //    `listening on ADDRESS:PORT`. Which options must be set before?
    let mark = set_and_ask(&socket, "SO_RCVLOWAT", record)?;
    todo!("listen is not started: {address} {options:?} {mark}")
}

/// Sets an option, and says what the socket has now.
fn set_and_ask(socket: &Socket, name: &str, value: i32) -> anyhow::Result<i32> {
    let done = set(socket, name, value).map_err(|err| errno(&err));
    todo!("set_and_ask is not started: {done:?}, {}", get(socket, name)?)
}

/// Takes whole records, answers how many there were, and closes.
fn serve(conn: TcpStream, record: usize) -> anyhow::Result<()> {
    // 3. Print each `record` bytes as `record BYTES`, as soon as they are
    //    there. Until then sleep, and leave what is there of a record with the
    //    kernel: it is the kernel that counts. Neither a read that blocks nor
    //    one that takes more than a record will do. Bytes are printed as
    //    `buf.escape_ascii()` shows them.
    // 4. At end-of-file print `left over N bytes`: those that are no record.
    // 5. Send `N records` and a newline back, and close the connection. Print
    //    `closed` when close has returned, and return.
    todo!("serve is not started: {conn:?} {record}")
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

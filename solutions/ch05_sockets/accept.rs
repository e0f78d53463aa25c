//! Accept late, serve every client that waits, and survive what comes.
//!
//! `accept(2)` takes the oldest connection from the listener's queue, whatever
//! has become of its client meanwhile: one that has closed, or reset, or lost
//! its network is handed over like any other, and `read(2)` tells. When a
//! process has no descriptor left, `accept` fails with EMFILE and the
//! connection stays in the queue: the next call fails at once, and so on.
//!
//! Usage: accept ADDRESS:PORT
//! See also: accept(2), poll(2), read(2), getrlimit(2): RLIMIT_NOFILE

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const USAGE: &str = "usage: accept ADDRESS:PORT";

fn main() -> anyhow::Result<()> {
    let arg = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = arg.parse().context("parse ADDRESS:PORT")?;

    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    // Until there is a line the kernel opens connections, and queues them.
    io::stdin().read_line(&mut String::new()).context("read the line")?;
    let left = serve(&listener).context("serve")?;
    println!("stopping, {left} still connected");
    Ok(())
}

/// A connection, and how much has come over it.
struct Client {
    number: usize,
    conn: TcpStream,
    bytes: usize,
}

/// Serves whoever comes until standard input ends; how many are left then.
fn serve(listener: &TcpListener) -> io::Result<usize> {
    let stdin = io::stdin();
    let mut door = Door::new()?;
    let mut clients = Vec::<Client>::new();
    let mut accepted = 0;
    loop {
        let mut fds = vec![stdin.as_fd(), listener.as_fd()];
        fds.extend(clients.iter().map(|client| client.conn.as_fd()));
        let ready = readable(&fds)?;

        // ANCHOR: one
        // An error of one connection is the end of that one, not of the server.
        let mut answers = ready[2..].iter();
        clients.retain_mut(|client| {
            answers.next() != Some(&true) || client.serve()
        });
        // ANCHOR_END: one
        if ready[1]
            && let Some((conn, peer)) = door.accept(listener)?
        {
            accepted += 1;
            println!("client {accepted} is {peer}");
            clients.push(Client { number: accepted, conn, bytes: 0 });
        }
        if ready[0] && stdin.lock().read(&mut [0; 512])? == 0 {
            return Ok(clients.len());
        }
    }
}

impl Client {
    /// Sends back what has come; `false`: that was the end.
    fn serve(&mut self) -> bool {
        let (number, bytes) = (self.number, self.bytes);
        match self.echo() {
            Ok(0) => {
                println!("client {number}: end of file after {bytes} bytes")
            }
            Ok(more) => {
                self.bytes += more;
                return true;
            }
            Err(err) if err.kind() == ErrorKind::ConnectionReset => {
                println!("client {number}: reset after {bytes} bytes");
            }
            Err(err) => println!("client {number}: {err}"),
        }
        false
    }

    /// A real server would not wait here for a client that does not read.
    fn echo(&mut self) -> io::Result<usize> {
        let mut buf = [0; 1024];
        let count = self.conn.read(&mut buf)?;
        self.conn.write_all(&buf[..count])?;
        Ok(count)
    }
}

// ANCHOR: door
/// Accepts; and keeps a descriptor in reserve for whoever is one too many.
struct Door {
    reserve: Option<File>,
}

impl Door {
    fn new() -> io::Result<Door> {
        Ok(Door { reserve: Some(File::open("/dev/null")?) })
    }

    /// The next connection; `None`: that one had to be turned away.
    fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        match listener.accept() {
            Ok(accepted) => return Ok(Some(accepted)),
            // Linux hands over who has reset; other systems say so here.
            Err(err) if err.kind() == ErrorKind::ConnectionAborted => {
                return Ok(None);
            }
            Err(err) if err.raw_os_error() != Some(libc::EMFILE) => {
                return Err(err);
            }
            Err(_) => self.reserve = None, // close(2): one descriptor is free
        }
        // Accepted to be closed: in the queue it would wake us for ever.
        let (conn, peer) = listener.accept()?;
        println!("turned away {peer}");
        drop(conn);
        self.reserve = Some(File::open("/dev/null")?);
        Ok(None)
    }
}
// ANCHOR_END: door

/// Sleeps until one of these can be read, or has come to its end; which can.
fn readable(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut wishes = Vec::new();
    for fd in fds {
        wishes.push(PollFd::new(*fd, PollFlags::POLLIN));
    }
    poll(&mut wishes, PollTimeout::NONE)?;
    Ok(wishes.iter().map(|wish| wish.any() == Some(true)).collect())
}

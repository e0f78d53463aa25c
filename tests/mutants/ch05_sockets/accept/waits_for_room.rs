//! The mistake: without a descriptor it stops looking at the listener until a
//! client has left; whoever waits in the queue is told nothing.
//!
//! Usage: accept ADDRESS:PORT
//! See also: accept(2): EMFILE; poll(2)

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
        let second = if door.full { stdin.as_fd() } else { listener.as_fd() };
        let mut fds = vec![stdin.as_fd(), second];
        fds.extend(clients.iter().map(|client| client.conn.as_fd()));
        let ready = readable(&fds)?;
        // An error of one connection is the end of that one, not of the server.
        let mut answers = ready[2..].iter();
        let before = clients.len();
        clients.retain_mut(|client| {
            answers.next() != Some(&true) || client.serve()
        });
        let looked = !door.full;
        door.full &= clients.len() == before;
        if looked
            && ready[1]
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
/// Accepts, as long as it can.
struct Door {
    full: bool,
}

impl Door {
    fn new() -> io::Result<Door> {
        Ok(Door { full: false })
    }

    /// The next connection; `None`: that one had to be turned away.
    fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        match listener.accept() {
            Ok(accepted) => Ok(Some(accepted)),
            Err(err) if err.raw_os_error() == Some(libc::EMFILE) => {
                self.full = true;
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }
}

/// Sleeps until one of these can be read, or has come to its end; which can.
fn readable(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut wishes = Vec::new();
    for fd in fds {
        wishes.push(PollFd::new(*fd, PollFlags::POLLIN));
    }
    poll(&mut wishes, PollTimeout::NONE)?;
    Ok(wishes.iter().map(|wish| wish.any() == Some(true)).collect())
}

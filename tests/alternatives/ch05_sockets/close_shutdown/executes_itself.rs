//! A child that is this program once more: of what its parent has open, it gets
//! the connection alone, as standard input. The rest has FD_CLOEXEC.
//!
//! Usage: close_shutdown ADDRESS:PORT
//! See also: execve(2), fcntl(2), shutdown(2)

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let text = args.get(1).context("usage: close_shutdown ADDRESS:PORT")?;
    if let Some(number) = text.strip_prefix("child=") {
        let conn = io::stdin().as_fd().try_clone_to_owned().context("dup")?;
        serve(number, TcpStream::from(conn));
        return Ok(());
    }
    let address: SocketAddr = text.parse().context("parse ADDRESS:PORT")?;

    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().context("sigprocmask")?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC)?;
    let listener = TcpListener::bind(address).context("bind")?;
    println!("listening on {address}");
    let mut clients = serve_all(listener, &signals)?;
    for client in &mut clients {
        client.child.wait().context("waitpid")?;
        println!("client {}: closed", client.number);
    }
    drop(clients);
    println!("stopped");
    Ok(())
}

struct Client {
    number: usize,
    child: Child,
    conn: TcpStream,
}

fn serve_all(
    listener: TcpListener,
    signals: &SignalFd,
) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::<Client>::new();
    let mut count = 0;
    loop {
        let stdin = io::stdin();
        let mut fds = [stdin.as_fd(), signals.as_fd(), listener.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::NONE).context("poll")?;
        let [typed, ended, client] = fds.map(|fd| fd.any() == Some(true));
        if ended {
            signals.read_signal().context("read signalfd")?;
            clients.retain_mut(|client| {
                let lives = matches!(client.child.try_wait(), Ok(None));
                if !lives {
                    // The FIN need not wait for the last descriptor.
                    let _ = client.conn.shutdown(Shutdown::Write);
                    println!("client {}: closed", client.number);
                }
                lives
            });
        }
        if typed {
            let mut buf = [0; 64];
            let count = nix::unistd::read(&stdin, &mut buf).context("read")?;
            if count == 0 {
                return Ok(clients);
            }
            for line in String::from_utf8_lossy(&buf[..count]).lines() {
                obey(line, &clients);
            }
        }
        if client {
            let (conn, peer) = listener.accept().context("accept")?;
            count += 1;
            println!("client {count} is {peer}");
            let copy = OwnedFd::from(conn.try_clone().context("dup")?);
            let child = Command::new("/proc/self/exe")
                .arg(format!("child={count}"))
                .stdin(Stdio::from(copy))
                .spawn()
                .context("spawn")?;
            clients.push(Client { number: count, child, conn });
        }
    }
}

fn obey(line: &str, clients: &[Client]) {
    let Some((word, number)) = line.split_once(' ') else { return };
    let (how, name) = match word {
        "write" => (Shutdown::Write, "SHUT_WR"),
        "read" => (Shutdown::Read, "SHUT_RD"),
        _ => (Shutdown::Both, "SHUT_RDWR"),
    };
    for client in clients {
        if client.number.to_string() == number {
            let done = client.conn.shutdown(how);
            let said = done.map_or_else(errno, |()| name.to_string());
            println!("client {number}: {said}");
        }
    }
}

fn serve(number: &str, mut conn: TcpStream) {
    let (mut bytes, mut sent) = (0, 0);
    let mut buf = [0; 4096];
    let end = loop {
        match conn.read(&mut buf) {
            Ok(0) => break "end of file".to_string(),
            Ok(more) => {
                bytes += more;
                sent += conn.write_all(&buf[..more]).map_or(0, |()| more);
            }
            Err(err) => break errno(err),
        }
    };
    println!("child {number}: {bytes} bytes in, {sent} bytes out, {end}");
}

fn errno(err: io::Error) -> String {
    let raw = err.raw_os_error().unwrap_or_default();
    format!("{:?}", Errno::from_raw(raw))
}

//! Another right program: the standard library alone, and a thread for each
//! client. The reserve is closed before the one too many comes.
//!
//! Usage: accept ADDRESS:PORT
//! See also: accept(2), shutdown(2), getrlimit(2)

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;

const USAGE: &str = "usage: accept ADDRESS:PORT";
/// errno(3): EMFILE, too many open files
const EMFILE: i32 = 24;

fn main() -> anyhow::Result<()> {
    let arg = std::env::args().nth(1).context(USAGE)?;
    let address: SocketAddr = arg.parse().context("parse ADDRESS:PORT")?;

    let listener = TcpListener::bind(address)
        .with_context(|| format!("bind {address}"))?;
    println!("listening on {}", listener.local_addr().context("getsockname")?);
    io::stdin().read_line(&mut String::new()).context("read the line")?;

    let connected = Arc::new(AtomicUsize::new(0));
    let counter = connected.clone();
    thread::spawn(move || {
        if let Err(err) = accept_for_ever(&listener, &counter) {
            eprintln!("accept: {err}");
            std::process::exit(1);
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).context("read the rest")?;
    let left = connected.load(Ordering::SeqCst);
    println!("stopping, {left} still connected");
    Ok(())
}

fn accept_for_ever(
    listener: &TcpListener,
    connected: &Arc<AtomicUsize>,
) -> io::Result<()> {
    let mut reserve = Some(File::open("/dev/null")?);
    let mut number = 0;
    loop {
        // The kernel sets a descriptor aside before it looks at the queue, so
        // that accept may fail when there is nobody in it.
        let (conn, peer) = match listener.accept() {
            Err(err) if err.raw_os_error() == Some(EMFILE) => {
                reserve = None;
                continue;
            }
            accepted => accepted?,
        };
        if reserve.is_none() {
            // Somebody may have left since: then there is room after all.
            reserve = File::open("/dev/null").ok();
        }
        if reserve.is_none() {
            println!("turned away {peer}");
            drop(conn);
            reserve = Some(File::open("/dev/null")?);
            continue;
        }
        number += 1;
        println!("client {number} is {peer}");
        connected.fetch_add(1, Ordering::SeqCst);
        let connected = connected.clone();
        thread::spawn(move || {
            serve(number, conn);
            connected.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Sends back what comes, byte by byte.
fn serve(number: usize, mut conn: TcpStream) {
    let mut bytes = 0;
    let end = loop {
        let mut byte = [0];
        match conn
            .read(&mut byte)
            .and_then(|n| conn.write_all(&byte[..n]).map(|()| n))
        {
            Ok(0) => break "end of file",
            Ok(_) => bytes += 1,
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => {
                break "reset";
            }
            Err(_) => break "lost",
        }
    };
    println!("client {number}: {end} after {bytes} bytes");
}

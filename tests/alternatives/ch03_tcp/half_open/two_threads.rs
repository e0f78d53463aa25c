//! Another right program: a thread for each direction, the options by nix, and
//! the times set on the listener, from which an accepted socket has them.
//!
//! Usage: half_open plain ADDRESS:PORT
//!        half_open keepalive IDLE INTERVAL COUNT ADDRESS:PORT   (seconds)
//!        half_open user-timeout MILLISECONDS ADDRESS:PORT
//! See also: accept(2), tcp(7)

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;

use anyhow::{Context, bail};
use nix::sys::socket::{setsockopt, sockopt};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address = args.last().context("which address?")?;
    let listener = TcpListener::bind(address).context("bind")?;
    match args.as_slice() {
        ["plain", _] => {}
        ["keepalive", idle, interval, count, _] => {
            setsockopt(&listener, sockopt::KeepAlive, &true)?;
            setsockopt(&listener, sockopt::TcpKeepIdle, &idle.parse()?)?;
            setsockopt(
                &listener,
                sockopt::TcpKeepInterval,
                &interval.parse()?,
            )?;
            setsockopt(&listener, sockopt::TcpKeepCount, &count.parse()?)?;
        }
        ["user-timeout", time, _] => {
            setsockopt(&listener, sockopt::TcpUserTimeout, &time.parse()?)?;
        }
        _ => bail!("usage: half_open HOW ADDRESS:PORT"),
    }
    println!("listening on {address}");
    let (conn, peer) = listener.accept().context("accept")?;
    println!("accepted {}", peer.ip());

    let mut writer = conn.try_clone().context("dup")?;
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let line = format!("{line}\n");
            if writer.write_all(line.as_bytes()).is_ok() {
                println!("sent {} bytes", line.len());
            }
        }
    });
    // It ends with `main`, wherever the other thread is.
    let mut reader = BufReader::new(conn);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => println!("end of file"),
            Ok(_) => {
                println!("received {}", line.trim_end());
                continue;
            }
            Err(err) if err.kind() == ErrorKind::ConnectionReset => {
                println!("connection reset");
            }
            Err(err) if err.kind() == ErrorKind::TimedOut => {
                println!("connection timed out");
            }
            Err(err) => return Err(err).context("read"),
        }
        return Ok(());
    }
}

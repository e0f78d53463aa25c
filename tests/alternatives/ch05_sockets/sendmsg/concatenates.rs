//! One buffer that a message is copied into, and calls that wait; a receiver with
//! a buffer of its own, from which whole messages are taken.
//!
//! Usage: sendmsg send tcp|udp ADDRESS:PORT
//!        sendmsg recv tcp|udp ADDRESS:PORT
//! See also: send(2), recv(2)

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};
use nix::sys::socket::{MsgFlags, recv};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, protocol, address] = &args[..] else { bail!("three words") };
    match (role.as_str(), protocol.as_str()) {
        ("send", "tcp") => {
            let mut conn = TcpStream::connect(address).context("connect")?;
            conn.set_nodelay(true).context("setsockopt")?;
            send(|message| conn.write_all(message.as_bytes()))
        }
        ("send", _) => {
            let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
            socket.connect(address).context("connect")?;
            send(|message| socket.send(message.as_bytes()).map(drop))?;
            socket.send(b"").context("send")?;
            Ok(())
        }
        (_, "tcp") => {
            let listener = TcpListener::bind(address).context("bind")?;
            println!("listening on {address}");
            let (conn, _) = listener.accept().context("accept")?;
            match receive(BufReader::new(conn)) {
                Ok(()) => println!("end of file"),
                Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => {
                    println!("cut off");
                }
                Err(err) => return Err(err).context("read"),
            }
            Ok(())
        }
        _ => {
            let socket = UdpSocket::bind(address).context("bind")?;
            println!("listening on {address}");
            loop {
                let mut buf = [0; 532];
                // With this flag among those given, the whole length returns.
                let flags = MsgFlags::MSG_TRUNC;
                match recv(socket.as_raw_fd(), &mut buf, flags)? {
                    0 => break,
                    n if n > buf.len() => {
                        let text = String::from_utf8_lossy(&buf[..4]);
                        println!("{text}: truncated, {} bytes", n - 20);
                    }
                    n => receive(&buf[..n])?,
                }
            }
            println!("end");
            Ok(())
        }
    }
}

fn send(
    mut give: impl FnMut(String) -> io::Result<()>,
) -> anyhow::Result<()> {
    println!("connected");
    for line in io::stdin().lines() {
        let line = line.context("read")?;
        let (kind, body) = line.split_once(' ').context("KIND BODY")?;
        let (length, sum) = (body.len(), sum(body.as_bytes()));
        give(format!("{kind}{length:08x}{body}{sum:08x}")).context("send")?;
        println!("sent {kind}, {length} bytes");
    }
    Ok(())
}

/// Prints all messages that a reader has.
fn receive(mut reader: impl BufRead) -> io::Result<()> {
    while !reader.fill_buf()?.is_empty() {
        let (mut kind, mut digits) = ([0; 4], [0; 8]);
        reader.read_exact(&mut kind)?;
        reader.read_exact(&mut digits)?;
        let length = number(&digits)?;
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body)?;
        reader.read_exact(&mut digits)?;
        let right = number(&digits)? == u64::from(sum(&body));
        let word = if right { "right" } else { "wrong" };
        println!("{}: {length} bytes, sum {word}", kind.escape_ascii());
    }
    Ok(())
}

fn number(digits: &[u8]) -> io::Result<u64> {
    let text = String::from_utf8_lossy(digits);
    let number = u64::from_str_radix(&text, 16);
    number.map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))
}

fn sum(body: &[u8]) -> u32 {
    body.iter().map(|byte| u32::from(*byte)).sum()
}

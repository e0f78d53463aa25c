//! The mistake: there is one clock, which starts anew with each request.
//!
//! Usage: ping ADDRESS COUNT MILLISECONDS
//! See also: raw(7), icmp(7), ping(8); RFC 792, RFC 791, RFC 1122

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: ping ADDRESS COUNT MILLISECONDS";
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const DATA: &[u8] = b"abcdefghijklmnopqrstuvwxyz012345";

/// What is known of each request: the first has the number 1.
#[derive(Default)]
struct Tally {
    sent: Vec<Instant>,
    /// How long the reply took; `None`: it is not there yet.
    took: Vec<Option<Duration>>,
    duplicates: usize,
    out_of_order: usize,
    /// The highest number that has come back.
    highest: usize,
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context(USAGE);
    let address: Ipv4Addr = next()?.parse().context("parse ADDRESS")?;
    let count: u16 = next()?.parse().context("parse COUNT")?;
    let wait = next()?.parse().context("parse MILLISECONDS")?;
    let wait = Duration::from_millis(wait);

    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .context("socket SOCK_RAW")?;
    // From here on the kernel gives us only what comes from this host.
    let peer = SocketAddr::from((address, 0));
    socket.connect(&peer.into()).context("connect")?;

    let id = std::process::id() as u16;
    let mut tally = Tally::default();
    for number in 1..=count {
        tally.sent.push(Instant::now());
        tally.took.push(None);
        socket.send(&request(id, number)).context("send")?;
        listen(&socket, id, Instant::now() + wait, &mut tally)?;
    }
    tally.print();
    Ok(())
}

/// Takes what comes, until it is time for the next request.
fn listen(
    mut socket: &Socket,
    id: u16,
    until: Instant,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut packet = [0; 1500];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        socket.set_read_timeout(Some(left)).context("setsockopt")?;
        match socket.read(&mut packet) {
            Ok(length) => {
                if let Some(number) = reply(&packet[..length], id) {
                    tally.note(number, Instant::now());
                }
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(err) => return Err(err).context("recv"),
        }
    }
}

/// An echo request with this identifier and number.
fn request(id: u16, number: u16) -> Vec<u8> {
    let mut message = vec![ECHO_REQUEST, 0, 0, 0]; // type, code, checksum
    message.extend(id.to_be_bytes());
    message.extend(number.to_be_bytes());
    message.extend(DATA);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The number in a packet, if there is a sound reply to one of ours in it.
fn reply(packet: &[u8], id: u16) -> Option<usize> {
    // The lower half of the first byte: how many words of 4 bytes there are.
    let header = usize::from(packet.first()? & 0xf) * 4;
    let message = packet.get(header..).filter(|message| message.len() >= 8)?;
    let ours = message[0] == ECHO_REPLY && message[4..6] == id.to_be_bytes();
    // A raw socket gets what the kernel has not looked at yet. Summed with its
    // checksum, a sound message comes to 0.
    let sound = checksum(message) == 0;
    let number = u16::from_be_bytes([message[6], message[7]]);
    (ours && sound).then_some(number.into())
}

impl Tally {
    /// A reply has come.
    fn note(&mut self, number: usize, now: Instant) {
        // From its own request on: others may have been sent since.
        let Some(&sent) = self.sent.last() else { return };
        if number == 0 || number > self.sent.len() {
            return;
        }
        let took = &mut self.took[number - 1];
        if took.is_some() {
            self.duplicates += 1;
            println!("duplicate {number}");
            return;
        }
        let time = now - sent;
        *took = Some(time);
        if number < self.highest {
            self.out_of_order += 1;
            println!("reply {number} in {} ms, out of order", millis(time));
        } else {
            println!("reply {number} in {} ms", millis(time));
        }
        self.highest = self.highest.max(number);
    }

    fn print(&self) {
        let took: Vec<Duration> = self.took.iter().copied().flatten().collect();
        println!(
            "{} sent, {} received, {} lost, {} duplicates, {} out of order",
            self.sent.len(),
            took.len(),
            self.sent.len() - took.len(),
            self.duplicates,
            self.out_of_order
        );
        let (Some(least), Some(most)) = (took.iter().min(), took.iter().max())
        else {
            return;
        };
        let mean = took.iter().sum::<Duration>() / took.len() as u32;
        let [least, mean, most] = [*least, mean, *most].map(millis);
        println!("round trip {least} to {most} ms, {mean} ms on average");
    }
}

/// RFC 1071: the complement of the sum of all words of 16 bits.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let lower = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], lower]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

//! Ask a host for an echo, again and again, and keep count of what comes back.
//!
//! Every host has to answer an ICMP echo request (RFC 1122, section 3.2.2.6),
//! and it is the kernel that does. IP may lose a packet, deliver it twice or
//! late, and does not say so: the number that goes out in the request and comes
//! back in the reply is all there is to tell them apart. A raw socket for ICMP
//! takes a message without its IP header, and gives each with it (raw(7)), of
//! whatever kind and before anybody has looked at its checksum.
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
    // 1. Type 8, code 0, the checksum (16 bits), the identifier, the number (16
    //    bits each, most significant byte first); then DATA.
    // 2. The checksum is that of the whole message, its own place being 0.
    let _ = checksum(DATA);
    todo!("request is not written: {ECHO_REQUEST} {id} {number}")
}

/// The number in a packet, if there is a sound reply to one of ours in it.
fn reply(packet: &[u8], id: u16) -> Option<usize> {
    // 3. The packet begins with its IPv4 header, whose length is the lower half
    //    of its first byte, in words of 4 bytes.
    // 4. None, unless the message behind it has 8 bytes or more, is an echo
    //    reply (type 0), has our identifier, and a right checksum: nobody has
    //    looked at that yet.
    todo!("reply is not written: {ECHO_REPLY} {id} {}", packet.len())
}

impl Tally {
    /// A reply has come.
    fn note(&mut self, number: usize, now: Instant) {
        // 5. The first reply to a request: keep in `took` how long it took from
        //    when that request was sent, and print `reply N in T ms`, T by
        //    `millis`. If a higher number has come back before, it counts as
        //    out of order: print `reply N in T ms, out of order`.
        // 6. Any further reply to the same request: it counts as a duplicate;
        //    print `duplicate N`.
        // 7. A number that was never sent: do nothing.
        let _ = (self.duplicates, self.out_of_order, self.highest);
        todo!("note is not written: {number} {now:?}")
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

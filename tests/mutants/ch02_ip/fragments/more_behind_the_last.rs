//! The mistake: the flag says that more follow, whenever it was cut.
//!
//! Usage: fragments echo ADDRESS BYTES MTU   (an ICMP echo with so much data)
//!        fragments collect                  (whatever fragments come here)
//! See also: raw(7), packet(7), ip(7); RFC 791, section 3.2; RFC 815, RFC 8900

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: fragments echo ADDRESS BYTES MTU | collect";
/// An IP header without options.
const HEADER: usize = 20;
/// How long a datagram may stay incomplete; Linux: net.ipv4.ipfrag_time, 30 s.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long `echo` waits for an answer.
const ANSWER: Duration = Duration::from_secs(4);

/// An IP packet: whose piece it carries, and which.
struct Packet {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    id: u16,
    /// Where the piece begins in the datagram's data, in bytes.
    offset: usize,
    more: bool,
    data: Vec<u8>,
}

/// What has come of a datagram.
struct Partial {
    /// When its first fragment came.
    since: Instant,
    /// Its place in the order of first fragments, from 1.
    number: usize,
    data: Vec<u8>,
    /// For each byte of `data`: has it come?
    have: Vec<bool>,
    /// The length of the whole, once the last fragment has said so.
    length: Option<usize>,
}

/// What a fragment has made of its datagram.
enum Outcome {
    Incomplete,
    Whole(Vec<u8>),
    /// Some of its bytes had come already, and some had not.
    Overlap,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["echo", to, bytes, mtu] => echo(
            to.parse().context("parse ADDRESS")?,
            bytes.parse().context("parse BYTES")?,
            mtu.parse().context("parse MTU")?,
        ),
        ["collect"] => collect(),
        _ => bail!(USAGE),
    }
}

/// A datagram's data in pieces that fit: each with its offset in bytes, and
/// whether more follow.
fn cut(data: &[u8], mtu: usize) -> Vec<(usize, bool, &[u8])> {
    // The offset counts eights, so all but the last are multiples of eight.
    let room = (mtu - HEADER) / 8 * 8;
    let pieces = data.chunks(room).enumerate().map(|(number, piece)| {
        let offset = number * room;
        (offset, data.len() > room, piece)
    });
    pieces.collect()
}

/// What tells the fragments of one datagram from those of another.
type Key = (Ipv4Addr, Ipv4Addr, u8, u16);

fn key(packet: &Packet) -> Key {
    (packet.source, packet.destination, packet.protocol, packet.id)
}

impl Partial {
    /// Takes a piece to the others.
    fn add(&mut self, offset: usize, more: bool, piece: &[u8]) -> Outcome {
        let end = offset + piece.len();
        if self.have.len() < end {
            self.have.resize(end, false);
            self.data.resize(end, 0);
        }
        let known = self.have[offset..end].iter().filter(|b| **b).count();
        if known > 0 && known < piece.len() {
            return Outcome::Overlap;
        }
        self.data[offset..end].copy_from_slice(piece);
        self.have[offset..end].fill(true);
        if !more {
            self.length = Some(end);
        }
        // The last may be there before the others, and a byte twice: only
        // that none is missing makes it whole.
        match self.length {
            Some(length) if self.have[..length].iter().all(|b| *b) => {
                Outcome::Whole(std::mem::take(&mut self.data))
            }
            _ => Outcome::Incomplete,
        }
    }
}

/// Sends an echo request in pieces, and waits for the reply's.
fn echo(to: Ipv4Addr, bytes: usize, mtu: usize) -> anyhow::Result<()> {
    let packets = packet_socket().context("socket AF_PACKET")?;
    // IPPROTO_RAW: the header comes from here, and the kernel adds its checksum.
    let sender =
        Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))
            .context("socket IPPROTO_RAW")?;
    let id = std::process::id() as u16 | 0x4000; // With 0 the kernel chooses.
    let message = echo_request(id, bytes);
    for (offset, more, piece) in cut(&message, mtu) {
        println!("sent {}", span(offset, piece.len(), more));
        send(&sender, to, id, offset, more, piece).context("sendto")?;
    }

    let mut partials = HashMap::new();
    let deadline = Instant::now() + ANSWER;
    while let Some(packet) = receive(&packets, deadline).context("recvfrom")? {
        if packet.source != to || packet.protocol != 1 {
            continue;
        }
        if packet.more || packet.offset > 0 {
            println!("got {}", describe(&packet));
        }
        match take(&mut partials, packet).1 {
            Outcome::Whole(reply) if reply[0] == 0 => {
                let same = reply[4..] == message[4..];
                let same = if same { "as sent" } else { "not as sent" };
                println!("whole: {} bytes, {same}", reply.len());
                return Ok(());
            }
            Outcome::Whole(error) if error[..2] == [11, 1] => {
                println!("{to} has given up");
                return Ok(());
            }
            _ => {}
        }
    }
    println!("no answer");
    Ok(())
}

/// Puts together what comes in pieces, until standard input ends.
fn collect() -> anyhow::Result<()> {
    let packets = packet_socket().context("socket AF_PACKET")?;
    let mut partials: HashMap<Key, Partial> = HashMap::new();
    println!("collecting");
    while let Some(ready) = wait(&packets, &partials).context("poll")? {
        if ready {
            let now = Instant::now();
            let Some(packet) = receive(&packets, now).context("recvfrom")?
            else {
                continue;
            };
            if !packet.more && packet.offset == 0 {
                continue;
            }
            let line = describe(&packet);
            let (number, outcome) = take(&mut partials, packet);
            println!("{number}: {line}");
            match outcome {
                Outcome::Incomplete => {}
                Outcome::Overlap => println!("{number}: overlap"),
                Outcome::Whole(data) => {
                    let (length, digest) = (data.len(), digest(&data));
                    println!("{number}: whole, {length} bytes, {digest:08x}");
                }
            }
        }
        partials.retain(|_, partial| {
            let late = partial.since.elapsed() >= PATIENCE;
            if late {
                println!("{}: given up", partial.number);
            }
            !late
        });
    }
    Ok(())
}

/// Takes a packet to its datagram: the datagram's number, and what became of it.
/// What is whole or overlaps is forgotten.
fn take(
    partials: &mut HashMap<Key, Partial>,
    packet: Packet,
) -> (usize, Outcome) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let key = key(&packet);
    let partial = partials.entry(key).or_insert_with(|| Partial {
        since: Instant::now(),
        number: COUNT.fetch_add(1, Ordering::Relaxed) + 1,
        data: Vec::new(),
        have: Vec::new(),
        length: None,
    });
    let number = partial.number;
    let outcome = partial.add(packet.offset, packet.more, &packet.data);
    if !matches!(outcome, Outcome::Incomplete) {
        partials.remove(&key);
    }
    (number, outcome)
}

/// `1480+1 last`: where a piece begins, and how long it is.
fn span(offset: usize, length: usize, more: bool) -> String {
    let more = if more { "more" } else { "last" };
    format!("{offset}+{length} {more}")
}

fn describe(packet: &Packet) -> String {
    span(packet.offset, packet.data.len(), packet.more)
}

/// FNV-1a: a number that another order of the same bytes changes.
fn digest(data: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    };
    data.iter().fold(0x811c_9dc5, step)
}

/// An ICMP echo request with so many bytes of data (RFC 792).
fn echo_request(id: u16, bytes: usize) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend((0..bytes).map(|n| b'a' + (n % 26) as u8));
    let word = |pair: &[u8]| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    };
    let sum: u32 = message.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !(sum + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Sends an ICMP packet with a piece of a datagram's data.
fn send(
    socket: &Socket,
    to: Ipv4Addr,
    id: u16,
    offset: usize,
    more: bool,
    piece: &[u8],
) -> io::Result<usize> {
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    let length = (HEADER + piece.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(field.to_be_bytes());
    // Time to live, ICMP; the kernel fills in the checksum and the source.
    packet.extend([64, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend(to.octets());
    packet.extend(piece);
    socket.send_to(&packet, &SocketAddr::new(to.into(), 0).into())
}

/// A socket that gets every IP packet as it arrives: a raw socket would get what
/// its kernel has put together.
fn packet_socket() -> io::Result<Socket> {
    let protocol = i32::from((libc::ETH_P_IP as u16).to_be());
    Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(protocol)))
}

/// The next packet to this host; `None`: none has come by the deadline.
fn receive(socket: &Socket, deadline: Instant) -> nix::Result<Option<Packet>> {
    let mut buf = vec![0; 65536];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, left)? == 0 {
            return Ok(None);
        }
        let (read, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buf)?;
        let here = from.is_some_and(|f| f.pkttype() == libc::PACKET_HOST);
        if let Some(packet) = parse(&buf[..read]).filter(|_| here) {
            return Ok(Some(packet));
        }
    }
}

fn parse(packet: &[u8]) -> Option<Packet> {
    let word = |at: usize| {
        Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
    };
    let address = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let field = word(6)?;
    Some(Packet {
        source: address(12)?,
        destination: address(16)?,
        protocol: packet[9],
        id: word(4)?,
        offset: usize::from(field & 0x1fff) * 8,
        more: field & 0x2000 != 0,
        data: packet.get(header..usize::from(word(2)?))?.to_vec(),
    })
}

/// Sleeps until a packet is there, `true`, or a datagram has waited too long;
/// `None`: standard input has ended.
fn wait(
    packets: &Socket,
    partials: &HashMap<Key, Partial>,
) -> nix::Result<Option<bool>> {
    let left = |p: &Partial| PATIENCE.saturating_sub(p.since.elapsed());
    let left = partials.values().map(left).min();
    // Not a millisecond too early.
    let left = left.map(|left| left + Duration::from_millis(1));
    let left = left.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from);
    let stdin = io::stdin();
    let mut fds = [
        PollFd::new(packets.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut fds, left.unwrap_or(PollTimeout::MAX))?;
    let [packet, end] = [&fds[0], &fds[1]].map(|fd| fd.any().unwrap_or(false));
    Ok((packet || !end).then_some(packet))
}

//! Who connects, and what is sent in which pieces.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use testbed::TcpState;

use super::{ALONE, Look, RECEIVER, TOO_LARGE, TWINS, connection, listeners};
use crate::ch05_sockets::peer::Peer;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::sys;

/// What `lab run` plays with, and the page speaks of.
const STORY: [u64; 5] = [40, 30, 5000, 2000, 100];
/// Longer than the wire holds the acknowledgement.
const LINGER: u64 = 5;
/// So many connections all fall to one of two listeners once in 2^62 runs; the
/// queue in front of accept has room for them.
const MOST_CLIENTS: usize = 63;

pub fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    match stage.take {
        "records" => records(stage),
        _ => port(stage),
    }
}

/// Options by name, as the program gets them.
fn options(pairs: &[(&str, u64)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Starts the program with these options; what it should say of each.
fn start(
    stage: &mut Stage,
    name: &str,
    address: SocketAddr,
    record: usize,
    options: &[String],
) -> Result<Role, Halt> {
    let lines = expected(stage, record, options)?;
    stage.fact(&format!("{name}_lines"), lines);
    let mut args = vec![address.to_string(), record.to_string()];
    args.extend_from_slice(options);
    stage.start(name, KONGMING, args)
}

/// What becomes of these options on a socket of our own.
fn expected(
    stage: &Stage,
    record: usize,
    options: &[String],
) -> Result<Vec<String>, Halt> {
    let made = stage.net.host(KONGMING)?.at(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let mark = [format!("SO_RCVLOWAT={record}")];
        let all = options.iter().chain(&mark);
        Ok(all.filter_map(|option| line(&socket, option)).collect())
    })?;
    made.map_err(|err: std::io::Error| Halt::Missed(format!("socket: {err}")))
}

fn line(socket: &Socket, option: &str) -> Option<String> {
    let (name, value) = option.split_once('=')?;
    let value = value.parse().ok()?;
    let number = match name {
        "SO_LINGER" => {
            return Some(format!("{name}: asked for {value}, has {value}"));
        }
        "SO_REUSEADDR" => libc::SO_REUSEADDR,
        "SO_REUSEPORT" => libc::SO_REUSEPORT,
        "SO_KEEPALIVE" => libc::SO_KEEPALIVE,
        "SO_SNDBUF" => libc::SO_SNDBUF,
        "SO_RCVBUF" => libc::SO_RCVBUF,
        "SO_SNDLOWAT" => libc::SO_SNDLOWAT,
        "SO_RCVLOWAT" => libc::SO_RCVLOWAT,
        _ => return None,
    };
    let (set, has) = sys::set_and_ask(socket, number, value);
    Some(match set {
        Ok(()) => format!("{name}: asked for {value}, has {has}"),
        Err(err) => {
            let errno = err.raw_os_error().map(nix::errno::Errno::from_raw);
            format!("{name}: {:?}, has {has}", errno?)
        }
    })
}

fn records(stage: &mut Stage) -> Result<(), Halt> {
    let [record, part, receive, send, mark] = match stage.story {
        true => STORY,
        false => {
            let record = stage.draw.count(30..=60);
            [
                record,
                stage.draw.count(10..=record - 10),
                stage.draw.count(3000..=6000),
                stage.draw.count(50..=2300),
                stage.draw.count(2..=200),
            ]
        }
    };
    let (record, part) = (record as usize, part as usize);
    let keepalive = stage.draw.count(2..=9);
    let mut options = options(&[
        ("SO_RCVBUF", receive),
        ("SO_SNDBUF", send),
        ("SO_SNDLOWAT", mark),
        ("SO_KEEPALIVE", keepalive),
        ("SO_LINGER", LINGER),
    ]);
    if !stage.values.is_empty() {
        options = stage.values.clone();
    }
    let address = stage.address(KONGMING)?;
    stage.fact("address", address.to_string());
    stage.fact("record", record);
    stage.fact("part", part);
    stage.fact("receive_buffer", receive);
    stage.fact("send_buffer", send);

    let receiver = start(stage, RECEIVER, address, record, &options)?;
    stage.line(receiver, "listening on ")?;
    stage.fact("listener", stage.net.host(KONGMING)?.tcp_sockets()?);
    let port = stage.draw.port();
    let peer = Peer::connect(stage, LAPTOP, port, address)?;
    // Open until this process ends: whoever reads on when the scenario has
    // stopped early must not meet the end of file, or not by chance.
    let peer = std::mem::ManuallyDrop::new(peer.without_delay()?);
    let mut sender =
        Sender { peer, receiver, record, sent: String::new(), looks: vec![] };

    sender.send(stage, part)?;
    stage.sockets(KONGMING, "the first bytes", |sockets| {
        connection(sockets).is_some_and(|s| s.receive_queue as usize == part)
    })?;
    stage.step(KONGMING, "Enter")?;
    stage.enter(receiver);
    stage.line(receiver, "accepted ")?;
    let played = sender.play(stage, part);
    stage.fact("sent", &sender.sent);
    stage.fact("looks", &sender.looks);
    played?;
    close(stage, sender)
}

/// The other end of the connection.
struct Sender {
    peer: std::mem::ManuallyDrop<Peer>,
    receiver: Role,
    record: usize,
    sent: String,
    looks: Vec<Look>,
}

impl Sender {
    fn play(&mut self, stage: &mut Stage, part: usize) -> Result<(), Halt> {
        let record = self.record;
        self.look(stage)?;
        self.send(stage, record - part)?;
        self.look(stage)?;
        self.send(stage, record + part)?;
        self.look(stage)?;
        self.send(stage, record - part)?;
        self.look(stage)?;
        self.send(stage, 2 * record)?;
        self.look(stage)?;
        self.send(stage, part)?;
        self.look(stage)
    }

    fn send(&mut self, stage: &mut Stage, count: usize) -> Result<(), Halt> {
        let text = stage.draw.letters(count);
        stage.step(LAPTOP, format!("sends {count} bytes"))?;
        let before = stage.count("data from ernest-laptop")?;
        self.sent.push_str(&text);
        self.peer.send(&text);
        stage.frames("data from ernest-laptop", before + 1)
    }

    /// Waits for the records that must have been printed by now, and then until
    /// the program sleeps; how much it has left to the kernel.
    fn look(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let whole = self.sent.len() / self.record;
        let head = stage.program(self.receiver).lines_printed();
        let printed = self.printed(stage)?;
        let seen = whole <= printed || {
            let missing = whole - printed;
            stage.lines_or_quiet(self.receiver, head + missing)?
        };
        stage.idle(self.receiver)?;
        let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
        let unread = connection(&sockets).map_or(0, |s| s.receive_queue);
        let printed = self.printed(stage)?;
        self.looks.push(Look { sent: self.sent.len(), printed, unread });
        match seen {
            true => Ok(()),
            false => {
                let what = format!("waited for {RECEIVER} to print `record`");
                Err(Halt::Missed(what))
            }
        }
    }

    fn printed(&self, stage: &Stage) -> Result<usize, Halt> {
        let trace = stage.net.trace()?;
        let lines = trace.stdout(RECEIVER);
        Ok(lines.iter().filter(|line| line.starts_with("record ")).count())
    }
}

/// The end of file, and an acknowledgement that is late.
fn close(stage: &mut Stage, mut sender: Sender) -> Result<(), Halt> {
    let hold = stage.net.wire().arm("hold every ack from ernest-laptop")?;
    stage.step(LAPTOP, "sends its FIN")?;
    sender.peer.finish();
    stage.line(sender.receiver, "left over ")?;
    stage.in_one_go(|stage| {
        let closing = stage.sockets_soon(KONGMING, |sockets| {
            connection(sockets).is_none_or(|s| s.state == TcpState::LastAck)
        })?;
        stage.idle(sender.receiver)?;
        let closing = match connection(&closing) {
            Some(_) => stage.net.host(KONGMING)?.tcp_sockets()?,
            None => closing,
        };
        stage.fact("closing", closing);
        stage.step("wire", "lets the acknowledgements go")?;
        stage.net.wire().release(&hold)?;
        Ok(())
    })?;
    stage.line(sender.receiver, "closed")?;
    let heard = sender.peer.hear(stage, usize::MAX)?;
    stage.fact("answer", heard.text);
    stage.end(sender.receiver)
}

fn port(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    stage.fact("address", address.to_string());
    let record = stage.draw.count(30..=60) as usize;
    let shared = options(&[("SO_REUSEPORT", 1)]);
    let mut twins = Vec::new();
    for name in TWINS {
        let twin = start(stage, name, address, record, &shared)?;
        stage.line(twin, "listening on ")?;
        twins.push(twin);
    }
    stage.fact("twins", stage.net.host(KONGMING)?.tcp_sockets()?);
    // Kept: whoever closes what is still to be written to gets a RST.
    let _clients = share(stage, address, &twins)?;

    let own = options(&[("SO_REUSEADDR", 1)]);
    let alone = start(stage, ALONE, address, record, &own)?;
    stage.end(alone)?;
    for twin in twins {
        stage.enter(twin);
        stage.line(twin, "accepted ")?;
        stage.line(twin, "closed")?;
        stage.end(twin)?;
    }

    let buffer = stage.draw.count(2000..=3000);
    let large = buffer as usize + stage.draw.count(100..=900) as usize;
    let address = stage.address(KONGMING)?;
    let small = options(&[("SO_RCVBUF", buffer)]);
    let last = start(stage, TOO_LARGE, address, large, &small)?;
    let gone = stage.patiently(|stage, glance| {
        let program = stage.program(last);
        program.wait_line("listening on ", glance);
        let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
        let listens = listeners(&sockets).any(|s| s.local == address);
        let ended = stage.program(last).has_closed_its_output();
        Ok((listens || ended).then_some(listens))
    })?;
    stage.fact("listens", gone == Some(true));
    stage.enter(last);
    match gone {
        Some(false) => stage.end(last),
        _ => Err(Halt::Missed(format!("waited for {TOO_LARGE} to end"))),
    }
}

/// Clients come, say nothing and go, until each listener has one of them.
fn share(
    stage: &mut Stage,
    address: SocketAddr,
    twins: &[Role],
) -> Result<Vec<Peer>, Halt> {
    let mut clients = Vec::new();
    let first = stage.draw.port().min(32_000 - MOST_CLIENTS as u16);
    for number in 0..MOST_CLIENTS {
        let port = first + number as u16;
        let mut peer = Peer::connect(stage, LAPTOP, port, address)?;
        peer.finish();
        clients.push(peer);
        let seen = stage.sockets(KONGMING, "the connection", |sockets| {
            let waiting = listeners(sockets).map(|s| s.receive_queue as usize);
            waiting.sum::<usize>() > number
        })?;
        let waiting = listeners(&seen).filter(|s| s.receive_queue > 0);
        if waiting.count() == twins.len() {
            return Ok(clients);
        }
    }
    Err(Halt::Missed("waited for each listener to have a client".into()))
}

//! A sender whose segments the wire lets go one by one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use testbed::{Armed, Segment};

use super::super::tcp_info::TcpInfo;
use super::PROGRAM;
use super::reno::{Event, MISTAKES, Mistake, Reno};
use crate::filter::{self, Question};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// Bytes in a full segment; few, so that all fits into the receiver's window.
const FULL: usize = 524;
/// The same with the timestamps that Linux counts with them.
const MSS: u32 = FULL as u32 + 12;
/// Segments before the pause that the last one's loss makes, and after it.
const FIRST: u64 = 60;
const SECOND: u64 = 24;
/// Which one is lost; the window is still growing fast then.
const LOST: std::ops::RangeInclusive<u64> = 12..=18;
/// How often the last segment of the first part is lost.
const EXPIRIES: usize = 2;
/// On a slow machine a timer may expire while a segment is still held; then all
/// is played anew.
const TRIES: usize = 4;
/// Events in a row of what is shown.
const ROW: usize = 12;
/// Connections that nobody had.
const MADE: usize = 40;
/// What the kernel does besides RFC 5681, and a namespace can do without.
const PLAIN: [(&str, &str, &str); 5] = [
    (LAPTOP, "net.ipv4.tcp_sack", "0"),
    (LAPTOP, "net.ipv4.tcp_recovery", "0"),
    (LAPTOP, "net.ipv4.tcp_early_retrans", "0"),
    (LAPTOP, "net.ipv4.tcp_frto", "0"),
    (KONGMING, "net.ipv4.tcp_comp_sack_nr", "0"),
];

/// Segments, and when they left, or came.
type Timed = Vec<(u64, Segment)>;
/// What was seen after an event.
type Seen = (u64, Event, TcpInfo);

/// The kernel's sender and receiver, and the wire between them.
struct Transfer {
    address: SocketAddr,
    client: TcpStream,
    server: TcpStream,
    held: Armed,
    /// The first byte that is not acknowledged.
    una: u32,
    /// What was out when the first of these duplicates came: a sender may send
    /// something new for each of the first two (RFC 3042), which does not count.
    out_at_first: Option<u64>,
    seen: Vec<Seen>,
}

/// Plays the transfer, and asks about what happened.
pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let algorithm = stage.values.first().cloned();
    let algorithm = algorithm.unwrap_or_else(|| "reno".to_string());
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        seen = stage.in_one_go(|stage| transfer(stage, &algorithm))?;
        if as_planned(&seen) {
            break;
        }
    }
    let mut events: Vec<(u64, Event)> =
        seen.iter().map(|(t_ns, event, _)| (*t_ns, *event)).collect();
    let real = events.len();
    beside(stage, &algorithm, &seen)?;
    if !stage.story {
        let last = events.last().map_or(0, |event| event.0);
        let made = made(stage);
        events.extend((last + 1..).zip(made));
    }
    let questions = questions(stage, &events, real);
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

/// Has the timer expired where it should, and nowhere else?
fn as_planned(seen: &[Seen]) -> bool {
    let timeout = |seen: &&Seen| matches!(seen.1, Event::Timeout(_));
    let before = seen.iter().take_while(|seen| !timeout(seen));
    let lost = |seen: &Seen| seen.2.ca() == "Loss";
    seen.iter().filter(timeout).count() == EXPIRIES
        && !before.into_iter().any(lost)
}

fn transfer(stage: &mut Stage, algorithm: &str) -> Result<Vec<Seen>, Halt> {
    for (host, name, value) in PLAIN {
        stage.net.host(host)?.set_sysctl(name, value)?;
    }
    // Room for all of it: no window update comes between.
    let room = "4096 4000000 6000000";
    stage.net.host(KONGMING)?.set_sysctl("net.ipv4.tcp_rmem", room)?;
    let address = stage.address(KONGMING)?;
    let port = address.port();
    let lost = stage.draw.count(LOST);
    stage.fact("lost", lost);
    let wire = stage.net.wire();
    wire.arm(&format!("drop #{lost} data from {LAPTOP} port {port}"))?;
    // The last of the first part, and its first repetition.
    let (last, again) = (FIRST + 1, FIRST + 2);
    let tail = format!("drop #{last}-{again} data from {LAPTOP} port {port}");
    let tail = wire.arm(&tail)?;
    let held =
        wire.arm(&format!("hold every data from {LAPTOP} port {port}"))?;
    let mut transfer = Transfer::open(stage, address, algorithm, held)?;
    stage.step(LAPTOP, format!("sends {FIRST} segments; {lost} gets lost"))?;
    transfer.write(FIRST)?;
    while stage.in_one_go(|stage| transfer.next(stage))? {}
    stage.net.wire().disarm(tail)?;
    stage.step(LAPTOP, format!("sends {SECOND} more"))?;
    transfer.write(SECOND)?;
    while stage.in_one_go(|stage| transfer.next(stage))? {}
    Ok(transfer.seen)
}

impl Transfer {
    fn open(
        stage: &mut Stage,
        address: SocketAddr,
        algorithm: &str,
        held: Armed,
    ) -> Result<Transfer, Halt> {
        let server = stage.net.host(KONGMING)?;
        let listener = server.at(|| TcpListener::bind(address))?;
        let listener = listener.map_err(failed)?;
        let connect = || -> io::Result<Socket> {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM, None)?;
            socket.set_tcp_congestion(algorithm.as_bytes())?;
            socket.set_tcp_mss(MSS)?;
            socket.set_send_buffer_size(1 << 20)?;
            socket.set_tcp_nodelay(true)?;
            socket.connect(&address.into())?;
            Ok(socket)
        };
        let client = stage.net.host(LAPTOP)?.at(connect)?.map_err(|err| {
            Halt::Missed(format!("a connection with {algorithm}: {err}"))
        })?;
        let (server, _) = listener.accept().map_err(failed)?;
        server.set_nonblocking(true).map_err(failed)?;
        let info = TcpInfo::of(&client).map_err(failed)?;
        let trace = stage.net.trace()?;
        let port = address.port();
        let syns = trace.select(&format!("syn from {LAPTOP} port {port}"))?;
        let syn = syns.frames().next();
        let first = syn.and_then(|(event, frame)| {
            Some((event.t_ns, frame.packet().segment()?.seq))
        });
        let Some((t_ns, seq)) = first else {
            return Err(Halt::Missed("waited for a SYN".into()));
        };
        let open = Event::Open(info.cwnd.into());
        Ok(Transfer {
            address,
            client: client.into(),
            server,
            held,
            una: seq.wrapping_add(1),
            out_at_first: None,
            seen: vec![(t_ns, open, info)],
        })
    }

    fn write(&mut self, segments: u64) -> Result<(), Halt> {
        let bytes = vec![b'.'; FULL * segments as usize];
        self.client.write_all(&bytes).map_err(failed)
    }

    /// Lets one segment go and waits for what it brings back, or for the timer
    /// where none is held; `false`: all is acknowledged.
    fn next(&mut self, stage: &mut Stage) -> Result<bool, Halt> {
        let before = TcpInfo::of(&self.client).map_err(failed)?;
        if before.unacked == 0 {
            return Ok(false);
        }
        let (sent, _) = self.segments(stage)?;
        if !stage.net.wire().release_next(&self.held)? {
            let port = self.address.port();
            let what = format!("data from {LAPTOP} port {port}");
            // What is sent now was lost before. The timer is the kernel's own.
            let limit = Duration::from_micros(before.rto.into()) * 2;
            let limit = limit + Duration::from_secs(1);
            stage.net.wait_frames(&what, sent.len() + 1, limit)?;
            let info = TcpInfo::of(&self.client).map_err(failed)?;
            let (sent, _) = self.segments(stage)?;
            let again = sent.last().filter(|(_, last)| last.seq == self.una);
            if let Some((t_ns, _)) = again
                && info.retransmits > before.retransmits
            {
                let event = Event::Timeout(self.out(&sent));
                self.seen.push((*t_ns, event, info));
                self.out_at_first = None;
            }
            return Ok(true);
        }
        let info = stage.look_each_ms(|_, _| {
            // It does not wait for a second segment to acknowledge, once all is
            // read (tcp_cleanup_rbuf in net/ipv4/tcp.c).
            while self.server.read(&mut [0; 65_536]).is_ok_and(|n| n > 0) {}
            SockRef::from(&self.server)
                .set_tcp_quickack(true)
                .map_err(failed)?;
            let info = TcpInfo::of(&self.client).map_err(failed)?;
            Ok((info.segs_in > before.segs_in).then_some(info))
        })?;
        let info =
            info.ok_or_else(|| Halt::Missed("waited for an ACK".into()))?;
        let (_, acks) = self.segments(stage)?;
        let Some((t_ns, ack)) = acks.last().cloned() else {
            return Err(Halt::Missed("waited for an ACK".into()));
        };
        let out = self.out(&sent);
        let event = match ack.ack.wrapping_sub(self.una) as usize {
            0 => Event::DupAck(*self.out_at_first.get_or_insert(out)),
            bytes => {
                self.out_at_first = None;
                self.una = ack.ack;
                Event::Ack(bytes.div_ceil(FULL) as u64, out)
            }
        };
        self.seen.push((t_ns, event, info));
        Ok(true)
    }

    /// How many segments are out, of those that were sent.
    fn out(&self, sent: &[(u64, Segment)]) -> u64 {
        let ends = sent.iter().map(|(_, s)| {
            s.seq.wrapping_add(s.data as u32).wrapping_sub(self.una)
        });
        let most = ends.filter(|end| *end < 1 << 31).max().unwrap_or(0);
        (most as usize).div_ceil(FULL) as u64
    }

    /// The client's segments with data, and the server's without.
    fn segments(&self, stage: &Stage) -> Result<(Timed, Timed), Halt> {
        let trace = stage.net.trace()?;
        let (mut sent, mut acks) = (Vec::new(), Vec::new());
        for (event, frame) in trace.frames() {
            let Some(segment) = frame.packet().segment() else { continue };
            if segment.destination == self.address && segment.data > 0 {
                sent.push((event.t_ns, segment));
            } else if segment.source == self.address && !segment.flags.syn {
                let arrived = frame.delivered_ns.unwrap_or(event.t_ns);
                acks.push((arrived, segment));
            }
        }
        Ok((sent, acks))
    }
}

fn failed(err: io::Error) -> Halt {
    Halt::Missed(format!("the grader's own connection: {err}"))
}

/// The window after each event, the kernel's and RFC 5681's, for a reader.
fn beside(
    stage: &mut Stage,
    algorithm: &str,
    seen: &[Seen],
) -> Result<(), Halt> {
    if !stage.story {
        return Ok(());
    }
    let mut reno = Reno::new(Mistake::Nothing);
    let (mut events, mut rfc, mut kernel) = (vec![], vec![], vec![]);
    let mut states: Vec<String> = Vec::new();
    let (mut together, mut apart, mut expired) = (0, 0, false);
    for (at, (_, event, info)) in seen.iter().enumerate() {
        reno.step(*event);
        events.push(match event {
            Event::Open(_) => "open".to_string(),
            Event::Ack(1, _) => ".".to_string(),
            Event::Ack(count, _) => format!("+{count}"),
            Event::DupAck(_) => "dup".to_string(),
            Event::Timeout(_) => "rto".to_string(),
        });
        expired |= matches!(event, Event::Timeout(_));
        if !reno.recovery && !expired {
            match u64::from(info.cwnd) == reno.cwnd {
                true => together += 1,
                false => apart += 1,
            }
        }
        rfc.push(reno.cwnd.to_string());
        kernel.push(info.cwnd.to_string());
        let state = format!("{} from {at}", info.ca());
        let before = at.checked_sub(1).map(|at| seen[at].2.ca());
        let threshold = match (info.ssthresh, reno.ssthresh) {
            (0x7fff_ffff, u64::MAX) => "none".to_string(),
            (0x7fff_ffff, rfc) => format!("none, RFC 5681 {rfc}"),
            (kernel, u64::MAX) => format!("{kernel}, RFC 5681 none"),
            (kernel, rfc) => format!("{kernel}, RFC 5681 {rfc}"),
        };
        if before != Some(info.ca()) {
            states.push(format!("{state}: ssthresh {threshold}"));
        }
    }
    let rows = [("event", events), ("RFC 5681", rfc), (algorithm, kernel)];
    for from in (0..seen.len()).step_by(ROW) {
        for (name, row) in &rows {
            let row = row.iter().skip(from).take(ROW);
            let row: String = row.map(|word| format!("{word:>5}")).collect();
            stage.step(LAPTOP, format!("{from:>3} {name:<9}{row}"))?;
        }
    }
    stage.fact("together", together);
    stage.fact("apart", apart);
    for state in states {
        stage.step(LAPTOP, format!("{algorithm} in {state}"))?;
    }
    Ok(())
}

/// Connections with all that can happen to one.
fn made(stage: &mut Stage) -> Vec<Event> {
    let draw = &mut stage.draw;
    let mut events = Vec::new();
    for _ in 0..MADE {
        events.push(Event::Open(draw.count(1..=10)));
        for _ in 0..draw.count(4..=12) {
            let out = draw.count(1..=60);
            match draw.count(0..=5) {
                0 => {
                    let dups = draw.count(1..=7);
                    events.extend((0..dups).map(|_| Event::DupAck(out)));
                    events.push(Event::Ack(draw.count(1..=out), out));
                }
                1 => {
                    let times = draw.count(1..=3);
                    let more = |_| Event::Timeout(draw.count(1..=60));
                    events.extend((0..times).map(more));
                    events.push(Event::Ack(1, out));
                }
                _ => {
                    let acks = draw.count(1..=12);
                    let ack = |_| Event::Ack(draw.count(1..=2), out);
                    events.extend((0..acks).map(ack));
                }
            }
        }
    }
    events
}

fn questions(
    stage: &mut Stage,
    events: &[(u64, Event)],
    real: usize,
) -> Vec<Question> {
    let mut right = Reno::new(Mistake::Nothing);
    let mut wrong: Vec<_> = MISTAKES
        .iter()
        .map(|(mistake, cause)| (Reno::new(*mistake), *cause))
        .collect();
    let mut mistakes: BTreeMap<String, &str> = BTreeMap::new();
    let mut questions = Vec::new();
    let mut last = 0;
    for (at, (t_ns, event)) in events.iter().enumerate() {
        last = last.max(*t_ns - 1) + 1; // No two have the same name.
        let (seconds, rest) = (last / 1_000_000_000, last % 1_000_000_000);
        let name = format!("{seconds}.{rest:09}");
        last += 1;
        let (answer, about) = right.step(*event);
        for (sender, cause) in &mut wrong {
            let (said, _) = sender.step(*event);
            if said != answer {
                mistakes.entry(format!("{name} {said}")).or_insert(*cause);
            }
        }
        questions.push(Question {
            name,
            text: event.text(),
            answer,
            about: about.to_string(),
            usual: at < real,
        });
    }
    stage.fact("mistakes", mistakes);
    questions
}

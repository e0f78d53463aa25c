//! Round-trip times of a kernel: drawn, lost, cut off.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use socket2::SockRef;
use testbed::Armed;

use super::super::tcp_info::TcpInfo;
use super::PROGRAM;
use super::rfc::{Estimator, Event, MISTAKES, Mistake};
use crate::filter::{self, Question};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// How many acknowledgements are delayed, and by how many milliseconds.
const SAMPLES: usize = 8;
const DELAYS: std::ops::RangeInclusive<u64> = 4..=60;
/// Connections that nobody had.
const MADE: usize = 24;
/// Linux's least timeout, and the most that RFC 6298 lets one set (rule 2.5).
const LINUX: [u64; 2] = [200_000, 60_000_000];
/// What loses every frame of a burst but the first.
const BURST: usize = 4;

/// A connection of the grader's own, and what it has seen.
struct Line {
    port: u16,
    client: TcpStream,
    server: TcpStream,
    events: Vec<(u64, Event)>,
}

/// Plays the part that was asked for, and asks about the times that it took.
pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let limits = match stage.story {
        true => LINUX,
        false => [
            stage.draw.count(400..=900) * 1_000,
            stage.draw.count(60_000..=120_000) * 1_000,
        ],
    };
    let part = stage.values.first().cloned().unwrap_or_default();
    let events = stage.in_one_go(|stage| match part.as_str() {
        "" => lost(stage),
        "cut" => cut(stage),
        "tail" => tail(stage),
        other => {
            let what = format!("no part `{other}`; there are cut and tail");
            Err(Halt::Missed(what))
        }
    })?;
    if stage.story {
        tell(stage, &events, limits)?;
    }
    let mut all = events.clone();
    if !stage.story {
        let last = events.last().map_or(0, |event| event.0);
        let made = made(stage);
        all.extend((last + 1..).zip(made));
    }
    let questions = questions(stage, &all, events.len(), limits);
    let args = limits.map(|micros| micros.to_string());
    filter::ask(stage, PROGRAM, LAPTOP, &args, &questions)
}

impl Line {
    /// Connects; the SYN ACK is delayed as well, and is the first sample.
    fn open(stage: &mut Stage) -> Result<Line, Halt> {
        let address = stage.address(KONGMING)?;
        let port = address.port();
        let delay = stage.draw.count(DELAYS);
        let rule =
            format!("delay {delay}ms synack from {KONGMING} port {port}");
        let armed = stage.net.wire().arm(&rule)?;
        let server = stage.net.host(KONGMING)?;
        let listener = server.at(|| TcpListener::bind(address))?;
        let listener = listener.map_err(failed)?;
        let client = stage.net.host(LAPTOP)?;
        let client = client.at(|| TcpStream::connect(address))?;
        let client = client.map_err(failed)?;
        client.set_nodelay(true).map_err(failed)?;
        let (server, _) = listener.accept().map_err(failed)?;
        stage.net.wire().disarm(armed)?;
        let mut line = Line { port, client, server, events: Vec::new() };
        let (sent, acked) = line.last_round(stage, "syn", "synack")?;
        line.events.push((sent, Event::Open));
        line.events.push((acked, Event::Sample(micros(sent, acked))));
        Ok(line)
    }

    /// Sends a few bytes, and nothing waits at the other end.
    fn send(&mut self, text: &str) -> Result<(), Halt> {
        SockRef::from(&self.server).set_tcp_quickack(true).map_err(failed)?;
        self.client.write_all(text.as_bytes()).map_err(failed)
    }

    /// One segment, its ACK delayed by the wire.
    fn sample(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let delay = stage.draw.count(DELAYS);
        let armed = self.delay(stage, delay)?;
        let text = stage.draw.letters(20);
        self.send(&text)?;
        self.acknowledged(stage)?;
        self.server.read_exact(&mut [0; 20]).map_err(failed)?;
        stage.net.wire().disarm(armed)?;
        let (sent, acked) = self.last_round(stage, "data", "ack")?;
        self.events.push((acked, Event::Sample(micros(sent, acked))));
        self.compare(stage, &Event::Sample(micros(sent, acked)).text())
    }

    fn delay(&self, stage: &Stage, delay: u64) -> Result<Armed, Halt> {
        let port = self.port;
        let rule =
            format!("delay {delay}ms every ack from {KONGMING} port {port}");
        Ok(stage.net.wire().arm(&rule)?)
    }

    /// Waits until all that was sent is acknowledged.
    fn acknowledged(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let done = stage.look_each_ms(|_, _| {
            let info = TcpInfo::of(&self.client).map_err(failed)?;
            Ok((info.unacked == 0).then_some(()))
        })?;
        done.ok_or_else(|| Halt::Missed("waited for an ACK".into()))
    }

    /// When the client's first frame of a kind left, of those that are of the
    /// last segment, and when the server's last one came.
    fn last_round(
        &self,
        stage: &Stage,
        sent: &str,
        acked: &str,
    ) -> Result<(u64, u64), Halt> {
        let trace = stage.net.trace()?;
        let of = |kind: &str, host: &str| -> Result<_, Halt> {
            let what = format!("{kind} from {host} port {}", self.port);
            Ok(trace.select(&what)?)
        };
        let (sent, acked) = (of(sent, LAPTOP)?, of(acked, KONGMING)?);
        let last = sent.frames().last().and_then(|(_, f)| f.packet().segment());
        let same = |frame: &testbed::trace::Frame| {
            let segment = frame.packet().segment();
            segment.map(|s| s.seq) == last.as_ref().map(|s| s.seq)
        };
        let first = sent.frames().find(|(_, frame)| same(frame));
        let arrived = acked.frames().last().and_then(|(_, f)| f.delivered_ns);
        match (first, arrived) {
            (Some((event, _)), Some(arrived)) => Ok((event.t_ns, arrived)),
            _ => Err(Halt::Missed("waited for a segment and its ACK".into())),
        }
    }

    /// What the kernel makes of it, as a step that a reader sees.
    fn compare(&self, stage: &Stage, what: &str) -> Result<(), Halt> {
        let info = TcpInfo::of(&self.client).map_err(failed)?;
        if !stage.story {
            return Ok(());
        }
        let TcpInfo { rtt, rttvar, rto, .. } = info;
        let text = format!("{what}: tcp_info has {rtt} {rttvar} {rto}");
        stage.step(LAPTOP, text)
    }
}

/// Samples, then a segment that is lost twice, then samples again.
fn lost(stage: &mut Stage) -> Result<Vec<(u64, Event)>, Halt> {
    no_probes(stage)?;
    let mut line = Line::open(stage)?;
    line.compare(stage, "the handshake")?;
    for _ in 0..SAMPLES {
        line.sample(stage)?;
    }
    let rule = format!("drop #1-2 data from {LAPTOP} port {}", line.port);
    let armed = stage.net.wire().arm(&rule)?;
    let text = stage.draw.letters(20);
    let what = format!("data from {LAPTOP} port {}", line.port);
    let before = stage.net.trace()?.select(&what)?.frames().count();
    line.send(&text)?;
    for times in 1..=2 {
        stage.frames(&what, before + 1 + times)?;
        let trace = stage.net.trace()?.select(&what)?;
        let repeated = trace.frames().nth(before + times);
        let at = repeated.map_or(0, |(event, _)| event.t_ns);
        line.events.push((at, Event::Timeout));
        line.compare(stage, "timeout")?;
    }
    line.acknowledged(stage)?;
    line.server.read_exact(&mut [0; 20]).map_err(failed)?;
    stage.net.wire().disarm(armed)?;
    let (sent, acked) = line.last_round(stage, "data", "ack")?;
    let again = Event::Again(micros(sent, acked));
    line.events.push((acked, again));
    line.compare(stage, &again.text())?;
    for _ in 0..2 {
        line.sample(stage)?;
    }
    Ok(line.events)
}

/// The cable is cut, and the neighbour's address gets old meanwhile.
fn cut(stage: &mut Stage) -> Result<Vec<(u64, Event)>, Halt> {
    no_probes(stage)?;
    // By default 15 to 45 s, and 5 s of trust before it is asked.
    for (name, value) in
        [("base_reachable_time_ms", "1000"), ("delay_first_probe_time", "1")]
    {
        let name = format!("net.ipv4.neigh.eth0.{name}");
        stage.net.host(LAPTOP)?.set_sysctl(&name, value)?;
        stage.step(LAPTOP, format!("{name} is {value}"))?;
    }
    let mut line = Line::open(stage)?;
    for _ in 0..2 {
        line.sample(stage)?;
    }
    stage.net.wire().cut(KONGMING)?;
    let what = format!("data from {LAPTOP} port {}", line.port);
    let mut sent = stage.net.trace()?.select(&what)?.frames().count();
    let arp = format!("arp from {LAPTOP}");
    let asked = stage.net.trace()?.select(&arp)?.frames().count();
    let text = stage.draw.letters(20);
    line.send(&text)?;
    stage.frames(&what, sent + 1)?;
    line.compare(stage, "sent")?;
    sent += 1;
    loop {
        let (next, asks) = (sent + 1, asked + 3);
        let more = stage.look_each_ms(|stage, _| {
            let trace = stage.net.trace()?;
            let seen = trace.select(&what)?.frames().count();
            let asking = trace.select(&arp)?.frames().count();
            Ok((seen >= next || asking >= asks).then_some(seen >= next))
        })?;
        match more {
            None => return Err(Halt::Missed("waited for ARP".into())),
            Some(false) => return Ok(line.events),
            Some(true) => {}
        }
        let trace = stage.net.trace()?.select(&what)?;
        let at = trace.frames().nth(sent).map_or(0, |(event, _)| event.t_ns);
        line.events.push((at, Event::Timeout));
        line.compare(stage, "timeout")?;
        sent += 1;
    }
}

/// Of several segments the first arrives. With nothing behind the others, no
/// duplicate ACK tells that they are lost.
fn tail(stage: &mut Stage) -> Result<Vec<(u64, Event)>, Halt> {
    let mut line = Line::open(stage)?;
    for _ in 0..3 {
        line.sample(stage)?;
    }
    let armed = line.delay(stage, 20)?;
    let rule = format!("drop #2-{BURST} data from {LAPTOP} port {}", line.port);
    stage.net.wire().arm(&rule)?;
    stage.step(
        LAPTOP,
        format!("sends {BURST} segments; all but one get lost"),
    )?;
    for _ in 0..BURST {
        let text = stage.draw.letters(20);
        line.send(&text)?;
    }
    line.acknowledged(stage)?;
    stage.step(LAPTOP, "all is acknowledged")?;
    stage.net.wire().disarm(armed)?;
    Ok(line.events)
}

/// Without tail loss probes each repetition is a timeout.
fn no_probes(stage: &Stage) -> Result<(), Halt> {
    let host = stage.net.host(LAPTOP)?;
    Ok(host.set_sysctl("net.ipv4.tcp_early_retrans", "0")?)
}

fn micros(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / 1_000
}

fn failed(err: io::Error) -> Halt {
    Halt::Missed(format!("the grader's own connection: {err}"))
}

/// What RFC 6298 makes of the same times, for a reader.
fn tell(
    stage: &Stage,
    events: &[(u64, Event)],
    limits: [u64; 2],
) -> Result<(), Halt> {
    let mut rfc = Estimator::new(limits, Mistake::Nothing);
    let answers = events.iter().map(|(_, event)| rfc.step(*event).0);
    let last = answers.last().unwrap_or_default();
    stage.step(LAPTOP, format!("RFC 6298 would be at {last}"))
}

/// Connections with all that a clock can do.
fn made(stage: &mut Stage) -> Vec<Event> {
    let mut events = Vec::new();
    for at in 0..MADE {
        events.push(Event::Open);
        let draw = &mut stage.draw;
        let usual = 10u64.pow(draw.count(2..=6) as u32);
        match at % 4 {
            // Times that hardly differ: RTTVAR goes down to nothing.
            0 => {
                let steady = draw.count(700_000..=2_000_000);
                events.extend((0..40).map(|_| Event::Sample(steady)));
            }
            // A host that is gone.
            1 => {
                events.push(Event::Sample(draw.count(usual..=usual * 3)));
                events.extend((0..12).map(|_| Event::Timeout));
                events.push(Event::Again(draw.count(1..=200_000_000)));
            }
            _ => {
                for _ in 0..draw.count(5..=20) {
                    events.push(match draw.count(0..=9) {
                        0..=6 => Event::Sample(draw.count(1..=usual * 4)),
                        7 => Event::Again(draw.count(1..=usual * 9)),
                        _ => Event::Timeout,
                    });
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
    limits: [u64; 2],
) -> Vec<Question> {
    let mut right = Estimator::new(limits, Mistake::Nothing);
    let mut wrong: Vec<_> = MISTAKES
        .iter()
        .map(|(mistake, cause)| (Estimator::new(limits, *mistake), *cause))
        .collect();
    let mut mistakes: BTreeMap<String, &str> = BTreeMap::new();
    let mut questions = Vec::new();
    for (at, (t_ns, event)) in events.iter().enumerate() {
        let (seconds, rest) = (t_ns / 1_000_000_000, t_ns % 1_000_000_000);
        let name = format!("{seconds}.{rest:09}");
        let (answer, about) = right.step(*event);
        for (estimator, cause) in &mut wrong {
            let (said, _) = estimator.step(*event);
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

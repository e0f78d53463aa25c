//! Plays the scenes on the two hosts, and makes questions of what happened.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use testbed::trace::What;
use testbed::{Armed, Segment, TcpSocket, TcpState, TimerKind};

use super::PROGRAM;
use super::rfc::{End, NOTHING};
use super::scenes::{Move, SCENES, Scene, Side};
use crate::filter::{self, Question};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// Longer than any kernel takes for what it does at once, or after its first
/// retransmission timeout.
const SOON: Duration = Duration::from_secs(3);
/// On a slow machine a kernel may send something again before the scene has got
/// to it: then that scene is played anew.
const TRIES: usize = 5;
/// Histories that nobody played.
const MADE: usize = 300;
const MADE_SHOWN: usize = 5;
/// How long they are at most.
const LONGEST: u64 = 14;

/// What one end did after one event, and how it came there.
#[derive(Clone, Debug)]
struct Deed {
    t_ns: u64,
    history: Vec<String>,
    before: End,
    state: TcpState,
    sent: String,
    about: &'static str,
}

/// Why a scene ends before its last move.
enum Stop {
    /// A kernel sent something again by itself.
    Again,
    /// A kernel does otherwise than the RFC: what it did.
    Differs(String),
    /// There is no more.
    Halt(Halt),
}

impl<E: Into<Halt>> From<E> for Stop {
    fn from(err: E) -> Stop {
        Stop::Halt(err.into())
    }
}

/// Plays the scenes, or the ones that the user names, and asks.
pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut scenes: Vec<&Scene> = SCENES.iter().collect();
    if !stage.values.is_empty() {
        scenes.retain(|s| stage.values.iter().any(|name| name == s.name));
    }
    if scenes.is_empty() {
        let names: Vec<&str> = SCENES.iter().map(|s| s.name).collect();
        let names = names.join(", ");
        return Err(Halt::Missed(format!("no such scene; there are {names}")));
    }
    stage.fact("scenes", scenes.len());
    let (mut deeds, mut differs) = (Vec::new(), Vec::new());
    for scene in scenes {
        stage
            .in_one_go(|stage| play(stage, scene, &mut deeds, &mut differs))?;
    }
    stage.fact("differs", differs);
    stage.fact("deeds", deeds.len());
    let arrows: BTreeSet<String> = deeds.iter().map(arrow).collect();
    stage.fact("transitions", arrows.len());
    let questions = questions(stage, deeds);
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

fn play(
    stage: &mut Stage,
    scene: &Scene,
    deeds: &mut Vec<Deed>,
    differs: &mut Vec<String>,
) -> Result<(), Halt> {
    for _ in 0..TRIES {
        let mut pair = Pair::new(stage, scene)?;
        let mut stop = None;
        for one in scene.moves {
            stop = pair.act(stage, *one).err();
            if stop.is_some() {
                break;
            }
        }
        let held = pair.ends.map(|end| end.held);
        match stop {
            Some(Stop::Halt(halt)) => return Err(halt),
            Some(Stop::Again) => {
                for armed in held {
                    while stage.net.wire().lose_next(&armed)? {}
                }
                continue;
            }
            Some(Stop::Differs(what)) => differs.push(what),
            None => {}
        }
        deeds.extend(pair.deeds);
        return Ok(());
    }
    Ok(()) // Its lines are left out.
}

/// The two ends of a connection, each with what it has done so far.
struct Pair {
    about: &'static str,
    ends: [Peer; 2],
    deeds: Vec<Deed>,
}

struct Peer {
    host: &'static str,
    local: SocketAddr,
    /// Keeps what this end sends.
    held: Armed,
    listener: Option<Socket>,
    socket: Option<Socket>,
    rfc: End,
    history: Vec<String>,
    /// What it has sent, and which of it has left the wire.
    sent: Vec<Segment>,
    gone: usize,
}

impl Pair {
    fn new(stage: &mut Stage, scene: &Scene) -> Result<Pair, Halt> {
        let mut hosts = [LAPTOP, KONGMING];
        if !stage.story && stage.draw.count(0..=1) == 1 {
            hosts.reverse();
        }
        // Where the scene does not wait for it, no kernel is to send again; one
        // before Linux 6.11 cannot be told.
        let waits = scene.moves.iter().any(|m| matches!(m, Move::Repeat(_)));
        let least = if waits { "200000" } else { "3000000" };
        for host in hosts {
            let name = "net.ipv4.tcp_rto_min_us";
            let _not_there = stage.net.host(host)?.set_sysctl(name, least);
        }
        let mut peer = |host: &'static str| -> Result<Peer, Halt> {
            let local = stage.address(host)?;
            let rule =
                format!("hold every tcp from {host} port {}", local.port());
            Ok(Peer {
                host,
                local,
                held: stage.net.wire().arm(&rule)?,
                listener: None,
                socket: None,
                rfc: End::default(),
                history: Vec::new(),
                sent: Vec::new(),
                gone: 0,
            })
        };
        let ends = [peer(hosts[0])?, peer(hosts[1])?];
        Ok(Pair { about: scene.name, ends, deeds: Vec::new() })
    }

    fn act(&mut self, stage: &Stage, one: Move) -> Result<(), Stop> {
        self.ends.iter_mut().try_for_each(|end| {
            if end.news(stage)?.is_empty() { Ok(()) } else { Err(Stop::Again) }
        })?;
        let (at, event) = match one {
            Move::Listen(side) => (side, "passive open".to_string()),
            Move::Connect(side) => (side, "active open".to_string()),
            Move::Close(side) | Move::Shut(side) => (side, "close".to_string()),
            Move::Abort(side) => (side, "abort".to_string()),
            Move::Repeat(side) => (side, "timeout RTO".to_string()),
            Move::Forget(side) => (side, "timeout 2MSL".to_string()),
            Move::Arrive(side) => {
                let (from, to) = (side as usize, 1 - side as usize);
                let segment = self.ends[from].oldest();
                let event = arrives(&segment, &self.ends[to]);
                (if to == 0 { Side::A } else { Side::B }, event)
            }
            Move::Lose(side) => {
                let end = &mut self.ends[side as usize];
                end.gone += 1;
                stage.net.wire().lose_next(&end.held)?;
                return Ok(());
            }
        };
        let peer = self.ends[1 - at as usize].local;
        if let Move::Arrive(side) = one {
            let end = &mut self.ends[side as usize];
            end.gone += 1;
            stage.net.wire().release_next(&end.held)?;
        }
        let end = &mut self.ends[at as usize];
        if !matches!(one, Move::Arrive(_) | Move::Repeat(_)) {
            stage.step(end.host, format!("{event} ({})", self.about))?;
            end.call(stage, one, peer)?;
        }
        let before = end.rfc;
        let Some(right) = end.rfc.step(&event) else {
            let text = format!("no rule for {event} in {}", before.state);
            return Err(Stop::Differs(text));
        };
        end.history.push(event);
        let (state, sent) = end.observe(stage, peer, right)?;
        let deed = Deed {
            t_ns: now(stage)?,
            history: end.history.clone(),
            before,
            state: end.rfc.state,
            sent: right.to_string(),
            about: self.about,
        };
        if (state, sent.as_str()) != (deed.state, right) {
            return Err(Stop::Differs(format!(
                "{}: {} {right} by RFC 9293, {state} {sent} by the kernel",
                deed.history.join(", "),
                deed.state,
            )));
        }
        self.deeds.push(deed);
        Ok(())
    }
}

/// What this segment is to who gets it.
fn arrives(segment: &Segment, to: &Peer) -> String {
    if segment.flags.rst {
        return "rcv RST".to_string();
    }
    let fin = to.sent.iter().find(|sent| sent.flags.fin);
    let of_fin = fin.is_some_and(|fin| {
        segment.flags.ack && segment.ack == fin.seq.wrapping_add(1)
    });
    let of_fin = if of_fin { " of FIN" } else { "" };
    format!("rcv {}{of_fin}", segment.flags)
}

impl Peer {
    /// The oldest segment that the wire holds of it.
    fn oldest(&self) -> Segment {
        self.sent[self.gone].clone()
    }

    /// What it has sent since the last look.
    fn news(&mut self, stage: &Stage) -> Result<Vec<Segment>, Halt> {
        let trace = stage.net.trace()?;
        let mine = trace.frames().filter_map(|(event, frame)| {
            let segment = frame.packet().segment()?;
            let mine = event.host == self.host && segment.source == self.local;
            mine.then_some(segment)
        });
        let new: Vec<Segment> = mine.skip(self.sent.len()).collect();
        self.sent.extend(new.clone());
        Ok(new)
    }

    /// Makes the call that a move is.
    fn call(
        &mut self,
        stage: &Stage,
        one: Move,
        peer: SocketAddr,
    ) -> Result<(), Halt> {
        let host = stage.net.host(self.host)?;
        let failed = |err: io::Error| Halt::Missed(format!("{one:?}: {err}"));
        match one {
            Move::Listen(_) => {
                let socket = host.at(|| bound(self.local))?.map_err(failed)?;
                socket.listen(4).map_err(failed)?;
                self.listener = Some(socket);
            }
            Move::Connect(_) => {
                let socket = host.at(|| bound(self.local))?.map_err(failed)?;
                match socket.connect(&peer.into()) {
                    Err(err)
                        if err.raw_os_error() != Some(libc::EINPROGRESS) =>
                    {
                        return Err(failed(err));
                    }
                    _ => self.socket = Some(socket),
                }
            }
            Move::Close(_) if self.rfc.state == TcpState::Listen => {
                self.listener = None;
            }
            Move::Close(_) | Move::Abort(_) | Move::Shut(_) => {
                let socket = match self.socket.take() {
                    Some(socket) => socket,
                    None => self.accept().map_err(failed)?,
                };
                if let Move::Abort(_) = one {
                    let linger = Some(Duration::ZERO);
                    socket.set_linger(linger).map_err(failed)?;
                }
                if let Move::Shut(_) = one {
                    let way = std::net::Shutdown::Write;
                    socket.shutdown(way).map_err(failed)?;
                    self.socket = Some(socket);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn accept(&self) -> io::Result<Socket> {
        let listener = self.listener.as_ref();
        let listener = listener.ok_or(io::ErrorKind::NotConnected)?;
        listener.accept().map(|(socket, _)| socket)
    }

    /// What the kernel did: waits until it is what the RFC says, or for as long
    /// as it could take.
    fn observe(
        &mut self,
        stage: &Stage,
        peer: SocketAddr,
        right: &str,
    ) -> Result<(TcpState, String), Stop> {
        let limit = SOON * stage.slack;
        let last = Cell::new(TcpState::Closed);
        let name = self.host;
        let expected = self.rfc.state;
        let forgets = self.history.last().is_some_and(|e| e == "timeout 2MSL");
        let looked = stage.net.wait_sockets(name, limit, |sockets| {
            last.set(self.state(sockets, peer));
            last.get() == expected || forgets && self.will_end(sockets, peer)
        });
        let _as_it_is = looked?;
        let mut last = last.get();
        if forgets && last == TcpState::TimeWait {
            last = TcpState::Closed; // In 60 seconds, and by nothing else.
        }
        if right != NOTHING {
            let what = format!("tcp from {name} port {}", self.local.port());
            let count = self.sent.len() + 1;
            stage.net.wait_frames(&what, count, limit)?;
        }
        let news = self.news(stage)?;
        if news.len() > 1 {
            return Err(Stop::Again);
        }
        let sent = news.first().map_or(NOTHING.to_string(), told);
        Ok((last, sent))
    }

    /// The state of the connection, or of what would be one: where a listener
    /// has lost its connection before it was one, it is back in LISTEN.
    fn state(&self, sockets: &[TcpSocket], peer: SocketAddr) -> TcpState {
        let mine = sockets.iter().filter(|s| s.local == self.local);
        let states: BTreeMap<SocketAddr, TcpState> = mine
            .filter(|s| s.state != TcpState::Closed)
            .map(|s| (s.peer, s.state))
            .collect();
        if let Some(state) = states.get(&peer) {
            return *state;
        }
        let never = !self.history.iter().any(|event| event == "rcv ACK");
        let listens = states.values().any(|s| *s == TcpState::Listen);
        if listens && never { TcpState::Listen } else { TcpState::Closed }
    }

    fn will_end(&self, sockets: &[TcpSocket], peer: SocketAddr) -> bool {
        let mut sockets = sockets.iter();
        let mine = sockets.find(|s| s.local == self.local && s.peer == peer);
        let timer = mine.and_then(|socket| socket.timer);
        timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait)
    }
}

/// A RST is one, with an acknowledgement or without.
fn told(segment: &Segment) -> String {
    match segment.flags.rst {
        true => "RST".to_string(),
        false => segment.flags.to_string(),
    }
}

/// A socket on an address, which does not wait.
fn bound(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

/// The network's clock.
fn now(stage: &Stage) -> Result<u64, Halt> {
    let trace = stage.net.trace()?;
    let times = trace.events.iter().map(|event| match &event.what {
        What::Frame(frame) => frame.delivered_ns.unwrap_or(event.t_ns),
        _ => event.t_ns,
    });
    Ok(times.max().unwrap_or_default())
}

/// One step of the machine, for counting.
fn arrow(deed: &Deed) -> String {
    let event = deed.history.last().map_or("", String::as_str);
    let Deed { before, state, sent, .. } = deed;
    format!("{} {} {event} {state} {sent}", before.state, before.passive)
}

/// A question for each thing that was done, in time's order, and then for
/// histories made of the same steps.
fn questions(stage: &mut Stage, mut deeds: Vec<Deed>) -> Vec<Question> {
    deeds.sort_by_key(|deed| deed.t_ns);
    let mut last = 0;
    for deed in &mut deeds {
        deed.t_ns = deed.t_ns.max(last + 1); // No two have the same name.
        last = deed.t_ns;
    }
    let count = if stage.story { MADE_SHOWN } else { MADE };
    let made = (1..=count as u64).map(|at| walk(stage, &deeds, last + at));
    let made: Vec<Deed> = made.collect();
    let real = deeds.iter().map(|deed| question(deed, true));
    real.chain(made.iter().map(|deed| question(deed, false))).collect()
}

/// A history in steps that a kernel took.
fn walk(stage: &mut Stage, deeds: &[Deed], t_ns: u64) -> Deed {
    let mut end = End::default();
    let (mut history, mut done) = (Vec::new(), None);
    for _ in 0..stage.draw.count(2..=LONGEST) {
        let fits = |deed: &&Deed| {
            let here = deed.before;
            (here.state, here.passive) == (end.state, end.passive)
        };
        let ways: Vec<&Deed> = deeds.iter().filter(fits).collect();
        if ways.is_empty() {
            break;
        }
        let way = ways[stage.draw.count(0..=ways.len() as u64 - 1) as usize];
        history.extend(way.history.last().cloned());
        end.step_loosely(way.history.last().map_or("", String::as_str));
        done = Some(way);
    }
    let way = done.unwrap_or(&deeds[0]);
    Deed { t_ns, history, about: "another-history", ..way.clone() }
}

fn question(deed: &Deed, usual: bool) -> Question {
    let Deed { t_ns, history, state, sent, about, .. } = deed;
    let (seconds, fraction) = (t_ns / 1_000_000_000, t_ns % 1_000_000_000);
    Question {
        name: format!("{seconds}.{fraction:09}"),
        text: history.join(", "),
        answer: format!("{state} {sent}"),
        about: about.to_string(),
        usual,
    }
}

//! What happens in `connect_errors`: targets, and what becomes of a SYN to each.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::PROGRAM;
use crate::ch02_ip::packets::{self, Header, ICMP, icmp, station};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

const ROUTER: &str = "router";
const WWW: &str = "www.example.test";
const PORTS: &str = "net.ipv4.ip_local_port_range";
/// ICMP's destination unreachable (RFC 792); its codes are from 0 to 15.
const UNREACHABLE: u8 = 3;

/// What becomes of an attempt.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Kind {
    /// Somebody listens.
    Open,
    /// The same, behind the router.
    OpenFar,
    /// Nobody listens: RST.
    Closed,
    /// The router's routes prohibit it: ICMP, code 13.
    Prohibited,
    /// The router's routes say that there is no such host: ICMP, code 1.
    Unreachable,
    /// The router has no route: ICMP, code 0.
    NoRouteThere,
    /// The laptop has no route.
    NoRouteHere,
    /// The laptop's only local port is in use.
    NoPort,
    /// The laptop's only local port is the one that is connected to.
    Itself,
    /// A message that the scenario writes, with this code.
    Code(u8),
    /// Nobody on the wire has the address.
    NoNeighbour,
    /// Every SYN is lost.
    Lost,
    /// A target that a user has asked for.
    Asked,
}

/// A target, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What became of the attempt.
    pub kind: Kind,
    /// The target.
    pub target: SocketAddr,
    /// From the moment before the program was given it to the one after its
    /// line was there.
    pub wall_ms: u64,
    /// How many descriptors the program had then; none: it had ended.
    pub descriptors: usize,
}

#[derive(Default)]
struct Plot {
    used: HashSet<u16>,
    hosts: HashSet<u8>,
    listeners: Vec<TcpListener>,
    seen: Vec<Seen>,
}

/// Gives the program one target after the other.
pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut plot = Plot::default();
    let values = stage.values.clone();
    let (changes, targets): (Vec<&String>, Vec<&String>) = values
        .iter()
        .partition(|value| value.contains('=') || value.contains(' '));
    for change in changes {
        let laptop = stage.net.host(LAPTOP)?;
        match change.split_once('=') {
            Some((name, value)) => laptop.set_sysctl(name, value)?,
            None => laptop.replace_route(change)?,
        }
        stage.step(LAPTOP, change.as_str())?;
    }
    // The kernel bounds how many of these it sends to one host.
    stage.net.host(ROUTER)?.set_sysctl("net.ipv4.icmp_ratelimit", "0")?;
    if !stage.story {
        // An ICMP message that finds connect(2) still at work on the socket is
        // not acted upon, and the SYN is repeated a second later.
        stage.net.wire().arm("delay 40ms every icmp from router")?;
    }
    let program = stage.start_with(PROGRAM, LAPTOP, [""; 0], |launch| {
        launch.watch(&["connect"])
    })?;
    stage.idle(program)?;
    stage.fact("at_start", descriptors(stage, program)?);
    let codes = targets.iter().any(|target| *target == "codes");
    let kinds = match (targets.is_empty(), codes) {
        (true, _) => kinds(stage),
        // Code 4 says how long a packet may be, and ends no attempt.
        (_, true) => (0..4).chain(5..16).map(Kind::Code).collect(),
        _ => Vec::new(),
    };
    for kind in kinds {
        let target = target(stage, &mut plot, kind)?;
        play(stage, program, &mut plot, kind, target)?;
    }
    for target in targets.into_iter().filter(|_| !codes) {
        let target = target.parse().map_err(|_| {
            Halt::Missed(format!("`{target}` is no ADDRESS:PORT"))
        })?;
        ask(stage, program, &mut plot, Kind::Asked, target)?;
    }
    stage.step(LAPTOP, "end of the program's input")?;
    stage.close_stdin(program);
    stage.end(program)
}

/// Which targets the take has, in an order that is drawn.
fn kinds(stage: &mut Stage) -> Vec<Kind> {
    if stage.story {
        return vec![
            Kind::OpenFar,
            Kind::Closed,
            Kind::Prohibited,
            Kind::NoRouteHere,
            Kind::NoPort,
            Kind::Itself,
            Kind::NoNeighbour,
            Kind::Lost,
        ];
    }
    let mut kinds = match stage.take {
        "told" => {
            let mut kinds = vec![
                Kind::Open,
                Kind::OpenFar,
                Kind::Closed,
                Kind::Prohibited,
                Kind::Unreachable,
                Kind::NoRouteThere,
                Kind::NoRouteHere,
                Kind::NoPort,
                Kind::Itself,
            ];
            // Two of those that no other target has.
            for codes in [[2, 3, 5], [6, 7, 8]] {
                let at = stage.draw.count(0..=2) as usize;
                kinds.push(Kind::Code(codes[at]));
            }
            kinds
        }
        "nobody" => vec![Kind::Closed, Kind::Prohibited, Kind::NoNeighbour],
        _ => vec![Kind::Open, Kind::Closed, Kind::Lost],
    };
    for at in (1..kinds.len()).rev() {
        let other = stage.draw.count(0..=at as u64) as usize;
        kinds.swap(at, other);
    }
    kinds
}

/// An address and a port for which the attempt will become that.
fn target(
    stage: &mut Stage,
    plot: &mut Plot,
    kind: Kind,
) -> Result<SocketAddr, Halt> {
    let kongming = stage.net.host(KONGMING)?.ip();
    let laptop = stage.net.host(LAPTOP)?.ip();
    let port = plot.port(stage);
    let ip = match kind {
        Kind::Open | Kind::NoPort => {
            let address = SocketAddr::new(kongming, port);
            let listener =
                stage.net.host(KONGMING)?.at(|| TcpListener::bind(address))?;
            plot.listeners.push(listener.map_err(|e| missed("bind", &e))?);
            kongming
        }
        Kind::OpenFar => {
            return Ok(SocketAddr::new(stage.net.host(WWW)?.ip(), 80));
        }
        Kind::Closed | Kind::Lost | Kind::Asked => kongming,
        Kind::Itself => laptop,
        // On the wire's network, and nobody's.
        Kind::NoNeighbour => plot.address(stage, [192, 168, 1], 120),
        // A network that nobody has (RFC 5737).
        _ => plot.address(stage, [198, 51, 100], 1),
    };
    let router = stage.net.host(ROUTER)?;
    match kind {
        Kind::Prohibited => router.add_route(&format!("prohibit {ip}"))?,
        Kind::Unreachable => router.add_route(&format!("unreachable {ip}"))?,
        Kind::Code(_) => router.add_route(&format!("blackhole {ip}"))?,
        _ => {}
    }
    Ok(SocketAddr::new(ip, port))
}

impl Plot {
    /// A port that no other target has.
    fn port(&mut self, stage: &mut Stage) -> u16 {
        loop {
            let port = stage.draw.port();
            if self.used.insert(port) {
                return port;
            }
        }
    }

    /// An address that no other target has.
    fn address(
        &mut self,
        stage: &mut Stage,
        [a, b, c]: [u8; 3],
        first: u64,
    ) -> IpAddr {
        loop {
            let last = stage.draw.count(first..=250) as u8;
            if self.hosts.insert(last) {
                return Ipv4Addr::new(a, b, c, last).into();
            }
        }
    }
}

/// Makes the world such, has the program connect, and makes it as it was.
fn play(
    stage: &mut Stage,
    program: Role,
    plot: &mut Plot,
    kind: Kind,
    target: SocketAddr,
) -> Result<(), Halt> {
    match kind {
        Kind::NoRouteHere => {
            let found = stage.net.host(LAPTOP)?.routes()?;
            let default =
                found.iter().find(|r| r.length == 0 && r.destination.is_ipv4());
            let route = default.map(ToString::to_string).unwrap_or_default();
            stage.net.host(LAPTOP)?.delete_route(&route)?;
            stage.step(LAPTOP, "its default route is deleted")?;
            ask(stage, program, plot, kind, target)?;
            Ok(stage.net.host(LAPTOP)?.add_route(&route)?)
        }
        Kind::Itself => {
            let usual = one_port(stage, target.port())?;
            ask(stage, program, plot, kind, target)?;
            Ok(stage.net.host(LAPTOP)?.set_sysctl(PORTS, &usual)?)
        }
        Kind::NoPort => {
            let port = plot.port(stage);
            let usual = one_port(stage, port)?;
            stage.step(LAPTOP, format!("a connection has port {port}"))?;
            let holder = connect_from(stage, port, target)?;
            ask(stage, program, plot, kind, target)?;
            drop(holder);
            Ok(stage.net.host(LAPTOP)?.set_sysctl(PORTS, &usual)?)
        }
        Kind::NoNeighbour if !stage.story => {
            // Three requests, in half the time.
            let name = "net.ipv4.neigh.eth0.retrans_time_ms";
            stage.net.host(LAPTOP)?.set_sysctl(name, "500")?;
            ask(stage, program, plot, kind, target)
        }
        Kind::Lost => {
            let name = "net.ipv4.tcp_syn_retries";
            stage.net.host(LAPTOP)?.set_sysctl(name, "1")?;
            if !stage.story {
                // Linux 6.15 and later; others wait for 2 s after the second.
                let name = "net.ipv4.tcp_rto_max_ms";
                let _ = stage.net.host(LAPTOP)?.set_sysctl(name, "1000");
            }
            let rule = format!("drop every syn port {}", target.port());
            stage.net.wire().arm(&rule)?;
            stage.step(LAPTOP, format!("{name} is 1"))?;
            ask(stage, program, plot, kind, target)
        }
        _ => ask(stage, program, plot, kind, target),
    }
}

/// Leaves the laptop one local port to choose; what it had before.
fn one_port(stage: &mut Stage, port: u16) -> Result<String, Halt> {
    let usual = stage.net.host(LAPTOP)?.sysctl(PORTS)?;
    stage.net.host(LAPTOP)?.set_sysctl(PORTS, &format!("{port} {port}"))?;
    stage.step(LAPTOP, format!("{PORTS} is {port} {port}"))?;
    Ok(usual)
}

fn connect_from(
    stage: &Stage,
    port: u16,
    to: SocketAddr,
) -> Result<TcpStream, Halt> {
    let laptop = stage.net.host(LAPTOP)?;
    let from = SocketAddr::new(laptop.ip(), port);
    let connected = laptop.at(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.connect(&to.into())?;
        Ok(socket.into())
    })?;
    connected.map_err(|err: io::Error| missed("connect", &err))
}

/// Gives the program a target, and waits for its line.
fn ask(
    stage: &mut Stage,
    program: Role,
    plot: &mut Plot,
    kind: Kind,
    target: SocketAddr,
) -> Result<(), Halt> {
    let lines = plot.seen.len() + 1;
    if let Kind::Code(code) = kind {
        stage.step(ROUTER, format!("answers with code {code}"))?;
    } else {
        stage.step(LAPTOP, format!("the program connects to {target}"))?;
    }
    let began = Instant::now();
    stage.send(program, &target.to_string());
    let mut answered = 0;
    let said = stage.patiently(|stage, glance| {
        if let Kind::Code(code) = kind {
            answered += answer(stage, target, code, answered)?;
        }
        // There may be a SYN to answer before there is a line.
        let glance = match kind {
            Kind::Code(_) if answered == 0 => std::time::Duration::ZERO,
            _ => glance,
        };
        let said = stage.program(program).wait_lines(lines, glance);
        let over = said || stage.program(program).has_closed_its_output();
        Ok(over.then_some(said))
    })?;
    let wall_ms = began.elapsed().as_millis() as u64;
    if said != Some(true) {
        let what = format!("waited for its word on {target}");
        return Err(Halt::Missed(what));
    }
    stage.idle(program)?;
    let descriptors = descriptors(stage, program)?;
    plot.seen.push(Seen { kind, target, wall_ms, descriptors });
    stage.fact("seen", &plot.seen);
    Ok(())
}

/// Answers the SYNs to a target, of which so many have been, with ICMP; how
/// many there were.
fn answer(
    stage: &mut Stage,
    target: SocketAddr,
    code: u8,
    answered: usize,
) -> Result<usize, Halt> {
    let syn = format!("syn from {LAPTOP} port {}", target.port());
    let glance = std::time::Duration::from_millis(20);
    if !stage.net.wait_frames(&syn, answered + 1, glance)? {
        return Ok(0);
    }
    let (IpAddr::V4(laptop), IpAddr::V4(router)) =
        (stage.net.host(LAPTOP)?.ip(), stage.net.host(ROUTER)?.ip())
    else {
        return Ok(0);
    };
    let trace = stage.net.trace()?;
    let all = packets::packets(&trace);
    let sent = all.iter().rev().find(|seen| {
        seen.host == LAPTOP && IpAddr::V4(seen.destination()) == target.ip()
    });
    let Some(sent) = sent else { return Ok(0) };
    // The header and eight bytes: the ports and the sequence number.
    let quoted = &sent.bytes[..28.min(sent.bytes.len())];
    let header = Header {
        id: 0,
        fragment: 0,
        ttl: 64,
        protocol: ICMP,
        source: router,
        destination: laptop,
    };
    let message = icmp(UNREACHABLE, code, [0; 4], quoted);
    let packet = header.build(&message);
    let host = stage.net.host(ROUTER)?;
    packets::send(host, router, station(laptop), &packet)?;
    Ok(1)
}

fn descriptors(stage: &Stage, program: Role) -> Result<usize, Halt> {
    let host = stage.net.host(LAPTOP)?;
    Ok(host.descriptors(stage.program(program))?.len())
}

fn missed(call: &str, err: &io::Error) -> Halt {
    Halt::Missed(format!("{call}: {err}"))
}

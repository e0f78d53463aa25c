//! What happens in `bind_errors`: who has which address, and who asks for it.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef, Socket, Type};
use testbed::TcpState;

use super::PROGRAM;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

const BACKLOG: i32 = 5;
const ANY4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// A host on the same wire answers at once, whatever it answers.
const KNOCK_PATIENCE: Duration = Duration::from_secs(3);

/// What there is about an address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Kind {
    /// Nobody has it.
    Free,
    /// Port 0: the kernel chooses.
    AnyPort,
    /// A port that wants CAP_NET_BIND_SERVICE here.
    Privileged,
    /// One below 1024 that does not, by a setting of this host.
    LowButFree,
    /// Another program listens there.
    Taken,
    /// The same port, once that program has gone.
    Released,
    /// Another program listens on the port at every IPv4 address.
    TakenEverywhere,
    /// Every IPv4 address, where the program itself has the port at one.
    OwnEverywhere,
    /// 127.0.0.1, where another program has the port at another address.
    Loopback,
    /// A connection in TIME-WAIT, whose listener had SO_REUSEADDR.
    Old,
    /// The same, and its listener had not.
    OldForGood,
    /// Every IPv6 address, and with it every IPv4 address.
    Both,
    /// The same, where another program has the port at every IPv4 address.
    BesideIpv4,
    /// The same, where another program has both.
    TakenInBoth,
    /// Every IPv4 address, where another program has both.
    Ipv4TakenByIpv6,
    /// Another host's address.
    Elsewhere,
    /// An IPv6 address of the link, without the link.
    NoLink,
    /// One that a user has asked for.
    Asked,
}

/// In an order that is drawn; and these two after those that they need.
const KINDS: &[Kind] = &[
    Kind::Free,
    Kind::AnyPort,
    Kind::Privileged,
    Kind::LowButFree,
    Kind::Taken,
    Kind::TakenEverywhere,
    Kind::Loopback,
    Kind::Old,
    Kind::OldForGood,
    Kind::Elsewhere,
];
const KINDS_OF_IPV6: &[Kind] = &[
    Kind::Both,
    Kind::BesideIpv4,
    Kind::TakenInBoth,
    Kind::Ipv4TakenByIpv6,
    Kind::NoLink,
];
const LATE: &[Kind] = &[Kind::OwnEverywhere, Kind::Released];
/// The ones that a reader is shown.
const SHOWN: &[Kind] = &[
    Kind::Free,
    Kind::AnyPort,
    Kind::Privileged,
    Kind::Elsewhere,
    Kind::Taken,
    Kind::Loopback,
    Kind::Old,
    Kind::BesideIpv4,
];

/// What a client heard that knocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Knock {
    /// SYN ACK.
    Connected,
    /// RST.
    Refused,
    /// Neither.
    Silence,
}

/// An address that the program was asked for, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What there was about it.
    pub kind: Kind,
    /// As the program was given it.
    pub asked: SocketAddr,
    /// Where the program listened afterwards.
    pub listeners: Vec<SocketAddr>,
    /// How many descriptors it had; none: it had ended.
    pub descriptors: usize,
    /// What a client heard, if one knocked.
    pub knock: Option<Knock>,
}

/// What has been done so far.
struct Plot {
    /// Ports that are somebody's.
    used: HashSet<u16>,
    /// Other programs' listeners, by whom they were opened for.
    rivals: Vec<(Kind, Socket)>,
    /// From here on no capability is needed.
    unprivileged: u16,
    seen: Vec<Seen>,
}

/// Asks for one address after the other.
pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let (settings, addresses): (Vec<String>, Vec<String>) =
        stage.values.iter().cloned().partition(|value| value.contains('='));
    for setting in &settings {
        let (name, value) = setting.split_once('=').unwrap_or_default();
        stage.net.host(KONGMING)?.set_sysctl(name, value)?;
        stage.step(KONGMING, format!("{name} is {value}"))?;
    }
    let mut plot = Plot {
        used: HashSet::new(),
        rivals: Vec::new(),
        unprivileged: 1024,
        seen: Vec::new(),
    };
    if !stage.story {
        plot.unprivileged = stage.draw.count(400..=900) as u16;
        let name = "net.ipv4.ip_unprivileged_port_start";
        let value = plot.unprivileged.to_string();
        stage.net.host(KONGMING)?.set_sysctl(name, &value)?;
        // The kernel chooses among one.
        let chosen = stage.draw.count(33_000..=60_000);
        let range = format!("{chosen} {chosen}");
        let name = "net.ipv4.ip_local_port_range";
        stage.net.host(KONGMING)?.set_sysctl(name, &range)?;
    }
    stage.fact("unprivileged", plot.unprivileged);
    let program = stage.start_with(PROGRAM, KONGMING, [""; 0], |launch| {
        launch.watch(&["bind", "listen"])
    })?;
    stage.idle(program)?;
    stage.fact("at_start", descriptors(stage, program)?.len());
    if addresses.is_empty() {
        for kind in order(stage)? {
            let asked = prepare(stage, &mut plot, kind)?;
            ask(stage, program, &mut plot, kind, asked)?;
        }
    }
    for address in addresses {
        let asked = address.parse().map_err(|_| {
            Halt::Missed(format!("`{address}` is no ADDRESS:PORT"))
        })?;
        ask(stage, program, &mut plot, Kind::Asked, asked)?;
    }
    stage.rests(program)?;
    stage.step(KONGMING, "end of the program's input")?;
    stage.close_stdin(program);
    stage.end(program)
}

fn order(stage: &mut Stage) -> Result<Vec<Kind>, Halt> {
    let has_ipv6 = stage.net.host(KONGMING)?.ip6().is_some();
    let mut kinds = KINDS.to_vec();
    if has_ipv6 {
        kinds.extend(KINDS_OF_IPV6);
    }
    if stage.story {
        let mut shown = SHOWN.to_vec();
        shown.retain(|kind| kinds.contains(kind));
        return Ok(shown);
    }
    for at in (1..kinds.len()).rev() {
        let other = stage.draw.count(0..=at as u64) as usize;
        kinds.swap(at, other);
    }
    kinds.extend(LATE);
    Ok(kinds)
}

/// Makes the host such that there is this about an address; the address.
fn prepare(
    stage: &mut Stage,
    plot: &mut Plot,
    kind: Kind,
) -> Result<SocketAddr, Halt> {
    let host = stage.net.host(KONGMING)?;
    let (here, elsewhere) = (host.ip(), stage.net.host(LAPTOP)?.ip());
    let mut addresses = host.addresses().into_iter();
    let link = addresses.find(|ip| match ip {
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    });
    let port = plot.port(stage);
    let of = |kind: Kind| {
        let found = plot.seen.iter().find(|seen| seen.kind == kind);
        found.map(|seen| seen.asked).unwrap_or(SocketAddr::new(here, port))
    };
    let unprivileged = u64::from(plot.unprivileged);
    let at = |ip| Ok(SocketAddr::new(ip, port));
    match kind {
        Kind::Free | Kind::Asked => at(here),
        Kind::AnyPort => Ok(SocketAddr::new(here, 0)),
        Kind::Privileged => {
            let port = stage.draw.count(1..=unprivileged - 1);
            Ok(SocketAddr::new(here, port as u16))
        }
        Kind::LowButFree => {
            let port = stage.draw.count(unprivileged..=1023);
            Ok(SocketAddr::new(here, port as u16))
        }
        Kind::Elsewhere => at(elsewhere),
        Kind::NoLink => at(link.unwrap_or(ANY6)),
        Kind::Both => at(ANY6),
        Kind::OwnEverywhere => Ok(SocketAddr::new(ANY4, of(Kind::Free).port())),
        Kind::Released => {
            let asked = of(Kind::Taken);
            plot.rivals.retain(|(kind, _)| *kind != Kind::Taken);
            Ok(asked)
        }
        Kind::Old | Kind::OldForGood => {
            let address = SocketAddr::new(here, port);
            leave_in_time_wait(stage, address, kind == Kind::Old)?;
            Ok(address)
        }
        Kind::Taken => plot.rival(stage, kind, here, here, port),
        Kind::TakenEverywhere => plot.rival(stage, kind, ANY4, here, port),
        Kind::Loopback => {
            plot.rival(stage, kind, here, Ipv4Addr::LOCALHOST.into(), port)
        }
        Kind::BesideIpv4 => plot.rival(stage, kind, ANY4, ANY6, port),
        Kind::TakenInBoth => plot.rival(stage, kind, ANY6, ANY6, port),
        Kind::Ipv4TakenByIpv6 => plot.rival(stage, kind, ANY6, ANY4, port),
    }
}

impl Plot {
    /// A port that is nobody's.
    fn port(&mut self, stage: &mut Stage) -> u16 {
        loop {
            let port = stage.draw.port();
            if self.used.insert(port) {
                return port;
            }
        }
    }

    /// Has another program listen at one address of a port, for who asks for
    /// it at another.
    fn rival(
        &mut self,
        stage: &mut Stage,
        kind: Kind,
        has: IpAddr,
        asked: IpAddr,
        port: u16,
    ) -> Result<SocketAddr, Halt> {
        let address = SocketAddr::new(has, port);
        let text = format!("another program listens on {address}");
        stage.step(KONGMING, text)?;
        let socket =
            stage.net.host(KONGMING)?.at(|| listener(address, true))?;
        self.rivals.push((kind, socket.map_err(|e| missed("listen", &e))?));
        Ok(SocketAddr::new(asked, port))
    }
}

fn listener(address: SocketAddr, reuse: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_reuse_address(reuse)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A server has closed its connection first, and has gone.
fn leave_in_time_wait(
    stage: &mut Stage,
    address: SocketAddr,
    reuse: bool,
) -> Result<(), Halt> {
    let text = format!("a server on {address} serves a client, and ends");
    stage.step(KONGMING, text)?;
    let server = stage.net.host(KONGMING)?.at(|| listener(address, reuse))?;
    let server = server.map_err(|err| missed("listen", &err))?;
    let client = stage.net.host(LAPTOP)?.at(|| TcpStream::connect(address))?;
    let mut client = client.map_err(|err| missed("connect", &err))?;
    let (conn, _peer) =
        server.accept().map_err(|err| missed("accept", &err))?;
    drop(conn); // The first FIN.
    drop(server);
    let read = client.read(&mut [0; 1]);
    read.map_err(|err| missed("read", &err))?;
    drop(client);
    stage.sockets(KONGMING, "TIME-WAIT", |sockets| {
        sockets
            .iter()
            .any(|one| one.local == address && one.state == TcpState::TimeWait)
    })?;
    Ok(())
}

/// Gives the program an address, waits for its line, and looks around.
fn ask(
    stage: &mut Stage,
    program: Role,
    plot: &mut Plot,
    kind: Kind,
    asked: SocketAddr,
) -> Result<(), Halt> {
    let lines = plot.seen.len() + 1;
    stage.step(KONGMING, format!("the program is to listen on {asked}"))?;
    stage.send(program, &asked.to_string());
    if !stage.lines_or_quiet(program, lines)? {
        let what = format!("waited for its word on {asked}");
        return Err(Halt::Missed(what));
    }
    stage.idle(program)?;
    let found = descriptors(stage, program)?;
    let mut listeners = BTreeMap::new();
    for socket in found.iter().filter_map(|one| one.tcp.as_ref()) {
        if socket.state == TcpState::Listen {
            // Two descriptors may lead to one socket.
            listeners.insert(socket.inode, socket.local);
        }
    }
    let listeners: Vec<SocketAddr> = listeners.into_values().collect();
    let known = plot.seen.last().map(|seen| seen.listeners.clone());
    let known = known.unwrap_or_default();
    let new = listeners.iter().find(|one| !known.contains(one));
    let door = door(stage, kind, new.copied().unwrap_or(asked))?;
    let knock = door.map(|door| knock(stage, door)).transpose()?;
    plot.seen.push(Seen {
        kind,
        asked,
        listeners,
        descriptors: found.len(),
        knock,
    });
    stage.fact("seen", &plot.seen);
    Ok(())
}

fn descriptors(
    stage: &Stage,
    program: Role,
) -> Result<Vec<testbed::Descriptor>, Halt> {
    let host = stage.net.host(KONGMING)?;
    Ok(host.descriptors(stage.program(program))?)
}

/// Where a client on the other host knocks for such an address.
fn door(
    stage: &Stage,
    kind: Kind,
    address: SocketAddr,
) -> Result<Option<SocketAddr>, Halt> {
    let host = stage.net.host(KONGMING)?;
    let (v4, v6) = (host.ip(), host.ip6());
    let here = address.ip().is_unspecified()
        || address.ip().is_loopback()
        || address.ip() == v4;
    let ip = match kind {
        // Nobody would answer for what is no address of this host.
        Kind::Elsewhere | Kind::NoLink => None,
        Kind::Asked if !here => None,
        Kind::BesideIpv4 | Kind::TakenInBoth => v6,
        // Where it is every address of both, who comes by IPv4 comes too.
        _ => Some(v4),
    };
    let door = ip.map(|ip| SocketAddr::new(ip, address.port()));
    Ok(door.filter(|door| door.port() != 0))
}

fn knock(stage: &Stage, door: SocketAddr) -> Result<Knock, Halt> {
    let came = stage.net.host(LAPTOP)?.at(|| {
        let conn = TcpStream::connect_timeout(&door, KNOCK_PATIENCE)?;
        // By RST: nothing shall be left of it.
        SockRef::from(&conn).set_linger(Some(Duration::ZERO))
    })?;
    Ok(match came {
        Ok(()) => Knock::Connected,
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => Knock::Refused,
        Err(_) => Knock::Silence,
    })
}

fn missed(call: &str, err: &io::Error) -> Halt {
    Halt::Missed(format!("{call}: {err}"))
}

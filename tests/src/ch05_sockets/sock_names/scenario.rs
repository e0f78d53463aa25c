//! Step by step, with a look into the kernel's tables after each.

use std::net::{IpAddr, SocketAddr, TcpListener};

use testbed::{TcpSocket, TcpState};

use super::super::peer::Peer;
use super::super::udp_table::udp_sockets;
use super::{Moment, NO_PEER, UNBOUND};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

const CALLS: [&str; 2] = ["getsockname", "getpeername"];

pub(super) fn play(stage: &mut Stage) -> Result<(), Halt> {
    let far = second_addresses(stage)?;
    match stage.take {
        "client" => clients(stage, far),
        take => server(stage, far, take == "server"),
    }
}

/// Gives each host a second address. The laptop's way to Kongming20's second
/// has the laptop's second as its source. Kongming20's second.
fn second_addresses(stage: &mut Stage) -> Result<IpAddr, Halt> {
    let number = stage.draw.count(120..=250);
    let own: IpAddr = IpAddr::from([192, 168, 1, number as u8]);
    let number = stage.draw.count(1..=250);
    let far = IpAddr::from([198, 51, 100, number as u8]);
    let (laptop, kongming) =
        (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
    laptop.add_address("eth0", own, 32)?;
    kongming.add_address("eth0", far, 32)?;
    let gateway = kongming.ip();
    laptop.add_route(&format!("{far} via {gateway} src {own}"))?;
    stage.fact("source", own);
    Ok(far)
}

/// A program, and what was seen of it.
struct Walk {
    role: Role,
    name: &'static str,
    host: &'static str,
    /// How often each of [`CALLS`] has been made.
    calls: [usize; 2],
    moments: Vec<Moment>,
}

impl Walk {
    fn start(
        stage: &mut Stage,
        name: &'static str,
        host: &'static str,
        args: &[&str],
    ) -> Result<Walk, Halt> {
        let role = stage
            .start_with(name, host, args, |launch| launch.watch(&CALLS))?;
        let mut walk =
            Walk { role, name, host, calls: [0; 2], moments: vec![] };
        walk.line(stage, "socket")?;
        walk.note(stage, &[("socket", Some(UNBOUND.into()), None)]);
        Ok(walk)
    }

    /// Presses Enter, and waits for a step's line.
    fn step(&mut self, stage: &mut Stage, step: &str) -> Result<(), Halt> {
        stage.step(self.host, format!("Enter: {step}"))?;
        stage.enter(self.role);
        self.line(stage, step)
    }

    fn line(&self, stage: &mut Stage, step: &str) -> Result<(), Halt> {
        stage.line(self.role, &format!("{step}: ")).map(drop)
    }

    /// Puts down what the names are at the lines that have just come.
    fn note(
        &mut self,
        stage: &mut Stage,
        lines: &[(&str, Option<String>, Option<SocketAddr>)],
    ) {
        let made = CALLS.map(|call| {
            let calls = stage.program(self.role).calls();
            calls.map_or(0, |calls| calls.count(call))
        });
        let asked = (made.iter().zip(self.calls))
            .all(|(now, before)| now - before >= lines.len());
        self.calls = made;
        for (step, local, peer) in lines {
            let moment = Moment {
                program: self.name.into(),
                step: step.to_string(),
                local: local.clone(),
                peer: peer.map_or(NO_PEER.into(), |peer| peer.to_string()),
                asked,
            };
            self.moments.push(moment);
        }
        stage.fact(self.name, &self.moments);
    }
}

/// Waits for a connection to this port, or from it, that is in a state.
fn connection(
    stage: &mut Stage,
    host: &str,
    port: u16,
    state: TcpState,
) -> Result<TcpSocket, Halt> {
    let own = |socket: &TcpSocket| {
        let ports = [socket.local.port(), socket.peer.port()];
        socket.state == state && ports.contains(&port)
    };
    let what = format!("a connection in {state}");
    let sockets =
        stage.sockets(host, &what, |sockets| sockets.iter().any(own))?;
    let found = sockets.into_iter().find(own);
    found.ok_or_else(|| Halt::Missed(format!("waited for {what}")))
}

/// Waits until a connection to this port, or from it, is no more.
fn gone(stage: &mut Stage, host: &str, port: u16) -> Result<(), Halt> {
    let what = "the end of the connection";
    stage.sockets(host, what, |sockets| {
        !sockets.iter().any(|socket| {
            let ports = [socket.local.port(), socket.peer.port()];
            socket.state != TcpState::Listen && ports.contains(&port)
        })
    })?;
    Ok(())
}

fn server(stage: &mut Stage, to: IpAddr, binds: bool) -> Result<(), Halt> {
    let args: &[&str] = if binds { &["server", UNBOUND] } else { &["server"] };
    let mut walk = Walk::start(stage, "server", KONGMING, args)?;
    if binds {
        walk.step(stage, "bind")?;
        walk.note(stage, &[("bind", None, None)]);
    }
    walk.step(stage, "listen")?;
    let listens = |socket: &&TcpSocket| socket.state == TcpState::Listen;
    let sockets = stage.sockets_soon(KONGMING, |sockets| {
        sockets.iter().any(|socket| listens(&socket))
    })?;
    let found = sockets.iter().find(listens).map(|socket| socket.local);
    let Some(listener) = found else {
        return Err(Halt::Missed("waited for a socket that listens".into()));
    };
    let listening = Some(listener.to_string());
    walk.note(stage, &[("listen", listening.clone(), None)]);

    let port = stage.draw.port();
    let to = SocketAddr::new(to, listener.port());
    stage.step(LAPTOP, "connects to Kongming20's second address")?;
    let mut peer = Peer::connect(stage, LAPTOP, port, to)?;
    walk.step(stage, "accept")?;
    walk.line(stage, "listener")?;
    let conn = connection(stage, KONGMING, port, TcpState::Established)?;
    let local = Some(conn.local.to_string());
    let accepted = ("accept", local.clone(), Some(conn.peer));
    walk.note(stage, &[accepted, ("listener", listening, None)]);

    if binds {
        stage.step(LAPTOP, "closes its direction")?;
        peer.finish();
        connection(stage, KONGMING, port, TcpState::CloseWait)?;
        walk.step(stage, "end of file")?;
        walk.note(stage, &[("end of file", local, Some(conn.peer))]);
    } else {
        stage.step(LAPTOP, "resets the connection")?;
        peer.abort();
        gone(stage, KONGMING, port)?;
        walk.step(stage, "reset")?;
        walk.note(stage, &[("reset", local, None)]);
    }
    stage.end(walk.role)
}

fn clients(stage: &mut Stage, far: IpAddr) -> Result<(), Halt> {
    let near = stage.net.host(KONGMING)?.ip();
    connects(stage, "near", near, false)?;
    connects(stage, "far", far, true)?;
    datagrams(stage, far)?;
    refused(stage, near)
}

/// A TCP client, to the end of its connection: by FIN, or by RST.
fn connects(
    stage: &mut Stage,
    name: &'static str,
    to: IpAddr,
    aborts: bool,
) -> Result<(), Halt> {
    let port = stage.draw.port();
    let address = SocketAddr::new(to, port);
    let failed = |err| Halt::Missed(format!("peer on {address}: {err}"));
    let listener = stage.net.host(KONGMING)?.at(|| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true).map(|()| listener)
    })?;
    let listener = listener.map_err(failed)?;
    let args = ["tcp", &address.to_string()];
    let mut walk = Walk::start(stage, name, LAPTOP, &args)?;
    walk.step(stage, "connect")?;
    let conn = connection(stage, LAPTOP, port, TcpState::Established)?;
    let local = Some(conn.local.to_string());
    let connected = ("connect", local.clone(), Some(conn.peer));
    walk.note(stage, &[connected]);

    let stream =
        stage.look_each_ms(|_, _| Ok(listener.accept().ok().map(|c| c.0)))?;
    let missed = || Halt::Missed("waited for a connection".into());
    let mut peer = Peer::over(stream.ok_or_else(missed)?)?;
    if aborts {
        stage.step(KONGMING, "resets the connection")?;
        peer.abort();
        gone(stage, LAPTOP, port)?;
        walk.step(stage, "reset")?;
        walk.note(stage, &[("reset", local, None)]);
    } else {
        stage.step(KONGMING, "closes its direction")?;
        peer.finish();
        connection(stage, LAPTOP, port, TcpState::CloseWait)?;
        walk.step(stage, "end of file")?;
        walk.note(stage, &[("end of file", local, Some(conn.peer))]);
    }
    stage.end(walk.role)
}

/// A UDP client: no frame is sent.
fn datagrams(stage: &mut Stage, to: IpAddr) -> Result<(), Halt> {
    let address = SocketAddr::new(to, stage.draw.port());
    let args = ["udp", &address.to_string()];
    let mut walk = Walk::start(stage, "udp", LAPTOP, &args)?;
    walk.step(stage, "connect")?;
    let sockets = udp_sockets(stage, LAPTOP)?;
    let own = sockets.iter().find(|socket| socket.peer == address);
    let local = own.map(|socket| socket.local.to_string());
    let peer = own.map(|socket| socket.peer);
    walk.note(stage, &[("connect", local, peer)]);
    stage.enter(walk.role);
    stage.end(walk.role)
}

fn refused(stage: &mut Stage, to: IpAddr) -> Result<(), Halt> {
    let address = SocketAddr::new(to, stage.draw.port());
    let args = ["tcp", &address.to_string()];
    let mut walk = Walk::start(stage, "refused", LAPTOP, &args)?;
    walk.step(stage, "refused")?;
    // The address is taken back, and the port stays in the name though it is
    // not the socket's any more (tcp_disconnect, net/ipv4/tcp.c).
    let trace = stage.net.trace()?;
    let syn = trace.frames().filter_map(|(event, frame)| {
        let segment = frame.packet().segment()?;
        let ours = event.host == LAPTOP && segment.destination == address;
        ours.then_some(segment.source.port())
    });
    let local = syn.last().map(|port| format!("0.0.0.0:{port}"));
    walk.note(stage, &[("refused", local, None)]);
    stage.end(walk.role)
}

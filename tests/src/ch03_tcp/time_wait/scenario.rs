//! What happens in `time_wait`: two runs of everything, and TIME-WAIT between.

use std::net::SocketAddr;

use testbed::trace::{Event, What};
use testbed::{TcpSocket, TcpState};

use super::CLIENT_PAYS;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

/// As long in every run: sequence numbers are part of the recorded one.
const TEXT_LENGTH: usize = 8;

/// What a run has drawn.
struct Scene {
    /// Where the server listens.
    address: SocketAddr,
    /// Where the client calls from.
    local: SocketAddr,
    /// What the first client says, and the second.
    texts: [String; 2],
}

/// Plays one of the takes.
pub(super) fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let scene = Scene {
        address: stage.address(KONGMING)?,
        local: stage.address(LAPTOP)?,
        texts: [0, 1].map(|_| stage.draw.letters(TEXT_LENGTH)),
    };
    stage.fact("address", scene.address);
    stage.fact("local", scene.local);
    stage.fact("texts", &scene.texts);
    match stage.take {
        CLIENT_PAYS => client_pays(stage, &scene),
        _ => server_pays(stage, &scene),
    }
}

fn server_pays(stage: &mut Stage, scene: &Scene) -> Result<(), Halt> {
    let server = start_server(stage, "server", scene)?;
    let listening = stage.net.host(KONGMING)?.tcp_sockets()?;
    stage.fact("listening", listening);
    if !stage.story {
        start_rival(stage, scene)?; // A run with a program that fails has failed.
    }
    let hold = match stage.story {
        true => Some(stage.net.wire().arm("hold data from ernest-laptop")?),
        false => None,
    };
    let client = start_client(stage, "client", scene.local, scene)?;
    talk(stage, client, server, &scene.texts[0])?;
    server_closes_first(stage, scene, server, client)?;
    remembers(stage, KONGMING)?;

    let server = start_server_again(stage, scene)?;
    let client = start_client(stage, "client 2", scene.local, scene)?;
    stage.line(server, "accepted ")?;
    if let Some(hold) = hold {
        let answers = count(stage, "ack from Kongming20")?;
        stage.step("wire", "lets the old connection's segment go")?;
        stage.net.wire().release(&hold)?;
        stage.frames("ack from Kongming20", answers + 1)?;
        count_rejected(stage)?;
    }
    stage.send(client, &scene.texts[1]);
    stage.line(server, "received ")?;
    server_closes_first(stage, scene, server, client)
}

fn client_pays(stage: &mut Stage, scene: &Scene) -> Result<(), Halt> {
    set_timestamps(stage, "0")?;
    let server = start_server(stage, "server", scene)?;
    let client = start_client(stage, "client", scene.local, scene)?;
    talk(stage, client, server, &scene.texts[0])?;
    client_closes_first(stage, server, client)?;
    remembers(stage, LAPTOP)?;

    let server = start_server(stage, "server 2", scene)?;
    stage.step(LAPTOP, "the client is started again, from the same port")?;
    let args = client_args(scene.local, scene);
    let again = stage.start("client 2", LAPTOP, args)?;
    // One that does connect has nothing to send, and ends.
    stage.close_stdin(again);
    stage.end(again)?;
    stage.line(again, "connect: ")?;
    stage.step(LAPTOP, "its connect has failed")?;

    set_timestamps(stage, "1")?;
    let mut elsewhere = scene.local;
    while elsewhere == scene.local {
        elsewhere.set_port(stage.draw.port());
    }
    stage.fact("elsewhere", elsewhere);
    stage.step(LAPTOP, "the client is started again, from another port")?;
    let client = start_client(stage, "client 3", elsewhere, scene)?;
    talk(stage, client, server, &scene.texts[1])?;
    client_closes_first(stage, server, client)?;
    match stage.story {
        true => connect_once_more(stage, scene, elsewhere),
        false => Ok(()),
    }
}

/// From a pair in TIME-WAIT, which had timestamps: Linux lets it pass.
fn connect_once_more(
    stage: &mut Stage,
    scene: &Scene,
    local: SocketAddr,
) -> Result<(), Halt> {
    remembers(stage, LAPTOP)?;
    let name = "net.ipv4.tcp_tw_reuse";
    let value = stage.net.host(LAPTOP)?.sysctl(name)?;
    stage.step(LAPTOP, format!("{name} is {value}"))?;
    let server = start_server(stage, "server 3", scene)?;
    stage.step(LAPTOP, "the client is started again, from that same port")?;
    let client = start_client(stage, "client 4", local, scene)?;
    stage.line(server, "accepted ")?;
    client_closes_first(stage, server, client)
}

/// Whether this client offers timestamps (RFC 7323) to its server.
fn set_timestamps(stage: &Stage, value: &str) -> Result<(), Halt> {
    let name = "net.ipv4.tcp_timestamps";
    stage.net.host(LAPTOP)?.set_sysctl(name, value)?;
    stage.step(LAPTOP, format!("{name} is {value}"))
}

fn start_server(
    stage: &mut Stage,
    name: &str,
    scene: &Scene,
) -> Result<Role, Halt> {
    let args = ["server".to_string(), scene.address.to_string()];
    let server = stage.start(name, KONGMING, args)?;
    stage.line(server, "listening on ")?;
    Ok(server)
}

/// A second server while the first one listens: it must not get the port.
fn start_rival(stage: &mut Stage, scene: &Scene) -> Result<(), Halt> {
    let args = ["server".to_string(), scene.address.to_string()];
    let rival = stage.start("rival", KONGMING, args)?;
    if stage.line(rival, "listening on ").is_ok() {
        stage.fact("rival_listens", true);
        return Err(Halt::Missed("waited for the rival to fail".into()));
    }
    stage.end(rival)
}

/// The server's second run, with its first connection in TIME-WAIT. Where it
/// fails, a socket of ours tells whether the old one had SO_REUSEADDR: both
/// need it.
fn start_server_again(stage: &mut Stage, scene: &Scene) -> Result<Role, Halt> {
    stage.step(KONGMING, "the server is started again")?;
    let started = start_server(stage, "server 2", scene);
    if started.is_err() {
        let could = stage.net.host(KONGMING)?.can_bind(scene.address)?;
        stage.fact("old_socket_allows_it", could);
    }
    started
}

fn client_args(local: SocketAddr, scene: &Scene) -> [String; 3] {
    ["client".into(), local.to_string(), scene.address.to_string()]
}

fn start_client(
    stage: &mut Stage,
    name: &str,
    local: SocketAddr,
    scene: &Scene,
) -> Result<Role, Halt> {
    let client = stage.start(name, LAPTOP, client_args(local, scene))?;
    stage.line(client, "connected to ")?;
    Ok(client)
}

/// The client says a line, and the server hears it.
fn talk(
    stage: &mut Stage,
    client: Role,
    server: Role,
    text: &str,
) -> Result<(), Halt> {
    stage.line(server, "accepted ")?;
    stage.send(client, text);
    stage.line(server, "received ")?;
    // Who closes without waiting may only be about to.
    stage.idle(server)?;
    stage.idle(client)?;
    Ok(())
}

fn server_closes_first(
    stage: &mut Stage,
    scene: &Scene,
    server: Role,
    client: Role,
) -> Result<(), Halt> {
    stage.step(KONGMING, "Enter for the server")?;
    stage.enter(server);
    stage.idle(server)?;
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    let open = sockets.iter().any(|socket| {
        socket.local == scene.address && socket.state == TcpState::Established
    });
    if open {
        stage.fact("still_open", true);
        return Err(Halt::Missed("waited for the server to close".into()));
    }
    stage.line(server, "closed")?;
    stage.step(LAPTOP, "end of the client's input")?;
    stage.close_stdin(client);
    stage.end(client)?;
    stage.end(server)?;
    settle(stage)
}

fn client_closes_first(
    stage: &mut Stage,
    server: Role,
    client: Role,
) -> Result<(), Halt> {
    stage.step(LAPTOP, "end of the client's input")?;
    stage.close_stdin(client);
    stage.line(client, "closed")?;
    stage.soon("fin from ernest-laptop", 1)?;
    stage.idle(server)?;
    stage.step(KONGMING, "Enter for the server")?;
    stage.enter(server);
    stage.end(client)?;
    stage.end(server)?;
    settle(stage)
}

/// Waits until nothing is left of the connection but TIME-WAIT.
fn settle(stage: &mut Stage) -> Result<(), Halt> {
    let settled = |sockets: &[TcpSocket]| {
        let rest = [TcpState::TimeWait, TcpState::Listen];
        sockets.iter().all(|socket| rest.contains(&socket.state))
    };
    stage.sockets(LAPTOP, "the end of the connection", settled)?;
    stage.sockets(KONGMING, "the end of the connection", settled)?;
    Ok(())
}

/// The host that has the connection in TIME-WAIT, and for how long.
fn remembers(stage: &mut Stage, host: &str) -> Result<(), Halt> {
    let sockets = stage.net.host(host)?.tcp_sockets()?;
    let found = sockets.iter().find(|s| s.state == TcpState::TimeWait);
    let Some(timer) = found.and_then(|socket| socket.timer) else {
        return Err(Halt::Missed(format!("waited for TIME-WAIT on {host}")));
    };
    stage.fact("time_wait_ms", timer.expires_ms);
    let seconds = timer.expires_ms.div_ceil(1000);
    stage.step(host, format!("TIME-WAIT has {seconds} s to go"))
}

/// How often the server's kernel has refused a segment for its old timestamp.
fn count_rejected(stage: &mut Stage) -> Result<(), Halt> {
    let counters = stage.net.host(KONGMING)?.counters()?;
    let value = counters.get("TcpExtPAWSEstab");
    let value = value.map_or("not known".to_string(), u64::to_string);
    stage.step(KONGMING, format!("its counter TcpExtPAWSEstab is {value}"))
}

/// How many such frames there have been.
fn count(stage: &Stage, what: &str) -> Result<usize, Halt> {
    let matcher: testbed::Matcher = what.parse()?;
    let trace = stage.net.trace()?;
    let hit = |event: &&Event| match &event.what {
        What::Frame(frame) => matcher.matches(&event.host, &frame.packet()),
        _ => false,
    };
    Ok(trace.events.iter().filter(hit).count())
}

//! Grades `time_wait`: who closes first keeps the pair of addresses, and a
//! server can listen on its own all the same.
//!
//! In the take `server-pays` the server closes first and is started again while
//! its old connection is in TIME-WAIT; then the same pair of addresses is
//! connected once more. A rival, started while the server listens, must fail. In
//! `client-pays` the client closes first, a connection without timestamps: its
//! next run has to be refused by its own kernel. The 60 seconds are read from
//! sock_diag(7), and not waited for.
//!
//! `lab run` shows more: the first data segment is held by the wire, and let go
//! into the second connection; and a client for which the timestamps speak. It
//! has no rival.

use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use testbed::trace::{Event, What};
use testbed::{Profile, Segment, TcpSocket, TcpState};

use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "time_wait",
    pristine: include_str!("../../pristine/ch03_tcp/time_wait.rs"),
    takes: &[
        Take { name: SERVER_PAYS, profile: Profile::Modern },
        Take { name: CLIENT_PAYS, profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "no_reuse", cause: "address-in-use" },
        Mutant { name: "reuse_after_bind", cause: "reuse-set-too-late" },
        Mutant { name: "reuse_port", cause: "two-listeners" },
        Mutant { name: "linger_zero", cause: "reset" },
        Mutant { name: "waits_for_the_client", cause: "server-waits" },
        Mutant { name: "client_no_reuse", cause: "client-cannot-bind" },
        Mutant { name: "takes_another_port", cause: "another-port" },
    ],
    alternatives: &["nix_poll", "raw_calls"],
};

const SERVER_PAYS: &str = "server-pays";
const CLIENT_PAYS: &str = "client-pays";
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

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
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
        count_rejected(stage, server)?;
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
        let address = scene.address;
        let bound = stage.net.host(KONGMING)?.at(|| {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())
        })?;
        stage.fact("old_socket_allows_it", bound.is_ok());
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
    stage.idle(client)
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
fn count_rejected(stage: &mut Stage, server: Role) -> Result<(), Halt> {
    let pid = stage.program(server).pid();
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/netstat"));
    let text = text.unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().unwrap_or_default().split_whitespace();
    let values = lines.next().unwrap_or_default().split_whitespace();
    let found = names.zip(values).find(|(name, _)| *name == "PAWSEstab");
    let value = found.map_or("not known", |(_, value)| value);
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

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let server_pays = performance.take == SERVER_PAYS;
    if server_pays && !performance.trace.stdout("server").is_empty() {
        judge_listeners(performance, judge);
    }
    let sent = segments(performance);
    judge.deed(
        "a segment is sent",
        !sent.is_empty() || performance.trace.stdout("client").is_empty(),
        "there is no TCP segment on the wire",
    );
    judge_connections(performance, &sent, judge);
    judge_closing(performance, &sent, judge);
    match server_pays {
        true => judge_restart(performance, judge),
        false => judge_refusal(performance, judge),
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_output(performance, judge);
    for program in performance.exits.keys().filter(|name| *name != "rival") {
        judge.ended_well(performance, program);
    }
    let name = format!("time_wait-{}", performance.take);
    judge.snapshot("segments", &name, &story(performance));
}

/// One socket listens, where it should, and no other beside it.
fn judge_listeners(performance: &Performance, judge: &mut Judge) {
    let address = performance.text("address").unwrap_or_default();
    let sockets = performance.sockets("listening");
    let found = sockets.iter().find(|s| s.state == TcpState::Listen);
    judge.deed(
        "a socket listens when the program says so",
        found.is_some() || !performance.facts.contains_key("listening"),
        "no socket in LISTEN",
    );
    judge.check(
        "wrong-address",
        "it listens on the address that was asked for",
        found.is_none_or(|socket| socket.local.to_string() == address),
        found.map_or(String::new(), |s| format!("LISTEN on {}", s.local)),
    );
    judge.check(
        "two-listeners",
        "a second server fails while the first one listens",
        !performance.facts.contains_key("rival_listens"),
        "both servers listen on the one address and port",
    );
    let rival = performance.exits.get("rival").copied().flatten();
    judge.check(
        "rival-says-nothing",
        "a second server ends with an error while the first one listens",
        rival.is_none_or(|exit| !exit.is_success()),
        rival.map_or(String::new(), |exit| exit.to_string()),
    );
}

/// The clients called from where they were told to.
fn judge_connections(
    performance: &Performance,
    sent: &[(String, Segment)],
    judge: &mut Judge,
) {
    let syns: Vec<SocketAddr> = sent
        .iter()
        .filter(|(_, segment)| segment.flags.syn && !segment.flags.ack)
        .map(|(_, segment)| segment.source)
        .collect();
    let told: Vec<SocketAddr> = ["local", "elsewhere"]
        .iter()
        .filter_map(|fact| performance.text(fact)?.parse().ok())
        .collect();
    let sources: Vec<String> = syns
        .iter()
        .map(|syn| match told.contains(syn) {
            true => format!("SYN from {syn}"),
            false => "SYN from a port that was not asked for".to_string(),
        })
        .collect();
    let sources = sources.join("\n");
    judge.check(
        "client-not-bound",
        "the client calls from the address and port it was given",
        syns.first().is_none_or(|first| told.first() == Some(first)),
        sources.as_str(),
    );
    judge.check(
        "another-port",
        "no client calls from an address or port that it was not given",
        syns.iter().all(|syn| told.contains(syn)),
        sources,
    );
}

/// Both ends closed in order, and the right one first.
fn judge_closing(
    performance: &Performance,
    sent: &[(String, Segment)],
    judge: &mut Judge,
) {
    let whole = story(performance);
    judge.check(
        "reset",
        "the connection is closed with FIN, and nobody resets it",
        !sent.iter().any(|(_, segment)| segment.flags.rst),
        whole.as_str(),
    );
    let first = sent.iter().find(|(_, segment)| segment.flags.fin);
    let first = first.map(|(host, _)| host.as_str());
    let (cause, name, right) = match performance.take.as_str() {
        SERVER_PAYS => (
            "client-does-not-wait",
            "the client keeps the connection until its input ends",
            KONGMING,
        ),
        _ => (
            "server-does-not-wait",
            "the server keeps the connection until it gets its line",
            LAPTOP,
        ),
    };
    let ok = first.is_none_or(|first| first == right);
    judge.check(cause, name, ok, whole.as_str());
    judge.check(
        "server-waits",
        "the server closes when it gets its line, though the client has not",
        !performance.facts.contains_key("still_open"),
        whole.as_str(),
    );
}

/// With a connection in TIME-WAIT the server listens again.
fn judge_restart(performance: &Performance, judge: &mut Judge) {
    let old = performance.facts.get("old_socket_allows_it");
    let (cause, probe) = match old {
        Some(allows) if allows == true => ("reuse-set-too-late", "could"),
        _ => ("address-in-use", "could not"),
    };
    let said = performance.trace.stderr("server 2").join("\n");
    let said = format!(
        "server 2, while its old connection is in TIME-WAIT:\n{said}\n\
         a socket of the grader's, with SO_REUSEADDR, {probe} be bound then"
    );
    let name = "the server listens again while TIME-WAIT lasts";
    judge.check(cause, name, old.is_none(), said);
}

/// The client's own kernel refuses the pair, and the client can tell.
fn judge_refusal(performance: &Performance, judge: &mut Judge) {
    let program = "client 2";
    let Some(exit) = performance.exits.get(program).copied() else { return };
    let lines = performance.trace.stdout(program);
    let bound = lines.iter().any(|line| line.starts_with("bound to "));
    let said = performance.trace.stderr(program).join("\n");
    let said =
        format!("client 2, while its old connection is in TIME-WAIT:\n{said}");
    judge.check(
        "client-cannot-bind",
        "the client binds its port again while TIME-WAIT lasts",
        bound || exit.is_none(),
        said.as_str(),
    );
    let failed = exit.is_some_and(|exit| !exit.is_success());
    judge.check(
        "refusal-not-expected",
        "the client ends in order when connect fails with EADDRNOTAVAIL",
        !(bound && failed),
        said,
    );
}

fn judge_output(performance: &Performance, judge: &mut Judge) {
    let text = |fact| performance.text(fact).unwrap_or_default().to_string();
    let (address, local) = (text("address"), text("local"));
    let texts = performance.facts.get("texts").cloned().unwrap_or_default();
    let texts: Vec<String> = serde_json::from_value(texts).unwrap_or_default();
    let server = |peer: &str, text: &str| {
        vec![
            format!("listening on {address}"),
            format!("accepted {peer}"),
            format!("received {text}"),
            "closed".to_string(),
        ]
    };
    let client = |local: &str| {
        vec![
            format!("bound to {local}"),
            format!("connected to {address}"),
            "closed".to_string(),
        ]
    };
    let mut expected = vec![("client", client(&local))];
    let mut second = local.clone();
    if performance.take == SERVER_PAYS {
        expected.push(("rival", Vec::new()));
        expected.push(("client 2", client(&local)));
    } else {
        second = text("elsewhere");
        expected.push(("client 3", client(&second)));
        let refused = "connect: address not available".to_string();
        let refused = vec![format!("bound to {local}"), refused];
        expected.push(("client 2", refused));
    }
    for (name, peer, text) in [("server", &local, 0), ("server 2", &second, 1)]
    {
        let text = texts.get(text).map_or("", String::as_str);
        expected.push((name, server(peer, text)));
    }
    for (program, lines) in expected {
        judge.printed("output", performance, program, &lines);
    }
}

/// Who sent which segment, in order.
fn segments(performance: &Performance) -> Vec<(String, Segment)> {
    let frames = performance.trace.frames();
    let segment = |(event, frame): (&Event, &testbed::trace::Frame)| {
        Some((event.host.clone(), frame.packet().segment()?))
    };
    frames.filter_map(segment).collect()
}

/// How the connections were opened and closed, with the states beside. How many
/// segments carry a line, and when a kernel sends a bare ACK, is left open.
fn story(performance: &Performance) -> String {
    let Ok(mut trace) = performance.trace.select("tcp") else {
        return String::new();
    };
    trace.events.retain(|event| match &event.what {
        What::Frame(frame) => frame
            .packet()
            .segment()
            .is_some_and(|s| s.flags.syn || s.flags.fin || s.flags.rst),
        _ => false,
    });
    trace.to_text()
}

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

use std::collections::HashSet;
use std::net::SocketAddr;

use testbed::trace::{Event, What};
use testbed::{Profile, Segment, TcpState};

use crate::stage::{KONGMING, LAPTOP};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod scenario;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "time_wait",
    pristine: include_str!("../../pristine/ch03_tcp/time_wait.rs"),
    takes: &[
        Take { name: SERVER_PAYS, profile: Profile::Modern },
        Take { name: CLIENT_PAYS, profile: Profile::Modern },
    ],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "no_reuse", cause: "address-in-use" },
        Mutant { name: "reuse_after_bind", cause: "reuse-set-too-late" },
        Mutant { name: "reuse_port", cause: "two-listeners" },
        Mutant { name: "linger_zero", cause: "reset" },
        Mutant { name: "waits_for_the_client", cause: "server-waits" },
        Mutant { name: "client_no_reuse", cause: "client-cannot-bind" },
        Mutant { name: "takes_another_port", cause: "another-port" },
        Mutant { name: "sends_no_newline", cause: "no-newline" },
    ],
    alternatives: &["nix_poll", "raw_calls"],
};

const SERVER_PAYS: &str = "server-pays";
const CLIENT_PAYS: &str = "client-pays";
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
    judge_lines(performance, judge);
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

/// What was typed is on the wire with its newline, in whichever segment.
fn judge_lines(performance: &Performance, judge: &mut Judge) {
    let mut sent = Vec::new();
    for (event, frame) in performance.trace.frames() {
        let packet = frame.packet();
        let segment = packet.segment().filter(|_| event.host == LAPTOP);
        if let Some(segment) = segment {
            sent.push((segment.seq, packet.data().to_vec()));
        }
    }
    let texts = performance.facts.get("texts").cloned().unwrap_or_default();
    let texts: Vec<String> = serde_json::from_value(texts).unwrap_or_default();
    for text in texts {
        let found = sent.iter().find(|(_, data)| data == text.as_bytes());
        let Some((seq, data)) = found else { continue };
        let next = seq.wrapping_add(data.len() as u32);
        let whole = |(at, data): &(u32, Vec<u8>)| match at {
            at if at == seq => data.get(text.len()) == Some(&b'\n'),
            at => *at == next && data.first() == Some(&b'\n'),
        };
        judge.check(
            "no-newline",
            "the client sends each line with its newline",
            sent.iter().any(whole),
            format!("on the wire: {text}, and no byte after it"),
        );
    }
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
/// segments carry a line, when a kernel sends a bare ACK, and what it repeats on
/// a machine that is busy, is left open.
fn story(performance: &Performance) -> String {
    let Ok(mut trace) = performance.trace.select("tcp") else {
        return String::new();
    };
    let mut seen = HashSet::new();
    trace.events.retain(|event| match &event.what {
        What::Frame(frame) => frame.packet().segment().is_some_and(|s| {
            let flags = s.flags;
            (flags.syn || flags.fin || flags.rst)
                && seen.insert((s.source, s.seq, flags.to_string()))
        }),
        _ => false,
    });
    trace.to_text()
}

//! What the trace says of a run: in text, in JSON, and when it is void.

use std::io::Read;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{Backend, Draw, Network, TcpSocket, TcpState, TimerKind, Trace};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, SOON, assert_text, carry};

pub const TESTS: &[Test] = tests![
    a_handshake_and_a_close_with_every_state,
    the_active_closer_waits,
    a_held_ack_leaves_a_request_socket,
    a_retransmission_is_marked,
    output_and_steps_stand_among_the_segments,
    sockets_that_never_come_are_an_answer,
    json_has_what_it_says_and_reads_back,
    a_follower_hears_what_the_trace_has,
    a_run_without_capture_still_counts,
    a_seed_replays_its_draw,
    an_overloaded_wire_makes_the_run_void,
];

/// The laptop opens a connection, sends five bytes and closes; then the server
/// closes. Each step is awaited, so that the segments are those of RFC 9293.
fn conversation(lan: &Lan) -> Result<(), Box<dyn std::error::Error>> {
    let (mut client, mut server) = lan.connection(80);
    carry(&mut client, &mut server, b"hello");
    // The server's bare acknowledgement, after the handshake's own ACK.
    assert!(lan.net.wait_frames("ack from Kongming20", 1, SOON)?);
    client.shutdown(Shutdown::Write)?;
    assert_eq!(server.read(&mut [0])?, 0);
    assert!(lan.net.wait_frames("ack from Kongming20", 2, SOON)?);
    drop(server);
    assert!(lan.net.wait_frames("ack from ernest-laptop", 2, SOON)?);
    Ok(())
}

fn a_handshake_and_a_close_with_every_state(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    conversation(&lan)?;
    let trace = lan.net.trace()?;
    assert_text(&trace.select("tcp")?.to_text(), HANDSHAKE_AND_CLOSE);
    assert!(!trace.is_void(), "{:?}", trace.losses);
    // The same with a clock: each line is longer, and none is missing.
    let timeline = trace.select("tcp")?.to_timeline();
    assert_eq!(timeline.lines().count(), HANDSHAKE_AND_CLOSE.lines().count());
    Ok(())
}

const HANDSHAKE_AND_CLOSE: &str = "\
ernest-laptop                                                   Kongming20
                                                                LISTEN
SYN-SENT     ─────────────────── SYN seq 0 ───────────────────▶ SYN-RECV
ESTABLISHED  ◀───────────── SYN ACK seq 0 ack 1 ─────────────── SYN-RECV
ESTABLISHED  ─────────────────── ACK ack 1 ───────────────────▶ ESTABLISHED
ESTABLISHED  ────────── PSH ACK seq 1 ack 1, 5 bytes ─────────▶ ESTABLISHED
ESTABLISHED  ◀────────────────── ACK ack 6 ──────────────────── ESTABLISHED
FIN-WAIT-1   ────────────── FIN ACK seq 6 ack 1 ──────────────▶ CLOSE-WAIT
FIN-WAIT-2   ◀────────────────── ACK ack 7 ──────────────────── CLOSE-WAIT
TIME-WAIT    ◀───────────── FIN ACK seq 1 ack 7 ─────────────── LAST-ACK
TIME-WAIT    ─────────────────── ACK ack 2 ───────────────────▶ CLOSED
";

/// The sockets of a host, once one of them is in this state.
fn wait_state(
    lan: &Lan,
    host: &str,
    state: TcpState,
) -> Result<TcpSocket, Box<dyn std::error::Error>> {
    let there = |s: &[TcpSocket]| s.iter().any(|s| s.state == state);
    let sockets = lan.net.wait_sockets(host, SOON, there)?;
    let sockets = sockets.map_err(|last| format!("no {state:?}: {last:?}"))?;
    Ok(sockets.into_iter().find(|s| s.state == state).unwrap())
}

fn the_active_closer_waits(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (client, server) = lan.connection(80);
    drop(client);
    wait_state(&lan, "Kongming20", TcpState::CloseWait)?;
    wait_state(&lan, "ernest-laptop", TcpState::FinWait2)?;
    drop(server);
    let waiting = wait_state(&lan, "ernest-laptop", TcpState::TimeWait)?;
    assert_eq!(waiting.peer, lan.address(80));
    let timer = waiting.timer.ok_or("TIME-WAIT without a timer")?;
    assert_eq!(timer.kind, TimerKind::TimeWait);
    assert!((50_000..=60_000).contains(&timer.expires_ms), "{timer:?}");
    let gone = |s: &[TcpSocket]| s.is_empty();
    let server = lan.net.wait_sockets("Kongming20", SOON, gone)?;
    assert_eq!(server, Ok(vec![]), "the passive closer is done");
    Ok(())
}

fn a_held_ack_leaves_a_request_socket(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let ack = lan.net.wire().arm("hold ack from ernest-laptop")?;
    let listener = lan.listen(80);
    let client = lan.connect(80);
    let request = wait_state(&lan, "Kongming20", TcpState::SynRecv)?;
    assert_eq!(request.peer, client.local_addr()?);
    wait_state(&lan, "ernest-laptop", TcpState::Established)?;
    lan.net.wire().release(&ack)?;
    listener.accept()?;

    let trace = lan.net.trace()?.select("ack from ernest-laptop")?;
    let (_, frame) = trace.frames().next().unwrap();
    assert!(frame.delivered_ns.is_some());
    assert_eq!(frame.states["Kongming20"], TcpState::Established);
    Ok(())
}

fn a_retransmission_is_marked(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (mut client, mut server) = lan.connection(80);
    lan.net.wire().arm("drop data from ernest-laptop")?;
    carry(&mut client, &mut server, b"hello");
    let trace = lan.net.trace()?.select("data")?;
    let text = trace.to_text();
    let sent: Vec<&str> =
        text.lines().filter(|line| line.contains("5 bytes")).collect();
    assert!(sent.len() >= 2, "{text}");
    assert!(sent[0].contains("✗"), "{text}");
    assert!(!sent[0].contains("again"), "{text}");
    assert!(sent[1].contains("PSH ACK seq 1 ack 1, 5 bytes, again"), "{text}");
    assert!(text.contains(
        "^ dropped by rule `drop #1 data from ernest-laptop`, match 1"
    ));
    Ok(())
}

fn output_and_steps_stand_among_the_segments(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    lan.net.step("ernest-laptop", "connects to 192.168.1.109:80")?;
    let (_client, _server) = lan.connection(80);
    let echo = testbed::Launch::new("echo", "/bin/echo");
    let echo = echo.arg("peer 192.168.1.108:40000, ready");
    lan.server().start_program(echo)?.wait(SOON)?;

    let text = lan.net.trace()?.to_text();
    let at = |what: &str| text.find(what).ok_or(format!("{what}: {text}"));
    let step = at("[ernest-laptop: connects to Kongming20:PORT]")?;
    let syn = at(" SYN seq 0 ")?;
    let said = at("Kongming20 prints: peer ernest-laptop:PORT, ready")?;
    assert!(step < syn && syn < said, "{text}");
    Ok(())
}

fn sockets_that_never_come_are_an_answer(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let _listener = lan.listen(80);
    let limit = Duration::from_millis(50);
    let start = Instant::now();
    let last = lan.net.wait_sockets("Kongming20", limit, |_| false)?;
    assert!(start.elapsed() >= limit);
    let last = last.unwrap_err();
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].state, TcpState::Listen);
    assert_eq!(last[0].local, lan.address(80));
    Ok(())
}

fn json_has_what_it_says_and_reads_back(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    lan.net.wire().arm("duplicate syn")?;
    conversation(&lan)?;
    lan.net.step("Kongming20", "is done")?;
    let echo = testbed::Launch::new("echo", "/bin/echo").arg("a \"line\"");
    lan.server().start_program(echo)?.wait(SOON)?;
    let trace = lan.net.trace()?;

    let text = serde_json::to_string(&trace.to_json("handshake"))?;
    let json: Value = serde_json::from_str(&text)?;
    assert_eq!(json["lab"], "handshake");
    assert_eq!(json["backend"], backend.name());
    assert_eq!(json["profile"], "modern");
    assert_eq!(json["seed"], 7);
    assert_eq!(json["kernel"], testbed::kernel_release());
    assert_eq!(json["hosts"][1]["name"], "Kongming20");
    assert_eq!(json["hosts"][1]["addresses"][0], "192.168.1.109");
    assert_eq!(json["losses"], Value::Array(vec![]));
    let events = json["events"].as_array().ok_or("no events")?;
    assert_eq!(events.len(), trace.events.len());
    let kind = |kind: &str| events.iter().find(|e| e["kind"] == kind).unwrap();
    assert_eq!(kind("step")["text"], "is done");
    assert_eq!(kind("output")["line"], "a \"line\"");
    assert_eq!(kind("output")["stream"], "stdout");
    let listens = |e: &Value| e["kind"] == "state" && e["to"] == "LISTEN";
    assert!(events.iter().any(listens));

    let is_syn = |e: &&Value| e["segment"]["flags"][0] == "SYN";
    let syn = events.iter().find(is_syn).ok_or("no SYN")?;
    assert_eq!(syn["host"], "ernest-laptop");
    assert_eq!(syn["protocol"], "tcp");
    assert_eq!(syn["summary"], "SYN seq 0");
    assert_eq!(syn["segment"]["to"], "Kongming20");
    assert_eq!(syn["segment"]["ack"], Value::Null);
    assert_eq!(syn["states"]["Kongming20"], "SYN-RECV");
    let note = "duplicated by rule `duplicate #1 syn`, match 1";
    assert_eq!(syn["wire"][0], note);
    let bytes = syn["bytes"].as_str().unwrap();
    assert_eq!(syn["length"].as_u64().unwrap() as usize * 2, bytes.len());
    assert!(syn["delivered_ns"].as_u64() >= syn["t_ns"].as_u64());

    // Both the plain form and the decorated one are the trace again.
    let plain: Trace = serde_json::from_str(&serde_json::to_string(&trace)?)?;
    assert_eq!(plain, trace);
    let decorated: Trace = serde_json::from_value(json)?;
    assert_eq!(decorated, trace);
    Ok(())
}

fn a_follower_hears_what_the_trace_has(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let hear = move |event: &testbed::trace::Event| {
        ear.lock().unwrap().push(event.clone());
    };
    let follower = lan.net.follow(hear);
    conversation(&lan)?;
    lan.net.step("Kongming20", "is done")?;
    drop(follower);
    let mut heard = std::mem::take(&mut *heard.lock().unwrap());
    heard.sort_by_key(|event| event.t_ns);
    let all = lan.net.trace()?.events;
    assert!(heard.len() > 10);
    assert_eq!(heard[..], all[..heard.len()]);
    assert_eq!(heard.len(), all.len(), "to the last");
    Ok(())
}

fn a_run_without_capture_still_counts(backend: Backend) -> Done {
    let plan = Network::lan().backend(backend).capture(false).states(false);
    let lan = Lan { net: plan.up()? };
    let (mut client, mut server) = lan.connection(80);
    let before = lan.net.wire().bytes();
    carry(&mut client, &mut server, &[b'x'; 100_000]);
    assert!(lan.net.wire().bytes() - before > 100_000);
    assert!(lan.net.wire().frames() > 60);
    assert_eq!(lan.net.trace()?.events, []);
    Ok(())
}

fn a_seed_replays_its_draw(backend: Backend) -> Done {
    let drawn = |seed| -> Result<_, testbed::Error> {
        let net = Network::lan().backend(backend).seed(seed).up()?;
        let mut draw = net.draw();
        assert_eq!(net.trace()?.seed, seed);
        Ok((draw.port(), draw.letters(12), draw.count(1..=1_000_000)))
    };
    assert_eq!(drawn(41)?, drawn(41)?);
    assert_ne!(drawn(41)?, drawn(42)?);
    let net = Network::lan().backend(backend).up()?;
    let seed = net.trace()?.seed;
    assert_eq!(net.draw().port(), Draw::from_seed(seed).port());
    Ok(())
}

/// Threads that ask for the states without a pause keep the wire from its
/// frames, as a machine that is too slow would; the queue before it overflows.
fn an_overloaded_wire_makes_the_run_void(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, _server) = lan.acquainted();
    let listeners: Vec<_> = (2000..2500).map(|port| lan.listen(port)).collect();
    assert_eq!(lan.net.losses()?, [""; 0]);
    let over = AtomicBool::new(false);
    let losses = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    lan.net.step("ernest-laptop", "asks").unwrap();
                }
            });
        }
        let deadline = Instant::now() + SOON;
        let mut losses = Vec::new();
        while losses.is_empty() && Instant::now() < deadline {
            for _ in 0..20_000 {
                let _ = laptop.send(&[0; 100]); // ENOBUFS: it has come to it.
            }
            losses = lan.net.losses().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        losses
    });
    drop(listeners);
    assert!(losses.iter().any(|l| l.contains("ernest-laptop")), "{losses:?}");
    let trace = lan.net.trace()?;
    assert!(trace.is_void());
    assert!(trace.to_text().contains("VOID: "), "the text says so");
    Ok(())
}

//! Grades `half_open`: a server that learns that its peer is gone, however it
//! went.
//!
//! The peer is a socket of the scenario's. In the take `keepalive` its cable is
//! cut while nobody sends anything; in `user-timeout` the server writes into the
//! cut cable; in `restarted` the peer loses its memory of the connection while
//! its cable is cut, and the server writes when it is whole again; in `closed`
//! it closes. What the server set on its socket shows in the socket's timer and
//! in what the wire sees.

use std::collections::HashSet;
use std::time::Duration;

use testbed::trace::{Event, What};
use testbed::{Profile, TcpSocket, TcpState, TimerKind};

use crate::ch05_sockets::peer::Peer;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "half_open",
    pristine: include_str!("../../pristine/ch03_tcp/half_open.rs"),
    takes: &[
        Take { name: KEEPALIVE, profile: Profile::Book },
        Take { name: USER_TIMEOUT, profile: Profile::Book },
        Take { name: RESTARTED, profile: Profile::Book },
        Take { name: "closed", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "times_alone", cause: "keepalive-off" },
        Mutant { name: "default_times", cause: "idle-time" },
        Mutant { name: "default_interval", cause: "interval" },
        Mutant { name: "default_count", cause: "count" },
        Mutant { name: "timeout_in_seconds", cause: "timeout-too-short" },
        Mutant { name: "any_end_is_the_end", cause: "wrong-end" },
        Mutant { name: "waits_for_its_input", cause: "not-noticed" },
    ],
    alternatives: &["raw_options", "two_threads"],
};

const KEEPALIVE: &str = "keepalive";
const USER_TIMEOUT: &str = "user-timeout";
const RESTARTED: &str = "restarted";
/// Idle time, interval and count: each way 3 s. A second is the least that
/// Linux takes.
const TIMES: [[u64; 3]; 3] = [[1, 1, 2], [1, 2, 1], [2, 1, 1]];
/// After 0.2, 0.6 and 1.4 s a segment is sent again: the third time is later
/// than any of the timeouts.
const RETRIES: usize = 2;
/// The kernel counts such times in ticks of 10 ms at most.
const TICKS_MS: u64 = 20;
/// How often it is looked whether a connection is still there.
const GLANCE: Duration = Duration::from_millis(20);
/// What is typed for the server.
const LINE: &str = "are you there?";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let text = stage.draw.letters(6);
    let address = stage.address(KONGMING)?;
    let drawn = TIMES[stage.draw.count(0..=2) as usize];
    let times = if stage.story { TIMES[0] } else { drawn };
    let timeout = stage.draw.count(800..=1200);
    stage.fact("address", address);
    stage.fact("text", &text);
    stage.fact("times", times);
    stage.fact("timeout", timeout);
    let mut args = match stage.take {
        KEEPALIVE => {
            [vec![KEEPALIVE.into()], times.map(|n| n.to_string()).to_vec()]
                .concat()
        }
        USER_TIMEOUT => vec![USER_TIMEOUT.into(), timeout.to_string()],
        _ => vec!["plain".into()],
    };
    args.push(address.to_string());

    let server = stage.start("server", KONGMING, args)?;
    stage.line(server, "listening on ")?;
    let mut peer = Peer::connect_from_any(stage, LAPTOP, address)?;
    stage.line(server, "accepted ")?;
    stage.fact("accepted", stage.net.host(KONGMING)?.tcp_sockets()?);
    if !peer.sent(&format!("{text}\n")) {
        return Err(Halt::Missed("waited for a peer that is there".into()));
    }
    stage.line(server, "received ")?;
    // The acknowledgement has to be there before a cable is cut.
    stage.sockets(LAPTOP, "an acknowledgement", |sockets| {
        sockets.iter().all(|socket| socket.send_queue == 0)
    })?;
    stage.frames("ack from Kongming20", 1)?;
    stage.in_one_go(|stage| match stage.take {
        KEEPALIVE => {
            peer.forget();
            fall_silent(stage, times, server)
        }
        USER_TIMEOUT => {
            peer.forget();
            write_in_vain(stage, server)
        }
        RESTARTED => restart(stage, server, peer),
        _ => {
            stage.step(LAPTOP, "the peer closes")?;
            peer.finish();
            noticed(stage, server)
        }
    })?;
    stage.end(server)
}

/// Nobody sends anything, and the cable is cut.
fn fall_silent(
    stage: &mut Stage,
    [idle, interval, count]: [u64; 3],
    server: Role,
) -> Result<(), Halt> {
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    if keepalive(&sockets).is_none_or(|ms| ms > 1000 * idle) {
        return Err(Halt::Missed("waited for the keepalive timer".into()));
    }
    if stage.story {
        // A probe that is answered, first.
        let sent = stage.count("ack from ernest-laptop")?;
        stage.frames("ack from ernest-laptop", sent + 1)?;
    }
    let before = stage.count("ack from Kongming20")?;
    stage.net.wire().cut(LAPTOP)?;
    wait_for_the_end(stage, "ack", before)?;
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    let next = keepalive(&sockets);
    stage.fact("next_ms", next);
    if next.is_some_and(|ms| ms > 1000 * interval) {
        return Err(Halt::Missed("waited for the next probe".into()));
    }
    let probes = wait_for_the_end(stage, "ack", before + count as usize)?;
    stage.fact("probes", probes - before);
    match has_connection(stage)? {
        true => Err(Halt::Missed("waited for the end of the probes".into())),
        false => noticed(stage, server),
    }
}

/// The server writes, and nothing comes back.
fn write_in_vain(stage: &mut Stage, server: Role) -> Result<(), Halt> {
    stage.net.wire().cut(LAPTOP)?;
    let before = stage.count("data from Kongming20")?;
    write(stage, server)?;
    let sent = wait_for_the_end(stage, "data", before + 1 + RETRIES)?;
    stage.fact("retries", (sent - before).saturating_sub(1));
    match has_connection(stage)? {
        true => Err(Halt::Missed("waited for the kernel to give up".into())),
        false => noticed(stage, server),
    }
}

/// The peer's kernel forgets the connection, and nobody hears of it: its RST is
/// lost, since its cable is cut.
fn restart(stage: &mut Stage, server: Role, peer: Peer) -> Result<(), Halt> {
    stage.net.wire().cut(LAPTOP)?;
    peer.abort();
    stage.step(LAPTOP, "ernest-laptop is started again")?;
    stage.sockets(LAPTOP, "nothing left of the connection", |sockets| {
        sockets.is_empty()
    })?;
    stage.net.wire().plug(LAPTOP)?;
    stage.fact("half_open", stage.net.host(KONGMING)?.tcp_sockets()?);
    write(stage, server)?;
    noticed(stage, server)
}

fn write(stage: &mut Stage, server: Role) -> Result<(), Halt> {
    stage.step(KONGMING, "a line is typed for the server")?;
    stage.send(server, LINE);
    stage.line(server, "sent ")?;
    Ok(())
}

/// Waits until the server's kernel has given the connection up, or has sent more
/// than so many segments of a kind; how many it has sent.
fn wait_for_the_end(
    stage: &mut Stage,
    kind: &str,
    most: usize,
) -> Result<usize, Halt> {
    let what = format!("{kind} from {KONGMING}");
    // Between two probes nothing happens for longer than a scenario is patient.
    while stage.left() > Duration::ZERO {
        let more = stage.net.wait_frames(&what, most + 1, GLANCE)?;
        if more || !has_connection(stage)? {
            break;
        }
    }
    stage.count(&what)
}

/// The server's kernel has found out; does the program?
fn noticed(stage: &mut Stage, server: Role) -> Result<(), Halt> {
    stage.sockets(KONGMING, "the end of the connection", |sockets| {
        !sockets.iter().any(is_connection)
    })?;
    let said = stage.line(server, "");
    if said.is_err() && !stage.program(server).has_closed_its_output() {
        stage.fact("not_noticed", true);
    }
    said.map(drop)
}

fn is_connection(socket: &TcpSocket) -> bool {
    let none = [TcpState::Listen, TcpState::CloseWait, TcpState::LastAck];
    !none.contains(&socket.state)
}

fn has_connection(stage: &Stage) -> Result<bool, Halt> {
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    Ok(sockets.iter().any(is_connection))
}

/// Milliseconds to the next probe of the connection, if there will be one.
fn keepalive(sockets: &[TcpSocket]) -> Option<u64> {
    let timers = sockets.iter().filter_map(|socket| socket.timer);
    let mut timers = timers.filter(|t| t.kind == TimerKind::Keepalive);
    timers.next().map(|timer| timer.expires_ms.into())
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
    let accepted = performance.sockets("accepted");
    let claimed = performance.trace.stdout("server");
    judge.deed(
        "a connection is there when the program says so",
        claimed.is_empty() || accepted.iter().any(is_connection),
        "no connection on Kongming20",
    );
    match performance.take.as_str() {
        KEEPALIVE => judge_keepalive(performance, &accepted, judge),
        USER_TIMEOUT => judge_user_timeout(performance, judge),
        _ => drop(judge.check(
            "keepalive-unasked",
            "a plain server sets no timer",
            keepalive(&accepted).is_none(),
            "a keepalive timer runs",
        )),
    }
    judge.check(
        "not-noticed",
        "the program learns what its kernel knows",
        !performance.facts.contains_key("not_noticed"),
        "the connection was gone, and the program asleep",
    );
    let end = match performance.take.as_str() {
        KEEPALIVE | USER_TIMEOUT => "connection timed out",
        RESTARTED => "connection reset",
        _ => "end of file",
    };
    let told = claimed.last().copied().unwrap_or_default();
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge.check(
        "wrong-end",
        "the program says how the connection ended",
        told == end,
        side_by_side(&[end], &[told]),
    );
    judge_output(performance, end, judge);
    judge.ended_well(performance, "server");
    let name = format!("half_open-{}", performance.take);
    judge.snapshot("segments", &name, &story(performance));
}

fn judge_keepalive(
    performance: &Performance,
    accepted: &[TcpSocket],
    judge: &mut Judge,
) {
    let times = performance.facts.get("times").cloned().unwrap_or_default();
    let times: [u64; 3] = serde_json::from_value(times).unwrap_or_default();
    let [idle, interval, count] = times;
    if accepted.is_empty() {
        return; // Nobody has got so far.
    }
    let timer = keepalive(accepted);
    judge.check(
        "keepalive-off",
        "a keepalive timer runs when the connection is accepted",
        timer.is_some(),
        "no timer at the connection",
    );
    judge.check(
        "idle-time",
        "the first probe comes when the connection has been idle for so long",
        timer.is_none_or(|ms| ms <= 1000 * idle),
        format!("asked for: {idle} s; the timer's time is longer"),
    );
    let next = performance.number("next_ms");
    judge.check(
        "interval",
        "the next probes come at the interval asked for",
        next.is_none_or(|ms| ms <= 1000 * interval),
        format!("asked for: {interval} s; the timer's time is longer"),
    );
    let probes = performance.number("probes");
    judge.check(
        "count",
        "the kernel gives up after as many probes as it was told",
        probes.is_none_or(|probes| probes == count),
        match probes.is_some_and(|probes| probes > count) {
            true => format!("asked for: {count}; it sent more"),
            false => format!("asked for: {count}; it sent fewer"),
        },
    );
}

fn judge_user_timeout(performance: &Performance, judge: &mut Judge) {
    let retries = performance.number("retries");
    let timeout = performance.number("timeout").unwrap_or_default();
    judge.check(
        "no-timeout",
        "the kernel gives up when the time is over",
        retries.is_none_or(|count| count <= RETRIES as u64),
        format!("asked for: {timeout} ms; after 1400 ms it went on"),
    );
    let lasted = lasted(performance);
    judge.check(
        "timeout-too-short",
        "the kernel does not give up before the time is over",
        lasted.is_none_or(|ms| ms + TICKS_MS >= timeout),
        format!("asked for: {timeout} ms; it gave up before"),
    );
}

/// Milliseconds from the first segment of what the server wrote to the last
/// line that it printed.
fn lasted(performance: &Performance) -> Option<u64> {
    let events = &performance.trace.events;
    let begin = performance.trace.frames().find(|(event, frame)| {
        event.host == KONGMING && !frame.packet().data().is_empty()
    });
    let last = |event: &&Event| matches!(event.what, What::Output(_));
    let end = events.iter().rfind(last)?.t_ns;
    Some(end.saturating_sub(begin?.0.t_ns) / 1_000_000)
}

fn judge_output(performance: &Performance, end: &str, judge: &mut Judge) {
    let text = |fact| performance.text(fact).unwrap_or_default().to_string();
    let laptop = &performance.trace.hosts[0].addresses[0];
    let mut lines = vec![
        format!("listening on {}", text("address")),
        format!("accepted {laptop}"),
        format!("received {}", text("text")),
    ];
    if matches!(performance.take.as_str(), USER_TIMEOUT | RESTARTED) {
        lines.push(format!("sent {} bytes", LINE.len() + 1));
    }
    lines.push(end.to_string());
    judge.printed("output", performance, "server", &lines);
}

/// How the connection ended on the wire: what carries data, SYN, FIN or RST,
/// once, and whether it arrived.
fn story(performance: &Performance) -> String {
    let mut seen = HashSet::new();
    let mut text = String::new();
    for (event, frame) in performance.trace.frames() {
        let Some(segment) = frame.packet().segment() else { continue };
        let what = match segment.flags {
            flags if flags.rst => "RST",
            flags if flags.syn => "SYN",
            flags if flags.fin => "FIN",
            _ if segment.data > 0 => "data",
            _ => continue,
        };
        let came = match frame.delivered_ns {
            Some(_) => "arrives",
            None => "is lost",
        };
        let line = format!("{what} from {} {came}\n", event.host);
        if seen.insert(line.clone()) {
            text.push_str(&line);
        }
    }
    text
}

//! What must have come of each target.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use testbed::trace::{Event, Frame};

use super::PROGRAM;
use super::scenario::{Kind, Seen};
use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance, side_by_side};

/// What the lines end with, by the errno that the kernel has for it.
const WHY: &[(&str, &str)] = &[
    ("ECONNREFUSED", "nobody listens there"),
    ("ETIMEDOUT", "nobody answers"),
    ("ENETUNREACH", "no route leads there"),
    ("EADDRNOTAVAIL", "no local port is left"),
    ("ENOPROTOOPT", "Protocol not available"),
    ("EOPNOTSUPP", "Operation not supported on transport endpoint"),
    ("EHOSTDOWN", "Host is down"),
    ("ENONET", "Machine is not on the network"),
];
const TOLD: &str = "somebody says no";
const NOBODY: &str = "no neighbour has the address";

/// The errno for each code of ICMP's destination unreachable, as Linux has it
/// (icmp_err_convert in net/ipv4/icmp.c).
fn of_code(code: u8) -> &'static str {
    match code {
        0 | 6 | 9 | 11 => "ENETUNREACH",
        2 => "ENOPROTOOPT",
        3 => "ECONNREFUSED",
        5 => "EOPNOTSUPP",
        7 => "EHOSTDOWN",
        8 => "ENONET",
        _ => "EHOSTUNREACH",
    }
}

/// The errno; `None`: there is none.
fn errno(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Open | Kind::OpenFar | Kind::Itself | Kind::Asked => None,
        Kind::Closed => Some("ECONNREFUSED"),
        Kind::Prohibited | Kind::Unreachable | Kind::NoNeighbour => {
            Some("EHOSTUNREACH")
        }
        Kind::NoRouteThere | Kind::NoRouteHere => Some("ENETUNREACH"),
        Kind::NoPort => Some("EADDRNOTAVAIL"),
        Kind::Code(code) => Some(of_code(code)),
        Kind::Lost => Some("ETIMEDOUT"),
    }
}

/// What became of it, for the evidence.
fn about(kind: Kind) -> String {
    let text = match kind {
        Kind::Open | Kind::OpenFar => "somebody listens there",
        Kind::Closed => "nobody listens there: RST",
        Kind::Prohibited => "the router answers: prohibited (ICMP, code 13)",
        Kind::Unreachable => "the router answers: no such host (ICMP, code 1)",
        Kind::NoRouteThere => "the router answers: no route (ICMP, code 0)",
        Kind::NoRouteHere => "this host has no route",
        Kind::NoPort => "the only local port is in use",
        Kind::Itself => "the only local port is the one that is connected to",
        Kind::Code(code) => return format!("the answer is ICMP, code {code}"),
        Kind::NoNeighbour => "ARP requests are not answered",
        Kind::Lost => "every SYN is lost",
        Kind::Asked => "",
    };
    text.to_string()
}

/// Does a SYN leave for such a target?
fn has_syn(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::NoRouteHere
            | Kind::NoPort
            | Kind::Itself
            | Kind::NoNeighbour
            | Kind::Asked
    )
}

/// Judges all takes.
pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let printed = performance.trace.stdout(PROGRAM);
    let begun = judge.deed(
        "it calls connect(2)",
        performance.called(PROGRAM, "connect") > 0 || printed.is_empty(),
        "no call of connect(2) was seen",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let seen = performance.facts.get("seen").cloned().unwrap_or_default();
    let seen: Vec<Seen> = serde_json::from_value(seen).unwrap_or_default();
    let last = printed.last().copied().unwrap_or_default();
    let stopped = performance.exits.get(PROGRAM).copied().flatten();
    let gone = performance.missed.is_some() && stopped.is_some();
    let said = performance.trace.stderr(PROGRAM).join("\n");
    judge.check(
        "gives-up",
        "it goes on with the next target when one fails",
        seen.iter().all(|seen| seen.descriptors > 0)
            && (!gone || printed.is_empty()),
        format!("it ended after `{}`\n{said}", untimed(last)).trim_end(),
    );
    // Not in the order of the run, which is drawn.
    let mut all: Vec<(&Seen, &str)> =
        seen.iter().zip(printed.iter().copied()).collect();
    all.sort_by_key(|(seen, _)| seen.kind);
    for (seen, line) in &all {
        judge_attempts(performance, seen, line, judge);
    }
    for (seen, line) in &all {
        if !judge.content() {
            return;
        }
        judge_line(performance, seen, line, judge);
    }
    if !judge.content() {
        return;
    }
    let start = performance.number("at_start").unwrap_or_default() as usize;
    let first = seen.first().map_or(start, |seen| seen.descriptors);
    let end = seen.last().map_or(start, |seen| seen.descriptors);
    judge.check(
        "leaks-descriptors",
        "what it opens for a target it closes before the next",
        end <= first && first <= start + 2,
        format!(
            "{start} descriptors at the start, {first} after one target, {end} \
             after {}",
            seen.len()
        ),
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge.ended_well(performance, PROGRAM);
}

/// One attempt for each target, as far as the wire has seen it.
fn judge_attempts(
    performance: &Performance,
    seen: &Seen,
    line: &str,
    judge: &mut Judge,
) {
    let Seen { kind, target, .. } = seen;
    let about = about(*kind);
    let evidence = |more: &str| {
        format!("{target}: {about}\nit says `{}`\n{more}", untimed(line))
    };
    let ports = syns(performance, *target);
    let distinct: BTreeSet<u16> = ports.iter().copied().collect();
    judge.check(
        "no-attempt",
        "each target gets an attempt, whatever became of the one before",
        !has_syn(*kind) || !ports.is_empty(),
        evidence("there is no SYN for it on the wire"),
    );
    judge.check(
        "many-attempts",
        "each target gets one attempt; to repeat the SYN is the kernel's work",
        distinct.len() <= 1,
        evidence(&format!("SYNs left from {} ports", distinct.len())),
    );
}

/// What it says of a target.
fn judge_line(
    performance: &Performance,
    seen: &Seen,
    line: &str,
    judge: &mut Judge,
) {
    let Seen { kind, target, wall_ms, .. } = seen;
    if *kind == Kind::Asked {
        return;
    }
    let about = about(*kind);
    let evidence = |more: &str| {
        format!("{target}: {about}\nit says `{}`\n{more}", untimed(line))
    };
    let said = line.strip_prefix(&format!("{target}: ")).unwrap_or_default();
    let Some(errno) = errno(*kind) else {
        let (wanted, cause, name) = match kind {
            Kind::Itself => (
                "connected to itself",
                "itself-unnoticed",
                "it notices that it is connected to itself",
            ),
            _ => ("connected", "output", "it says that it is connected"),
        };
        judge.check(
            cause,
            name,
            said == wanted,
            evidence(&side_by_side(&[wanted], &[said])),
        );
        return;
    };
    let (name, rest) = said.split_once(" after ").unwrap_or((said, ""));
    let (seconds, why) = rest.split_once(" s, ").unwrap_or((rest, ""));
    let ports = syns(performance, *target);
    let early = match kind {
        // Two SYNs, and a second after each.
        Kind::Lost => ports.len() < 2 || *wall_ms < 1900,
        // Three requests, half a second after each.
        Kind::NoNeighbour => *wall_ms < 1400,
        _ => false,
    };
    let most = *wall_ms as f64 / 1000.0;
    let measured: Option<f64> = seconds.parse().ok();
    let took = measured.unwrap_or(most);
    judge.check(
        "gave-up-early",
        "it waits until the kernel gives up, and no longer",
        !early,
        evidence(&format!("SYNs that had left: {}", ports.len())),
    );
    judge.check(
        "errno",
        "it says which errno connect(2) has returned",
        name == errno,
        evidence(&format!("connect(2) fails with {errno}")),
    );
    judge.check(
        "time",
        "it says how many seconds the attempt took",
        measured.is_some_and(|took| 0.0 <= took && took <= most + 0.001),
        evidence(&format!("it says {seconds}, and its line came after {most}")),
    );
    let known = WHY.iter().find(|(known, _)| *known == errno);
    // By what it has measured itself: a busy machine may be late.
    let (right, cause, name) = match known {
        Some((_, why)) => {
            (*why, "output", "its line is the one that the stub asks for")
        }
        None if took < 1.0 => (
            TOLD,
            "told-unnoticed",
            "an EHOSTUNREACH that comes at once is somebody's answer",
        ),
        None => (
            NOBODY,
            "silence-unnoticed",
            "an EHOSTUNREACH that takes its time is nobody's answer",
        ),
    };
    judge.check(
        cause,
        name,
        why == right,
        evidence(&side_by_side(&[right], &[why])),
    );
}

/// A line without the time in it, which is another in each run.
fn untimed(line: &str) -> String {
    match line.split_once(" after ") {
        Some((head, rest)) => {
            let rest = rest.split_once(" s, ").map_or("", |(_, why)| why);
            format!("{head} after # s, {rest}")
        }
        None => line.to_string(),
    }
}

/// From which port each SYN to a target left.
fn syns(performance: &Performance, target: SocketAddr) -> Vec<u16> {
    let syn = |(event, frame): (&Event, &Frame)| {
        let segment = frame.packet().segment()?;
        let syn = segment.flags.syn && !segment.flags.ack;
        let ours = event.host == LAPTOP && segment.destination == target;
        (syn && ours).then(|| segment.source.port())
    };
    performance.trace.frames().filter_map(syn).collect()
}

//! Grades `forward`: two fields change, and who sent too short a life is told.
//!
//! ernest-laptop sends by Kongming20, whose kernel forwards, and that by
//! router, whose kernel does not: the program does it there. Another traces the
//! way from ernest-laptop, and while it waits for the router's answer it is
//! given one that belongs to somebody else. Then a question to the name server
//! crosses, and its answer, and packets that no kernel makes. Each packet that arrives at the router is compared with
//! what leaves it, byte for byte.

use std::net::Ipv4Addr;

use testbed::Profile;

use super::packets::{
    EVERYONE, ICMP, Seen, header_length, packets, station, sum,
};
use crate::stage::{KONGMING, LAPTOP};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod scenario;

use scenario::{BROADCAST, BROKEN, ERROR, FRAGMENT, UNUSUAL};

const ROUTER: &str = "router";
/// ernest-laptop, Kongming20, and the router's two addresses.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 108);
const MIDDLE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 109);
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const UDP: u8 = 17;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "forward",
    pristine: include_str!("../../pristine/ch02_ip/forward.rs"),
    takes: &[Take { name: "modern", profile: Profile::Modern }],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "sum_forgotten", cause: "checksum-stale" },
        Mutant { name: "carry_forgotten", cause: "checksum-carry" },
        Mutant { name: "minus_zero", cause: "checksum-minus-zero" },
        Mutant { name: "sums_anew", cause: "header-not-verified" },
        Mutant { name: "drops_at_zero", cause: "ttl-zero-sent" },
        Mutant { name: "drops_in_silence", cause: "no-time-exceeded" },
        Mutant { name: "errors_about_errors", cause: "told-too-much" },
        Mutant { name: "believes_any_answer", cause: "answer-of-another" },
    ],
    alternatives: &["verifies_and_sums_anew", "error_queue"],
};

/// Which of them it is, if it is one.
fn name(packet: &Seen<'_>) -> &'static str {
    let own = packet.bytes[9] == ICMP && packet.source() == NEAR;
    let number = packet.data().get(7).map_or(0, |number| usize::from(*number));
    let name = UNUSUAL.get(number.wrapping_sub(1));
    name.copied().filter(|_| own).unwrap_or_default()
}

/// The datagrams by which ernest-laptop traces its way.
fn probes<'a>(all: &[Seen<'a>]) -> Vec<Seen<'a>> {
    let from_laptop = all.iter().filter(|seen| seen.host == LAPTOP);
    let probes = from_laptop.filter(|seen| is_probe(seen));
    probes.copied().collect()
}

fn is_probe(packet: &Seen<'_>) -> bool {
    packet.bytes[9] == UDP
        && packet.source() == NEAR
        && packet.destination() != NAME_SERVER
}

/// A packet that arrived at the router, and what left it for that.
struct Passage<'a> {
    came: Seen<'a>,
    went: Vec<Seen<'a>>,
    told: Vec<Seen<'a>>,
}

/// Those that are for somebody behind the router.
fn passages<'a>(all: &[Seen<'a>]) -> Vec<Passage<'a>> {
    let own = [INSIDE, OUTSIDE];
    let came = all.iter().filter(|seen| {
        let here = own.map(station).contains(&seen.to) || seen.to == EVERYONE;
        let on = !own.contains(&seen.destination())
            && !seen.destination().is_broadcast();
        here && on && seen.arrived && seen.host != ROUTER
            // What Kongming20 is sent, the router never sees.
            && (seen.destination().octets()[0] != 192
                || seen.host.ends_with(".example.test"))
    });
    let passage = |came: &Seen<'a>| {
        let left = all.iter().filter(|seen| seen.host == ROUTER);
        let same = |seen: &&Seen<'a>| {
            let (a, b) = (seen.bytes, came.bytes);
            a[..8] == b[..8] && a[9] == b[9] && a[12..] == b[12..]
        };
        let about = |seen: &&Seen<'a>| {
            own.contains(&seen.source())
                && seen.icmp().is_some_and(|message| {
                    message[0] == TIME_EXCEEDED
                        && message.len() >= 28
                        && message[8..16] == came.bytes[..8]
                        && message[20..28] == came.bytes[12..20]
                        && came.ttl() <= 1
                })
        };
        Passage {
            came: *came,
            went: left.clone().filter(same).copied().collect(),
            told: left.filter(about).copied().collect(),
        }
    };
    came.map(passage).collect()
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let all = packets(&performance.trace);
    let passages = passages(&all);
    let own = [INSIDE, OUTSIDE];
    let by_router = |seen: &&Seen<'_>| seen.host == ROUTER;
    let done = all
        .iter()
        .filter(by_router)
        .any(|seen| !own.contains(&seen.source()) || seen.bytes[9] == ICMP);
    let traced = performance.trace.stdout("trace");
    let begun = judge.deed(
        "a packet leaves the router",
        done || traced.is_empty(),
        "nothing that arrived at the router went on, and nobody was told",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let sent: Vec<String> =
        all.iter().filter(by_router).map(Seen::line).collect();
    let dead = sent.iter().find(|line| line.ends_with(" ttl 0"));
    judge.check(
        "ttl-zero-sent",
        "no packet leaves the router with 0 to live",
        dead.is_none(),
        dead.cloned().unwrap_or_default(),
    );
    // First those whose every bit the run has drawn.
    let (drawn, others): (Vec<_>, Vec<_>) =
        passages.iter().partition(|passage| !name(&passage.came).is_empty());
    for passage in drawn.into_iter().chain(others) {
        judge_passage(passage, judge);
        if !judge.content() {
            return;
        }
    }
    judge_trace(performance, &all, judge);
    if !judge.content() || performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let answered = performance.facts.get("answered");
    judge.check(
        "unanswered",
        "a question to the name server and its answer come through",
        answered.is_some_and(|answered| answered == true),
        "ernest-laptop had no answer from 203.0.113.53",
    );
    let told = told_lines(&passages);
    let mut printed = performance.trace.stdout("router");
    // What comes from two sides may be taken in either order.
    printed.get_mut(1..).unwrap_or_default().sort_unstable();
    let evidence = crate::verdict::side_by_side(&told, &printed);
    let name = "router prints what the stub asks for, in any order";
    judge.check("output", name, told == printed, evidence);
    judge.snapshot("way", "forward-way", &way(performance, &all));
    judge.ended_well(performance, "trace");
    judge.ended_well(performance, "router");
}

fn judge_passage(passage: &Passage<'_>, judge: &mut Judge) {
    let Passage { came, went, told } = passage;
    let what = name(came);
    let line = match what {
        "" => came.line(),
        what => format!("{what}: {}", came.line()),
    };
    let count = went.len();
    let whole = sum(&came.bytes[..header_length(came.bytes)]) == 0;
    if !whole {
        let name = "a packet whose header sum is wrong goes no further";
        let evidence = format!("{line}, and it was sent on");
        judge.check("header-not-verified", name, count == 0, evidence);
        return;
    }
    if came.to == EVERYONE {
        let name = "a packet that came by broadcast goes no further";
        judge.check("broadcast-forwarded", name, count == 0, line);
        return;
    }
    if came.ttl() <= 1 {
        judge_last_hop(what, &line, came, told, judge);
        return;
    }
    let name = "a packet goes on, once";
    let evidence = format!("{line}, and {count} like it left the router");
    if !judge.check("not-forwarded", name, count == 1, evidence) {
        return;
    }
    judge_next(&line, came, &went[0], judge);
}

/// A packet that must not go on, and about which its sender may have to be told.
fn judge_last_hop(
    what: &str,
    line: &str,
    came: &Seen<'_>,
    told: &[Seen<'_>],
    judge: &mut Judge,
) {
    if [ERROR, FRAGMENT].contains(&what) {
        let name = "nobody is told of an error's or a later fragment's end";
        judge.check("told-too-much", name, told.is_empty(), line);
        return;
    }
    let name = "whose packet has no time left is told so";
    let evidence = format!("{line}, and {} messages about it", told.len());
    if !judge.check("no-time-exceeded", name, told.len() == 1, evidence) {
        return;
    }
    let message = told[0].icmp().unwrap_or_default();
    let least = header_length(came.bytes) + 8;
    let right = sum(message) == 0
        && message[1] == 0
        && told[0].destination() == came.source()
        && message[8..].len() >= least
        && came.bytes.starts_with(&message[8..8 + least]);
    judge.check(
        "message-wrong",
        "the message quotes the header and 8 bytes, and its sum is right",
        right,
        format!("{line}; type, code, sum ...: {:02x?}", message),
    );
}

/// A packet that goes on: what has changed?
fn judge_next(line: &str, came: &Seen<'_>, went: &Seen<'_>, judge: &mut Judge) {
    let [before, after] = [came, went].map(Seen::checksum);
    let evidence = format!(
        "came {line} checksum {before:#06x}\nwent {} checksum {after:#06x}",
        went.line()
    );
    let name = "the time to live goes down by one";
    judge.check("ttl-kept", name, went.ttl() == came.ttl() - 1, &evidence);
    let mut header = went.bytes[..header_length(went.bytes)].to_vec();
    header[10..12].fill(0);
    let right = sum(&header);
    let cause = match went.checksum() {
        sum if sum == came.checksum() => "checksum-stale",
        0xffff if right == 0 => "checksum-minus-zero",
        sum if sum == came.checksum().wrapping_add(0x0100) => "checksum-carry",
        _ => "checksum-wrong",
    };
    judge.check(
        cause,
        "the header checksum follows",
        went.checksum() == right,
        format!("{evidence}; {right:#06x} is right"),
    );
    let side = match went.destination().octets()[0] {
        192 => INSIDE,
        _ => OUTSIDE,
    };
    // www.example.test has two addresses on one interface.
    let next = match went.destination().octets() {
        [203, 0, 113, 81] => Ipv4Addr::new(203, 0, 113, 80),
        _ => went.destination(),
    };
    judge.check(
        "wrong-station",
        "it goes to the station of the next hop, from that of the router",
        (went.from, went.to) == (station(side), station(next)),
        format!("{evidence}, from {:02x?} to {:02x?}", went.from, went.to),
    );
}

fn judge_trace(performance: &Performance, all: &[Seen<'_>], judge: &mut Judge) {
    let printed = performance.trace.stdout("trace");
    let probes = probes(all);
    let lives: Vec<u8> = probes.iter().map(Seen::ttl).collect();
    let to = performance.text("destination").unwrap_or_default();
    let other = format!("2 {MIDDLE}");
    judge.check(
        "answer-of-another",
        "an answer to another's probe is left alone",
        !printed.contains(&other.as_str()),
        format!("printed `{other}`: the message quoted another source port"),
    );
    judge.check(
        "wrong-lives",
        "the probes have 1, 2, 3 to live, one after another",
        lives == [1, 2, 3],
        format!("UDP datagrams from ernest-laptop with {lives:?} to live"),
    );
    let lines = [
        format!("1 {MIDDLE}"),
        format!("2 {INSIDE}"),
        format!("3 {to}, there"),
    ];
    judge.printed("output", performance, "trace", &lines);
}

/// What the router has to say, its first line and then by the alphabet.
fn told_lines(passages: &[Passage<'_>]) -> Vec<String> {
    let mut lines: Vec<String> = passages
        .iter()
        .map(|passage| {
            let came = &passage.came;
            let way = format!("{} > {}", came.source(), came.destination());
            let by = match came.destination().octets()[0] {
                192 => "eth0",
                _ => "eth1",
            };
            let ttl = came.ttl();
            match name(came) {
                BROKEN => format!("{way} dropped: header"),
                BROADCAST => format!("{way} dropped: broadcast"),
                ERROR | FRAGMENT => format!("{way} expired"),
                _ if ttl <= 1 => format!("{way} expired, told"),
                _ => format!("{way} by {by}, ttl {ttl} then {}", ttl - 1),
            }
        })
        .collect();
    lines.sort_unstable();
    lines.insert(0, "routing between eth0 and eth1".into());
    lines
}

/// The datagrams of the trace on each wire: who hands what to whom.
fn way(performance: &Performance, all: &[Seen<'_>]) -> String {
    let owner = |station_address: [u8; 6]| {
        let hosts = [
            (NEAR, LAPTOP),
            (MIDDLE, KONGMING),
            (INSIDE, ROUTER),
            (OUTSIDE, ROUTER),
            (Ipv4Addr::new(203, 0, 113, 80), "www"),
        ];
        let found =
            hosts.iter().find(|(ip, _)| station(*ip) == station_address);
        found.map_or("?", |(_, name)| name)
    };
    let to = performance.text("destination").unwrap_or_default();
    let mut text = String::new();
    for seen in all.iter().filter(|seen| is_probe(seen)) {
        let (from, next) = (owner(seen.from), owner(seen.to));
        let destination = match seen.destination().to_string() == to {
            true => "destination".to_string(),
            false => seen.destination().to_string(),
        };
        text.push_str(&format!(
            "{from:<14} {next:<14} {} > {destination} ttl {}\n",
            seen.source(),
            seen.ttl()
        ));
    }
    text
}

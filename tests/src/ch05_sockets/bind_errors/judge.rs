//! What must have come of each address.

use std::net::SocketAddr;

use super::PROGRAM;
use super::scenario::{Kind, Knock, Seen};
use crate::verdict::{Judge, Performance, side_by_side};

/// What a right program gets.
enum Right {
    /// It listens, with this said behind the address.
    Listens(&'static str),
    /// bind(2) fails so.
    Fails(&'static str, String),
}

fn right(kind: Kind, unprivileged: u64) -> Option<Right> {
    let in_use = "another socket has the port";
    Some(match kind {
        Kind::Free
        | Kind::AnyPort
        | Kind::LowButFree
        | Kind::Released
        | Kind::Loopback
        | Kind::Both => Right::Listens(""),
        Kind::Old => Right::Listens(", with SO_REUSEADDR"),
        Kind::BesideIpv4 => Right::Listens(", with IPV6_V6ONLY"),
        Kind::Privileged => {
            let why = format!("ports below {unprivileged} want a capability");
            Right::Fails("EACCES", why)
        }
        Kind::Taken
        | Kind::TakenEverywhere
        | Kind::OwnEverywhere
        | Kind::OldForGood
        | Kind::TakenInBoth
        | Kind::Ipv4TakenByIpv6 => Right::Fails("EADDRINUSE", in_use.into()),
        Kind::Elsewhere => Right::Fails(
            "EADDRNOTAVAIL",
            "no interface has this address".into(),
        ),
        Kind::NoLink => Right::Fails("EINVAL", "Invalid argument".into()),
        Kind::Asked => return None,
    })
}

/// What there was about an address, for the evidence.
fn about(kind: Kind) -> &'static str {
    match kind {
        Kind::Free => "nobody had it",
        Kind::AnyPort => "port 0: the kernel chooses",
        Kind::Privileged => "a port that wants CAP_NET_BIND_SERVICE",
        Kind::LowButFree => "ip_unprivileged_port_start is not above it",
        Kind::Taken => "another program listened on it",
        Kind::Released => "another program had listened on it, and had ended",
        Kind::TakenEverywhere => "another program listened on 0.0.0.0",
        Kind::OwnEverywhere => "the program had the port at one address",
        Kind::Loopback => "another program had the port at another address",
        Kind::Old => "a connection in TIME-WAIT, with SO_REUSEADDR",
        Kind::OldForGood => "a connection in TIME-WAIT, without SO_REUSEADDR",
        Kind::Both => "nobody had the port",
        Kind::BesideIpv4 => "another program listened on 0.0.0.0",
        Kind::TakenInBoth => "another program listened on [::], for both",
        Kind::Ipv4TakenByIpv6 => "another program listened on [::], for both",
        Kind::Elsewhere => "another host's address",
        Kind::NoLink => "a link's address, without the link",
        Kind::Asked => "",
    }
}

/// Judges the one take.
pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let printed = performance.trace.stdout(PROGRAM);
    let begun = judge.deed(
        "it calls bind(2)",
        performance.called(PROGRAM, "bind") > 0 || printed.is_empty(),
        "no call of bind(2) was seen",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let seen: Vec<Seen> = fact(performance, "seen");
    let ended = seen.iter().position(|seen| seen.descriptors == 0);
    let stopped = performance.exits.get(PROGRAM).copied().flatten();
    let gave_up = performance.missed.is_some() && stopped.is_some();
    judge.check(
        "gives-up",
        "it goes on with the next address when one cannot be had",
        ended.is_none() && (!gave_up || printed.is_empty()),
        {
            let last = printed.last().copied().unwrap_or_default();
            let said = performance.trace.stderr(PROGRAM).join("\n");
            format!("it ended after `{last}`\n{said}").trim_end().to_string()
        },
    );
    // Not in the order of the run, which is drawn.
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by_key(|at| seen[*at].kind);
    for at in order {
        let line = printed.get(at).copied().unwrap_or_default();
        let before = at.checked_sub(1).map(|at| &seen[at].listeners[..]);
        let before = before.unwrap_or_default();
        if !judge.content() {
            return;
        }
        judge_case(performance, &seen[at], before, line, judge);
    }
    if !judge.content() {
        return;
    }
    judge_descriptors(performance, &seen, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge.ended_well(performance, PROGRAM);
    if seen.iter().any(|seen| seen.kind == Kind::Both) {
        judge.snapshot("knocks", "bind_errors", &knocks(&seen));
    }
}

/// What a client heard at each kind of address.
fn knocks(seen: &[Seen]) -> String {
    let mut seen: Vec<&Seen> = seen.iter().collect();
    seen.sort_by_key(|seen| seen.kind);
    let line = |seen: &&Seen| {
        let heard = match seen.knock {
            Some(Knock::Connected) => "SYN ACK",
            Some(Knock::Refused) => "RST",
            Some(Knock::Silence) => "nothing",
            None => "nobody knocked",
        };
        format!("{:<16} {heard}\n", format!("{:?}", seen.kind))
    };
    seen.iter().map(line).collect()
}

fn judge_case(
    performance: &Performance,
    seen: &Seen,
    before: &[SocketAddr],
    line: &str,
    judge: &mut Judge,
) {
    let unprivileged = performance.number("unprivileged").unwrap_or_default();
    let Some(right) = right(seen.kind, unprivileged) else { return };
    let Seen { kind, asked, listeners, .. } = seen;
    let evidence = |more: &str| {
        let about = about(*kind);
        format!("{asked}: {about}\nit says `{line}`\n{more}")
    };
    let lost: Vec<String> = before
        .iter()
        .filter(|one| !listeners.contains(one))
        .map(ToString::to_string)
        .collect();
    judge.check(
        "listener-closed",
        "whatever it listens on it goes on listening on",
        lost.is_empty(),
        evidence(&format!("it does not listen any more on {}", lost.join(" "))),
    );
    let new: Vec<SocketAddr> =
        listeners.iter().filter(|one| !before.contains(one)).copied().collect();
    let have: Vec<String> = new.iter().map(ToString::to_string).collect();
    let have = match have.is_empty() {
        true => "it listens on nothing new".to_string(),
        false => format!("it listens on {}", have.join(", ")),
    };
    match right {
        Right::Listens(helped) => {
            judge_listener(seen, &new, line, &evidence(&have), judge);
            let name = new.first().copied().unwrap_or(*asked);
            let wanted = format!("listening on {name}{helped}");
            let (cause, name) = word_cause(*kind);
            let evidence = evidence(&side_by_side(&[wanted.as_str()], &[line]));
            judge.check(cause, name, line == wanted, evidence);
        }
        Right::Fails(errno, why) => {
            judge.check(
                "listens-elsewhere",
                "it listens on nothing where the address cannot be had",
                new.is_empty(),
                evidence(&have),
            );
            let said = line
                .strip_prefix(&format!("bind {asked}: "))
                .and_then(|rest| rest.split(',').next())
                .unwrap_or_default();
            judge.check(
                "errno",
                "it says which call failed, and the errno that it got",
                said == errno,
                evidence(&format!("bind(2) fails with {errno}")),
            );
            let wanted = format!("bind {asked}: {errno}, {why}");
            let evidence = side_by_side(&[wanted.as_str()], &[line]);
            let name = "its line is the one that the stub asks for";
            judge.check("output", name, line == wanted, evidence);
        }
    }
}

/// It listens where it was told to, and can be reached there.
fn judge_listener(
    seen: &Seen,
    new: &[SocketAddr],
    line: &str,
    evidence: &str,
    judge: &mut Judge,
) {
    let asked = seen.asked;
    let right = |one: &SocketAddr| {
        let port = asked.port() == 0 || one.port() == asked.port();
        one.ip() == asked.ip() && port
    };
    let listens = new.len() == 1 && new.iter().all(right);
    // What it says tells the mistakes apart; what is there decides.
    let claims = line.starts_with("listening on ");
    let (cause, name) = match seen.kind {
        _ if claims && new.is_empty() => {
            ("listener-closed", "where it says that it listens, a socket does")
        }
        _ if !new.is_empty() => {
            ("listens-elsewhere", "it listens on what it is told, and once")
        }
        Kind::Old => (
            "old-connection-in-the-way",
            "a connection in TIME-WAIT does not keep it from listening",
        ),
        Kind::BesideIpv4 => (
            "ipv4-in-the-way",
            "an IPv4 listener does not keep it from IPv6's port",
        ),
        Kind::LowButFree => (
            "privileged-by-number",
            "it lets the kernel say which ports are privileged",
        ),
        _ => (
            "refuses-what-is-free",
            "it listens where nothing stands in its way",
        ),
    };
    judge.check(cause, name, listens, evidence);
    if seen.kind == Kind::Both {
        judge.check(
            "ipv4-shut-out",
            "a listener on [::] takes IPv4's clients too, if it can",
            !listens || seen.knock == Some(Knock::Connected),
            format!("{evidence}\na client that came by IPv4 was refused"),
        );
    }
}

/// What it means if the line is wrong and the listener right.
fn word_cause(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::AnyPort => {
            ("port-not-asked", "it says which port the kernel has chosen")
        }
        Kind::Old => (
            "old-connection-unnoticed",
            "it notices that an old connection had the port",
        ),
        Kind::BesideIpv4 => {
            ("ipv4-unnoticed", "it notices that IPv4 has the port")
        }
        _ => ("output", "its line is the one that the stub asks for"),
    }
}

/// One more for each listener, and none for what failed.
fn judge_descriptors(
    performance: &Performance,
    seen: &[Seen],
    judge: &mut Judge,
) {
    let Some((first, last)) = seen.first().zip(seen.last()) else { return };
    let start = performance.number("at_start").unwrap_or_default() as usize;
    // What it may have opened for good when it began to work is its own.
    let other =
        |seen: &Seen| seen.descriptors.saturating_sub(seen.listeners.len());
    let base = other(first).max(start);
    judge.check(
        "leaks-descriptors",
        "nothing is left open of an attempt that failed",
        other(last) <= base,
        format!(
            "beside its listeners it had {base} descriptors at the start, \
             and {} after {} addresses",
            other(last),
            seen.len()
        ),
    );
}

fn fact<T: serde::de::DeserializeOwned + Default>(
    performance: &Performance,
    name: &str,
) -> T {
    let value = performance.facts.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

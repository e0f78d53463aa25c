//! The judge: the SYNs of each start, and what came of them.

use std::net::SocketAddr;

use testbed::Exit;

use super::{Door, Part};
use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance};

/// The program's patience is 500 ms; a busy machine may see a SYN late.
const LEAST_MS: u64 = 300;
/// The same, with what a busy machine may take.
const MOST_MS: u64 = 1500;

pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_all(performance, judge);
        if performance.missed.is_some() || !judge.content() {
            return;
        }
        judge.snapshot("story", "netdb", &story(performance));
    }
}

fn parts(performance: &Performance) -> Vec<Part> {
    let value = performance.facts.get("parts").cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// A SYN that is not a repetition.
struct Attempt {
    to: SocketAddr,
    at_ns: u64,
}

fn attempts(performance: &Performance) -> Vec<Attempt> {
    let mut known = Vec::new();
    let mut attempts = Vec::new();
    for (event, frame) in performance.trace.frames() {
        let Some(segment) = frame.packet().segment() else { continue };
        let syn = segment.flags.syn && !segment.flags.ack;
        let name = (segment.source, segment.seq);
        if syn && event.host == LAPTOP && !known.contains(&name) {
            known.push(name);
            let to = segment.destination;
            attempts.push(Attempt { to, at_ns: event.t_ns });
        }
    }
    attempts
}

fn judge_all(performance: &Performance, judge: &mut Judge) {
    let parts = parts(performance);
    let attempts = attempts(performance);
    let done = judge.deed(
        "a SYN is sent",
        !attempts.is_empty() || performance.trace.stdout("first").is_empty(),
        "ernest-laptop has sent no SYN",
    );
    if !done {
        return;
    }
    let wrong = attempts.iter().find(|attempt| {
        let port = attempt.to.port();
        parts.iter().all(|part| part.port != port)
    });
    judge.check(
        "wrong-port",
        "it connects to the port that /etc/services tells",
        wrong.is_none(),
        match wrong {
            Some(attempt) => {
                format!("a SYN went to port {}", attempt.to.port())
            }
            None => "so it does".to_string(),
        },
    );
    for (at, part) in parts.iter().enumerate() {
        if !judge.content() {
            return; // Whatever follows may follow from that.
        }
        // Of a part that was broken off there is less to be compared.
        let stuck = performance.missed.is_some() && at + 1 == parts.len();
        let own: Vec<&Attempt> =
            attempts.iter().filter(|a| a.to.port() == part.port).collect();
        match &part.error {
            Some(error) => no_address(performance, part, error, judge),
            None if stuck => deadline(&own, part, judge),
            None => judge_part(performance, part, &own, judge),
        }
    }
}

/// Names of addresses, without the drawn port.
fn names(addresses: &[SocketAddr]) -> String {
    let names: Vec<String> =
        addresses.iter().map(|address| address.ip().to_string()).collect();
    names.join(", ")
}

/// The addresses to which SYNs should go.
fn reachable(part: &Part) -> Vec<SocketAddr> {
    let mut wanted = part.tried();
    wanted.retain(|address| part.door(*address) != Door::Unreachable);
    wanted
}

fn is_repeated(tried: &[SocketAddr]) -> bool {
    tried.windows(2).any(|pair| pair[0] == pair[1])
}

fn one_by_one(part: &Part, own: &[&Attempt], judge: &mut Judge) {
    let tried: Vec<SocketAddr> = own.iter().map(|a| a.to).collect();
    let early = own.windows(2).any(|pair| {
        let gap = (pair[1].at_ns - pair[0].at_ns) / 1_000_000;
        part.door(pair[0].to) == Door::Silent && gap < LEAST_MS
    });
    let too_many = tried.len() > reachable(part).len();
    judge.check(
        "all-at-once",
        &format!("{} tries one address after the other", part.role),
        is_repeated(&tried) || !too_many,
        "a SYN went to an address, and the one before had not failed",
    );
    judge.check(
        "impatient",
        &format!("{} gives each address 500 ms", part.role),
        !early,
        "the next SYN left before that, and nothing had come",
    );
}

/// The part that was broken off.
fn deadline(own: &[&Attempt], part: &Part, judge: &mut Judge) {
    one_by_one(part, own, judge);
    let silent = own.last().is_some_and(|a| part.door(a.to) == Door::Silent);
    judge.check(
        "no-deadline",
        &format!("{} goes on when an address is silent", part.role),
        !silent,
        "its kernel sends the SYN again and again, and it waits",
    );
}

fn judge_part(
    performance: &Performance,
    part: &Part,
    own: &[&Attempt],
    judge: &mut Judge,
) {
    let role = &part.role;
    one_by_one(part, own, judge);
    let wanted = reachable(part);
    let tried: Vec<SocketAddr> = own.iter().map(|a| a.to).collect();
    let again = is_repeated(&tried);
    let has_both = wanted.iter().any(SocketAddr::is_ipv6);
    let one_family = has_both && !tried.iter().any(SocketAddr::is_ipv6);
    let cause = match () {
        () if again => "address-again",
        () if one_family => "one-family",
        () if wanted.starts_with(&tried) => "gives-up",
        () => "own-order",
    };
    judge.check(
        cause,
        &format!("{role} tries the addresses in getaddrinfo's order"),
        tried == wanted,
        format!("expected {}\nactual   {}", names(&wanted), names(&tried)),
    );
    let late = own.windows(2).any(|pair| {
        let gap = (pair[1].at_ns - pair[0].at_ns) / 1_000_000;
        gap > MOST_MS * u64::from(performance.slack.max(1))
    });
    judge.check(
        "no-deadline",
        &format!("{role} waits for 500 ms at most"),
        !late,
        "it was much longer before the next address was tried",
    );
    if judge.content() {
        printed(performance, part, judge);
    }
}

/// What the program says of its attempts, and of the answer.
fn printed(performance: &Performance, part: &Part, judge: &mut Judge) {
    let role = &part.role;
    let mut expected: Vec<String> =
        part.tried().into_iter().map(|a| line(part, a)).collect();
    let lines = performance.trace.stdout(role);
    let said: Vec<&str> =
        lines.iter().copied().filter(|l| !l.starts_with("day ")).collect();
    let address = |line: &str| -> Option<SocketAddr> {
        line.split_once(": ")?.0.parse().ok()
    };
    let named: Vec<SocketAddr> =
        said.iter().filter_map(|line| address(line)).collect();
    let all_known = named.iter().all(|named| part.order.contains(named));
    let cause = match () {
        () if named == part.tried() => "errors-not-told-apart",
        () if named.len() == said.len() && all_known => "own-order",
        () => "output",
    };
    judge.check(
        cause,
        &format!("{role} says what became of each address"),
        said == expected,
        crate::verdict::side_by_side(&expected, &said),
    );
    if !judge.content() {
        return;
    }
    let exit = performance.exits.get(role).copied().flatten();
    if !part.is_served() {
        judge.check(
            "no-error",
            &format!("{role} ends with status 1 when no address answers"),
            exit == Some(Exit::Code(1)),
            exit.map_or("it runs".to_string(), |exit| exit.to_string()),
        );
        return;
    }
    let stderr = performance.trace.stderr(role).join("\n");
    let last = lines.last().copied().unwrap_or_default();
    let text = last.strip_prefix("day time: ").unwrap_or_default();
    let cause = match () {
        () if stderr.contains("os error 11)") => "still-nonblocking",
        () if part.line.starts_with(text) && !text.is_empty() => "reads-once",
        () => "day-time",
    };
    judge.check(
        cause,
        &format!("{role} prints the whole line"),
        text == part.line,
        format!("sent   {}\nprinted {text}\n{stderr}", part.line).trim_end(),
    );
    expected.push(format!("day time: {}", part.line));
    judge.printed("output", performance, role, &expected);
    judge.ended_well(performance, role);
}

fn line(part: &Part, address: SocketAddr) -> String {
    let what = match part.door(address) {
        Door::Open => "connected",
        Door::Refused => "ECONNREFUSED",
        Door::Silent => "no answer",
        Door::Unreachable => "ENETUNREACH",
    };
    format!("{address}: {what}")
}

/// A name that is not known is an error with a name.
fn no_address(
    performance: &Performance,
    part: &Part,
    error: &str,
    judge: &mut Judge,
) {
    let role = &part.role;
    let exit = performance.exits.get(role).copied().flatten();
    let stderr = performance.trace.stderr(role).join("\n");
    judge.check(
        "no-error",
        &format!("{role} ends with status 1 and {error}"),
        exit == Some(Exit::Code(1)) && stderr.contains(error),
        format!(
            "{}\n{stderr}",
            exit.map_or("it runs".to_string(), |exit| exit.to_string())
        )
        .trim_end(),
    );
}

/// What was tried, without what was drawn.
fn story(performance: &Performance) -> String {
    let mut text = String::new();
    for part in parts(performance) {
        let lines = performance.trace.stdout(&part.role);
        let port = format!(":{}", part.port);
        for line in lines.iter().filter(|line| !line.starts_with("day ")) {
            let line = line.replacen(&port, "", 1);
            text.push_str(&format!("{}: {line}\n", part.role));
        }
        if let Some(error) = part.error {
            text.push_str(&format!("{}: {error}\n", part.role));
        }
    }
    text
}

//! What must have come of a run of the lab `accept`.

use serde::de::DeserializeOwned;
use testbed::{Descriptor, DescriptorKind, TcpState};

use super::super::peer::Then;
use super::PROGRAM;
use super::party::{Client, Fate, ROOM, listener};
use crate::verdict::{Judge, Performance, side_by_side};

/// What a server may hold beside its clients: the three standard streams, its
/// listener, a reserve, an epoll instance and the like.
const BESIDE: u64 = 8;

pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout(PROGRAM).is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let (gone, full) = match performance.take.as_str() {
        "full" => (None, Some(performance)),
        _ => (Some(performance), None),
    };
    judge_listener(performance, judge);
    if !judge.content() {
        return;
    }
    judge_queue(performance, judge);
    judge_its_life(performance, judge);
    full.inspect(|one| judge_fates(one, judge));
    gone.inspect(|one| judge_finished(one, judge));
    gone.inspect(|one| judge_resets(one, judge));
    judge_answers(performance, judge);
    gone.inspect(|one| judge_what_is_left(one, judge));
    full.inspect(|one| judge_counts(one, judge));
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    let expected = expected_output(performance);
    let printed = by_client(&performance.trace.stdout(PROGRAM));
    judge.check(
        "output",
        "it prints what the stub asks for, client by client",
        expected == printed,
        side_by_side(&expected, &printed),
    );
    judge.ended_well(performance, PROGRAM);
    if judge.content() {
        let name = format!("accept-{}", performance.take);
        judge.snapshot("story", &name, &summary(performance));
    }
}

fn judge_listener(performance: &Performance, judge: &mut Judge) {
    let sockets = performance.sockets("listening");
    let found = listener(&sockets);
    let begun = judge.deed(
        "it calls listen",
        performance.called(PROGRAM, "listen") > 0,
        "no call of listen(2) was seen",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge.check(
        "not-listening",
        "a socket listens when the program says so",
        found.is_some(),
        "no socket in LISTEN",
    );
    let Some(found) = found else { return };
    let address = performance.text("address").unwrap_or_default();
    judge.check(
        "wrong-address",
        "it listens on the address that was asked for",
        found.local.to_string() == address,
        format!("LISTEN on {}, not on {address}", found.local),
    );
    judge.check(
        "short-queue",
        "its queue has room for those who come before Enter",
        found.send_queue >= ROOM,
        format!("its backlog is {}; asked for: {ROOM}", found.send_queue),
    );
}

fn judge_queue(performance: &Performance, judge: &mut Judge) {
    if let Some((came, waited)) = fact::<(u32, u32)>(performance, "queue") {
        judge.check(
            "does-not-wait",
            "nobody is accepted before Enter",
            came == waited,
            format!("{came} clients had come; {waited} were in the queue"),
        );
    }
    if let Some(left) = performance.number("queue_after") {
        judge.check(
            "one-at-a-time",
            "after Enter everybody is accepted who waits",
            left == 0 || ended_early(performance),
            format!("4 clients had come; {left} are still in the queue"),
        );
    }
}

/// Has the program ended before it was told to?
fn ended_early(performance: &Performance) -> bool {
    let ended = performance.exits.get(PROGRAM).copied().flatten().is_some();
    ended && !performance.facts.contains_key("at_end")
}

fn judge_its_life(performance: &Performance, judge: &mut Judge) {
    let exit = performance.exits.get(PROGRAM).copied().flatten();
    let content = exit.is_some_and(|exit| exit.is_success());
    let lines = performance.trace.stdout(PROGRAM);
    let accepted = lines.iter().any(|line| line.starts_with("client "));
    let cause = match performance.take.as_str() {
        _ if content && !accepted => "accepts-nobody",
        "full" => "ends-when-full",
        _ => "ends-with-a-client",
    };
    let exit = exit.map_or(String::new(), |exit| exit.to_string());
    let printed = performance.trace.stdout(PROGRAM);
    let last = printed.last().copied().unwrap_or_default();
    let said = performance.trace.stderr(PROGRAM).join("\n");
    judge.check(
        cause,
        "the server outlives its clients",
        !ended_early(performance),
        format!("its last line: {last}\n{exit}\n{said}").trim_end(),
    );
}

/// Client 2 has sent some bytes and its FIN, and hears what comes of it.
fn judge_finished(performance: &Performance, judge: &mut Judge) {
    let clients = clients(performance);
    let Some(Client { sent, heard, .. }) = clients.get(1) else { return };
    if performance.number("queue_after") != Some(0) {
        return;
    }
    let (gave, got) = (sent.len(), heard.text.len());
    let then = in_words(heard.then);
    judge.check(
        "unread-data",
        "client 2 gets back what it sent before its FIN",
        heard.text == *sent && heard.then != Then::Rst,
        format!(
            "it sent {gave} bytes and FIN; it got {got} bytes, then {then}"
        ),
    );
    judge.check(
        "stays-open",
        "who has sent FIN and has all its bytes gets a FIN",
        heard.then == Then::Fin,
        format!("client 2 sent {gave} bytes and FIN; then came {then}"),
    );
}

fn judge_resets(performance: &Performance, judge: &mut Judge) {
    let printed = performance.trace.stdout(PROGRAM);
    let taken = printed.iter().find(|line| {
        line.starts_with("client 3: end") || line.starts_with("client 5: end")
    });
    judge.check(
        "reset-taken-for-end",
        "a reset is not end-of-file",
        taken.is_none(),
        taken.map_or(String::new(), |line| {
            format!("this client sent RST and no FIN:\n{line}")
        }),
    );
}

/// Whoever is accepted and sends something gets it back.
fn judge_answers(performance: &Performance, judge: &mut Judge) {
    let clients = clients(performance);
    let cheated = clients.iter().position(|client| {
        client.fate.is_none_or(|fate| fate == Fate::Accepted)
            && client.sent != client.heard.text
    });
    let evidence = cheated.map_or(String::new(), |at| {
        let Client { sent, heard, .. } = &clients[at];
        let (number, back) = (at + 1, &heard.text);
        let then = in_words(heard.then);
        format!("client {number} sent {sent}, got back `{back}`, then {then}")
    });
    judge.check(
        "not-served",
        "whoever is accepted gets back what it sends",
        cheated.is_none(),
        evidence,
    );
}

/// Client 4 is still connected, as far as anybody knows, and nobody else.
fn judge_what_is_left(performance: &Performance, judge: &mut Judge) {
    let clients = clients(performance);
    let Some(held) = fact::<Vec<Descriptor>>(performance, "at_end") else {
        return;
    };
    let sockets = performance.sockets("sockets");
    let lost = clients.get(3).map(|lost| lost.name);
    let end = sockets.iter().find(|end| Some(end.peer) == lost);
    judge.check(
        "drops-the-silent",
        "client 4, of whom nothing is heard, is still connected",
        end.is_some_and(|end| {
            end.state == TcpState::Established && end.inode > 0
        }),
        "the server has no connection to client 4 any more",
    );
    let known = [end.map(|end| end.inode), listener_inode(performance)];
    let leaked: Vec<&Descriptor> = held
        .iter()
        .filter(|one| {
            matches!(
                one.kind,
                DescriptorKind::Tcp | DescriptorKind::OtherSocket
            ) && !known.contains(&Some(one.inode as u32))
        })
        .collect();
    judge.check(
        "leaks-descriptors",
        "each connection that has ended is closed",
        leaked.is_empty(),
        format!(
            "4 of 5 clients have gone; {} descriptors still lead to them",
            leaked.len()
        ),
    );
}

fn listener_inode(performance: &Performance) -> Option<u32> {
    let sockets = performance.sockets("listening");
    listener(&sockets).map(|socket| socket.inode)
}

fn judge_fates(performance: &Performance, judge: &mut Judge) {
    let clients = clients(performance);
    let limit = performance.number("limit").unwrap_or_default();
    let waits = clients.iter().position(|one| one.fate == Some(Fate::Waits));
    let waits = waits.map_or(String::new(), |at| {
        let number = at + 1;
        format!("of {limit} descriptors; client {number} waits in the queue")
    });
    // Who only looks again and again is told so by the harness.
    let busy = performance.restless.iter().find(|it| it.cause == "burns-cpu");
    let busy = busy.map_or("", |restless| restless.evidence.as_str());
    judge.check(
        "spins",
        "the server sleeps when all its descriptors are used",
        busy.is_empty(),
        format!("{waits}\n{busy}").trim_start(),
    );
    judge.check(
        "left-hanging",
        "whoever is one too many is accepted, and closed",
        waits.is_empty(),
        waits,
    );
}

/// How many found room, and how many descriptors are open in the end.
fn judge_counts(performance: &Performance, judge: &mut Judge) {
    let limit = performance.number("limit").unwrap_or_default();
    let Some(fitted) = performance.number("fitted") else { return };
    let fates: Vec<Fate> =
        clients(performance).iter().filter_map(|one| one.fate).collect();
    judge.check(
        "never-full",
        "the server holds its connections until it has no descriptor left",
        fates.contains(&Fate::TurnedAway),
        format!("{limit} descriptors, and as many clients were accepted"),
    );
    judge.check(
        "full-too-early",
        "nobody is turned away while there are descriptors",
        fitted + BESIDE >= limit,
        format!("{limit} descriptors, of which {fitted} went to clients"),
    );
    let start = fact::<Vec<Descriptor>>(performance, "at_start");
    let end = fact::<Vec<Descriptor>>(performance, "at_end");
    let (Some(start), Some(end)) = (start, end) else { return };
    judge.check(
        "stays-full",
        "who comes when others have left is accepted",
        fates.ends_with(&[Fate::Accepted; 2]),
        format!("two had left; then came two: {:?}", &fates[fates.len() - 2..]),
    );
    judge.check(
        "leaks-descriptors",
        "it has no more descriptors in the end than at the start",
        end.len() <= start.len(),
        format!("{} at the start, {} in the end", start.len(), end.len()),
    );
}

fn in_words(then: Then) -> &'static str {
    match then {
        Then::Open => "nothing",
        Then::Fin => "FIN",
        Then::Rst => "RST",
    }
}

/// What it has to say about the clients, one after the other.
fn expected_output(performance: &Performance) -> Vec<String> {
    let address = performance.text("address").unwrap_or_default();
    let mut lines = vec![format!("listening on {address}")];
    let mut turned_away = Vec::new();
    let mut number = 0;
    for (at, client) in clients(performance).iter().enumerate() {
        if client.fate == Some(Fate::TurnedAway) {
            turned_away.push(format!("turned away {}", client.name));
            continue;
        }
        number += 1;
        let bytes = client.sent.len();
        lines.push(format!("client {number} is {}", client.name));
        let end = match (client.fate, at + 1) {
            (None, 3 | 5) => "reset",
            (None, 4) => continue,
            _ => "end of file",
        };
        lines.push(format!("client {number}: {end} after {bytes} bytes"));
    }
    let left = u8::from(performance.take == "gone");
    lines.append(&mut turned_away);
    lines.push(format!("stopping, {left} still connected"));
    lines
}

/// The lines about each client together: in which order the server looks at
/// its clients is its own affair.
fn by_client(lines: &[&str]) -> Vec<String> {
    let rank = |line: &str| -> usize {
        let number = line.strip_prefix("client ").map(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit());
            rest[..digits.unwrap_or(rest.len())].parse()
        });
        match number {
            Some(Ok(number)) => number,
            _ if line.starts_with("turned away ") => usize::MAX - 1,
            _ if line.starts_with("stopping") => usize::MAX,
            _ => 0,
        }
    };
    let mut sorted: Vec<String> =
        lines.iter().map(|line| line.to_string()).collect();
    sorted.sort_by_key(|line| rank(line));
    sorted
}

/// What became of whom, without what was drawn.
fn summary(performance: &Performance) -> String {
    let mut text = String::new();
    let mut last = None;
    for client in clients(performance) {
        let Client { sent, heard, fate, .. } = client;
        let bytes = if sent.is_empty() { "nothing" } else { "bytes" };
        let back = if heard.text.is_empty() { "nothing" } else { "them" };
        let fate = fate.map_or("Accepted".into(), |fate| format!("{fate:?}"));
        let then = in_words(heard.then);
        let line = format!("{fate}: sent {bytes}, got {back}, then {then}\n");
        if performance.take == "full" && last.as_ref() == Some(&line) {
            continue; // How many fit is drawn.
        }
        text.push_str(&line);
        last = Some(line);
    }
    let mut states: Vec<&str> = Vec::new();
    let before = performance.sockets("before");
    states.extend(before.iter().map(|socket| socket.state.name()));
    states.sort();
    if !states.is_empty() {
        text.push_str(&format!("before Enter: {}\n", states.join(", ")));
    }
    text
}

fn clients(performance: &Performance) -> Vec<Client> {
    fact(performance, "clients").unwrap_or_default()
}

fn fact<T: DeserializeOwned>(
    performance: &Performance,
    name: &str,
) -> Option<T> {
    let value = performance.facts.get(name)?.clone();
    serde_json::from_value(value).ok()
}

//! What must have come of a run of the lab `close_shutdown`.

use serde::de::DeserializeOwned;
use testbed::TcpState;

use super::super::peer::Then;
use super::PROGRAM;
use super::town::{Holder, Visit};
use crate::verdict::{Judge, Performance, side_by_side};

pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout(PROGRAM).is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let address = performance.text("address").unwrap_or_default();
    let sockets = performance.sockets("listening");
    let mut listeners =
        sockets.iter().filter(|it| it.state == TcpState::Listen);
    let begun = judge.deed(
        "a socket listens on the address when the program says so",
        listeners.any(|socket| socket.local.to_string() == address),
        format!("no socket in LISTEN on {address}"),
    );
    if !begun {
        return;
    }
    judge_copies(performance, judge);
    judge_write(performance, judge);
    judge_read(performance, judge);
    judge_both(performance, judge);
    judge_its_life(performance, judge);
    judge_the_end(performance, judge);
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    let expected = by_client(expected_output(performance));
    let printed = performance.trace.stdout(PROGRAM);
    let printed =
        by_client(printed.iter().map(|line| line.to_string()).collect());
    judge.check(
        "output",
        "it prints what the stub asks for, client by client",
        expected == printed,
        side_by_side(&expected, &printed),
    );
    judge.ended_well(performance, PROGRAM);
    if judge.content() {
        judge.snapshot("story", "close_shutdown", &summary(performance));
    }
}

/// Client 1 has closed its direction: who else has its connection?
fn judge_copies(performance: &Performance, judge: &mut Judge) {
    let keepers: Vec<Holder> = fact(performance, "keepers").unwrap_or_default();
    let keeps = |holder: &&Holder| holder.clients.contains(&1);
    let parent = keepers.iter().filter(keeps).any(|it| it.child == 0);
    let evidence = format!(
        "client 1 has sent FIN, and none has come back; the connections that \
         are open:\n{}",
        in_words(&keepers)
    );
    judge.check(
        "parent-keeps",
        "the parent closes its descriptor when the child has ended",
        !parent,
        evidence.as_str(),
    );
    let held: Vec<Holder> = fact(performance, "held").unwrap_or_default();
    let children = || held.iter().filter(|it| it.child > 0);
    let inherits = children().any(|it| it.clients != [it.child]);
    let other = keepers.iter().filter(keeps).any(|it| it.child > 1);
    let evidence = match other {
        true => evidence,
        false => in_words(&held),
    };
    judge.check(
        "child-inherits",
        "a child has one connection open, its own",
        !inherits && !other,
        evidence,
    );
    judge.check(
        "listener-kept",
        "a child does not have the listener",
        !children().any(|it| it.listens),
        in_words(&held),
    );
}

fn in_words(holders: &[Holder]) -> String {
    let line = |holder: &Holder| {
        let who = match holder.child {
            0 => "parent".to_string(),
            child => format!("child {child}"),
        };
        let clients = holder.clients.iter().map(|n| format!("client {n}"));
        let listener = holder.listens.then(|| "the listener".to_string());
        let sockets: Vec<String> =
            listener.into_iter().chain(clients).collect();
        match sockets.is_empty() {
            true => format!("{who}: nothing"),
            false => format!("{who}: {}", sockets.join(", ")),
        }
    };
    holders.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn judge_write(performance: &Performance, judge: &mut Judge) {
    judge_fin(performance, "write_then", "write 2", judge);
    let reset = performance.facts.get("write_reset");
    judge.check(
        "write-closes-both",
        "after `write 2` client 2 is still read from",
        reset.is_none_or(|reset| reset == false),
        "client 2 sent something after the FIN that it got: RST",
    );
}

/// The FIN leaves at shutdown(2), whoever else has the connection.
fn judge_fin(
    performance: &Performance,
    then: &str,
    typed: &str,
    judge: &mut Judge,
) {
    let Some(then) = fact::<Then>(performance, then) else { return };
    judge.check(
        "no-fin",
        &format!("`{typed}` sends a FIN at once"),
        then != Then::Open,
        format!("`{typed}` was typed, and no FIN is on the wire"),
    );
}

fn judge_read(performance: &Performance, judge: &mut Judge) {
    let (Some((before, after)), Some(heard), Some(then)) = (
        fact::<(String, String)>(performance, "read_sent"),
        performance.text("read_heard"),
        fact::<Then>(performance, "read_then"),
    ) else {
        return;
    };
    judge.check(
        "read-loses-data",
        "what client 3 has sent is answered, `read 3` or not",
        then != Then::Rst && (then == Then::Open || heard == before + &after),
        format!(
            "client 3 sent {} bytes before `read 3` and {} after; back came \
             {}, then {}",
            before_len(performance),
            after.len(),
            heard.len(),
            end_in_words(then)
        ),
    );
    judge.check(
        "read-does-not-end",
        "after `read 3` its child reads to the end of what has come",
        then != Then::Open,
        "client 3's child has read everything, and waits for more",
    );
}

fn before_len(performance: &Performance) -> usize {
    let sent = fact::<(String, String)>(performance, "read_sent");
    sent.map_or(0, |sent| sent.0.len())
}

fn judge_both(performance: &Performance, judge: &mut Judge) {
    judge_fin(performance, "both_then", "both 4", judge);
    let lives = performance.facts.get("both_child");
    let then = fact::<Then>(performance, "both_then");
    judge.check(
        "kills-the-child",
        "`both 4` ends the connection, and not the child",
        lives.is_none_or(|lives| lives == true),
        format!(
            "child 4 is not there any more; client 4 got {}",
            then.map_or("nothing", end_in_words)
        ),
    );
    let reset = performance.facts.get("both_reset");
    judge.check(
        "both-leaves-one",
        "after `both 4` what client 4 sends is answered by RST",
        reset.is_none_or(|reset| reset == true),
        "client 4 sent something after the FIN that it got: it was taken",
    );
}

fn judge_its_life(performance: &Performance, judge: &mut Judge) {
    let exit = performance.exits.get(PROGRAM).copied().flatten();
    let last = performance.facts.contains_key("held_at_end");
    let early = exit.is_some() && !last;
    let printed = performance.trace.stdout(PROGRAM);
    let said = performance.trace.stderr(PROGRAM).join("\n");
    judge.check(
        "ends-with-a-client",
        "the server outlives its clients",
        !early,
        format!(
            "its last line: {}\n{}\n{said}",
            printed.last().copied().unwrap_or_default(),
            exit.map_or(String::new(), |exit| exit.to_string())
        )
        .trim_end(),
    );
}

/// When all clients but the last have gone, and when the input has ended.
fn judge_the_end(performance: &Performance, judge: &mut Judge) {
    let Some(held) = fact::<Vec<Holder>>(performance, "held_at_end") else {
        return;
    };
    let kept = |it: &Holder| it.clients.iter().any(|number| *number != 7);
    judge.check(
        "leaks-descriptors",
        "when clients 1 to 6 have gone nobody has their connections",
        !held.iter().any(kept) && held.len() == 2,
        in_words(&held),
    );
    let listens = performance.facts.get("listens_still");
    judge.check(
        "listener-kept",
        "nothing listens after the end of the input",
        listens.is_none_or(|listens| listens == false),
        "there is still a socket in LISTEN",
    );
    let heard = performance.facts.get("last_heard");
    judge.check(
        "cuts-off-the-last",
        "who is there when the input ends is served to the end",
        heard.is_none_or(|heard| heard == true),
        "client 7 did not get back what it sent",
    );
}

fn end_in_words(then: Then) -> &'static str {
    match then {
        Then::Open => "nothing",
        Then::Fin => "FIN",
        Then::Rst => "RST",
    }
}

/// What the parent and the children have to say, client by client.
fn expected_output(performance: &Performance) -> Vec<String> {
    let address = performance.text("address").unwrap_or_default();
    let mut lines = vec![format!("listening on {address}")];
    let visits: Vec<Visit> = fact(performance, "visits").unwrap_or_default();
    for (number, visit) in (1..).zip(&visits) {
        lines.push(format!("client {number} is {}", visit.name));
        let told = match number {
            2 => Some("SHUT_WR"),
            3 => Some("SHUT_RD"),
            4 => Some("SHUT_RDWR"),
            5 => Some("ENOTCONN"),
            _ => None,
        };
        lines.extend(told.map(|told| format!("client {number}: {told}")));
        let (sent, heard) = (visit.sent.len(), visit.heard.len());
        let end = match number {
            // What is left unread by then, the kernel decides.
            4 => None,
            5 => Some("ECONNRESET"),
            6 => None,
            _ => Some("end of file"),
        };
        lines.extend(end.map(|end| {
            format!("child {number}: {sent} bytes in, {heard} bytes out, {end}")
        }));
        lines.push(format!("client {number}: closed"));
    }
    lines.push("stopped".into());
    lines
}

/// The lines about each client together, and of child 4 none: which of two
/// errors it meets is the kernel's affair.
fn by_client(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !line.starts_with("child 4: "));
    let rank = |line: &String| -> usize {
        let rest = line.strip_prefix("client ");
        let rest = rest.or_else(|| line.strip_prefix("child "));
        let number = rest.map(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit());
            rest[..digits.unwrap_or(rest.len())].parse()
        });
        match number {
            Some(Ok(number)) => number,
            _ if line == "stopped" => usize::MAX,
            _ => 0,
        }
    };
    lines.sort_by_key(rank);
    lines
}

/// How connections ended, without what was drawn. What client 6 gets is left
/// open: a parent may send a FIN before it closes.
fn summary(performance: &Performance) -> String {
    let then = |name| fact::<Then>(performance, name).map_or("?", end_in_words);
    let state = |name| performance.text(name).unwrap_or_default().to_string();
    let held: Vec<Holder> = fact(performance, "held").unwrap_or_default();
    format!(
        "{}\nwrite 2: {}, then {}\nread 3: {}, at last {}\nboth 4: {}\n",
        in_words(&held),
        then("write_then"),
        state("write_state"),
        state("read_state"),
        then("read_then"),
        then("both_then"),
    )
}

fn fact<T: DeserializeOwned>(
    performance: &Performance,
    name: &str,
) -> Option<T> {
    let value = performance.facts.get(name)?.clone();
    serde_json::from_value(value).ok()
}

//! What must have come of it.

use std::collections::BTreeMap;

use super::super::client::Echo;
use super::{Children, Plan};
use crate::verdict::{Judge, Performance, side_by_side};

pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout("zombies").is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let address = performance.text("address").unwrap_or_default();
    let found = performance.text("listening").unwrap_or_default();
    judge.deed(
        "a socket listens when the program says so",
        !found.is_empty() || performance.facts.contains_key("together"),
        "no socket in LISTEN",
    );
    judge.check(
        "wrong-address",
        "it listens on the address that was asked for",
        found.is_empty() || found == address,
        format!("LISTEN on {found}"),
    );
    let echo: Option<Echo> = fact(performance, "echo");
    let at = |when: &[&str]| {
        echo.as_ref().filter(|echo| when.contains(&echo.when.as_str()))
    };
    judge_echo(performance, at(&["together", "pieces"]), judge);
    judge_children(performance, judge);
    judge_signal(performance, judge);
    judge_copies(performance, judge);
    judge_echo(performance, at(&["after", "last", "closing"]), judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_output(performance, judge);
    let sleeps: BTreeMap<String, usize> =
        fact(performance, "sleeps").unwrap_or_default();
    let told = sleeps.iter().map(|(name, count)| format!("{name}: {count}"));
    judge.check(
        "polls",
        "it waits for events, and not for time to pass",
        sleeps.is_empty(),
        format!(
            "calls with a time to wait\n{}",
            told.collect::<Vec<_>>().join("\n")
        ),
    );
    judge.ended_well(performance, "zombies");
}

/// A client did not hear what it has said.
fn judge_echo(
    performance: &Performance,
    wrong: Option<&Echo>,
    judge: &mut Judge,
) {
    let Some(echo) = wrong else { return };
    let children: Children =
        fact(performance, "children_then").unwrap_or_default();
    let cause = match echo.when.as_str() {
        "closing" if echo.ended => "child-cut-off",
        _ if !echo.is_a_beginning() => "echo",
        _ if echo.ended => "answers-once",
        "together" if children.alive < echo.client && echo.client > 1 => {
            "one-at-a-time"
        }
        _ => "no-echo",
    };
    let mut evidence = side_by_side(
        &echo.said.lines().collect::<Vec<_>>(),
        &echo.heard.lines().collect::<Vec<_>>(),
    );
    if echo.ended {
        evidence += "\nthen the server closed the connection";
    }
    evidence += &format!("\nchildren that serve: {}", children.alive);
    let name = format!("client {} hears what it says", echo.client);
    judge.check(cause, &name, false, evidence);
}

fn judge_children(performance: &Performance, judge: &mut Judge) {
    let plans: Vec<Plan> = fact(performance, "plans").unwrap_or_default();
    if let Some(children) = fact::<Children>(performance, "together") {
        let count = plans.len().min(children_asked(performance));
        judge.check(
            "no-children",
            "each client has a child process",
            children.alive == count && children.zombies == 0,
            format!(
                "{count} clients are served; children of the server: {}",
                children.alive + children.zombies
            ),
        );
    }
}

/// How many clients were there together.
fn children_asked(performance: &Performance) -> usize {
    performance.number("count").unwrap_or_default() as usize
}

/// One signal for all the children.
fn judge_signal(performance: &Performance, judge: &mut Judge) {
    let count = children_asked(performance);
    let at = |name| fact::<Children>(performance, name);
    let stays = performance.number("closing_all").map(|_| at("stopped"));
    judge.check(
        "child-stays",
        "a child ends when its client has closed",
        stays.is_none_or(|stopped| stopped.is_some()),
        "every client has closed, and a child has not ended",
    );
    let Some(stopped) = at("stopped") else { return };
    judge.check(
        "status-lost",
        "a child that has ended stays until it is asked for its status",
        stopped.zombies == count,
        format!(
            "{count} children ended while the server was stopped and could \
             not ask; zombies then: {}",
            stopped.zombies
        ),
    );
    let Some(left) = at("left") else { return };
    let said = performance.trace.stderr("zombies").join("\n");
    judge.check(
        "interrupted",
        "it goes on after SIGCHLD",
        left.server,
        format!("the server ended when its children had\n{said}"),
    );
    judge_zombies(count, left, at("left_later"), judge);
}

/// What the server has left when it had nothing more to do.
fn judge_zombies(
    count: usize,
    left: Children,
    later: Option<Children>,
    judge: &mut Judge,
) {
    let cause = match later {
        _ if left.zombies + 1 == count && count > 1 => "one-wait-per-signal",
        Some(later) if later.zombies < left.zombies => "reaps-late",
        _ => "never-reaps",
    };
    let mut evidence = format!(
        "{count} children ended together; zombies when the server had \
         nothing more to do: {}",
        left.zombies
    );
    if let Some(later) = later {
        let later = later.zombies;
        evidence += &format!("\nafter one more client: {later}");
    }
    let none = left.zombies == 0 && later.is_none_or(|l| l.zombies == 0);
    judge.check(cause, "no zombie is left", none, evidence);
}

/// Whose copies of the connection and of the listener are closed.
fn judge_copies(performance: &Performance, judge: &mut Judge) {
    let kept: Vec<String> = fact(performance, "kept").unwrap_or_default();
    if let Some(closed) = fact::<bool>(performance, "closed") {
        judge.check(
            "connection-kept",
            "a client whose child has ended sees end-of-file",
            closed,
            format!(
                "the child has ended, and no FIN has come; descriptors of the \
                 server:\n{}",
                kept.join("\n")
            ),
        );
    }
    let Some(closing) = fact::<Children>(performance, "closing") else {
        return;
    };
    let still = performance.text("listening_still");
    let open = fact(performance, "listens_itself").unwrap_or(false);
    judge.check(
        if open { "still-listens" } else { "listener-kept" },
        "nobody listens any more once the server closes",
        still.is_none(),
        format!(
            "LISTEN on {}, and nobody there who accepts; the server has {}",
            still.unwrap_or_default(),
            match (open, closing.server) {
                (true, _) => "the listener open itself",
                (false, true) => "not ended",
                (false, false) => "ended",
            }
        ),
    );
    judge.check(
        "child-left-behind",
        "the server waits for the child that still serves",
        closing.server,
        "the server ended while a client was being served; nobody here can \
         ask for the child's status any more",
    );
}

fn judge_output(performance: &Performance, judge: &mut Judge) {
    let address = performance.text("address").unwrap_or_default();
    let plans: Vec<Plan> = fact(performance, "plans").unwrap_or_default();
    let count = children_asked(performance).min(plans.len());
    let ended = |plan: &Plan| {
        let Plan { address, lines, .. } = plan;
        format!("child for {address} ended with status {lines}")
    };
    let began = |plan: &Plan| format!("child for {}", plan.address);
    let mut expected = vec![format!("listening on {address}")];
    let (together, after) = plans.split_at(count);
    expected.extend(together.iter().map(began));
    expected.extend(together.iter().map(ended));
    if let [one, last] = after {
        expected.extend([began(one), ended(one), began(last)]);
        expected.extend(["closing".into(), ended(last), "stopped".into()]);
    }
    let named = |lines: Vec<String>| {
        let lines = lines.iter().map(|line| name_clients(line, &plans));
        in_any_order(lines.collect())
    };
    let expected = named(expected);
    let printed = performance.trace.stdout("zombies");
    let printed = named(printed.iter().map(|line| line.to_string()).collect());
    let status = |lines: &[String]| -> Vec<String> {
        let ended = lines.iter().filter(|line| line.contains(ENDED));
        ended.cloned().collect()
    };
    let (right, told) = (status(&expected), status(&printed));
    let evidence = side_by_side(&right, &told);
    if right.len() == told.len() {
        let name = "each child's status is the lines that it sent back";
        judge.check("status", name, right == told, evidence);
    }
    let evidence = side_by_side(&expected, &printed);
    let name = "zombies prints what the stub asks for";
    judge.check("output", name, expected == printed, evidence);
    if judge.content() {
        judge.snapshot("story", "zombies", &story(&printed));
    }
}

const ENDED: &str = " ended with status ";

/// `client 3` in place of its address.
fn name_clients(line: &str, plans: &[Plan]) -> String {
    let mut line = line.to_string();
    for (at, plan) in plans.iter().enumerate() {
        line = line.replace(&plan.address, &format!("client {}", at + 1));
    }
    line
}

/// Which of several children is asked first is free: neighbouring lines about
/// their ends are put in order.
fn in_any_order(mut lines: Vec<String>) -> Vec<String> {
    let together =
        |a: &String, b: &String| a.contains(ENDED) && b.contains(ENDED);
    for group in lines.chunk_by_mut(together) {
        group.sort();
    }
    lines
}

/// The lines without what was drawn: how often each kind of line came.
fn story(lines: &[String]) -> String {
    let kind = |line: &str| {
        let (kind, _) = line.split_once(ENDED).unwrap_or((line, ""));
        let ended = if line.contains(ENDED) { " ended" } else { "" };
        let kind = kind.trim_end_matches(|c: char| !c.is_ascii_lowercase());
        format!("{kind}{ended}\n")
    };
    let mut kinds: Vec<String> = lines.iter().map(|line| kind(line)).collect();
    kinds.dedup();
    kinds.concat()
}

fn fact<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    name: &str,
) -> Option<T> {
    let value = performance.facts.get(name)?.clone();
    serde_json::from_value(value).ok()
}

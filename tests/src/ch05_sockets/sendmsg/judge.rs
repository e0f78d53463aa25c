//! What must have come of a run of the lab `sendmsg`.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use testbed::trace::{Event, Frame};

use super::message::Message;
use super::{CUTS, MOST_UDP, RECEIVER, SENDER};
use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance, side_by_side};

/// How much of a stream is shown where it goes wrong.
const SHOWN: usize = 40;
/// Who goes on in the wrong place is not farther off than a header and a
/// trailer are long.
const NEAR: usize = 32;

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
    let programs = || performance.exits.keys();
    if programs().all(|name| performance.trace.stdout(name).is_empty()) {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let said = |name| performance.trace.stdout(name).len();
    let begun = judge.deed(
        "something is on the wire when a message is",
        !payloads(performance).is_empty() || said(SENDER) + said(RECEIVER) < 3,
        "no segment with data, and no datagram",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    match performance.take.as_str() {
        "slow" => judge_slow(performance, judge),
        "pieces" => judge_pieces(performance, judge),
        "udp" => judge_udp(performance, judge),
        _ => judge_segments(performance, judge),
    }
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    for (program, lines) in expected(performance) {
        if performance.exits.contains_key(program) {
            judge.printed("output", performance, program, &lines);
            judge.ended_well(performance, program);
        }
    }
}

/// What the laptop's segments and datagrams carry, each once, in order.
fn payloads(performance: &Performance) -> Vec<String> {
    let mut seen = HashSet::new();
    let payload = |(event, frame): (&Event, &Frame)| {
        let packet = frame.packet();
        let fresh = match packet.segment() {
            Some(segment) if segment.data == 0 => false,
            Some(segment) => seen.insert(segment.seq),
            None => packet.protocol() == "udp",
        };
        let data = String::from_utf8_lossy(packet.data()).into_owned();
        (fresh && event.host == LAPTOP).then_some(data)
    };
    performance.trace.frames().filter_map(payload).collect()
}

/// Each message is one segment.
fn judge_segments(performance: &Performance, judge: &mut Judge) {
    let sent = payloads(performance);
    let wanted: Vec<String> =
        messages(performance).iter().map(Message::text).collect();
    // The right bytes, in other segments.
    let split = wanted.concat().starts_with(&sent.concat());
    let cause = if split { "three-segments" } else { "bytes" };
    judge.check(
        cause,
        "each message is one segment: header, body and trailer",
        wanted.starts_with(&sent),
        compare(&wanted, &sent),
    );
}

/// How long they are; or, if that is the same, what is in them.
fn compare(wanted: &[String], sent: &[String]) -> String {
    let lengths = |texts: &[String]| -> Vec<String> {
        texts.iter().map(|text| format!("{} bytes", text.len())).collect()
    };
    let (long, came) = (lengths(wanted), lengths(sent));
    match long.starts_with(&came) {
        true => side_by_side(wanted, sent),
        false => side_by_side(&long, &came),
    }
}

/// A receiver that did not read for a while has got everything, once.
fn judge_slow(performance: &Performance, judge: &mut Judge) {
    let busy = performance.restless.iter().find(|it| it.cause == "burns-cpu");
    judge.check(
        "burns-cpu",
        "the sender sleeps while the kernel takes nothing",
        busy.is_none(),
        busy.map_or(String::new(), |restless| restless.evidence.clone()),
    );
    let Some(heard) = performance.text("heard") else { return };
    let messages = messages(performance);
    let wanted: String = messages.iter().map(Message::text).collect();
    let same = wanted.bytes().zip(heard.bytes()).take_while(|(a, b)| a == b);
    let at = same.count();
    let went_on = &heard[at..];
    let begins = |text: &str| {
        let length = text.len().min(went_on.len()).min(SHOWN);
        length > 0 && text.as_bytes()[..length] == went_on.as_bytes()[..length]
    };
    // How large the part is, and where the rest begins, is the kernel's affair.
    let off = (1..NEAR).find(|off| wanted.get(at + off..).is_some_and(&begins));
    let came: String = went_on.chars().take(SHOWN).collect();
    let (cause, evidence) = match (messages.get(1), off) {
        (Some(large), _) if begins(&large.text()) => {
            ("starts-over", format!("the header again: {came}"))
        }
        (_, Some(off)) => {
            ("wrong-place", format!("what is {off} bytes farther on"))
        }
        _ if came.is_empty() => ("short-count", "nothing".to_string()),
        _ if heard.len() < wanted.len() => ("short-count", came),
        _ => ("bytes", came),
    };
    judge.check(
        cause,
        "what the kernel did not take at once follows",
        heard == wanted,
        format!("after a part of the second message came {evidence}"),
    );
}

/// The receiver told of each message when it was whole, and not before.
fn judge_pieces(performance: &Performance, judge: &mut Judge) {
    let wanted = &expected(performance)[1].1;
    let mut printed = performance.trace.stdout(RECEIVER);
    if performance.missed.is_some() {
        // What came later came of the end of the scenario.
        let said = performance.number("said").unwrap_or_default();
        printed.truncate(said as usize);
    }
    let same = wanted.iter().zip(&printed).take_while(|(a, b)| a == b).count();
    let whole =
        same == wanted.len().min(printed.len()) && performance.missed.is_none();
    // The first line says where it listens.
    let cause = match same {
        0 => "output",
        1 => "half-a-header",
        2 | 3 => "half-a-body",
        4 | 5 => "loses-the-next",
        _ => "cut-off",
    };
    let place = match same.checked_sub(1).and_then(|at| CUTS.get(at)) {
        Some(place) => format!("the segment ended {place}"),
        None => "the connection ended in a header".to_string(),
    };
    judge.check(
        cause,
        "the receiver tells of each message when it is whole",
        whole,
        format!("{place}\n{}", side_by_side(wanted, &printed)),
    );
}

/// Each message is one datagram, and one of them is too long.
fn judge_udp(performance: &Performance, judge: &mut Judge) {
    let sent = payloads(performance);
    let messages = messages(performance);
    let wanted: Vec<String> = messages.iter().map(Message::text).collect();
    let full: Vec<&String> = sent.iter().filter(|it| !it.is_empty()).collect();
    let same = full.iter().zip(&wanted).take_while(|(a, b)| *a == b).count();
    // How many come after the first that is wrong is the end of the run's affair.
    let first = |all: &[String]| all[..all.len().min(same + 1)].to_vec();
    judge.check(
        "three-datagrams",
        "each message is one datagram",
        same == full.len(),
        compare(&first(&wanted), &first(&sent)),
    );
    let told = &expected(performance)[1].1;
    let printed = performance.trace.stdout(RECEIVER);
    let long = |line: &&String| line.contains("truncated");
    let line = told.iter().find(long).cloned().unwrap_or_default();
    let at = told.iter().position(|it| *it == line).unwrap_or_default();
    let passed = printed.len() > at || performance.missed.is_none();
    let ended = performance.exits.get(RECEIVER).copied().flatten().is_some();
    judge.check(
        "truncation-unseen",
        "a datagram that has lost its end is known by MSG_TRUNC",
        printed.contains(&line.as_str()) || !(passed || ended),
        side_by_side(told, &printed),
    );
}

fn messages(performance: &Performance) -> Vec<Message> {
    let value = performance.facts.get("messages").cloned();
    decode(value.unwrap_or_default()).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(value: serde_json::Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

/// What each program is to print.
fn expected(performance: &Performance) -> [(&'static str, Vec<String>); 2] {
    let address = performance.text("address").unwrap_or_default();
    let take = performance.take.as_str();
    let mut sender = vec!["connected".to_string()];
    let mut receiver = vec![format!("listening on {address}")];
    for Message { kind, body } in messages(performance) {
        let bytes = body.len();
        sender.push(format!("sent {kind}, {bytes} bytes"));
        receiver.push(match take == "udp" && bytes as u64 > MOST_UDP {
            true => format!("{kind}: truncated, {bytes} bytes"),
            false => format!("{kind}: {bytes} bytes, sum right"),
        });
    }
    receiver.push(match take {
        "udp" => "end".into(),
        "pieces" => "cut off".into(),
        _ => "end of file".into(),
    });
    [(SENDER, sender), (RECEIVER, receiver)]
}

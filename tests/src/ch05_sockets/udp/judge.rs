//! What the programs made of it.

use testbed::trace::Frame;

use super::{NUMBER, ROOM, Sent, TRIES, kept, question};
use crate::stage::{KONGMING, LAPTOP};
use crate::verdict::{Judge, Performance};

/// The server first: a client's answers are its work too.
pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for take in ["boundaries", "refused", "wire"] {
        let found = performances.iter().find(|one| one.take == take);
        let Some(performance) = found else { continue };
        judge.about(performance);
        match take {
            "boundaries" => judge_server(performance, judge),
            _ => judge_client(performance, judge),
        }
        if !judge.content() {
            return;
        }
    }
}

/// A datagram on the wire: the port that it is for, and its data.
struct Datagram<'a> {
    to: u16,
    data: &'a [u8],
}

/// The datagrams that a host has sent, in order.
fn datagrams<'a>(
    performance: &'a Performance,
    host: &str,
) -> Vec<Datagram<'a>> {
    let own = performance.trace.frames().filter(|(event, frame)| {
        event.host == host && frame.packet().protocol() == "udp"
    });
    own.filter_map(|(_, frame): (_, &'a Frame)| {
        let (_, to) = frame.packet().ports()?;
        Some(Datagram { to, data: frame.packet().data() })
    })
    .collect()
}

fn fact<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    name: &str,
) -> Vec<T> {
    let value = performance.facts.get(name).cloned();
    value
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default()
}

fn judge_server(performance: &Performance, judge: &mut Judge) {
    let sent: Vec<Sent> = fact(performance, "sent");
    let echoes = datagrams(performance, KONGMING);
    let printed = performance.trace.stdout("server");
    let begun = judge.deed(
        "the server answers a datagram",
        !echoes.is_empty() || printed.len() < 2,
        "Kongming20 sent no UDP datagram",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    for (at, one) in sent.iter().enumerate() {
        judge_echo(&sent, at, echoes.get(at), judge);
        if !judge.content() {
            return;
        }
        let line = printed.get(at + 1).copied().unwrap_or_default();
        let length = one.text.len();
        judge.check(
            "cut-unnoticed",
            "of a datagram that was cut the line tells the whole length",
            length <= ROOM || line.starts_with(&format!("{length} bytes ")),
            format!("a datagram of {length} bytes: `{}`", unnamed(line)),
        );
    }
    judge.check(
        "answers-too-much",
        "each datagram is answered once",
        echoes.len() <= sent.len(),
        format!("{} datagrams, {} answers", sent.len(), echoes.len()),
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let address = performance.text("address").unwrap_or_default();
    let mut expected = vec![format!("listening on {address}")];
    expected.extend(sent.iter().map(|one| {
        let length = one.text.len();
        let cut =
            if length > ROOM { format!(", {ROOM} kept") } else { "".into() };
        format!("{length} bytes from 192.168.1.108:{}{cut}", one.port)
    }));
    judge.printed("output", performance, "server", &expected);
    judge.ended_well(performance, "server");
}

/// A line without the address in it.
fn unnamed(line: &str) -> String {
    let Some((start, rest)) = line.split_once(" from ") else {
        return line.to_string();
    };
    let rest = rest.split_once(',').map_or("", |(_, rest)| rest);
    format!("{start} from ...{rest}")
}

/// The answer to one of the datagrams.
fn judge_echo(
    sent: &[Sent],
    at: usize,
    echo: Option<&Datagram<'_>>,
    judge: &mut Judge,
) {
    let one = &sent[at];
    let length = one.text.len();
    let what = format!("datagram {} of {length} bytes", at + 1);
    let Some(echo) = echo else {
        let after_empty = sent[..=at].iter().any(|one| one.text.is_empty());
        let cause =
            if after_empty { "empty-taken-for-end" } else { "no-answer" };
        let evidence = format!("{what}: no answer");
        judge.check(cause, "each datagram is answered", false, evidence);
        return;
    };
    let right = kept(one.text.as_bytes());
    let name = "what was kept of a datagram goes back, and nothing else";
    let next = sent.get(at + 1).map_or("", |next| next.text.as_str());
    let next = if next.is_empty() { sent.get(at + 2) } else { None }
        .map_or(next, |one| one.text.as_str());
    let rest = echo.data.strip_prefix(right).unwrap_or_default();
    let merged = !rest.is_empty() && kept(next.as_bytes()).starts_with(rest);
    let cause = if merged {
        "datagrams-merged"
    } else if echo.data.len() == ROOM && echo.data.starts_with(right) {
        "whole-buffer"
    } else {
        "other-bytes"
    };
    let evidence = format!(
        "{what}: {} bytes came back, of which {} are its own",
        echo.data.len(),
        echo.data.iter().zip(right).take_while(|(a, b)| a == b).count()
    );
    judge.check(cause, name, echo.data == right, evidence);
    judge.check(
        "wrong-peer",
        "the answer goes to who has asked",
        echo.to == one.port,
        format!("{what}: the answer went to the other socket"),
    );
}

fn judge_client(performance: &Performance, judge: &mut Judge) {
    let texts: Vec<String> = fact(performance, "texts");
    let sent = datagrams(performance, LAPTOP);
    let printed = performance.trace.stdout("client");
    let begun = judge.deed(
        "the client sends a question",
        !sent.is_empty() || printed.is_empty(),
        "ernest-laptop sent no UDP datagram",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge_questions(&texts, &sent, judge);
    let stranger = performance.number("stranger").unwrap_or_default();
    for (at, outcome) in outcomes(performance).iter().enumerate() {
        let number = at as u16 + 1;
        let said = printed
            .iter()
            .find_map(|line| line.strip_prefix(&format!("{number}: ")));
        let tries = tries(&texts, number, &sent);
        judge_tries(number, outcome, tries, performance, judge);
        judge_outcome(performance, number, outcome, said, judge);
        if !judge.content() {
            return;
        }
    }
    let believed = sent.iter().any(|one| u64::from(one.to) == stranger);
    judge.check(
        "stranger-believed",
        "nothing is sent to a stranger",
        !believed || stranger == 0,
        "the client answered a port that it was not to know of",
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let expected: Vec<String> = (1..)
        .zip(outcomes(performance))
        .map(|(number, outcome): (u16, _)| format!("{number}: {outcome}"))
        .collect();
    judge.printed("output", performance, "client", &expected);
    judge.ended_well(performance, "client");
    judge.ended_well(performance, "server");
}

/// Every datagram of the client's is a question, under its number.
fn judge_questions(texts: &[String], sent: &[Datagram<'_>], judge: &mut Judge) {
    for one in sent {
        let number =
            one.data.first_chunk().map_or(0, |n| u16::from_be_bytes(*n));
        let text = one.data.get(NUMBER..).unwrap_or_default();
        let at = usize::from(number).wrapping_sub(1);
        let right = texts.get(at).is_some_and(|t| t.as_bytes() == text);
        let asked = texts.iter().position(|t| t.as_bytes() == text);
        let (cause, meant) = match asked {
            Some(at) => ("wrong-number", format!("question {}", at + 1)),
            None => ("wrong-question", "no question".to_string()),
        };
        judge.check(
            cause,
            "a question goes out under its number, each time",
            right,
            format!("the number {number}, and the text of {meant}"),
        );
        if !right {
            return;
        }
    }
}

/// How often a question was sent.
fn tries(texts: &[String], number: u16, sent: &[Datagram<'_>]) -> usize {
    let text = texts.get(usize::from(number) - 1);
    let datagram = text.map(|text| question(number, text));
    let own = |one: &&Datagram<'_>| Some(one.data) == datagram.as_deref();
    sent.iter().filter(own).count()
}

/// A question is sent again as often as it takes, and no oftener.
fn judge_tries(
    number: u16,
    outcome: &str,
    tries: usize,
    performance: &Performance,
    judge: &mut Judge,
) {
    let evidence = format!("question {number} was sent {tries} times");
    judge.check(
        "never-gives-up",
        &format!("a question is sent {TRIES} times at most"),
        tries <= TRIES,
        evidence.as_str(),
    );
    let lost = outcome == "no answer"
        || performance.take == "wire" && [2, 3].contains(&number);
    judge.check(
        "never-asks-again",
        "a question without an answer is sent again",
        !lost || tries != 1,
        evidence,
    );
}

/// What the client says of a question.
fn judge_outcome(
    performance: &Performance,
    number: u16,
    outcome: &str,
    said: Option<&str>,
    judge: &mut Judge,
) {
    let Some(said) = said else { return };
    let texts: Vec<String> = fact(performance, "texts");
    let other = performance.text("other").unwrap_or_default();
    let answer = said.strip_prefix("answered ");
    let before = texts.iter().take(usize::from(number) - 1);
    let late = before.into_iter().any(|text| answer == Some(text.as_str()));
    let cause = if outcome == "refused" && said == "no answer" {
        "refusal-unheard"
    } else if said == "refused" {
        "old-error"
    } else if answer.is_some_and(|text| !text.is_empty() && text == other) {
        "stranger-believed"
    } else if late {
        "late-answer"
    } else if outcome == "no answer" || said == "no answer" {
        "gives-up-early"
    } else {
        return; // The lines are compared later.
    };
    judge.check(
        cause,
        &format!("question {number} has the outcome that it had"),
        said == outcome,
        format!(
            "question {number} was {}\nthe client says {}",
            told(outcome, &texts, other),
            told(said, &texts, other)
        ),
    );
}

/// An outcome, with the text of an answer by whose it is.
fn told(said: &str, texts: &[String], other: &str) -> String {
    let Some(text) = said.strip_prefix("answered ") else {
        return said.to_string();
    };
    let own = texts
        .iter()
        .position(|one| text == &one[..one.len().min(ROOM - NUMBER)]);
    match own {
        Some(at) => format!("answered with the text of question {}", at + 1),
        None if text == other => "answered with the stranger's text".into(),
        None => "answered with another text".into(),
    }
}

/// What becomes of each question, as the client is to say it.
fn outcomes(performance: &Performance) -> Vec<String> {
    let texts: Vec<String> = fact(performance, "texts");
    let answered = |text: &String| {
        let most = text.len().min(ROOM - NUMBER);
        format!("answered {}", &text[..most])
    };
    match performance.take.as_str() {
        "refused" => {
            let mut all = vec!["refused".to_string(), "no answer".into()];
            all.extend(texts.iter().skip(2).map(answered));
            all
        }
        _ => texts.iter().map(answered).collect(),
    }
}

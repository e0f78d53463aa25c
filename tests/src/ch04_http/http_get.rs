//! Grades `http_get`: each answer ends where it says, wherever TCP cuts it.
//!
//! The scenario is the server. In the take `answers` all answers are right, and
//! come in pieces that the program has to read one by one; in `broken` each has
//! a fault of its own, and a right one follows at the end. Whether a connection
//! is kept or begun anew is seen by the server.

mod answers;

use testbed::Profile;

use super::server::{Request, Server};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};
use answers::{Answer, answers, broken, given};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "http_get",
    pristine: include_str!("../../pristine/ch04_http/http_get.rs"),
    takes: &[
        Take { name: "answers", profile: Profile::Modern },
        Take { name: "broken", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "one_read_is_a_head", cause: "short-read" },
        Mutant { name: "sizes_are_decimal", cause: "chunk-size" },
        Mutant { name: "looks_for_the_last_chunk", cause: "chunk-searched" },
        Mutant { name: "takes_what_came", cause: "truncated-taken" },
        Mutant { name: "reader_for_each_answer", cause: "surplus-taken" },
        Mutant { name: "plus_is_a_digit", cause: "sign-taken" },
        Mutant { name: "no_limit", cause: "head-without-limit" },
        Mutant { name: "room_for_what_is_said", cause: "crashed" },
        Mutant { name: "connects_each_time", cause: "connection-not-kept" },
    ],
    alternatives: &["buffered_reader", "one_byte_at_a_time"],
};

const PROGRAM: &str = "http_get";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let answers = match stage.take {
        _ if !stage.values.is_empty() => given(&stage.values),
        "answers" => answers(&mut stage.draw),
        _ => broken(&mut stage.draw),
    };
    stage.fact("address", address.to_string());
    stage.fact("answers", &answers);
    let mut server = Server::listen(stage, KONGMING, address)?;
    let mut args = vec![address.to_string()];
    args.extend(answers.iter().map(|answer| answer.path.clone()));
    let program = stage.start(PROGRAM, LAPTOP, args)?;

    let mut served = Vec::new();
    for answer in &answers {
        let Some(request) = server.request(stage, program)? else { break };
        let Request { connection, .. } = request;
        // Whoever asks for something else is told the same: what it takes for
        // an answer is judged, and so is what it asked.
        served.push(Served::new(answer, &request));
        stage.fact("served", &served);
        let told = !stage.values.is_empty();
        if !told {
            stage.step(KONGMING, format!("answers: {}", answer.kind))?;
        }
        for piece in &answer.pieces {
            if told {
                let text = piece.escape_ascii();
                stage.step(KONGMING, format!("sends {text}"))?;
            }
            server.say(stage, connection, LAPTOP, piece)?;
        }
        if answer.fin {
            server.finish(connection);
        }
    }
    stage.end(program)
}

/// A request, next to the answer that it got.
#[derive(serde::Serialize, serde::Deserialize)]
struct Served {
    path: String,
    kind: String,
    connection: usize,
    target: String,
    line: String,
    hosts: Vec<String>,
    more: bool,
}

impl Served {
    fn new(answer: &Answer, request: &Request) -> Served {
        let hosts = request.fields("Host");
        Served {
            path: answer.path.clone(),
            kind: answer.kind.clone(),
            connection: request.connection,
            target: request.target().to_string(),
            line: request.head.lines().next().unwrap_or_default().to_string(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            more: request.more,
        }
    }
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
    let story: String = performances.iter().map(story).collect();
    judge.snapshot("story", "http_get", &story);
}

fn listed<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    fact: &str,
) -> Vec<T> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let answers: Vec<Answer> = listed(performance, "answers");
    let served: Vec<Served> = listed(performance, "served");
    let begun = judge.deed(
        "a request is sent",
        !served.is_empty(),
        "no request has come to Kongming20",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let address = performance.text("address").unwrap_or_default();
    for (answer, served) in answers.iter().zip(&served) {
        judge_request(address, served, judge);
        judge_connection(answer, served, judge);
        let said = said(performance, &answer.path);
        judge.check(
            cause(&answer.kind),
            &format!("{} is read as what it is", answer.kind),
            said == answer.expected,
            evidence(answer, &said),
        );
        if !judge.content() {
            return; // Whatever follows may follow from that.
        }
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let mut lines = Vec::new();
    for answer in &answers {
        lines.push(format!("GET {}", answer.path));
        lines.extend(answer.expected.clone());
    }
    judge.printed("output", performance, PROGRAM, &lines);
    judge.ended_well(performance, PROGRAM);
}

fn judge_request(address: &str, served: &Served, judge: &mut Judge) {
    let line = format!("GET {} HTTP/1.1", served.path);
    judge.check(
        "request-line",
        &format!("the request for {} begins with its line", served.path),
        served.line == line,
        format!("expected {line}\nactual   {}", served.line),
    );
    judge.check(
        "host",
        "the request says to which host it goes, once",
        served.hosts == [address],
        format!("Host: {}", served.hosts.join(" and Host: ")),
    );
    judge.check(
        "asks-too-early",
        "nothing is asked before the answer before it has come",
        !served.more,
        format!("there were two requests when {} was to come", served.kind),
    );
}

fn judge_connection(answer: &Answer, served: &Served, judge: &mut Judge) {
    let (right, actual) = (answer.connection, served.connection);
    let cause = match actual > right {
        true => "connection-not-kept",
        false => "dead-connection-used",
    };
    judge.check(
        cause,
        &format!("{} is asked for on the right connection", answer.kind),
        actual == right,
        format!(
            "it came on connection {} and belonged on connection {}",
            actual + 1,
            right + 1
        ),
    );
}

/// What the program printed about a path.
fn said(performance: &Performance, path: &str) -> Vec<String> {
    let lines = performance.trace.stdout(PROGRAM);
    let head = format!("GET {path}");
    let mut rest = lines.iter().skip_while(|line| **line != head);
    rest.next();
    rest.take_while(|line| !line.starts_with("GET "))
        .map(ToString::to_string)
        .collect()
}

fn evidence(answer: &Answer, said: &[String]) -> String {
    let mut text = side_by_side(&answer.expected, said);
    text.push_str("\nthe server sent, a piece a line:");
    // A long head, or one byte a piece, is told by its beginning.
    const MOST: usize = 6;
    for piece in answer.pieces.iter().take(MOST) {
        let piece = piece.escape_ascii().to_string();
        let shown: String = piece.chars().take(100).collect();
        let more = if shown.len() < piece.len() { "..." } else { "" };
        text.push_str(&format!("\n  {shown}{more}"));
    }
    if answer.pieces.len() > MOST {
        let more = answer.pieces.len() - MOST;
        text.push_str(&format!("\n  and {more} more"));
    }
    if answer.fin {
        text.push_str("\nand then its FIN");
    }
    text
}

/// What it means that an answer of this kind is not read as it should be.
fn cause(kind: &str) -> &'static str {
    match kind {
        "byte by byte" => "short-read",
        "an interim answer before the answer" => "interim-taken",
        "chunks with sizes of two digits" => "chunk-size",
        "a chunk that looks like the end" => "chunk-searched",
        "no content" | "a length of 0" => "waits-for-nothing",
        "a long head" => "head-limit-too-low",
        "no length at all" => "until-the-end",
        "a length that is too short" => "surplus-taken",
        "no status line" => "status-line-taken",
        "a head without end" => "head-without-limit",
        "a field without a colon" => "field-taken",
        "a length with a sign" => "sign-taken",
        "two different lengths" | "a length and chunks" => "two-lengths-taken",
        "a length that is too long"
        | "a length beyond all memory"
        | "chunks that break off" => "truncated-taken",
        "a size that is no number"
        | "a size beyond all numbers"
        | "a chunk longer than its size" => "bad-chunk-taken",
        _ => "answer-misread",
    }
}

/// The takes, without what was drawn.
fn story(performance: &Performance) -> String {
    let served: Vec<Served> = listed(performance, "served");
    let lines = served.iter().map(|served| {
        let said =
            said(performance, &served.path).into_iter().map(|line| match line
                .split_once(" bytes: ")
            {
                Some((status, _)) => {
                    format!("{}, a body", &status[..status.len().min(3)])
                }
                None => line,
            });
        let said: Vec<String> = said.collect();
        let connection = served.connection + 1;
        let said = said.join("; ");
        format!("connection {connection}: {}: {said}\n", served.kind)
    });
    lines.collect()
}

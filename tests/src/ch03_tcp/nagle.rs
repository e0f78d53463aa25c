//! Grades `nagle`: in how many segments what is typed leaves, and which kernel
//! waits for the other.
//!
//! First keys are typed while the wire holds the server's acknowledgements, so
//! that Nagle's algorithm has its way in every run. Then come requests of two
//! writes and a read. How the stream was cut into segments can be told from
//! sequence numbers alone. Whether the server's kernel waited with its
//! acknowledgements is what that kernel has counted itself; of how long it took
//! only so much is asked as no busy machine changes.

use testbed::trace::{Event, What};
use testbed::{Profile, Segment};

use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "nagle",
    pristine: include_str!("../../pristine/ch03_tcp/nagle.rs"),
    // Not modern: with acknowledgements held, its tail loss probe would send
    // the last segment again within milliseconds.
    takes: &[
        Take { name: "plain", profile: Profile::Book },
        Take { name: NODELAY, profile: Profile::Book },
        Take { name: CORK, profile: Profile::Book },
        Take { name: QUICKACK, profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "nodelay_for_all", cause: "nagle-is-off" },
        Mutant { name: "collects_the_pieces", cause: "not-as-typed" },
        Mutant { name: "keeps_the_cork", cause: "cork-not-cleared" },
        Mutant { name: "quickack_once", cause: "quickack-once" },
        Mutant { name: "quickack_for_all", cause: "ack-not-delayed" },
        Mutant { name: "answers_with_writeln", cause: "answer-in-pieces" },
    ],
    alternatives: &["msg_more", "raw_calls"],
};

const NODELAY: &str = "nodelay";
const CORK: &str = "cork";
const QUICKACK: &str = "quickack";
/// How many requests of two writes there are.
const REQUESTS: u64 = 6;
/// The first write of each.
const PIECE: usize = 8;
/// How a step begins that tells of one.
const REQUEST: &str = "request ";
/// A corked segment that nobody lets go leaves after a retransmission timeout,
/// 0.2 s at least.
const CORKED_MS: u64 = 150;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let (client_how, server_how) = match stage.take {
        QUICKACK => ("plain", QUICKACK),
        how => (how, "plain"),
    };
    if !stage.story {
        // On a machine that is slow, keys may take longer than the 0.2 s after
        // which a kernel sends again, or sends what is corked. Not every kernel
        // has the setting.
        let laptop = stage.net.host(LAPTOP)?;
        let _ = laptop.set_sysctl("net.ipv4.tcp_rto_min_us", "2000000");
    }
    let address = stage.address(KONGMING)?.to_string();
    let keys = stage.draw.count(4..=8) as usize;
    let keys = stage.draw.letters(keys);
    stage.fact("address", &address);
    stage.fact("keys", &keys);
    stage.fact("count", keys.len());
    stage.fact("writes", keys.len() + 1);
    stage.fact("requests", REQUESTS);

    let server =
        stage.start("server", KONGMING, ["server", server_how, &address])?;
    stage.line(server, "listening on ")?;
    let client =
        stage.start("client", LAPTOP, ["client", client_how, &address])?;
    stage.line(client, "connected to ")?;
    stage.line(server, "accepted ")?;

    stage.in_one_go(|stage| type_keys(stage, client, &keys))?;
    let before = delayed_acks(stage)?;
    let mut texts = Vec::new();
    for number in 1..=REQUESTS {
        let text = stage.draw.letters(PIECE);
        stage.step(LAPTOP, format!("{REQUEST}{number}: two writes, a read"))?;
        stage.send(client, &text);
        stage.enter(client);
        stage.line(client, "answer ")?;
        texts.push(text);
    }
    stage.fact("texts", &texts);
    let after = delayed_acks(stage)?;
    let delayed = after.zip(before).map(|(after, before)| after - before);
    stage.fact("delayed_acks", delayed);

    stage.step(LAPTOP, "end of the client's input")?;
    stage.close_stdin(client);
    stage.end(client)?;
    stage.end(server)
}

/// How many acknowledgements the server's kernel has sent late; `None`: it does
/// not count them.
fn delayed_acks(stage: &Stage) -> Result<Option<u64>, Halt> {
    let counters = stage.net.host(KONGMING)?.counters()?;
    Ok(counters.get("TcpExtDelayedACKs").copied())
}

/// Types keys, one write each, while no acknowledgement comes back.
fn type_keys(stage: &mut Stage, client: Role, keys: &str) -> Result<(), Halt> {
    let hold = stage.net.wire().arm("hold every ack from Kongming20")?;
    stage.step("wire", "holds the server's acknowledgements")?;
    for key in keys.chars() {
        stage.send(client, &key.to_string());
    }
    for _ in keys.chars() {
        stage.line(client, "wrote ")?;
    }
    stage.idle(client)?;
    stage.step(LAPTOP, "Enter")?;
    stage.enter(client);
    stage.idle(client)?;
    if !stage.soon("data from ernest-laptop", 1)? {
        stage.fact("kept_back", true);
        return Err(Halt::Missed("waited for what was typed".into()));
    }
    if !matches!(stage.take, NODELAY | CORK) {
        stage.soon("ack from Kongming20", 1)?;
    }
    stage.step("wire", "lets the acknowledgements go")?;
    stage.net.wire().disarm(hold)?;
    stage.line(client, "answer ")?;
    Ok(())
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let sent = pieces(performance, LAPTOP);
    let connected = segments(performance).any(|(_, s)| s.flags.syn);
    judge.deed(
        "a segment is sent",
        connected || performance.trace.stdout("client").is_empty(),
        "there is no TCP segment on the wire",
    );
    let kept_back = performance.facts.contains_key("kept_back");
    let corked = performance.take == CORK;
    judge.check(
        if corked { "cork-not-cleared" } else { "not-as-typed" },
        "what was typed has left when the request is complete",
        !kept_back,
        "the client waits for its answer, and no segment has left",
    );
    judge_typing(performance, &sent, judge);
    judge_requests(performance, &sent, judge);
    judge_answers(performance, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_waiting(performance, judge);
    judge_output(performance, judge);
    judge.ended_well(performance, "server");
    judge.ended_well(performance, "client");
    let name = format!("nagle-{}", performance.take);
    judge.snapshot("segments", &name, &summary(performance, &sent));
}

/// How the keys were cut into segments.
fn judge_typing(performance: &Performance, sent: &[Piece], judge: &mut Judge) {
    let keys = performance.text("keys").unwrap_or_default().len();
    let Some(typed) = split(sent, &[keys + 1]).pop() else { return };
    let seen = format!("{keys} keys and Enter left in {}", sizes(&typed));
    let (cause, name, right) = match performance.take.as_str() {
        NODELAY => (
            "nagle-is-on",
            "with TCP_NODELAY each write is a segment at once",
            typed.iter().all(|size| *size == 1),
        ),
        CORK => (
            "not-corked",
            "with TCP_CORK all writes of a request are one segment",
            typed == [keys + 1],
        ),
        _ => (
            match typed.first() {
                Some(1) => "nagle-is-off",
                _ => "not-as-typed",
            },
            "the first key leaves at once, the others when it is acknowledged",
            typed == [1, keys],
        ),
    };
    judge.check(cause, name, right, seen);
}

/// How the requests were cut into segments.
fn judge_requests(
    performance: &Performance,
    sent: &[Piece],
    judge: &mut Judge,
) {
    let keys = performance.text("keys").unwrap_or_default().len();
    let (cause, expected) = match performance.take.as_str() {
        CORK => ("not-corked", vec![PIECE + 1]),
        _ => ("not-as-typed", vec![PIECE, 1]),
    };
    let lengths = [vec![keys + 1], vec![PIECE + 1; REQUESTS as usize]].concat();
    let requests = split(sent, &lengths).into_iter().skip(1);
    for (number, request) in (1..).zip(requests) {
        let name = format!(
            "request {number} leaves in {}",
            sizes(&expected).replace(" bytes", "")
        );
        let seen = format!("it left in {}", sizes(&request));
        judge.check(cause, &name, request == expected, seen);
        if !judge.content() {
            return;
        }
    }
}

/// Each answer is one segment.
fn judge_answers(performance: &Performance, judge: &mut Judge) {
    let keys = performance.text("keys").unwrap_or_default().len();
    let answer = |length: usize| length.to_string().len() + 1;
    let lengths =
        [vec![answer(keys)], vec![answer(PIECE); REQUESTS as usize]].concat();
    let answers = split(&pieces(performance, KONGMING), &lengths);
    let wrong = answers.iter().find(|answer| answer.len() != 1);
    judge.check(
        "answer-in-pieces",
        "the server answers with one write",
        wrong.is_none(),
        wrong.map_or(String::new(), |w| format!("it left in {}", sizes(w))),
    );
}

/// Who waited for whom.
fn judge_waiting(performance: &Performance, judge: &mut Judge) {
    let delayed = performance.number("delayed_acks");
    let mostly = delayed.is_some_and(|count| count > REQUESTS / 2);
    // A kernel that wants three answers before it takes a connection for one
    // that talks in turns (`tcp_pingpong_thresh`) waits at every third request.
    let often = delayed.is_some_and(|count| count >= REQUESTS / 3);
    let seen = format!(
        "in {} {REQUESTS} requests its kernel acknowledged because it had \
         waited long enough (TcpExtDelayedACKs)",
        match (mostly, often) {
            (true, _) => "most of",
            (false, true) => "some of",
            _ => "few or none of",
        }
    );
    match performance.take.as_str() {
        "plain" => drop(judge.check(
            "ack-not-delayed",
            "a plain server leaves acknowledgements to its kernel",
            often || delayed.is_none(),
            seen,
        )),
        QUICKACK => drop(judge.check(
            "quickack-once",
            "with TCP_QUICKACK the server acknowledges what it has read at \
             once",
            !mostly,
            seen,
        )),
        CORK => {
            let fastest = durations(performance).into_iter().min();
            judge.check(
                "cork-not-cleared",
                "the cork is cleared at the end of each request",
                fastest.is_none_or(|ms| ms < CORKED_MS),
                format!(
                    "the fastest answer took {} ms",
                    fastest.unwrap_or_default()
                ),
            );
        }
        _ => {}
    }
}

fn judge_output(performance: &Performance, judge: &mut Judge) {
    let text = |fact| performance.text(fact).unwrap_or_default().to_string();
    let (address, keys) = (text("address"), text("keys"));
    let texts = performance.facts.get("texts").cloned().unwrap_or_default();
    let texts: Vec<String> = serde_json::from_value(texts).unwrap_or_default();
    let laptop = &performance.trace.hosts[0].addresses[0];

    let mut client = vec![format!("connected to {address}")];
    client.extend(keys.chars().map(|key| format!("wrote {key}")));
    client.push(format!("answer {}", keys.len()));
    for text in &texts {
        client.push(format!("wrote {text}"));
        client.push(format!("answer {}", text.len()));
    }
    client.push("closed".to_string());
    judge.printed("output", performance, "client", &client);

    let mut server =
        vec![format!("listening on {address}"), format!("accepted {laptop}")];
    server.push(format!("request of {} bytes", keys.len()));
    let requests = texts.iter().map(String::len);
    server.extend(requests.map(|count| format!("request of {count} bytes")));
    server.push("end of file".to_string());
    judge.printed("output", performance, "server", &server);
}

/// Milliseconds from each request's step to its answer on the wire.
fn durations(performance: &Performance) -> Vec<u64> {
    let trace = &performance.trace;
    let steps = trace.events.iter().filter(|event| {
        matches!(&event.what, What::Step { text } if text.starts_with(REQUEST))
    });
    let took = steps.filter_map(|step| {
        let answer = segments(performance).find(|(event, segment)| {
            event.t_ns > step.t_ns && event.host == KONGMING && segment.data > 0
        })?;
        Some((answer.0.t_ns - step.t_ns) / 1_000_000)
    });
    took.collect()
}

fn segments(
    performance: &Performance,
) -> impl Iterator<Item = (&Event, Segment)> {
    performance
        .trace
        .frames()
        .filter_map(|(event, frame)| Some((event, frame.packet().segment()?)))
}

/// So many bytes of the stream came in one segment.
type Piece = usize;

/// How a host's stream was cut: the segments with bytes that were not sent
/// before. What a kernel sends again on a busy machine does not count.
fn pieces(performance: &Performance, host: &str) -> Vec<Piece> {
    let mut next = None;
    let mut pieces = Vec::new();
    for (event, segment) in segments(performance) {
        if event.host != host {
            continue;
        }
        if segment.flags.syn {
            next = Some(segment.seq.wrapping_add(1));
        }
        let Some(at) = next else { continue };
        let end = segment.seq.wrapping_add(segment.data as u32);
        let new = end.wrapping_sub(at) as i32;
        if segment.data > 0 && new > 0 {
            pieces.push(new as usize);
            next = Some(end);
        }
    }
    pieces
}

/// Which segments carried each message, by the messages' lengths. A segment
/// that carries the end of one and the beginning of the next counts for the
/// first. What has not come whole is left out.
fn split(pieces: &[Piece], lengths: &[usize]) -> Vec<Vec<Piece>> {
    let mut pieces = pieces.iter();
    let mut messages = Vec::new();
    for length in lengths {
        let mut message = Vec::new();
        while message.iter().sum::<usize>() < *length {
            match pieces.next() {
                Some(piece) => message.push(*piece),
                None => return messages,
            }
        }
        messages.push(message);
    }
    messages
}

/// `2 segments: 1, 7 bytes`
fn sizes(pieces: &[Piece]) -> String {
    let sizes: Vec<String> = pieces.iter().map(usize::to_string).collect();
    let sizes = sizes.join(", ");
    match pieces.len() {
        1 => format!("1 segment: {sizes} bytes"),
        count => format!("{count} segments: {sizes} bytes"),
    }
}

/// How the stream was cut, with the number of keys as N.
fn summary(performance: &Performance, sent: &[Piece]) -> String {
    let keys = performance.text("keys").unwrap_or_default().len();
    let lengths = [vec![keys + 1], vec![PIECE + 1; REQUESTS as usize]].concat();
    let mut text = String::new();
    for (number, message) in split(sent, &lengths).iter().enumerate() {
        let named: Vec<String> = message
            .iter()
            .map(|size| match *size as i64 - keys as i64 {
                _ if number > 0 => size.to_string(),
                0 => "N".to_string(),
                1 => "N+1".to_string(),
                _ => size.to_string(),
            })
            .collect();
        let named = match named.len() {
            count if number == 0 && count == keys + 1 => {
                "N+1 times 1".to_string()
            }
            _ => named.join(", "),
        };
        let what = match number {
            0 => "N keys, Enter".to_string(),
            number => format!("request {number}"),
        };
        text.push_str(&format!("{what:<14} {named}\n"));
    }
    text
}

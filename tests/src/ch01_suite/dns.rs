//! Grades `dns`: a query in bytes, and an answer of any bytes.
//!
//! In the take `ask` the name server of the small internet is asked for a name
//! with an alias, for one that does not exist, and once more with the first
//! query lost; then a server that lies before it tells the truth. In `parse` the
//! program reads messages: real ones, ones made by hand, and a thousand that were
//! cut short or bent. The right answers come from a decoder of the grader's.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use testbed::Profile;

use crate::corpus::{self, Taken, hex};
use crate::filter::{self, Question};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod messages;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "dns",
    pristine: include_str!("../../pristine/ch01_suite/dns.rs"),
    takes: &[
        Take { name: ASK, profile: Profile::Modern },
        Take { name: PARSE, profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "name_with_dots", cause: "dotted-name" },
        Mutant { name: "host_order", cause: "host-order" },
        Mutant { name: "fixed_id", cause: "fixed-id" },
        Mutant { name: "asks_once", cause: "no-retry" },
        Mutant { name: "believes_any_answer", cause: "any-answer" },
        Mutant { name: "ignores_the_code", cause: "nxdomain" },
        Mutant { name: "no_pointers", cause: "compression" },
        Mutant { name: "believes_the_length", cause: "malformed" },
        Mutant { name: "follows_every_pointer", cause: "pointer-loop" },
    ],
    alternatives: &["recursive", "poll_and_cursor"],
};

const ASK: &str = "ask";
const PARSE: &str = "parse";
const PROGRAM: &str = "dns";
/// The servers that answer, as /etc/resolv.conf has it.
const SERVER: &str = "203.0.113.53:53";
/// A name with an alias and two addresses, of 13 characters.
const ALIAS: &str = "www.lab4.test";
/// Another one.
const OTHER: &str = "www.example.test";
/// How many messages are cut short or bent.
const BENT: usize = 1_200;
/// `lab run --take parse` shows that many of them.
const BENT_SHOWN: usize = 12;
/// A second query comes a second after the first; no timer runs early.
const LEAST_PATIENCE_MS: u64 = 900;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    match stage.take {
        PARSE => parse(stage),
        _ if !stage.values.is_empty() => ask_these(stage),
        _ => ask(stage),
    }
}

/// The user's own names, asked of the real server.
fn ask_these(stage: &mut Stage) -> Result<(), Halt> {
    for name in stage.values.clone() {
        one(stage, &name, SERVER, &name)?;
    }
    Ok(())
}

fn ask(stage: &mut Stage) -> Result<(), Halt> {
    one(stage, "alias", SERVER, ALIAS)?;
    let missing = format!("{}.test", stage.draw.letters(7));
    stage.fact("missing", &missing);
    one(stage, "absent", SERVER, &missing)?;
    let lost = stage.net.wire().arm("drop udp from ernest-laptop port 53")?;
    stage.step(LAPTOP, "the next query will be lost")?;
    one(stage, "lost", SERVER, OTHER)?;
    stage.net.wire().disarm(lost)?;
    lies(stage)
}

/// Starts the program, and waits for its end.
fn one(
    stage: &mut Stage,
    role: &str,
    server: &str,
    name: &str,
) -> Result<(), Halt> {
    let program = stage.start(role, LAPTOP, ["ask", server, name])?;
    stage.end(program)
}

/// A server on Kongming20 whose first three answers are none.
fn lies(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let word = stage.draw.word().to_be_bytes();
    let [truth, lie] = [[10, word[0], word[1], 1], [10, word[2], word[3], 2]];
    let name = format!("{}.test", stage.draw.letters(6));
    stage.fact("asked", &name);
    stage.fact("truth", std::net::Ipv4Addr::from(truth));
    stage.fact("lie", std::net::Ipv4Addr::from(lie));
    let failed = |err| Halt::Missed(format!("peer on {address}: {err}"));
    let server = stage.net.host(KONGMING)?.at(|| UdpSocket::bind(address))?;
    let server = server.map_err(failed)?;
    let server_address = address.to_string();
    let arguments = ["ask", &server_address, &name];
    let program = stage.start("lied to", LAPTOP, arguments)?;
    let mut query = [0; 512];
    let came = stage.patiently(|stage, glance| {
        let glance = glance.max(Duration::from_millis(1));
        server.set_read_timeout(Some(glance)).map_err(failed)?;
        let came = server.recv_from(&mut query).ok();
        let gone = stage.program(program).has_closed_its_output();
        Ok(came.map(Some).or(gone.then_some(None)))
    })?;
    let Some(Some((length, from))) = came else {
        return Err(Halt::Missed("waited for a query".into()));
    };
    let query = &query[..length];
    let say = |message: Vec<u8>, to: SocketAddr| {
        server.send_to(&message, to).map(drop).map_err(failed)
    };
    say(messages::with_other_id(&messages::answer(query, lie)), from)?;
    say(messages::answer(&messages::other_question(query), lie), from)?;
    let mut short = messages::answer(query, lie);
    short.pop();
    say(short, from)?;
    say(messages::answer(query, truth), from)?;
    stage.end(program)
}

/// Messages that two programs have exchanged, and worse ones.
fn parse(stage: &mut Stage) -> Result<(), Halt> {
    let real = messages::exchanged(stage, SERVER, &[ALIAS, OTHER, "no.test"])?;
    let (abouts, mut made): (Vec<_>, Vec<_>) =
        messages::by_hand().into_iter().unzip();
    let count = if stage.story { BENT_SHOWN } else { BENT };
    made.extend(corpus::bent(&mut stage.draw, &real, count));
    let abouts = abouts.into_iter().chain(std::iter::repeat("malformed"));
    let made = corpus::named(&real, made);
    let made = made.iter().zip(abouts);
    let made = made.map(|(taken, about)| question(taken, about, false));
    let real = real.iter().map(|taken| question(taken, "compression", true));
    let questions: Vec<Question> = real.chain(made).collect();
    filter::ask(stage, PROGRAM, LAPTOP, &["parse".into()], &questions)
}

fn question(taken: &Taken, about: &str, usual: bool) -> Question {
    Question {
        name: taken.name.clone(),
        text: hex(&taken.bytes),
        answer: messages::decode(&taken.bytes).unwrap_or("bad".into()),
        about: about.to_string(),
        usual,
    }
}

/// What is read comes first: who cannot read, asks in vain.
fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances.iter().rev() {
        judge.about(performance);
        match performance.take.as_str() {
            PARSE => {
                filter::judge(performance, PROGRAM, judge, |_, _| None);
                judge.ended_well(performance, PROGRAM);
                if judge.content() {
                    let shapes = filter::shapes(performance, PROGRAM);
                    judge.snapshot("answers", "dns-parse", &shapes);
                }
            }
            _ => judge_asking(performance, judge),
        }
    }
}

/// A query: when, and its bytes.
type Query = (u64, Vec<u8>);

fn judge_asking(performance: &Performance, judge: &mut Judge) {
    let missing = performance.text("missing").unwrap_or_default();
    let asked = performance.text("asked").unwrap_or_default();
    let names = [ALIAS, missing, OTHER, asked];
    let all = queries(performance);
    let begun = judge.deed(
        "a query is sent",
        !all.is_empty()
            || performance
                .exits
                .keys()
                .all(|program| performance.trace.stdout(program).is_empty()),
        "ernest-laptop sent no UDP datagram",
    );
    if !begun {
        return;
    }
    for (_, query) in &all {
        judge_query(query, &names, judge);
    }
    let about = |name: &str| -> Vec<&Query> {
        let labels = messages::labels(name);
        let same = |(_, query): &&Query| {
            query.get(12..12 + labels.len()) == Some(&labels)
        };
        all.iter().filter(same).collect()
    };
    let again = about(OTHER);
    let gap = match again.as_slice() {
        [(first, _), (second, _), ..] => Some((second - first) / 1_000_000),
        _ => None,
    };
    judge.check(
        "no-retry",
        "a query that got no answer is sent again",
        again.len() != 1,
        "one query, which the wire dropped",
    );
    judge.check(
        "impatient",
        "it waits a second for an answer before it asks again",
        gap.is_none_or(|ms| ms >= LEAST_PATIENCE_MS),
        gap.map_or(String::new(), |_| "the second query came sooner".into()),
    );
    let ids: Vec<&[u8]> =
        all.iter().filter_map(|(_, query)| query.get(..2)).collect();
    judge.check(
        "fixed-id",
        "the id of a query cannot be guessed from the last one's",
        ids.len() < 4 || ids.windows(2).any(|two| two[0] != two[1]),
        "every query has the same id",
    );
    judge_lines(performance, missing, judge);
    if performance.missed.is_some() {
        return;
    }
    for program in performance.exits.keys() {
        judge.ended_well(performance, program);
    }
    if judge.content() {
        let lines = ["alias", "lost"].map(|p| performance.trace.stdout(p));
        let lines = lines.concat().join("\n");
        judge.snapshot("answers", "dns-ask", &lines);
    }
}

fn queries(performance: &Performance) -> Vec<Query> {
    let frames = performance.trace.frames().filter(|(event, frame)| {
        event.host == LAPTOP && frame.packet().protocol() == "udp"
    });
    let query = frames
        .map(|(event, frame)| (event.t_ns, frame.packet().data().to_vec()));
    query.collect()
}

/// Is it one of the queries that should be sent, but for the id?
fn judge_query(query: &[u8], names: &[&str], judge: &mut Judge) {
    let right = names.iter().map(|name| messages::query([0, 0], name));
    let rest = query.get(2..).unwrap_or_default();
    let known = right.clone().any(|right| right[2..] == *rest);
    let swapped = |right: &Vec<u8>| {
        let pairs = |at: usize| [right[at + 1], right[at]];
        (2..12).step_by(2).all(|at| query.get(at..at + 2) == Some(&pairs(at)))
    };
    let has = |name: &&str| {
        let name = name.as_bytes();
        query.windows(name.len()).any(|window| window == name)
    };
    let cause = if right.clone().any(|right| swapped(&right)) {
        "host-order"
    } else if names.iter().any(has) {
        "dotted-name"
    } else {
        "query-bytes"
    };
    let near = right.min_by_key(|one| one.len().abs_diff(query.len()));
    let near = near.unwrap_or_default();
    judge.check(
        cause,
        "a query is a header and one question, as RFC 1035 has it",
        known,
        format!(
            "expected ID-ID{}\nactual   ID-ID{}",
            spaced(&near[2..]),
            spaced(rest)
        ),
    );
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!(" {byte:02x}")).collect()
}

fn judge_lines(performance: &Performance, missing: &str, judge: &mut Judge) {
    let text = |fact| performance.text(fact).unwrap_or_default();
    let (asked, truth, lie) = (text("asked"), text("truth"), text("lie"));
    let lied = performance.trace.stdout("lied to");
    judge.check(
        "any-answer",
        "what has another id or another question is not an answer",
        lie.is_empty() || !lied.iter().any(|line| line.contains(lie)),
        lied.join("\n"),
    );
    let absent = performance.trace.stdout("absent");
    judge.check(
        "nxdomain",
        "that a name does not exist is said",
        absent.is_empty() || absent.contains(&"no such name"),
        absent.join("\n"),
    );
    let query = |name: &str| format!("query {} bytes", name.len() + 18);
    let web = ["203.0.113.80", "203.0.113.81"];
    let web = web.map(|address| format!("web.example.test A {address}"));
    let alias = |name: &str| format!("{name} CNAME web.example.test");
    let found = |name: &str| [vec![alias(name)], web.to_vec()].concat();
    let ignored = vec!["ignored".to_string(); 3];
    for (program, lines) in [
        ("alias", [vec![query(ALIAS)], found(ALIAS)].concat()),
        ("absent", vec![query(missing), "no such name".into()]),
        (
            "lost",
            [vec![query(OTHER), "no answer".into()], found(OTHER)].concat(),
        ),
        (
            "lied to",
            [vec![query(asked)], ignored, vec![format!("{asked} A {truth}")]]
                .concat(),
        ),
    ] {
        if performance.exits.contains_key(program) {
            judge.printed("output", performance, program, &lines);
        }
    }
}

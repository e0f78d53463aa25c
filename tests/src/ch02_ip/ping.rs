//! Grades `ping`: what comes back is counted by its number, and timed from its
//! own request.
//!
//! In the take `trouble` the wire has something for nearly every reply: one is
//! lost, one comes twice, one late, one damaged; and in place of one that is
//! lost come a reply for another program and a request. The judge takes from the
//! wire what arrived, and in which order; so the lines to print follow from the
//! run, however busy the machine is. In the take `clear` nothing happens.

mod message;

use testbed::Profile;
use testbed::trace::{Event, What};

use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};
use message::{Echo, checksum};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "ping",
    pristine: include_str!("../../pristine/ch02_ip/ping.rs"),
    takes: &[
        Take { name: TROUBLE, profile: Profile::Modern },
        Take { name: "clear", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "host_order", cause: "number-order" },
        Mutant { name: "checksum_of_the_header", cause: "checksum" },
        Mutant { name: "any_identifier", cause: "another-ping" },
        Mutant { name: "any_type", cause: "request-taken" },
        Mutant { name: "trusts_the_kernel", cause: "damaged" },
        Mutant { name: "counts_packets", cause: "duplicate-counted" },
        Mutant { name: "one_at_a_time", cause: "late-lost" },
        Mutant { name: "last_clock", cause: "wrong-clock" },
    ],
    alternatives: &["time_in_the_data", "two_threads"],
};

const TROUBLE: &str = "trouble";
const PROGRAM: &str = "ping";
/// Requests in the take `trouble`: there is something for each of them.
const COUNT: u64 = 9;
/// `lab run` shows fewer: a verdict leaves a busy machine time for what is sent
/// in place of the sixth reply.
const SHOWN: u64 = 7;
/// What the wire does to the replies.
const RULES: [&str; 4] = [
    "drop #1 icmp from Kongming20",
    "duplicate #2 icmp from Kongming20",
    "corrupt #5 icmp from Kongming20",
    "drop #6 icmp from Kongming20",
];
/// The number of the reply in whose place others come.
const REPLACED: u64 = 6;
/// The number of the reply that is damaged.
const DAMAGED: u64 = 5;
/// The number of the reply that is late.
const LATE: u16 = 3;
const INTERVAL_MS: u64 = 100;
/// What a clock that is read a little too early or late may be off, and what a
/// busy machine makes of it.
const NEAR_MS: f64 = 20.0;
const FAR_MS: f64 = 100.0;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let asked = |at: usize| {
        stage.values.get(at).and_then(|text| text.parse::<u64>().ok())
    };
    let (count, interval) = (asked(0), asked(1));
    let trouble = stage.take == TROUBLE;
    let drawn = match (trouble, stage.story) {
        (true, true) => SHOWN,
        (true, false) => COUNT,
        (false, _) => stage.draw.count(3..=5),
    };
    let late = stage.draw.count(210..=270);
    let count = count.unwrap_or(drawn).clamp(1, 50);
    let interval = interval.unwrap_or(INTERVAL_MS).clamp(10, 1000);
    stage.fact("count", count);
    stage.fact("interval", interval);
    stage.fact("late", late);
    if trouble {
        for rule in RULES {
            stage.net.wire().arm(rule)?;
        }
        let rule = format!("delay {late}ms #3 icmp from Kongming20");
        stage.net.wire().arm(&rule)?;
    }
    let address = stage.net.host(KONGMING)?.ip().to_string();
    let args = [address, count.to_string(), interval.to_string()];
    let program = stage.start(PROGRAM, LAPTOP, args)?;
    if trouble && count >= REPLACED {
        let there = stage.soon("icmp from Kongming20", REPLACED as usize)?;
        if there {
            replace(stage)?;
        }
    }
    stage.end(program)
}

/// In place of the reply that was lost: one for another program, and a request
/// with the identifier and the number of ours.
fn replace(stage: &mut Stage) -> Result<(), Halt> {
    let found = stage.look_each_ms(|stage, _| {
        let trace = stage.net.trace()?;
        // One that is late has not been delivered either, for a while.
        Ok(trace.events.iter().find_map(|event| {
            let What::Frame(frame) = &event.what else { return None };
            let lost = event.host == KONGMING && frame.delivered_ns.is_none();
            let echo = Echo::parse(&frame.bytes).filter(|_| lost)?;
            (u64::from(echo.number()) == REPLACED).then_some(echo)
        }))
    })?;
    let Some(lost) = found else { return Ok(()) };
    let kongming = stage.net.host(KONGMING)?;
    for frame in [lost.for_another(), lost.as_request()] {
        kongming.send_frame("eth0", &frame)?;
    }
    Ok(())
}

/// Something that reached the laptop, and was a sound reply to its program.
struct Arrival {
    number: u16,
    at_ns: u64,
    /// Since its request left.
    took_ms: f64,
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
    let trouble = performances.iter().find(|one| one.take == TROUBLE);
    if let Some(one) = trouble.filter(|one| one.missed.is_none()) {
        judge.about(one);
        judge.snapshot("fates", "ping-trouble", &fates(one));
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let lines = performance.trace.stdout(PROGRAM);
    let sent = requests(performance);
    let begun = judge.deed(
        "an echo request is sent",
        !sent.is_empty() || lines.is_empty(),
        "ernest-laptop sent no ICMP message",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge_requests(performance, &sent, judge);
    if !judge.content() || performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let arrivals = arrivals(performance, &sent);
    judge_counting(performance, &arrivals, judge);
    judge_times(performance, &arrivals, judge);
    let expected = expected(sent.len(), &arrivals);
    let printed: Vec<String> =
        lines.iter().map(|line| without_times(line)).collect();
    let same = expected == printed;
    let evidence = crate::verdict::side_by_side(&expected, &printed);
    let name = "the lines are those that the stub asks for";
    judge.check("output", name, same, evidence);
    judge.ended_well(performance, PROGRAM);
}

/// Each request, byte by byte, and when it left.
fn judge_requests(
    performance: &Performance,
    sent: &[(u64, Echo)],
    judge: &mut Judge,
) {
    let count = performance.number("count").unwrap_or_default();
    for (at, (_, echo)) in sent.iter().enumerate() {
        let shown = echo.to_string();
        let number = at as u16 + 1;
        judge.check(
            "checksum",
            "the checksum covers the whole message",
            checksum(&echo.message) == 0,
            shown.as_str(),
        );
        judge.check(
            "number-order",
            "identifier and number go most significant byte first",
            echo.number() != number.swap_bytes(),
            shown.as_str(),
        );
        judge.check(
            "numbers",
            "the requests are numbered from 1",
            echo.number() == number || sent.len() > count as usize,
            shown.as_str(),
        );
        if !judge.content() {
            return;
        }
    }
    // On a busy machine two requests may come to the wire close together; not
    // all of them.
    let interval = performance.number("interval").unwrap_or_default();
    let gaps = sent.len().saturating_sub(1) as u64;
    let slack = u64::from(performance.slack.max(1));
    let least = gaps * interval * 1_000_000 / 3 / slack;
    let span = match (sent.first(), sent.last()) {
        (Some(first), Some(last)) => last.0.saturating_sub(first.0),
        _ => 0,
    };
    judge.check(
        "interval",
        "it waits for the interval between its requests",
        span >= least,
        format!("{} requests with hardly a pause", sent.len()),
    );
    judge.check(
        "count",
        "it sends as many requests as it was told to",
        sent.len() == count as usize || performance.missed.is_some(),
        format!("told to send {count}, sent {}", sent.len()),
    );
}

/// What must not be counted, and what must.
fn judge_counting(
    performance: &Performance,
    arrivals: &[Arrival],
    judge: &mut Judge,
) {
    let lines = performance.trace.stdout(PROGRAM);
    let about = |number: u64| -> Vec<String> {
        let words =
            [format!("reply {number} in "), format!("duplicate {number}")];
        let lines = lines
            .iter()
            .filter(|line| line.starts_with(&words[0]) || **line == words[1]);
        lines.map(|line| without_times(line)).collect()
    };
    let replies = |number: u64| {
        about(number).iter().filter(|line| line.starts_with("reply")).count()
    };
    let arrived = |number: u64| {
        arrivals.iter().filter(|one| u64::from(one.number) == number).count()
    };
    if performance.take == TROUBLE {
        // Which of them was taken, the number tells.
        for (cause, name, number) in [
            (
                "damaged",
                "a reply with a wrong checksum is passed over",
                DAMAGED,
            ),
            ("another-ping", "a reply for another program is passed over", 1),
            ("request-taken", "an echo request is no reply", REPLACED),
        ] {
            let said = format!(
                "none arrived that was sound and its own:\n{}",
                about(number).join("\n")
            );
            judge.check(cause, name, replies(number) <= arrived(number), said);
        }
    }
    let mut numbers: Vec<u64> =
        arrivals.iter().map(|one| one.number.into()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        judge.check(
            "duplicate-counted",
            "a reply that comes twice is one reply, and a duplicate",
            replies(number) <= 1,
            about(number).join("\n"),
        );
        judge.check(
            "late-lost",
            "a reply counts though others have been sent since",
            replies(number) >= 1,
            format!("reply {number} arrived, and no line says so"),
        );
    }
}

/// The times against the wire's own.
fn judge_times(
    performance: &Performance,
    arrivals: &[Arrival],
    judge: &mut Judge,
) {
    let slack = f64::from(performance.slack.max(1));
    for line in performance.trace.stdout(PROGRAM) {
        let Some((number, took)) = reply_line(line) else { continue };
        let arrival = arrivals.iter().find(|one| one.number == number);
        let Some(arrival) = arrival else { continue };
        let off = took - arrival.took_ms;
        judge.check(
            "wrong-clock",
            &format!("reply {number} is timed from its own request"),
            off >= -NEAR_MS * slack && off <= FAR_MS * slack,
            match performance.number("late").filter(|_| number == LATE) {
                Some(late) => format!("the wire kept it for {late} ms"),
                None => {
                    format!("on the wire it took {:.2} ms", arrival.took_ms)
                }
            },
        );
    }
}

/// `reply N in T ms`
fn reply_line(line: &str) -> Option<(u16, f64)> {
    let (number, rest) = line.strip_prefix("reply ")?.split_once(" in ")?;
    let (took, _) = rest.split_once(" ms")?;
    Some((number.parse().ok()?, took.parse().ok()?))
}

/// A line with `T` for each time, `1.23`.
fn without_times(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let is_time = word.split_once('.').is_some_and(|(whole, part)| {
            let digits = |text: &str| {
                !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
            };
            digits(whole) && digits(part) && part.len() == 2
        });
        if is_time { "T" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What a right program prints of these arrivals.
fn expected(sent: usize, arrivals: &[Arrival]) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut seen, mut duplicates, mut late) = (Vec::new(), 0, 0);
    for Arrival { number, .. } in arrivals {
        if seen.contains(number) {
            duplicates += 1;
            lines.push(format!("duplicate {number}"));
            continue;
        }
        let order = match seen.iter().any(|earlier| earlier > number) {
            true => ", out of order",
            false => "",
        };
        late += usize::from(!order.is_empty());
        lines.push(format!("reply {number} in T ms{order}"));
        seen.push(*number);
    }
    let received = seen.len();
    lines.push(format!(
        "{sent} sent, {received} received, {} lost, {duplicates} duplicates, \
         {late} out of order",
        sent.saturating_sub(received)
    ));
    if received > 0 {
        lines.push("round trip T to T ms, T ms on average".into());
    }
    lines
}

/// The program's echo requests and when they left. The answers of its kernel are
/// no requests.
fn requests(performance: &Performance) -> Vec<(u64, Echo)> {
    let echoes = echoes(performance, LAPTOP);
    let requests = echoes.filter(|(_, _, echo)| echo.kind() != 0);
    requests.map(|(event, _, echo)| (event.t_ns, echo)).collect()
}

/// The sound replies in the order in which they arrived; who comes twice is
/// there twice.
fn arrivals(performance: &Performance, sent: &[(u64, Echo)]) -> Vec<Arrival> {
    let Some((_, first)) = sent.first() else { return Vec::new() };
    let mut arrivals = Vec::new();
    for (_, frame, echo) in echoes(performance, KONGMING) {
        let Some(at_ns) = frame.delivered_ns else { continue };
        let noted = |word: &str| frame.wire.iter().any(|n| n.contains(word));
        let ours = echo.kind() == 0 && echo.id() == first.id();
        if !ours || noted("corrupted") {
            continue;
        }
        let number = echo.number();
        let request = sent.iter().find(|(_, echo)| echo.number() == number);
        let Some((sent_ns, _)) = request else { continue };
        let took_ms = at_ns.saturating_sub(*sent_ns) as f64 / 1e6;
        let times = if noted("duplicated") { 2 } else { 1 };
        for _ in 0..times {
            arrivals.push(Arrival { number, at_ns, took_ms });
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at_ns);
    arrivals
}

fn echoes<'p>(
    performance: &'p Performance,
    host: &'p str,
) -> impl Iterator<Item = (&'p Event, &'p testbed::trace::Frame, Echo)> {
    let events = performance.trace.events.iter();
    let events = events.filter(move |event| event.host == host);
    events.filter_map(|event| match &event.what {
        What::Frame(frame) => Some((event, frame, Echo::parse(&frame.bytes)?)),
        _ => None,
    })
}

/// What the wire did to each reply, without its times.
fn fates(performance: &Performance) -> String {
    let sent = requests(performance);
    let mut text = String::new();
    for (_, frame, echo) in echoes(performance, KONGMING) {
        let ours = sent.first().is_some_and(|one| one.1.id() == echo.id());
        if echo.kind() != 0 || !ours {
            continue; // It is not the program's.
        }
        let note = frame.wire.first().map_or("carried", String::as_str);
        let did = note.split(" by rule").next().unwrap_or_default();
        // Which byte it was depends on how many there are.
        let did = did.split(' ').next_back().unwrap_or_default();
        text.push_str(&format!("reply {}: {did}\n", echo.number()));
    }
    text
}

//! Grades `byteorder`: four bytes on the wire, most significant first.
//!
//! The peer on Kongming20 answers each datagram with a number of its own, so
//! that the way back is seen as well. What is judged is the datagrams; what the
//! program prints about them only has to agree.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use testbed::Profile;

use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "byteorder",
    pristine: include_str!("../../pristine/ch05_sockets/byteorder.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant {
            name: "host_order_on_the_wire",
            cause: "host-order-on-the-wire",
        },
        Mutant { name: "sixteen_bits", cause: "sixteen-bits" },
        Mutant { name: "answer_not_converted", cause: "answer-not-converted" },
        Mutant { name: "memory_by_arithmetic", cause: "memory-by-arithmetic" },
    ],
    alternatives: &["nix_union", "std_slices"],
};

const MOST_NUMBERS: usize = 20;
/// A timeout of 0 would be none (socket(7), SO_RCVTIMEO).
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let mut numbers = stage.values.clone();
    if numbers.is_empty() {
        numbers = draw_numbers(stage);
    }
    numbers.truncate(MOST_NUMBERS);
    let answers: Vec<u32> = numbers.iter().map(|_| stage.draw.word()).collect();
    stage.fact("numbers", &numbers);
    stage.fact("answers", &answers);

    let peer = stage.net.host(KONGMING)?.at(|| UdpSocket::bind(address))?;
    let failed = |err| Halt::Missed(format!("peer on {address}: {err}"));
    let peer = peer.map_err(failed)?;
    let mut args = vec![address.to_string()];
    args.extend(numbers);
    let program = stage.start("byteorder", LAPTOP, args)?;
    for answer in answers {
        let from = stage.patiently(|stage, glance| {
            let glance = glance.max(SHORTEST_TIMEOUT);
            peer.set_read_timeout(Some(glance)).map_err(failed)?;
            let came = peer.recv_from(&mut [0; 64]);
            // Who has gone will send nothing.
            let gone = stage.program(program).has_closed_its_output();
            let none = if gone { Some(None) } else { None };
            Ok(came.map_or(none, |(_, from)| Some(Some(from))))
        })?;
        let Some(from) = from.flatten() else {
            return Err(Halt::Missed("waited for a datagram".into()));
        };
        reply(&peer, from, answer).map_err(failed)?;
    }
    stage.end(program)
}

fn reply(peer: &UdpSocket, to: SocketAddr, answer: u32) -> std::io::Result<()> {
    peer.send_to(&answer.to_be_bytes(), to)?;
    Ok(())
}

/// Numbers whose four bytes differ, so that no wrong order looks right; and one
/// that fits into a byte.
fn draw_numbers(stage: &mut Stage) -> Vec<String> {
    let mut numbers = vec![stage.draw.count(1..=255) as u32];
    while numbers.len() < 3 {
        let number = stage.draw.word();
        let [a, b, c, d] = number.to_be_bytes();
        if a != d && b != c && a != 0 && (a, b) != (c, d) {
            numbers.push(number);
        }
    }
    numbers.iter().map(u32::to_string).collect()
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let list = |fact: &str| performance.facts.get(fact).cloned();
    let numbers: Vec<String> = list("numbers")
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default();
    let answers: Vec<u32> = list("answers")
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default();
    let sent: Vec<&[u8]> = datagrams(performance);
    let begun = judge.deed(
        "a datagram is sent",
        !sent.is_empty() || performance.trace.stdout("byteorder").is_empty(),
        "ernest-laptop sent no UDP datagram",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    for (number, datagram) in numbers.iter().zip(&sent) {
        let value: u32 = number.parse().unwrap_or_default();
        judge_datagram(value, datagram, judge);
    }
    let exit = performance.exits.get("byteorder").copied().flatten();
    if exit.is_some_and(|exit| !exit.is_success()) {
        judge.ended_well(performance, "byteorder");
    }
    judge.check(
        "nothing-sent",
        "every number is sent in a datagram of its own",
        sent.len() == numbers.len(),
        format!("{} numbers, {} datagrams", numbers.len(), sent.len()),
    );
    judge_answers(performance, &answers, judge);
    judge_memory(performance, &numbers, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let expected = expected_output(&numbers, &answers);
    judge.printed("output", performance, "byteorder", &expected);
    judge.ended_well(performance, "byteorder");
    if judge.content() {
        let story = normalised(performance, &numbers, &answers);
        judge.snapshot("story", "byteorder", &story);
    }
}

/// The payloads of the datagrams that the program sent.
fn datagrams(performance: &Performance) -> Vec<&[u8]> {
    let frames = performance.trace.frames();
    frames
        .filter(|(event, frame)| {
            event.host == LAPTOP && frame.packet().protocol() == "udp"
        })
        .map(|(_, frame)| frame.packet().data())
        .collect()
}

fn judge_datagram(value: u32, datagram: &[u8], judge: &mut Judge) {
    let right = value.to_be_bytes();
    let half = (value as u16).to_be_bytes();
    let cause = if datagram == value.to_le_bytes() {
        "host-order-on-the-wire"
    } else if datagram == half || datagram == [0, 0, half[0], half[1]] {
        "sixteen-bits"
    } else {
        "wrong-bytes"
    };
    judge.check(
        cause,
        &format!("{value} goes out most significant byte first"),
        datagram == right,
        format!("expected {}\nactual   {}", hex(&right), hex(datagram)),
    );
}

/// The answers as the program understood them.
fn judge_answers(
    performance: &Performance,
    answers: &[u32],
    judge: &mut Judge,
) {
    let lines = performance.trace.stdout("byteorder");
    let read = lines.iter().filter_map(|line| line.split_once(" which is "));
    for (answer, (line, read)) in answers.iter().zip(read) {
        let swapped = read == answer.swap_bytes().to_string();
        let cause =
            if swapped { "answer-not-converted" } else { "answer-misread" };
        judge.check(
            cause,
            &format!("the answer {answer} is read as such"),
            read == answer.to_string(),
            format!("{line} which is {read}"),
        );
    }
}

/// The numbers as the program says that they lie in memory.
fn judge_memory(
    performance: &Performance,
    numbers: &[String],
    judge: &mut Judge,
) {
    let lines = performance.trace.stdout("byteorder");
    for number in numbers {
        let value: u32 = number.parse().unwrap_or_default();
        let right = hex(&value.to_ne_bytes());
        let reversed: Vec<u8> = value.to_ne_bytes().into_iter().rev().collect();
        let begin = format!("{number} is ");
        let said = lines
            .iter()
            .find_map(|line| line.strip_prefix(&begin))
            .and_then(|rest| rest.strip_suffix(" in memory"));
        let cause = match said {
            Some(said) if said == hex(&reversed) => "memory-by-arithmetic",
            _ => "memory",
        };
        judge.check(
            cause,
            &format!("{number} is shown as it lies in memory"),
            said == Some(right.as_str()),
            format!("expected {right}\nactual   {}", said.unwrap_or("")),
        );
    }
}

fn expected_output(numbers: &[String], answers: &[u32]) -> Vec<String> {
    let order = if cfg!(target_endian = "little") { "little" } else { "big" };
    let mut lines = vec![format!("host order is {order} endian")];
    for (number, answer) in numbers.iter().zip(answers) {
        let value: u32 = number.parse().unwrap_or_default();
        let memory = hex(&value.to_ne_bytes());
        lines.push(format!("{number} is {memory} in memory"));
        lines.push(format!("sent {}", hex(&value.to_be_bytes())));
        let wire = hex(&answer.to_be_bytes());
        lines.push(format!("received {wire} which is {answer}"));
    }
    lines
}

/// The frames and the output, with the numbers that were drawn left out.
fn normalised(
    performance: &Performance,
    numbers: &[String],
    answers: &[u32],
) -> String {
    let frames = performance.trace.frames().filter_map(|(event, frame)| {
        let length = frame.packet().data().len();
        let udp = frame.packet().protocol() == "udp";
        udp.then(|| format!("{} sends {length} bytes\n", event.host))
    });
    let mut text: String = frames.collect();
    for line in performance.trace.stdout("byteorder") {
        let mut line = line.to_string();
        for (number, answer) in numbers.iter().zip(answers) {
            let value: u32 = number.parse().unwrap_or_default();
            for (bytes, name) in [
                (value.to_be_bytes(), "NUMBER-BYTES"),
                (value.to_le_bytes(), "NUMBER-SETYB"),
                (answer.to_be_bytes(), "ANSWER-BYTES"),
            ] {
                line = line.replace(&hex(&bytes), name);
            }
            line =
                line.replace(&format!("which is {answer}"), "which is ANSWER");
            if let Some(rest) = line.strip_prefix(&format!("{number} is ")) {
                line = format!("NUMBER is {rest}");
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> =
        bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

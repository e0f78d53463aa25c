//! Grades `arp`: 42 bytes out, and the one reply among all frames that is meant.
//!
//! In the take `answered` the program asks for Kongming20. Neither its request
//! nor the reply leaves anything in the laptop's neighbour table, which tells a
//! program that asks from one that lets its kernel ask. Then the kernel's own
//! table has its turn: empty, filled, deleted, set by hand, and waiting for a
//! reply that never comes. In the take `silent` the first reply is lost, and two
//! frames that look like it arrive; another program asks for an address that
//! nobody has.

mod frame;
mod scenario;

use testbed::Profile;
use testbed::trace::{Event, What};

use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};
use frame::{EVERYBODY, Frame};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "arp",
    pristine: include_str!("../../pristine/ch01_suite/arp.rs"),
    takes: &[
        Take { name: ANSWERED, profile: Profile::Modern },
        Take { name: SILENT, profile: Profile::Modern },
    ],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "asks_the_kernel", cause: "kernel-asked" },
        Mutant { name: "host_order", cause: "host-order" },
        Mutant { name: "asks_nobody", cause: "not-broadcast" },
        Mutant { name: "hides_its_address", cause: "sender-address" },
        Mutant { name: "reads_the_target", cause: "own-station" },
        Mutant { name: "takes_the_first_reply", cause: "another-reply" },
        Mutant { name: "reads_what_is_cut_off", cause: "cut-off" },
        Mutant { name: "asks_once", cause: "gives-up" },
        Mutant { name: "does_not_wait", cause: "does-not-wait" },
    ],
    alternatives: &["datagrams", "raw_calls"],
};

const ANSWERED: &str = "answered";
const SILENT: &str = "silent";
/// How often an address that does not answer is asked for.
const TRIES: usize = 3;

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
    let answered = performances.iter().find(|p| p.take == ANSWERED);
    if let Some(one) = answered.filter(|one| one.missed.is_none()) {
        judge.about(one);
        judge.snapshot("story", "arp-answered", &story(one));
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let sent = sent(performance);
    let silent = performance.exits.keys().all(|program| {
        let lines = performance.trace.stdout(program);
        lines.is_empty()
    });
    let begun = judge.deed(
        "an ARP frame is sent",
        !sent.is_empty() || silent,
        "ernest-laptop sent none",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let table = performance.facts.get("table").cloned().unwrap_or_default();
    let table: Vec<String> = serde_json::from_value(table).unwrap_or_default();
    judge.check(
        "kernel-asked",
        "the kernel's neighbour table is left alone",
        table.is_empty(),
        format!("ernest-laptop's table then:\n{}", table.join("\n")),
    );
    for (_, frame) in &sent {
        judge_frame(performance, frame, judge);
        if !judge.content() {
            return;
        }
    }
    for program in performance.exits.keys() {
        judge_program(performance, program, &sent, judge);
    }
}

/// A request, field by field.
fn judge_frame(performance: &Performance, frame: &Frame, judge: &mut Judge) {
    let text = frame.to_string();
    let right = Frame::request(frame.target_ip);
    let halves = |f: &Frame| [f.ethertype, f.hardware, f.protocol, f.operation];
    let mut pairs = halves(&right).into_iter().zip(halves(frame));
    let swapped = pairs.any(|(right, is)| right.swap_bytes() == is);
    judge.check(
        "host-order",
        "numbers of 16 bits are sent most significant byte first",
        !swapped,
        text.as_str(),
    );
    judge.check(
        "malformed",
        "the frame is an ARP request for IPv4 on Ethernet",
        halves(frame) == halves(&right) && frame.lengths == right.lengths,
        text.as_str(),
    );
    judge.check(
        "not-broadcast",
        "the request goes to every station",
        frame.to == EVERYBODY,
        text.as_str(),
    );
    let target = frame.target_ip.to_string();
    let asked = ["arp", "lost", "nobody"]
        .iter()
        .filter_map(|program| performance.text(&format!("{program} asks for")));
    judge.check(
        "target",
        "it asks for the address that was given",
        asked.clone().any(|address| address == target),
        text.as_str(),
    );
    judge.check(
        "sender-address",
        "it tells who asks: the interface's own addresses",
        (frame.from, frame.sender, frame.sender_ip)
            == (right.from, right.sender, right.sender_ip),
        text.as_str(),
    );
}

/// One program's lines, against its requests and what came back.
fn judge_program(
    performance: &Performance,
    program: &str,
    sent: &[(u64, Frame)],
    judge: &mut Judge,
) {
    let address = performance.text(&format!("{program} asks for"));
    let address = address.unwrap_or_default();
    let asked: Vec<u64> = sent
        .iter()
        .filter(|(_, frame)| frame.target_ip.to_string() == address)
        .map(|(t_ns, _)| *t_ns)
        .collect();
    let lines = performance.trace.stdout(program);
    let said = lines.join("\n");
    let begin = format!("{address} is at ");
    let found = lines.iter().find_map(|line| line.strip_prefix(&begin));
    let is = |fact: &str| found.is_some() && found == performance.text(fact);
    judge.check(
        "own-station",
        "the station is the one that answers",
        !is("own"),
        said.as_str(),
    );
    judge.check(
        "another-reply",
        "a reply about another address is passed over",
        !is("another"),
        said.as_str(),
    );
    judge.check(
        "cut-off",
        "a frame that ends too early is passed over",
        !is("cut"),
        said.as_str(),
    );
    let exit = performance.exits.get(program).copied().flatten();
    let least = match program {
        "nobody" => TRIES,
        "lost" => 2,
        _ => 1,
    };
    judge.check(
        "gives-up",
        "who gets no answer asks again, three times in all",
        exit.is_none() || asked.len() >= least,
        format!("{address} was asked for {} times\n{said}", asked.len()),
    );
    let wait = performance.number("wait").unwrap_or_default() * 1_000_000;
    // On a busy machine two requests may come to the wire close together; not
    // all of them.
    let span = match (asked.first(), asked.last()) {
        (Some(first), Some(last)) => last.saturating_sub(*first),
        _ => 0,
    };
    let slack = u64::from(performance.slack.max(1));
    let least = wait * asked.len().saturating_sub(1) as u64 / 3 / slack;
    judge.check(
        "does-not-wait",
        "it waits for the answer before it asks again",
        program != "nobody" || span >= least,
        format!("its next request left too early\n{said}"),
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let own = performance.text("own address").unwrap_or_default();
    let mut expected = vec![format!("who has {address}? tell {own}")];
    // How many tries it takes is the machine's business too.
    expected.resize(asked.len().max(1), expected[0].clone());
    expected.push(match performance.text(&format!("{program} finds")) {
        Some(station) => format!("{address} is at {station}"),
        None => format!("no answer from {address}"),
    });
    judge.printed("output", performance, program, &expected);
    judge.ended_well(performance, program);
}

/// What the laptop's programs sent, and when; not what its kernel did, once the
/// kernel has its turn.
fn sent(performance: &Performance) -> Vec<(u64, Frame)> {
    let frames = performance
        .trace
        .events
        .iter()
        .take_while(|event| !is_the_kernels_turn(event))
        .filter(|event| event.host == LAPTOP)
        .filter_map(|event| match &event.what {
            What::Frame(frame) => {
                Some((event.t_ns, Frame::parse(&frame.bytes)?))
            }
            _ => None,
        });
    frames.collect()
}

fn is_the_kernels_turn(event: &Event) -> bool {
    matches!(&event.what, What::Step { text } if text == scenario::TURN)
}

/// Frames and steps, without the clock: what the kernel does with its table. It
/// begins where the program has its answer.
fn story(performance: &Performance) -> String {
    let trace = &performance.trace;
    let mut text = String::new();
    let events = trace.events.iter();
    for event in events.skip_while(|event| !is_the_kernels_turn(event)) {
        match &event.what {
            What::Step { text: step } => {
                text.push_str(&format!("[{}: {step}]\n", event.host));
            }
            What::Frame(frame) => {
                let packet = frame.packet();
                if ["arp", "udp", "tcp"].contains(&packet.protocol()) {
                    let what = packet.describe(&|ip| trace.name_of(ip));
                    text.push_str(&format!("{}: {what}\n", event.host));
                }
            }
            _ => {}
        }
    }
    text
}

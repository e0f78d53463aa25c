//! Grades `encapsulate`: three headers, two checksums, and a kernel that takes
//! them for another's.
//!
//! A plain UDP socket on Kongming20 receives what it is given. Among the lines
//! are one of an odd length, one whose checksum comes to 0, and one that the wire
//! damages: a datagram without a checksum would arrive all the same, and wrong.
//! At the end the scenario sends the program's last frame again, with one bit of
//! the IPv4 checksum turned over.

mod frame;
mod scenario;

use testbed::Profile;
use testbed::trace::{Event, What};

use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};
use frame::{Frame, checksum, hex, sums};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "encapsulate",
    pristine: include_str!("../../pristine/ch01_suite/encapsulate.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "plain_socket", cause: "kernel-sent" },
        Mutant { name: "drops_the_carry", cause: "carry" },
        Mutant { name: "sums_only", cause: "complement" },
        Mutant { name: "host_order", cause: "checksum-order" },
        Mutant { name: "no_pseudo_header", cause: "pseudo-header" },
        Mutant { name: "odd_byte_below", cause: "odd-byte" },
        Mutant { name: "zero_is_sent", cause: "zero-checksum" },
        Mutant { name: "no_checksum", cause: "no-checksum" },
        Mutant { name: "length_of_the_data", cause: "udp-length" },
        Mutant { name: "length_of_the_frame", cause: "total-length" },
    ],
    alternatives: &["from_the_front", "datagram_socket"],
};

/// The program's name.
const PROGRAM: &str = "encapsulate";

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let lines = performance.trace.stdout(PROGRAM);
    let sent = sent(performance);
    let begun = judge.deed(
        "a frame is sent",
        !sent.is_empty() || lines.is_empty(),
        "ernest-laptop sent none",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let table = list(performance, "table");
    judge.check(
        "kernel-sent",
        "the frames are the program's, not its kernel's",
        table.is_empty(),
        format!("ernest-laptop's kernel had to ask:\n{}", table.join("\n")),
    );
    let texts = list(performance, "texts");
    let mut expected = Vec::new();
    for (bytes, text) in sent.iter().zip(&texts) {
        let right = judge_frame(performance, bytes, text.as_bytes(), judge);
        if !right {
            return;
        }
        expected.push(format!(
            "sent {} bytes, IPv4 checksum {}, UDP checksum {}",
            bytes.len(),
            hex(&bytes[24..26]),
            hex(&bytes[40..42])
        ));
    }
    judge.check(
        "lines",
        "every line is sent in a datagram of its own",
        sent.len() == texts.len() || performance.missed.is_some(),
        format!("{} lines, {} datagrams", texts.len(), sent.len()),
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge.printed("output", performance, PROGRAM, &expected);
    judge.ended_well(performance, PROGRAM);
    if judge.content() {
        let fates = list(performance, "fates").join("\n");
        judge.snapshot("fates", "encapsulate", &fates);
    }
}

/// One frame, from the bottom up.
fn judge_frame(
    performance: &Performance,
    bytes: &[u8],
    text: &[u8],
    judge: &mut Judge,
) -> bool {
    let shown = frame::show(bytes);
    let mut ok = true;
    let mut check = |cause: &str, name: &str, is: bool| {
        ok = ok && judge.check(cause, name, is, shown.as_str());
    };
    let right = Frame::told(performance);
    let whole = bytes.len() >= 14 + 20 + 8;
    check("short", "the frame has three whole headers", whole);
    let (Some(found), Some(right)) = (Frame::parse(bytes), right) else {
        return ok;
    };
    check(
        "ethernet",
        "the Ethernet header has both stations and the type of IPv4",
        found.ethernet == right.ethernet,
    );
    check(
        "ip-header",
        "the IPv4 header is one of a whole packet with UDP in it",
        found.version == 0x45
            && found.fragment == 0
            && found.ttl > 0
            && found.protocol == 17,
    );
    check(
        "total-length",
        "the packet's length is that of header and datagram",
        usize::from(found.total) == 20 + 8 + text.len(),
    );
    check(
        "addresses",
        "the packet goes from the laptop to the address that was given",
        found.addresses == right.addresses,
    );
    let header = &bytes[14..34];
    let sound = checksum(header) == 0;
    check(sums::of_header(header), "the IPv4 checksum is right", sound);
    check(
        "ports",
        "the datagram goes from and to the ports that were given",
        found.ports == right.ports,
    );
    check(
        "udp-length",
        "the datagram's length is that of header and data",
        usize::from(found.length) == 8 + text.len(),
    );
    let datagram = &bytes[34..(34 + 8 + text.len()).min(bytes.len())];
    check("data", "the data is the line", &datagram[8..] == text);
    let pseudo = found.pseudo();
    let sound = found.checksum != 0
        && checksum(&[pseudo.as_slice(), datagram].concat()) == 0;
    let cause = sums::of_datagram(&pseudo, datagram);
    check(cause, "the UDP checksum is right", sound);
    ok
}

/// The frames that the laptop's program sent, in order.
fn sent(performance: &Performance) -> Vec<&[u8]> {
    let ours = |event: &&Event| !matches!(&event.what, What::Step { text } if text == scenario::AGAIN);
    let events = performance.trace.events.iter().take_while(ours);
    let frames = events.filter(|event| event.host == LAPTOP);
    let bytes = frames.filter_map(|event| match &event.what {
        What::Frame(frame) => {
            let other = ["ip6", "icmp6", "arp"];
            let is_other = other.contains(&frame.packet().protocol());
            (!is_other).then_some(frame.bytes.as_slice())
        }
        _ => None,
    });
    bytes.collect()
}

fn list(performance: &Performance, fact: &str) -> Vec<String> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

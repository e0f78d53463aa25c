//! Grades `frames`: what is in a frame, down to the ports.
//!
//! The frames are those of two real kernels that have just talked, some of them
//! made over by hand (options, padding), and a thousand that were cut short or
//! bent. The right answers come from etherparse.

use etherparse::{
    Ethernet2Slice, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeaderSlice,
};
use testbed::Profile;

use crate::corpus::{self, Taken, hex};
use crate::filter::{self, Question};
use crate::stage::{Halt, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "frames",
    pristine: include_str!("../../pristine/ch01_suite/frames.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "host_order", cause: "host-order" },
        Mutant { name: "fixed_header", cause: "ipv4-options" },
        Mutant { name: "padding_is_payload", cause: "padding" },
        Mutant { name: "ports_in_every_fragment", cause: "fragment" },
        Mutant { name: "believes_the_length", cause: "crashed" },
        Mutant { name: "stops_at_nonsense", cause: "no-answer" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["cursor", "byte_by_byte"],
};

const PROGRAM: &str = "frames";
/// How many frames are cut short or bent.
const BENT: usize = 1_500;
/// `lab run` shows that many of them.
const BENT_SHOWN: usize = 12;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    if !stage.values.is_empty() {
        return ask_these(stage);
    }
    let real = corpus::mixed_run(stage)?;
    let (abouts, mut made): (Vec<_>, Vec<_>) =
        made_over(&real).into_iter().unzip();
    let count = if stage.story { BENT_SHOWN } else { BENT };
    made.extend(corpus::bent(&mut stage.draw, &real, count));
    let abouts = abouts.into_iter().chain(std::iter::repeat("malformed"));
    let made = corpus::named(&real, made);
    let made = made.iter().zip(abouts);
    let made = made.map(|(taken, about)| question(taken, about, false));
    let real = real.iter().map(|taken| question(taken, about(taken), true));
    let questions: Vec<Question> = real.chain(made).collect();
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

/// Frames that the user has written, in hexadecimal.
fn ask_these(stage: &mut Stage) -> Result<(), Halt> {
    let frames = stage.values.iter().map(|text| corpus::unhex(text));
    let frames: Option<Vec<_>> = frames.collect();
    let missed = || Halt::Missed("waited for frames as `0a1b2c...`".into());
    let frames = corpus::named(&[], frames.ok_or_else(missed)?);
    let question = |taken| question(taken, "malformed", false);
    let questions: Vec<Question> = frames.iter().map(question).collect();
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

fn question(taken: &Taken, about: &str, usual: bool) -> Question {
    Question {
        name: taken.name.clone(),
        text: hex(&taken.bytes),
        answer: answer(&taken.bytes),
        about: about.to_string(),
        usual,
    }
}

/// What a frame as it was on the wire asks for.
fn about(taken: &Taken) -> &'static str {
    let answer = answer(&taken.bytes);
    let kinds = ["arp", "fragment", "ipv4", "ipv6"];
    kinds.into_iter().find(|kind| answer.contains(kind)).unwrap_or("ethernet")
}

/// IPv4 headers with options; frames with more bytes than their packets, and
/// with fewer.
fn made_over(real: &[Taken]) -> Vec<(&'static str, Vec<u8>)> {
    let mut made = Vec::new();
    for taken in real {
        let answer = answer(&taken.bytes);
        if !answer.starts_with("ipv4") || answer.contains("fragment") {
            continue;
        }
        let mut options = taken.bytes.clone();
        let total = u16::from_be_bytes([options[16], options[17]]) + 8;
        options[14] += 2; // the header's length, in words of 4 bytes
        options[16..18].copy_from_slice(&total.to_be_bytes());
        options.splice(34..34, [1, 1, 1, 1, 1, 1, 1, 0]);
        made.push(("ipv4-options", options));
        // A packet that says it ends before its ports, in a frame that goes on.
        let mut padded = taken.bytes.clone();
        padded[16..18].copy_from_slice(&22u16.to_be_bytes());
        made.push(("padding", padded));
    }
    made
}

/// What etherparse makes of a frame.
fn answer(frame: &[u8]) -> String {
    let Ok(ethernet) = Ethernet2Slice::from_slice_without_fcs(frame) else {
        return "ethernet short".into();
    };
    let packet = ethernet.payload_slice();
    match ethernet.ether_type().0 {
        0x0806 if packet.len() < 28 => "arp short".into(),
        0x0806 => "arp".into(),
        0x0800 => format!("ipv4 {}", ipv4(packet)),
        0x86dd => format!("ipv6 {}", ipv6(packet)),
        other => format!("ethernet type {other:#06x}"),
    }
}

fn ipv4(packet: &[u8]) -> String {
    if packet.len() < 20 {
        return "short".into();
    }
    // Room for any options, so that a header is bad before it is short.
    let mut roomy = packet.to_vec();
    roomy.resize(packet.len().max(60), 0);
    let Ok(header) = Ipv4HeaderSlice::from_slice(&roomy) else {
        return "bad".into();
    };
    let Ok(length) = header.payload_len() else { return "bad".into() };
    let from = header.slice().len();
    let to = from + usize::from(length);
    let Some(payload) = packet.get(from..to) else { return "short".into() };
    if header.fragments_offset().value() != 0 {
        return format!("fragment of {}", protocol(header.protocol()));
    }
    transport(header.protocol(), payload)
}

fn ipv6(packet: &[u8]) -> String {
    if packet.len() < 40 {
        return "short".into();
    }
    let Ok(header) = Ipv6HeaderSlice::from_slice(packet) else {
        return "bad".into();
    };
    match packet.get(40..40 + usize::from(header.payload_length())) {
        Some(payload) => transport(header.next_header(), payload),
        None => "short".into(),
    }
}

fn transport(number: IpNumber, payload: &[u8]) -> String {
    let name = protocol(number);
    let least = match number {
        IpNumber::TCP => 20,
        IpNumber::UDP => 8,
        IpNumber::ICMP | IpNumber::IPV6_ICMP => 4,
        _ => return name,
    };
    if payload.len() < least {
        return format!("{name} short");
    }
    // TCP's ports stand where UDP's do.
    match UdpHeaderSlice::from_slice(payload) {
        Ok(ports) if least >= 8 => {
            let (from, to) = (ports.source_port(), ports.destination_port());
            format!("{name} {from} > {to}")
        }
        _ => name,
    }
}

fn protocol(number: IpNumber) -> String {
    match number {
        IpNumber::ICMP => "icmp".into(),
        IpNumber::TCP => "tcp".into(),
        IpNumber::UDP => "udp".into(),
        IpNumber::IPV6_ICMP => "icmp6".into(),
        IpNumber(other) => format!("protocol {other}"),
    }
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        filter::judge(performance, PROGRAM, judge, why);
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "frames", &shapes);
        }
    }
}

/// Ports the other way round: 80 is 20480 then.
fn why(question: &Question, answer: &str) -> Option<&'static str> {
    let swapped = |text: &str| {
        let words = text.split(' ').map(|word| match word.parse::<u16>() {
            Ok(port) => port.swap_bytes().to_string(),
            Err(_) => word.to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let asks = question.answer.contains('>');
    (asks && swapped(answer) == question.answer).then_some("host-order")
}

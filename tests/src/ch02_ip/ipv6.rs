//! Grades `ipv6`: the fixed header, the chain after it, addresses as text.
//!
//! The packets are those of two real kernels, with options that they were asked
//! to send; some made over by hand, and more than a thousand bent. The right
//! answers come from etherparse, for addresses from the standard library.

use std::net::Ipv6Addr;

use etherparse::{
    Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice,
};
use testbed::{Draw, Profile};

use crate::corpus::{self, Taken, hex, unhex};
use crate::filter::{self, Question};
use crate::stage::{Halt, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "ipv6",
    pristine: include_str!("../../pristine/ch02_ip/ipv6.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "shortens_one", cause: "single-zero" },
        Mutant { name: "last_run", cause: "first-run" },
        Mutant { name: "first_run_only", cause: "longest-run" },
        Mutant { name: "mapped_in_hex", cause: "mapped-address" },
        Mutant { name: "class_in_flow", cause: "class" },
        Mutant { name: "no_walk", cause: "extension" },
        Mutant { name: "walks_into_the_data", cause: "fragment" },
        Mutant { name: "padding_is_payload", cause: "padding" },
        Mutant { name: "every_hop_anywhere", cause: "hop-by-hop" },
        Mutant { name: "believes_the_length", cause: "crashed" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["shifts", "pieces"],
};

const PROGRAM: &str = "ipv6";
/// How many addresses are asked for, and how many packets are bent.
const ADDRESSES: usize = 3_000;
const BENT: usize = 1_200;
/// How many of the real ones are made over.
const MADE_OVER: usize = 20;
/// As IANA numbers them.
const TCP: u8 = 6;
const ICMP6: u8 = 58;
/// A line has no more of a packet than this, where nothing depends on it.
const MOST: usize = 160;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let questions = match stage.values.is_empty() {
        true => questions(stage)?,
        false => {
            let texts = stage.values.clone().into_iter();
            named(&[], texts.map(|text| ("ipv6", text)).collect(), false)
        }
    };
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

fn questions(stage: &mut Stage) -> Result<Vec<Question>, Halt> {
    let mut real = corpus::ipv6_run(stage)?;
    real.retain(|taken| taken.bytes[12..14] == [0x86, 0xdd]);
    for taken in &mut real {
        taken.bytes.drain(..14);
    }
    let mut questions: Vec<Question> = Vec::new();
    let (mut addresses, mut texts) = (Vec::new(), Vec::new());
    if !stage.story {
        for at in 0..ADDRESSES {
            let octets = octets(&mut stage.draw, at);
            addresses.push((about_address(octets), ask_for(octets)));
        }
        texts.extend(made_over(&real));
        let short = real.iter().map(|taken| Taken {
            name: taken.name.clone(),
            bytes: taken.bytes.iter().copied().take(MOST).collect(),
        });
        let short: Vec<Taken> = short.collect();
        let bent = corpus::bent(&mut stage.draw, &short, BENT);
        texts.extend(bent.iter().map(|bytes| ("malformed", hex(bytes))));
    }
    // Addresses first: every line of a packet has two.
    let mut made = named(&real, [addresses, texts].concat(), true);
    let packets = made.split_off(if stage.story { 0 } else { ADDRESSES });
    questions.extend(made);
    questions.extend(real.iter().map(|taken| Question {
        name: taken.name.clone(),
        text: hex(&taken.bytes),
        answer: show(&taken.bytes),
        about: about(&taken.bytes).into(),
        // How often neighbours are asked for is the kernels' choice.
        usual: taken.bytes[6] != ICMP6,
    }));
    questions.extend(packets);
    Ok(questions)
}

/// Questions about what nobody captured.
fn named(
    real: &[Taken],
    texts: Vec<(&str, String)>,
    usual: bool,
) -> Vec<Question> {
    let names = corpus::named(real, vec![Vec::new(); texts.len()]);
    let question = |((about, text), taken): ((&str, String), Taken)| Question {
        name: taken.name,
        answer: answer(&text),
        usual: usual && about != "malformed" && !text.contains(' '),
        text,
        about: about.to_string(),
    };
    texts.into_iter().zip(names).map(question).collect()
}

/// What a real packet asks for.
fn about(packet: &[u8]) -> &'static str {
    let answer = show(packet);
    match () {
        () if answer.contains("fragment") => "fragment",
        () if answer.contains("hop-by-hop") => "extension",
        () if answer.contains("destination") => "extension",
        () if !answer.contains("class 0x0,") => "class",
        () => "ipv6",
    }
}

/// Any address; most with zeros in some of its groups.
fn octets(draw: &mut Draw, at: usize) -> [u8; 16] {
    let mut groups: [u16; 8] = std::array::from_fn(|_| draw.word() as u16);
    let (zeros, small) = (draw.word() as u8, draw.word() as u8);
    for (place, group) in groups.iter_mut().enumerate() {
        if !at.is_multiple_of(4) && zeros >> place & 1 == 1 {
            *group = 0;
        } else if small >> place & 1 == 1 {
            *group &= 0xff;
        }
    }
    match at % 20 {
        0 => groups[..6].copy_from_slice(&[0, 0, 0, 0, 0, 0xffff]),
        1 => groups[..7].fill(0),
        2 => groups[1..].fill(0),
        _ => {}
    }
    Ipv6Addr::from(groups).octets()
}

fn ask_for(octets: [u8; 16]) -> String {
    format!("address {}", hex(&octets))
}

/// Which of the rules of RFC 5952 an address puts to the test.
fn about_address(octets: [u8; 16]) -> &'static str {
    let address = Ipv6Addr::from(octets);
    let groups = address.segments();
    let runs = groups.split(|group| *group != 0).map(<[u16]>::len);
    let runs: Vec<usize> = runs.filter(|length| *length > 0).collect();
    let longest = runs.iter().copied().max().unwrap_or(0);
    let count = runs.iter().filter(|length| **length == longest).count();
    match () {
        () if address.to_ipv4_mapped().is_some() => "mapped-address",
        () if longest == 1 => "single-zero",
        () if longest > 1 && count > 1 => "first-run",
        // The first that could be shortened is not the one that must be.
        () if runs.iter().find(|length| **length > 1) < Some(&longest)
            && longest > 1 =>
        {
            "longest-run"
        }
        () => "address",
    }
}

/// Chains that no kernel sends: long, out of order, too long for the packet;
/// packets in longer frames, and in shorter ones.
fn made_over(real: &[Taken]) -> Vec<(&'static str, String)> {
    let mut made = Vec::new();
    let plain = real.iter().filter(|taken| taken.bytes[6] == TCP);
    let plain: Vec<&Taken> = plain.take(MADE_OVER).collect();
    for taken in &plain {
        let mut padded = taken.bytes.clone();
        padded.extend([0; 6]);
        made.push(("padding", hex(&padded)));
        let mut classed = taken.bytes.clone();
        (classed[0], classed[1]) = (0x6a, classed[1] & 15 | 0xf0);
        made.push(("class", hex(&classed)));
    }
    let Some(first) = plain.first() else { return made };
    for (about, numbers) in CHAINS {
        let mut packet = first.bytes[..40].to_vec();
        let last = first.bytes[6];
        let mut chain = Vec::new();
        for (at, number) in numbers.iter().enumerate() {
            let next = numbers.get(at + 1).copied().unwrap_or(last);
            match number {
                44 => chain.extend([next, 0, 0, 1, 1, 2, 3, 4]),
                _ => {
                    let units = (number % 3) as usize;
                    chain.extend([next, units as u8, 1, 4]);
                    chain.extend(vec![0; 4 + units * 8]);
                }
            }
        }
        packet[6] = numbers.first().copied().unwrap_or(last);
        packet[4..6].copy_from_slice(&(chain.len() as u16 + 4).to_be_bytes());
        packet.extend(&chain);
        packet.extend([1, 2, 3, 4]);
        made.push((about, hex(&packet)));
        // The last header promises more than there is.
        if let (Some(at), 1..) = (chain.len().checked_sub(8), numbers.len()) {
            let whole = usize::from(numbers[numbers.len() - 1] % 3) * 8;
            let mut long = packet.clone();
            long[40 + at - whole.min(at) + 1] = 9;
            made.push(("malformed", hex(&long)));
        }
        // Of a fragment all but the offset: its place makes it another thing.
        let place = packet[40..].windows(4).position(|w| w == [1, 2, 3, 4]);
        if let (Some(place), true) = (place, numbers.contains(&44)) {
            packet[40 + place - 2] = 2;
            made.push(("fragment", hex(&packet)));
        }
    }
    made
}

/// Next header values, one after the other.
const CHAINS: &[(&str, &[u8])] = &[
    ("extension", &[0]),
    ("extension", &[43]),
    ("extension", &[60, 43, 60]),
    ("extension", &[0, 60, 43, 44, 60]),
    ("extension", &[60, 60, 60, 60, 60, 60]),
    ("extension", &[43, 59]),
    ("extension", &[59]),
    ("extension", &[60, 89]),
    ("fragment", &[44]),
    ("fragment", &[0, 43, 44]),
    ("hop-by-hop", &[60, 0]),
    ("hop-by-hop", &[0, 0]),
    ("hop-by-hop", &[44, 0, 60]),
];

/// What etherparse and the standard library make of a question.
fn answer(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let answer = match words[..] {
        ["address", octets] => unhex(octets)
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
            .map(|octets| Ipv6Addr::from(octets).to_string()),
        [packet] => unhex(packet).map(|packet| show(&packet)),
        _ => None,
    };
    answer.unwrap_or_else(|| "not a packet".to_string())
}

fn show(packet: &[u8]) -> String {
    if packet.len() < 40 {
        return "short".into();
    }
    let Ok(header) = Ipv6HeaderSlice::from_slice(packet) else {
        return "bad".into();
    };
    let length = usize::from(header.payload_length());
    let Some(payload) = packet.get(40..40 + length) else {
        return "short".into();
    };
    let mut texts = vec![
        format!("class {:#x}", header.traffic_class()),
        format!("flow {:#x}", header.flow_label().value()),
        format!("hops {}", header.hop_limit()),
        format!("length {length}"),
    ];
    chain(header.next_header().0, payload, &mut texts);
    format!(
        "{} > {}: {}",
        header.source_addr(),
        header.destination_addr(),
        texts.join(", ")
    )
}

fn chain(mut next: u8, mut rest: &[u8], texts: &mut Vec<String>) {
    let mut first = true;
    loop {
        let name = name(next);
        match next {
            0 if !first => return texts.push("hop-by-hop bad".into()),
            0 | 43 | 60 => {
                let Ok(header) = Ipv6RawExtHeaderSlice::from_slice(rest) else {
                    return texts.push(format!("{name} short"));
                };
                let length = header.slice().len();
                texts.push(format!("{name} {length}"));
                (next, rest) = (header.next_header().0, &rest[length..]);
            }
            44 => {
                let Ok(header) = Ipv6FragmentHeaderSlice::from_slice(rest)
                else {
                    return texts.push("fragment short".into());
                };
                let offset = u32::from(header.fragment_offset().value()) * 8;
                let more = if header.more_fragments() { " more" } else { "" };
                texts.push(format!("fragment {offset}{more}"));
                (next, rest) = (header.next_header().0, &rest[8..]);
                if offset > 0 {
                    let of = self::name(next);
                    return texts.push(format!("part of {of} {}", rest.len()));
                }
            }
            59 => return texts.push(name),
            _ => return texts.push(format!("{name} {}", rest.len())),
        }
        first = false;
    }
}

fn name(number: u8) -> String {
    let names = [
        (0, "hop-by-hop"),
        (6, "tcp"),
        (17, "udp"),
        (43, "routing"),
        (44, "fragment"),
        (58, "icmp6"),
        (59, "none"),
        (60, "destination"),
    ];
    let found = names.iter().find(|(known, _)| *known == number);
    found.map_or_else(|| format!("protocol {number}"), |(_, n)| n.to_string())
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        filter::judge(performance, PROGRAM, judge, why);
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "ipv6", &shapes);
        }
    }
}

/// Only what stands in the first four bytes differs.
fn why(question: &Question, answer: &str) -> Option<&'static str> {
    let without = |text: &str| {
        let (before, rest) = text.split_once(": class ")?;
        let (_, after) = rest.split_once(", hops ")?;
        Some((before.to_string(), after.to_string()))
    };
    let same = without(answer)? == without(&question.answer)?;
    same.then_some("class")
}

//! Grades `ipv4_header`: read, written, and changed on its way.
//!
//! The headers are those of two real kernels, with options that they filled in
//! themselves; some made over by hand, and more than a thousand bent. The right
//! answers come from etherparse, for options from this file. What the program
//! builds is put on the wire as it is: a UDP socket of the other host receives
//! it, or that host's kernel has dropped it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use etherparse::UdpHeader;
use etherparse::checksum::Sum16BitWords;
use testbed::Profile;

use crate::corpus::{self, Taken, hex, unhex};
use crate::filter::{self, Question};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod right;

use right::{answer, show};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "ipv4_header",
    pristine: include_str!("../../pristine/ch02_ip/ipv4_header.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "carry_lost", cause: "carry" },
        Mutant { name: "offset_in_units", cause: "fragment" },
        Mutant { name: "sums_twenty_bytes", cause: "options-summed" },
        Mutant { name: "length_without_head", cause: "options" },
        Mutant { name: "believes_option_length", cause: "crashed" },
        Mutant { name: "rfc_1141", cause: "minus-zero" },
        Mutant { name: "makes_good", cause: "hides-damage" },
        Mutant { name: "unsummed", cause: "not-delivered" },
        Mutant { name: "id_in_host_order", cause: "build" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["modulo", "by_words"],
};

const PROGRAM: &str = "ipv4_header";
/// The packet printed in the text of 2013, captured on its loopback interface.
const CAPTURED: &str = "4510003ca5da40004006 96cf7f0000017f000001\
     a2950017d099e10300000000a0028018fe300000 0204400c0402080a026e44d9\
     0000000001030306";
/// How many packets are bent; how many are built and sent.
const BENT: usize = 1_400;
const BUILT: usize = 24;
/// How many of the real ones are made over.
const MADE_OVER: usize = 60;
/// The same for `lab run`, which asks nothing that was made over.
const BENT_SHOWN: usize = 16;
const BUILT_SHOWN: usize = 2;
/// A line has no more of a packet than this.
const MOST: usize = 96;
/// What is on the wire already arrives within this, or never.
const SOON: Duration = Duration::from_secs(5);
/// The last datagram of all.
const LAST: &[u8] = b"the end";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let port = stage.draw.port();
    let questions = match stage.values.is_empty() {
        true => questions(stage, port)?,
        false => asked_for(&stage.values.clone()),
    };
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)?;
    send(stage, port, &questions)
}

/// What the user wants to know, as it stands.
fn asked_for(values: &[String]) -> Vec<Question> {
    let texts = values.iter().map(|text| text.replace("0x", ""));
    let texts = texts.map(|text| ("captured", text));
    named(&[], texts.collect(), false)
}

fn questions(stage: &mut Stage, port: u16) -> Result<Vec<Question>, Halt> {
    let mut real = match stage.story {
        true => Vec::new(),
        false => corpus::mixed_run(stage)?,
    };
    real.extend(corpus::options_run(stage)?);
    real.retain(|taken| taken.bytes[12..14] == [0x08, 0x00]);
    for taken in &mut real {
        taken.bytes.drain(..14);
        taken.bytes.truncate(MOST);
    }
    let captured = CAPTURED.replace(' ', "");
    let mut questions = vec![];
    for taken in &real {
        questions.push(Question {
            name: taken.name.clone(),
            text: hex(&taken.bytes),
            answer: show(&taken.bytes),
            about: about(taken).into(),
            usual: true,
        });
    }
    let story = stage.story;
    let (bent, built) = match story {
        true => (BENT_SHOWN, BUILT_SHOWN),
        false => (BENT, BUILT),
    };
    let mut texts = vec![("captured", captured.clone())];
    texts.push(("hop", format!("hop {captured}")));
    if !story {
        texts.extend(made_over(&real));
    }
    let bent = corpus::bent(&mut stage.draw, &real, bent);
    // Of each way to bend a packet a story has one.
    let step = if story { real.len() + 1 } else { 1 };
    for (at, packet) in bent.iter().enumerate().step_by(step) {
        let hop = if at % 4 == 0 { "hop " } else { "" };
        texts.push(("malformed", format!("{hop}{}", hex(packet))));
    }
    let hosts = [stage.net.host(LAPTOP)?.ip(), stage.net.host(KONGMING)?.ip()];
    for at in 0..built {
        texts.push(("build", order(stage, hosts, port, at)));
    }
    questions.extend(named(&real, texts, true));
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
        text,
        about: about.to_string(),
        usual: usual && about != "malformed",
    };
    texts.into_iter().zip(names).map(question).collect()
}

/// What a real packet asks for.
fn about(taken: &Taken) -> &'static str {
    match taken.bytes[..] {
        [0x45, _, _, _, _, _, a, b, ..] if (a & 0x1f, b) != (0, 0) => {
            "fragment"
        }
        [0x45, ..] => "ipv4",
        _ => "options",
    }
}

/// Options that end early or lie about their length; time to live that runs
/// out; sums at which the arithmetic of RFC 1141 went wrong; damaged packets on
/// their way.
fn made_over(real: &[Taken]) -> Vec<(&'static str, String)> {
    let mut made = Vec::new();
    let lists: &[&[u8]] = &[
        &[1, 1, 0, 7],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[1, 130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 1, 7, 0],
        &[1, 7, 1, 4],
        &[68, 40, 5, 0],
        &[1, 1, 1, 148],
    ];
    let plain = real.iter().filter(|taken| taken.bytes[0] == 0x45);
    let plain: Vec<&Taken> = plain.take(MADE_OVER).collect();
    let Some(first) = plain.first() else { return made };
    for list in lists {
        let mut packet = first.bytes.clone();
        packet.splice(20..20, list.iter().copied());
        packet[0] += (list.len() / 4) as u8;
        packet[3] = packet[3].wrapping_add(list.len() as u8);
        mend(&mut packet);
        made.push(("options", hex(&packet)));
    }
    for taken in &plain {
        let mut packet = taken.bytes.clone();
        made.push(("hop", format!("hop {}", hex(&packet))));
        // The word that makes the new sum 0, in the identification.
        packet[4..6].fill(0);
        mend(&mut packet);
        let sum = u16::from_be_bytes([packet[10], packet[11]]);
        let sum = u32::from(sum) + 0xffff - 0xfeff;
        let id = (sum & 0xffff) as u16 + (sum >> 16) as u16;
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        mend(&mut packet);
        made.push(("minus-zero", format!("hop {}", hex(&packet))));
        packet[17] ^= 4; // On the wire a bit of an address was turned over.
        made.push(("hides-damage", format!("hop {}", hex(&packet))));
    }
    for ttl in [0, 1, 2] {
        let mut packet = first.bytes.clone();
        packet[8] = ttl;
        mend(&mut packet);
        made.push(("expired", format!("hop {}", hex(&packet))));
    }
    made
}

/// Gives a packet the right checksum.
fn mend(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = Sum16BitWords::new().add_slice(&packet[..length]);
    packet[10..12].copy_from_slice(&sum.ones_complement().to_ne_bytes());
}

/// `build SOURCE DESTINATION PROTOCOL TTL ID OPTIONS PAYLOAD`
fn order(
    stage: &mut Stage,
    hosts: [IpAddr; 2],
    port: u16,
    at: usize,
) -> String {
    let draw = &mut stage.draw;
    let options: &[&[u8]] = &[
        &[],
        &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0],
        &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 1, 148, 4, 0, 0],
        &[148, 4, 0, 0, 1],
    ];
    let options = hex(options[at % options.len()]);
    let options = if options.is_empty() { "-" } else { &options };
    let length = draw.count(3..=30) as usize;
    let words = draw.letters(length).into_bytes();
    let (from, ttl) = (draw.port(), draw.count(2..=255));
    // Its two bytes differ, so that their order can be seen.
    let id = draw.count(1..=255) * 256;
    let [IpAddr::V4(source), IpAddr::V4(destination)] = hosts else {
        return String::new();
    };
    let octets = (source.octets(), destination.octets());
    let udp = UdpHeader::without_ipv4_checksum(from, port, words.len());
    let Ok(mut udp) = udp else { return String::new() };
    udp.checksum = udp
        .calc_checksum_ipv4_raw(octets.0, octets.1, &words)
        .unwrap_or_default();
    let payload = hex(&[&udp.to_bytes()[..], &words].concat());
    format!("build {source} {destination} 17 {ttl} {id} {options} {payload}")
}

/// Puts on the wire what the program has built, and writes down whose payload a
/// socket of the other host has received.
fn send(
    stage: &mut Stage,
    port: u16,
    questions: &[Question],
) -> Result<(), Halt> {
    let orders = questions.iter().filter(|q| q.text.starts_with("build "));
    let orders: Vec<&Question> = orders.collect();
    if orders.is_empty() {
        return Ok(());
    }
    let server = stage.net.host(KONGMING)?;
    let to = SocketAddr::new(server.ip(), port);
    let failed = |err: std::io::Error| Halt::Missed(format!("{to}: {err}"));
    let hears = server.at(|| UdpSocket::bind(to))?.map_err(failed)?;
    hears.set_read_timeout(Some(SOON)).map_err(failed)?;
    let before = server.counters()?;
    stage.step(LAPTOP, "the packets built go on the wire")?;
    let said = stage.net.trace()?;
    let mut right = Vec::new();
    for line in said.stdout(PROGRAM) {
        let Some((name, packet)) = line.split_once(' ') else { continue };
        let Some(order) = orders.iter().find(|q| q.name == name) else {
            continue;
        };
        if let Some(packet) = unhex(packet).filter(|p| p.len() < 1_400) {
            put(stage, &packet)?;
        }
        right = unhex(&order.answer).unwrap_or_default();
    }
    if stage.story && !right.is_empty() {
        stage.step(LAPTOP, "the last again, with one bit turned over")?;
        right[8] ^= 1;
        put(stage, &right)?;
    }
    // Nothing overtakes anything here: when this has come, all has.
    let says = stage.net.host(LAPTOP)?.at(|| UdpSocket::bind("0.0.0.0:0"))?;
    says.and_then(|says| says.send_to(LAST, to)).map_err(failed)?;
    let mut received = HashSet::new();
    let mut buffer = [0; 1_500];
    loop {
        let count = hears.recv(&mut buffer).map_err(failed)?;
        if &buffer[..count] == LAST {
            break;
        }
        received.insert(hex(&buffer[..count]));
    }
    let after = stage.net.host(KONGMING)?.counters()?;
    let grown = |name: &str| after[name].saturating_sub(before[name]);
    let dropped = grown("IpInHdrErrors");
    let spoilt = grown("UdpInCsumErrors");
    let text = format!(
        "a socket has received {}; IpInHdrErrors {dropped}, \
         UdpInCsumErrors {spoilt}",
        received.len()
    );
    stage.step(KONGMING, text)?;
    stage.fact("received", received.len());
    stage.fact("header_errors", dropped);
    let delivered = orders
        .iter()
        .filter(|q| received.iter().any(|payload| q.text.ends_with(payload)));
    let delivered: Vec<&str> = delivered.map(|q| q.name.as_str()).collect();
    stage.fact("delivered", delivered);
    Ok(())
}

fn put(stage: &Stage, packet: &[u8]) -> Result<(), Halt> {
    let station = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => [&[0x52, 0x54], &v4.octets()[..]].concat(),
        IpAddr::V6(_) => Vec::new(),
    };
    let (laptop, server) = (stage.net.host(LAPTOP)?, stage.net.host(KONGMING)?);
    let mut frame = station(server.ip());
    frame.extend(station(laptop.ip()));
    frame.extend([0x08, 0x00]);
    frame.extend(packet);
    Ok(laptop.send_frame("eth0", &frame)?)
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        let delivered = performance.facts.get("delivered");
        let delivered: HashSet<String> = delivered
            .and_then(|names| serde_json::from_value(names.clone()).ok())
            .unwrap_or_default();
        let arrived = |question: &Question| delivered.contains(&question.name);
        filter::judge(performance, PROGRAM, judge, |question, answer| {
            match question.about.as_str() {
                "build" => (!arrived(question)).then_some("not-delivered"),
                _ => why(question, answer),
            }
        });
        let missing = filter::questions(performance)
            .into_iter()
            .find(|q| q.about == "build" && !arrived(q));
        judge.check(
            "not-delivered",
            "Kongming20's kernel takes every packet that was built",
            missing.is_none(),
            missing.map_or(String::new(), |question| question.text),
        );
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "ipv4_header", &shapes);
        }
    }
}

/// Only the word on the checksum differs: which sum is it?
fn why(question: &Question, answer: &str) -> Option<&'static str> {
    let sum = |text: &str| text.split_once("cksum").map(|(rest, _)| rest.len());
    let (right, said) = (question.answer.as_str(), answer);
    let at = sum(right)?;
    let after = |text: &str| {
        text.get(at..)?.split_once(')').map(|(_, rest)| rest.to_string())
    };
    if said.get(..at)? != &right[..at] || after(said) != after(right) {
        return None;
    }
    Some(if right.contains("options") { "options-summed" } else { "carry" })
}

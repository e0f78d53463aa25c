//! Grades `tcp_header`: segments in tcpdump's notation.
//!
//! The segments are those of two real kernels, with losses, an urgent byte and
//! ECN; of one kernel that talks to itself; some made over by hand, and more
//! than a thousand bent. The right answers come from etherparse. (A test of the
//! command line compares the reference program's lines with tcpdump's.)

use std::net::IpAddr;

use etherparse::err::tcp::HeaderSliceError;
use etherparse::{
    NetSlice, SlicedPacket, TcpOptionElement, TcpOptionReadError,
    TcpOptionsIterator, TcpSlice, TransportSlice,
};
use testbed::Profile;

use crate::corpus::{self, Taken, hex, unhex};
use crate::filter::{self, Question};
use crate::stage::{Halt, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "tcp_header",
    pristine: include_str!("../../pristine/ch03_tcp/tcp_header.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "segment_alone", cause: "pseudo-header" },
        Mutant { name: "last_byte_lost", cause: "odd-length" },
        Mutant { name: "fixed_header", cause: "syn" },
        Mutant { name: "first_block_only", cause: "sack" },
        Mutant { name: "any_pointer", cause: "urgent" },
        Mutant { name: "seq_overflows", cause: "crashed" },
        Mutant { name: "goes_on_after_the_end", cause: "end-of-list" },
        Mutant { name: "any_length_will_do", cause: "bad-option" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["modulo", "by_places"],
};

const PROGRAM: &str = "tcp_header";
/// The segment in the packet printed in the text of 2013.
const CAPTURED: &str = "127.0.0.1 127.0.0.1 a2950017d099e10300000000a0028018\
     fe3000000204400c0402080a026e44d90000000001030306";
/// How many segments are bent.
const BENT: usize = 1_400;
/// How many are made over.
const MADE_OVER: usize = 20;

/// What of the answers is the same in every run. How many ACKs there are, and
/// what a FIN takes along, is the kernels' choice.
const USUAL: &[&str] =
    &["syn", "captured", "end-of-list", "bad-option", "unknown-option"];

/// A segment with the addresses that IP has.
#[derive(Clone)]
struct Segment {
    ends: [IpAddr; 2],
    bytes: Vec<u8>,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let questions = match stage.values.is_empty() {
        true => questions(stage)?,
        false => {
            let values = stage.values.clone();
            let texts = values.into_iter().map(|text| ("captured", text));
            named(&[], texts.collect())
        }
    };
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

fn questions(stage: &mut Stage) -> Result<Vec<Question>, Halt> {
    let mut frames = match stage.story {
        true => Vec::new(),
        false => corpus::mixed_run(stage)?,
    };
    frames.extend(corpus::segments_run(stage)?);
    let real: Vec<(Taken, Segment)> = frames
        .into_iter()
        .filter_map(|taken| in_frame(&taken.bytes).map(|s| (taken, s)))
        .collect();
    let mut questions: Vec<Question> = real
        .iter()
        .map(|(taken, segment)| Question {
            name: taken.name.clone(),
            text: text(segment),
            answer: show(segment),
            about: about(segment).into(),
            usual: USUAL.contains(&about(segment)),
        })
        .collect();
    let (frames, segments): (Vec<Taken>, Vec<Segment>) =
        real.into_iter().unzip();
    let mut texts = vec![("captured", CAPTURED.to_string())];
    let own = corpus::loopback_run(stage)?;
    // A story has the SYN alone, and nothing that nobody sent.
    let own = own.iter().take(if stage.story { 1 } else { own.len() });
    for packet in own {
        let frame = [&[0; 12][..], &[0x08, 0x00], packet].concat();
        texts.extend(in_frame(&frame).map(|s| ("partial-sum", text(&s))));
    }
    if !stage.story {
        texts.extend(made_over(&segments));
        texts.extend(bent(stage, &segments));
    }
    questions.extend(named(&frames, texts));
    Ok(questions)
}

/// Questions about what was not captured on the wire.
fn named(frames: &[Taken], texts: Vec<(&str, String)>) -> Vec<Question> {
    let names = corpus::named(frames, vec![Vec::new(); texts.len()]);
    let question = |((about, text), taken): ((&str, String), Taken)| Question {
        name: taken.name,
        answer: answer(&text),
        text,
        about: about.to_string(),
        usual: USUAL.contains(&about),
    };
    texts.into_iter().zip(names).map(question).collect()
}

fn in_frame(frame: &[u8]) -> Option<Segment> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let ends: [IpAddr; 2] = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            [header.source_addr().into(), header.destination_addr().into()]
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            [header.source_addr().into(), header.destination_addr().into()]
        }
        NetSlice::Arp(_) => return None,
    };
    match sliced.transport? {
        TransportSlice::Tcp(tcp) => {
            Some(Segment { ends, bytes: tcp.slice().to_vec() })
        }
        _ => None,
    }
}

fn text(segment: &Segment) -> String {
    let Segment { ends: [source, destination], bytes } = segment;
    format!("{source} {destination} {}", hex(bytes))
}

/// What a real segment asks for.
fn about(segment: &Segment) -> &'static str {
    let Ok(tcp) = TcpSlice::from_slice(&segment.bytes) else {
        return "malformed";
    };
    match () {
        () if tcp.syn() => "syn",
        () if tcp.urg() => "urgent",
        () if tcp.options().contains(&5) && has_sack(&tcp) => "sack",
        () if tcp.payload().is_empty() => "bare",
        () => "data",
    }
}

fn has_sack(tcp: &TcpSlice<'_>) -> bool {
    tcp.options_iterator().any(|option| {
        matches!(option, Ok(TcpOptionElement::SelectiveAcknowledgement(..)))
    })
}

/// Sequence numbers at their end; pointers that nobody points with; every set
/// of flags; options of all lengths and kinds; bits turned over.
fn made_over(real: &[Segment]) -> Vec<(&'static str, String)> {
    let mut made = Vec::new();
    let mut add = |about, mut segment: Segment| {
        mend(&mut segment);
        made.push((about, text(&segment)));
    };
    let with_data = real.iter().filter(|s| about(s) == "data");
    for (at, segment) in with_data.take(MADE_OVER).enumerate() {
        let mut last = segment.clone();
        last.bytes[4..8].copy_from_slice(&(!0 - at as u32).to_be_bytes());
        add("wrap", last);
        let mut pointer = segment.clone();
        pointer.bytes[18..20].copy_from_slice(&[0, at as u8 + 1]);
        add("urgent", pointer);
    }
    let Some(plain) = real.iter().find(|s| about(s) == "data") else {
        return made;
    };
    for flags in 0..=255 {
        let mut segment = plain.clone();
        segment.bytes[13] = flags;
        segment.bytes.truncate(usize::from(segment.bytes[12] >> 4) * 4);
        add("flags", segment);
    }
    for (about, options) in LISTS {
        let mut segment = plain.clone();
        let header = usize::from(segment.bytes[12] >> 4) * 4;
        segment.bytes.splice(20..header, options.iter().copied());
        segment.bytes[12] = (5 + options.len() as u8 / 4) << 4;
        add(about, segment);
    }
    for at in 0..MADE_OVER {
        let mut segment = real[at % real.len()].clone();
        segment.bytes[at % 16] ^= 1 << (at % 8);
        made.push(("damaged", text(&segment)));
    }
    made
}

/// Options, filled up to words of 4 bytes.
const LISTS: &[(&str, &[u8])] = &[
    ("end-of-list", &[1, 1, 1, 0]),
    ("end-of-list", &[2, 4, 5, 180, 0, 3, 3, 7]),
    ("end-of-list", &[0, 1, 2, 4]),
    ("unknown-option", &[30, 4, 1, 255]),
    ("unknown-option", &[200, 2, 1, 1]),
    ("unknown-option", &[253, 5, 0, 1, 2, 3, 3, 14]),
    ("sack", &[1, 1, 5, 10, 0, 0, 0, 1, 255, 255, 255, 255]),
    (
        "sack",
        &[
            5, 34, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5,
            0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 1, 1,
        ],
    ),
    ("bad-option", &[2, 3, 5, 1]),
    ("bad-option", &[2, 6, 5, 180, 0, 0, 1, 1]),
    ("bad-option", &[3, 4, 7, 1]),
    ("bad-option", &[1, 3, 2, 7]),
    ("bad-option", &[4, 3, 0, 1]),
    ("bad-option", &[5, 2, 1, 1]),
    ("bad-option", &[5, 6, 0, 0, 0, 1, 1, 1]),
    ("bad-option", &[8, 9, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1]),
    ("bad-option", &[30, 0, 1, 1]),
    ("bad-option", &[30, 1, 1, 1]),
    ("bad-option", &[1, 1, 1, 2]),
    ("bad-option", &[2, 4, 5, 180, 8, 10, 0, 0]),
    ("bad-option", &[1, 1, 30, 40]),
];

fn bent(stage: &mut Stage, real: &[Segment]) -> Vec<(&'static str, String)> {
    let taken = |segment: &Segment| Taken {
        name: String::new(),
        bytes: segment.bytes.clone(),
    };
    let frames: Vec<Taken> = real.iter().map(taken).collect();
    let bent = corpus::bent(&mut stage.draw, &frames, BENT);
    let bent = bent.into_iter().zip(real.iter().cycle());
    bent.map(|(bytes, like)| {
        ("malformed", text(&Segment { ends: like.ends, bytes }))
    })
    .collect()
}

/// Gives a segment the right checksum.
fn mend(segment: &mut Segment) {
    if let Some(sum) = checksum(segment) {
        segment.bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    }
}

fn checksum(segment: &Segment) -> Option<u16> {
    let tcp = TcpSlice::from_slice(&segment.bytes).ok()?;
    match segment.ends {
        [IpAddr::V4(from), IpAddr::V4(to)] => {
            tcp.calc_checksum_ipv4(from.octets(), to.octets()).ok()
        }
        [IpAddr::V6(from), IpAddr::V6(to)] => {
            tcp.calc_checksum_ipv6(from.octets(), to.octets()).ok()
        }
        _ => None,
    }
}

/// What etherparse makes of a question.
fn answer(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let [source, destination, bytes] = words[..] else {
        return "not a segment".into();
    };
    match (source.parse(), destination.parse(), unhex(bytes)) {
        (Ok(source), Ok(destination), Some(bytes)) => {
            show(&Segment { ends: [source, destination], bytes })
        }
        _ => "not a segment".into(),
    }
}

fn show(segment: &Segment) -> String {
    let tcp = match TcpSlice::from_slice(&segment.bytes) {
        Ok(tcp) => tcp,
        Err(HeaderSliceError::Len(_)) => return "short".into(),
        Err(HeaderSliceError::Content(_)) => return "bad".into(),
    };
    let [source, destination] = segment.ends;
    let sum = tcp.checksum();
    let right = checksum(segment).unwrap_or_default();
    // 0xffff is the other zero of ones' complement.
    let state = match sum == right || (sum == 0xffff && right == 0) {
        true => "correct".to_string(),
        false => format!("incorrect -> {right:#06x}"),
    };
    let mut text = format!(
        "{source}.{} > {destination}.{}: Flags [{}], cksum {sum:#06x} ({state})",
        tcp.source_port(),
        tcp.destination_port(),
        flags(&tcp),
    );
    let (seq, length) = (tcp.sequence_number(), tcp.payload().len());
    match (length, tcp.syn() || tcp.fin() || tcp.rst()) {
        (0, true) => text.push_str(&format!(", seq {seq}")),
        (0, false) => {}
        _ => {
            let after = (u64::from(seq) + length as u64) % (1 << 32);
            text.push_str(&format!(", seq {seq}:{after}"));
        }
    }
    if tcp.ack() {
        text.push_str(&format!(", ack {}", tcp.acknowledgment_number()));
    }
    text.push_str(&format!(", win {}", tcp.window_size()));
    if tcp.urg() {
        text.push_str(&format!(", urg {}", tcp.urgent_pointer()));
    }
    if !tcp.options().is_empty() {
        text.push_str(&format!(", options [{}]", options(tcp.options())));
    }
    format!("{text}, length {length}")
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let flags = [
        (tcp.fin(), 'F'),
        (tcp.syn(), 'S'),
        (tcp.rst(), 'R'),
        (tcp.psh(), 'P'),
        (tcp.ack(), '.'),
        (tcp.urg(), 'U'),
        (tcp.ece(), 'E'),
        (tcp.cwr(), 'W'),
    ];
    let set: String = flags
        .iter()
        .filter_map(|(set, letter)| set.then_some(letter))
        .collect();
    if set.is_empty() { "none".into() } else { set }
}

fn options(mut bytes: &[u8]) -> String {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let mut options = TcpOptionsIterator::from_slice(bytes);
        let (text, rest) = match options.next() {
            None => ("eol".to_string(), &[][..]),
            Some(Ok(option)) => (known(&option), options.rest()),
            // etherparse goes no further then, but tcpdump does.
            Some(Err(TcpOptionReadError::UnknownId(_))) => unknown(bytes),
            Some(Err(_)) => ("bad".to_string(), &[][..]),
        };
        texts.push(text);
        bytes = rest;
    }
    texts.join(",")
}

fn known(option: &TcpOptionElement) -> String {
    match option {
        TcpOptionElement::Noop => "nop".into(),
        TcpOptionElement::MaximumSegmentSize(size) => format!("mss {size}"),
        TcpOptionElement::WindowScale(shift) => format!("wscale {shift}"),
        TcpOptionElement::SelectiveAcknowledgementPermitted => "sackOK".into(),
        TcpOptionElement::SelectiveAcknowledgement(first, more) => {
            let blocks: Vec<(u32, u32)> = std::iter::once(*first)
                .chain(more.iter().flatten().copied())
                .collect();
            let texts = blocks.iter().map(|(l, r)| format!("{{{l}:{r}}}"));
            let texts: String = texts.collect();
            format!("sack {} {texts}", blocks.len())
        }
        TcpOptionElement::Timestamp(value, echo) => {
            format!("TS val {value} ecr {echo}")
        }
    }
}

fn unknown(bytes: &[u8]) -> (String, &[u8]) {
    let length = bytes.get(1).map_or(0, |length| usize::from(*length));
    match bytes.split_at_checked(length) {
        Some((option, rest)) if length > 2 => {
            (format!("unknown-{} 0x{}", bytes[0], hex(&option[2..])), rest)
        }
        Some((_, rest)) if length == 2 => {
            (format!("unknown-{}", bytes[0]), rest)
        }
        _ => ("bad".into(), &[]),
    }
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        filter::judge(performance, PROGRAM, judge, why);
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "tcp_header", &shapes);
        }
    }
}

/// Only the word on the checksum differs: what was left out of the sum?
fn why(question: &Question, answer: &str) -> Option<&'static str> {
    let parts = |text: &str| {
        let (before, rest) = text.split_once(", cksum ")?;
        let (_, after) = rest.split_once(')')?;
        Some((before.to_string(), after.to_string()))
    };
    let same = parts(answer)? == parts(&question.answer)?;
    let hex = question.text.rsplit(' ').next()?;
    let odd = hex.len() % 4 != 0;
    same.then_some(if odd { "odd-length" } else { "pseudo-header" })
}

//! Grades `fragments`: cut so that a kernel can put it together, and put
//! together as a kernel does.
//!
//! In the take `echo` the wire changes the order of the request's fragments and
//! doubles one of the reply's. In `lost` it drops one of the request's: the
//! other kernel gives up, and says so. In `collect` Kongming20 sends fragments
//! that no kernel would: backwards, twice, of several datagrams by turns, with
//! an overlap and with a hole. Each is a piece of an echo request, so that the
//! kernel of ernest-laptop says in its own way what it makes of them.

use std::net::Ipv4Addr;

use testbed::Profile;
use testbed::trace::What;

use super::packets::{Header, ICMP, Seen, icmp, packets, send, station};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

const NEAR: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 108);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 109);
const UDP: u8 = 17;
const MORE: u16 = 0x2000;
/// How long a program keeps an incomplete datagram, in milliseconds.
const PATIENCE: u64 = 1000;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "fragments",
    pristine: include_str!("../../pristine/ch02_ip/fragments.rs"),
    takes: &[
        Take { name: "echo", profile: Profile::Modern },
        Take { name: "lost", profile: Profile::Modern },
        Take { name: "collect", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "offset_in_bytes", cause: "offset-unit" },
        Mutant { name: "cut_anywhere", cause: "not-eights" },
        Mutant { name: "more_behind_the_last", cause: "more-fragments" },
        Mutant { name: "kernel_cuts", cause: "not-cut" },
        Mutant { name: "appends", cause: "order" },
        Mutant { name: "counts_bytes", cause: "duplicate-counted" },
        Mutant { name: "identification_alone", cause: "mixed" },
        Mutant { name: "later_wins", cause: "overlap-kept" },
    ],
    alternatives: &["hole_list", "sorted_pieces"],
};

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    for host in [LAPTOP, KONGMING] {
        let host = stage.net.host(host)?;
        host.set_sysctl("net.ipv4.ipfrag_time", "1")?;
    }
    match stage.take {
        "collect" => collect(stage),
        _ => echo(stage),
    }
}

fn echo(stage: &mut Stage) -> Result<(), Halt> {
    let [bytes, mtu] = match stage.story {
        // The story's are those of the page.
        true => [1473, 1500],
        false => {
            let eights = stage.draw.count(80..=160) * 8;
            // Such that the room for data is no multiple of eight.
            let mtu = eights + stage.draw.count(5..=11);
            [stage.draw.count(1600..=2800), mtu]
        }
    };
    let given = |at: usize, other: u64| {
        let value = stage.values.get(at).and_then(|value| value.parse().ok());
        value.unwrap_or(other)
    };
    let (bytes, mtu) = (given(0, bytes), given(1, mtu));
    stage.fact("bytes", bytes);
    stage.fact("mtu", mtu);
    let rules: &[&str] = match (stage.story, stage.take) {
        (true, _) => &[],
        (_, "lost") => &["drop #2 fragment from ernest-laptop"],
        _ => &[
            "reorder fragment from ernest-laptop",
            "duplicate fragment from Kongming20",
        ],
    };
    for rule in rules {
        stage.net.wire().arm(rule)?;
    }
    let args = ["echo", &FAR.to_string(), &bytes.to_string(), &mtu.to_string()];
    let program = stage.start("echo", LAPTOP, args)?;
    stage.end(program)
}

/// One fragment to be: whose, where, whether more follow, how many bytes.
struct Piece(usize, usize, bool, usize);

/// The datagrams of `collect` in the order in which their first fragments come.
const BACKWARDS: usize = 1;
const TWICE: usize = 2;
const BY_TURNS: usize = 3;
const OTHER_NUMBER: usize = 4;
const OTHER_PROTOCOL: usize = 5;
const OVERLAP: usize = 6;
const HOLE: usize = 7;

const PIECES: &[Piece] = &[
    Piece(BACKWARDS, 48, false, 13),
    Piece(BACKWARDS, 24, true, 24),
    Piece(BACKWARDS, 0, true, 24),
    // As many bytes as the whole has, when one is still missing.
    Piece(TWICE, 48, false, 24),
    Piece(TWICE, 0, true, 24),
    Piece(TWICE, 0, true, 24),
    Piece(TWICE, 24, true, 24),
    Piece(BY_TURNS, 0, true, 32),
    Piece(OTHER_NUMBER, 0, true, 32),
    Piece(OTHER_PROTOCOL, 0, true, 32),
    Piece(OTHER_NUMBER, 32, false, 9),
    Piece(OTHER_PROTOCOL, 32, false, 10),
    Piece(BY_TURNS, 32, false, 11),
    Piece(OVERLAP, 0, true, 24),
    Piece(OVERLAP, 40, false, 8),
    Piece(OVERLAP, 16, true, 24),
    Piece(HOLE, 0, true, 16),
    Piece(HOLE, 32, false, 8),
];

fn collect(stage: &mut Stage) -> Result<(), Halt> {
    let program = stage.start("collect", LAPTOP, ["collect"])?;
    stage.line(program, "collecting")?;
    let id = stage.draw.count(0x1000..=0xe000) as u16;
    let datagrams: Vec<Vec<u8>> =
        (1..=HOLE).map(|number| datagram(stage, number)).collect();
    for (at, Piece(number, offset, more, length)) in PIECES.iter().enumerate() {
        let header = Header {
            // By turns: with one number and two protocols.
            id: match *number {
                OTHER_PROTOCOL => id + BY_TURNS as u16,
                number => id + number as u16,
            },
            fragment: (offset / 8) as u16 | if *more { MORE } else { 0 },
            ttl: 64,
            protocol: if *number == OTHER_PROTOCOL { UDP } else { ICMP },
            source: FAR,
            destination: NEAR,
        };
        let data = &datagrams[number - 1][*offset..offset + length];
        let kongming = stage.net.host(KONGMING)?;
        send(kongming, FAR, station(NEAR), &header.build(data))?;
        stage.frames("fragment from Kongming20", at + 1)?;
    }
    // Its kernel gives up the hole after ipfrag_time, and tells.
    stage.line(program, &format!("{HOLE}: given up"))?;
    stage.rests(program)?;
    stage.close_stdin(program);
    stage.end(program)
}

/// An echo request, or a datagram to a port where nobody listens.
fn datagram(stage: &mut Stage, number: usize) -> Vec<u8> {
    let pieces = PIECES.iter().filter(|piece| piece.0 == number);
    let length = pieces.map(|piece| piece.1 + piece.3).max().unwrap_or(8);
    let data = stage.draw.letters(length - 8);
    if number != OTHER_PROTOCOL {
        return icmp(8, 0, [0, 7, 0, number as u8], data.as_bytes());
    }
    let mut udp = vec![0x9c, 0x40, 0, 9, 0, length as u8, 0, 0]; // No checksum.
    udp.extend(data.as_bytes());
    udp
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    // First what is on the wire, then what it does with fragments, and what it
    // says of it at last.
    for part in [judge_echo, judge_collect, judge_words] {
        for performance in performances {
            judge.about(performance);
            part(performance, judge);
            if !judge.content() {
                return;
            }
        }
    }
}

/// A fragment as it is on the wire: offset in bytes, length, more, number.
type Cut = (usize, usize, bool, u16);

fn cuts<'a>(all: &[Seen<'a>], host: &str) -> Vec<(Cut, Seen<'a>)> {
    let own = all.iter().filter(|seen| {
        seen.host == host && seen.bytes[9] == ICMP && seen.bytes.len() > 60
            || seen.host == host && seen.bytes[6..8] != [0, 0]
    });
    let cut = |seen: &Seen<'a>| {
        let word = |at: usize| {
            u16::from_be_bytes([seen.bytes[at], seen.bytes[at + 1]])
        };
        let offset = usize::from(word(6) & 0x1fff) * 8;
        let more = word(6) & MORE != 0;
        ((offset, seen.data().len(), more, word(4)), *seen)
    };
    own.map(cut).collect()
}

fn judge_echo(performance: &Performance, judge: &mut Judge) {
    if performance.take == "collect" {
        return;
    }
    let all = packets(&performance.trace);
    let sent: Vec<Cut> =
        cuts(&all, LAPTOP).into_iter().map(|(cut, _)| cut).collect();
    let printed = performance.trace.stdout("echo");
    let begun = judge.deed(
        "something is sent to Kongming20",
        !sent.is_empty() || printed.is_empty(),
        "no ICMP packet from ernest-laptop was on the wire",
    );
    if !begun || printed.is_empty() {
        return; // Nothing was done that could be judged.
    }
    let mtu = performance.number("mtu").unwrap_or_default() as usize;
    judge_cuts(&sent, &wanted(performance), mtu, judge);
    if judge.content() && performance.take == "echo" {
        judge.check(
            "unanswered",
            "the other kernel puts it together and answers",
            !cuts(&all, KONGMING).is_empty(),
            format!("no fragment came back\n{}", describe(&sent)),
        );
    }
}

/// The pieces that the request should be cut into.
fn wanted(performance: &Performance) -> Vec<(usize, usize, bool)> {
    let number = |fact| performance.number(fact).unwrap_or_default() as usize;
    let length = number("bytes") + 8;
    let room = (number("mtu").max(28) - 20) / 8 * 8;
    (0..length)
        .step_by(room)
        .map(|at| (at, room.min(length - at), at + room < length))
        .collect()
}

fn judge_words(performance: &Performance, judge: &mut Judge) {
    if performance.take == "collect" || performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let all = packets(&performance.trace);
    let back: Vec<Cut> =
        cuts(&all, KONGMING).into_iter().map(|(cut, _)| cut).collect();
    let lost = performance.take == "lost";
    let wanted = wanted(performance);
    let length: usize = wanted.iter().map(|piece| piece.1).sum();
    let mut lines: Vec<String> =
        wanted.iter().map(|cut| format!("sent {}", span(*cut))).collect();
    match lost {
        true => lines.push(format!("{FAR} has given up")),
        false => {
            // The first of them came twice.
            let first = back.first().into_iter().chain(&back);
            lines.extend(first.map(|(offset, length, more, _)| {
                format!("got {}", span((*offset, *length, *more)))
            }));
            lines.push(format!("whole: {length} bytes, as sent"));
        }
    }
    judge.printed("output", performance, "echo", &lines);
    judge.ended_well(performance, "echo");
}

fn judge_cuts(
    sent: &[Cut],
    wanted: &[(usize, usize, bool)],
    mtu: usize,
    judge: &mut Judge,
) {
    let evidence = describe(sent);
    let too_long = sent.iter().any(|cut| cut.1 + 20 > mtu);
    judge.check(
        "not-cut",
        "no packet is longer than the MTU that was given",
        !too_long,
        format!("the MTU is {mtu}\n{evidence}"),
    );
    let mut others = sent.iter().take(sent.len().saturating_sub(1));
    let odd = others.any(|cut| cut.1 % 8 != 0);
    judge.check(
        "not-eights",
        "each piece but the last is a multiple of eight bytes",
        !odd,
        &evidence,
    );
    let one = sent.iter().all(|cut| cut.3 == sent[0].3);
    judge.check(
        "numbers-differ",
        "all pieces have one identification",
        one,
        &evidence,
    );
    let eightfold = wanted.len() > 1
        && sent.len() == wanted.len()
        && sent[1].0 == (wanted[1].0 * 8) & 0xffff;
    judge.check(
        "offset-unit",
        "the offset counts eights",
        !eightfold,
        &evidence,
    );
    judge.check(
        "more-fragments",
        "more follow all pieces but the last",
        sent.iter().map(|cut| cut.2).eq(wanted.iter().map(|cut| cut.2)),
        &evidence,
    );
    let pieces: Vec<(usize, usize, bool)> =
        sent.iter().map(|cut| (cut.0, cut.1, cut.2)).collect();
    let wanted_lines: Vec<String> = wanted.iter().map(|c| span(*c)).collect();
    let sent_lines: Vec<String> = pieces.iter().map(|c| span(*c)).collect();
    judge.check(
        "pieces",
        "each piece is as long as it can be, and is sent once",
        pieces == wanted,
        crate::verdict::side_by_side(&wanted_lines, &sent_lines),
    );
}

/// `1480+1 last`
fn span((offset, length, more): (usize, usize, bool)) -> String {
    let more = if more { "more" } else { "last" };
    format!("{offset}+{length} {more}")
}

fn describe(cuts: &[Cut]) -> String {
    let first = cuts.first().map_or(0, |cut| cut.3);
    let lines = cuts.iter().map(|(offset, length, more, id)| {
        let same = if *id == first { "" } else { ", another identification" };
        format!("{}{same}", span((*offset, *length, *more)))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn judge_collect(performance: &Performance, judge: &mut Judge) {
    if performance.take != "collect" {
        return;
    }
    let printed = performance.trace.stdout("collect");
    let all = packets(&performance.trace);
    for (number, cause, name) in [
        (BACKWARDS, "order", "the last piece may come first"),
        (TWICE, "duplicate-counted", "a piece that comes twice is one"),
        (BY_TURNS, "mixed", "the pieces of three datagrams come by turns"),
        (OTHER_NUMBER, "mixed", "the one with another identification"),
        (OTHER_PROTOCOL, "mixed", "the one of another protocol"),
    ] {
        let whole = whole(&all, number);
        let line = format!(
            "{number}: whole, {} bytes, {:08x}",
            whole.len(),
            digest(&whole)
        );
        let own = of(&printed, number);
        let expected: Vec<String> = lines(number).chain([line]).collect();
        let evidence = crate::verdict::side_by_side(&expected, &own);
        if !judge.check(cause, name, own == expected, evidence) {
            return;
        }
    }
    let own = of(&printed, OVERLAP);
    let end = [format!("{OVERLAP}: overlap")];
    let expected: Vec<String> = lines(OVERLAP).chain(end).collect();
    judge.check(
        "overlap-kept",
        "a datagram whose pieces overlap is thrown away",
        own == expected,
        crate::verdict::side_by_side(&expected, &own),
    );
    judge_hole(performance, &printed, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let known: usize =
        (1..=HOLE).map(|number| of(&printed, number).len()).sum();
    judge.check(
        "output",
        "it prints what the stub asks for, and no more",
        printed.len() == known + 1 && printed[0] == "collecting",
        printed.join("\n"),
    );
    judge.ended_well(performance, "collect");
}

fn judge_hole(performance: &Performance, printed: &[&str], judge: &mut Judge) {
    let end = format!("{HOLE}: given up");
    let own = of(printed, HOLE);
    let expected: Vec<String> = lines(HOLE).chain([end.clone()]).collect();
    judge.check(
        "never-gives-up",
        "what stays incomplete is given up",
        own == expected,
        crate::verdict::side_by_side(&expected, &own),
    );
    let hole = PIECES.iter().position(|piece| piece.0 == HOLE).unwrap_or(0);
    let fragments = performance.trace.select("fragment from Kongming20").ok();
    let began = fragments.and_then(|trace| {
        trace.frames().nth(hole).map(|(event, _)| event.t_ns)
    });
    let ended = performance.trace.events.iter().find_map(|event| {
        let said = matches!(&event.what, What::Output(out) if out.line == end);
        said.then_some(event.t_ns)
    });
    let (Some(began), Some(ended)) = (began, ended) else { return };
    let waited = ended.saturating_sub(began) / 1_000_000;
    judge.check(
        "gives-up-early",
        "it waits for a second from the first piece",
        waited >= PATIENCE - 50,
        format!("it gave up after {} ms", waited / 100 * 100),
    );
}

/// The lines about one datagram.
fn of<'a>(printed: &[&'a str], number: usize) -> Vec<&'a str> {
    let prefix = format!("{number}: ");
    printed.iter().filter(|l| l.starts_with(&prefix)).copied().collect()
}

/// The lines about its pieces.
fn lines(number: usize) -> impl Iterator<Item = String> {
    let own = PIECES.iter().filter(move |piece| piece.0 == number);
    own.map(|Piece(number, offset, more, length)| {
        format!("{number}: {}", span((*offset, *length, *more)))
    })
}

/// The data of a datagram of `collect`, as it was on the wire.
fn whole(all: &[Seen<'_>], number: usize) -> Vec<u8> {
    let fragments =
        all.iter().filter(|seen| seen.host == KONGMING && is_fragment(seen));
    let mut data = Vec::new();
    for (Piece(of, offset, _, length), seen) in PIECES.iter().zip(fragments) {
        if *of == number {
            data.resize(data.len().max(offset + length), 0);
            data[*offset..offset + length].copy_from_slice(seen.data());
        }
    }
    data
}

fn is_fragment(packet: &Seen<'_>) -> bool {
    packet.bytes[6] & 0x3f != 0 || packet.bytes[7] != 0
}

/// FNV-1a, as the programs have it.
fn digest(data: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    };
    data.iter().fold(0x811c_9dc5, step)
}

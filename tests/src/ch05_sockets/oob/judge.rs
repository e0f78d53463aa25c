//! What must have come of a run of the lab `oob`.

use std::collections::BTreeMap;

use super::{RECEIVER, SENDER};
use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance, side_by_side};

/// The receivers first: with them in order, the pair shows the sender.
pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for take in ["recv", "inline", "pair"] {
        let found = performances.iter().find(|one| one.take == take);
        let Some(performance) = found else { continue };
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout(RECEIVER).is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    let begun = judge.deed(
        "the receiver calls listen",
        performance.called(RECEIVER, "listen") > 0,
        "no call of listen(2) was seen",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge_waiting(performance, judge);
    let pieces = pieces(performance);
    match performance.take.as_str() {
        "recv" => judge_recv(performance, &pieces, judge),
        "inline" => judge_inline(performance, &pieces, judge),
        _ => judge_wire(performance, &pieces, judge),
    }
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    let expected = receiver_lines(performance, &pieces);
    compare(RECEIVER, &expected, performance, judge);
    judge.ended_well(performance, RECEIVER);
    if performance.take == "pair" {
        compare(
            SENDER,
            &sender_lines(performance, &pieces),
            performance,
            judge,
        );
        judge.ended_well(performance, SENDER);
    }
    if judge.content() {
        let name = format!("oob-{}", performance.take);
        let lines = joined(performance, RECEIVER);
        judge.snapshot("story", &name, &shape(&lines));
    }
}

fn compare(
    program: &str,
    expected: &[String],
    performance: &Performance,
    judge: &mut Judge,
) {
    let printed = joined(performance, program);
    judge.check(
        "output",
        &format!("{program} prints what the stub asks for"),
        expected == printed,
        side_by_side(expected, &printed),
    );
}

fn judge_waiting(performance: &Performance, judge: &mut Judge) {
    let unread = performance.facts.get("unread").cloned().unwrap_or_default();
    let Ok((sent, unread)) = serde_json::from_value::<(u32, u32)>(unread)
    else {
        return; // It did not get so far.
    };
    judge.check(
        "does-not-wait",
        "nothing is read before Enter",
        sent == unread,
        format!("of {sent} bytes {unread} were still to be read"),
    );
}

/// What the receiver said of what there was before Enter, and later.
fn judge_recv(performance: &Performance, pieces: &[Piece], judge: &mut Judge) {
    let expected = receiver_lines(performance, pieces);
    let printed = joined(performance, RECEIVER);
    let evidence = side_by_side(&expected, &printed);
    let of = |kind: &'static str| texts(&printed, kind);
    let said = performance.trace.stderr(RECEIVER).join("\n");
    judge.check(
        "oob-refused",
        "the kernel gives out the urgent byte when it is asked for it",
        !said.contains("Invalid argument"),
        format!("{said}\n{evidence}"),
    );
    let read = !of("data").is_empty();
    judge.check(
        "urgent-byte-lost",
        "the urgent byte is fetched",
        !read || !of("urgent").is_empty(),
        evidence.as_str(),
    );
    judge.check(
        "wrong-place",
        "the urgent byte is printed where it stands in the stream",
        !is_out_of_place(&expected, &printed),
        evidence,
    );
}

/// Does an urgent byte come before data that was sent before it?
fn is_out_of_place(expected: &[String], printed: &[String]) -> bool {
    let first = expected.iter().zip(printed).find(|(want, got)| want != got);
    first.is_some_and(|(want, got)| {
        want.starts_with("data ") && got.starts_with("urgent ")
            || want.starts_with("urgent ") && got.starts_with("data ")
    }) && !texts(printed, "urgent").is_empty()
}

fn judge_inline(
    performance: &Performance,
    pieces: &[Piece],
    judge: &mut Judge,
) {
    let expected = receiver_lines(performance, pieces);
    let printed = joined(performance, RECEIVER);
    let evidence = side_by_side(&expected, &printed);
    let (want, got) = (texts(&expected, "data"), texts(&printed, "data"));
    judge.check(
        "not-inline",
        "the urgent bytes are among the ordinary ones",
        want.starts_with(&got),
        evidence.as_str(),
    );
    judge.check(
        "no-mark",
        "the mark is seen",
        got.is_empty() || printed.iter().any(|line| line == "mark"),
        evidence.as_str(),
    );
    let (wanted, seen) = (marks(&expected), marks(&printed));
    let missed = wanted.iter().any(|at| *at < got.len() && !seen.contains(at));
    judge.check(
        "mark-missed",
        "no mark is passed by",
        seen.is_empty()
            || !missed
            || seen.iter().any(|at| !wanted.contains(at)),
        evidence.as_str(),
    );
    let right = expected.iter().zip(&printed).all(|(want, got)| {
        want == got || want.starts_with(got.as_str()) && got != "mark"
    });
    judge.check(
        "mark-elsewhere",
        "the mark is where the urgent byte begins",
        right,
        evidence,
    );
}

/// How many bytes come before each mark.
fn marks(lines: &[String]) -> Vec<usize> {
    let mut marks = Vec::new();
    let mut bytes = 0;
    for line in lines {
        match line.strip_prefix("data ") {
            Some(text) => bytes += text.len(),
            None if line == "mark" => marks.push(bytes),
            None => {}
        }
    }
    marks
}

/// What the sender put on the wire, by the urgent pointers.
fn judge_wire(performance: &Performance, pieces: &[Piece], judge: &mut Judge) {
    let Sent { text, ends } = sent(performance);
    let mut wanted_text = String::new();
    let mut wanted_ends = Vec::new();
    for piece in pieces {
        wanted_text.push_str(&piece.text);
        if piece.urgent {
            wanted_ends.push(wanted_text.len());
        }
    }
    let told = performance.scripts.iter().any(|script| {
        script.args.first().is_some_and(|role| role == "send")
            && script.inputs.len() >= pieces.len()
    });
    if !told {
        return; // It did not get so far.
    }
    judge.check(
        "wrong-bytes",
        "the bytes on the wire are those of the pieces",
        text == wanted_text,
        format!("expected {wanted_text}\nactual   {text}"),
    );
    let pointers = format!(
        "urgent data ends behind byte {wanted_ends:?}\n\
         urgent pointers on the wire: {ends:?}"
    );
    judge.check(
        "no-urg",
        "urgent data has the URG flag",
        !ends.is_empty(),
        "no segment with URG",
    );
    let more = ends.len() > wanted_ends.len()
        && wanted_ends.iter().all(|end| ends.contains(end));
    judge.check(
        "every-byte-urgent",
        "each piece of urgent data has one urgent pointer",
        !more,
        pointers.as_str(),
    );
    judge.check(
        "wrong-urgent",
        "the urgent pointer is behind the last byte of urgent data",
        ends == wanted_ends,
        pointers,
    );
}

/// What one host sent.
struct Sent {
    /// All its bytes.
    text: String,
    /// Where urgent data ended, as the pointers say: how many bytes are before.
    ends: Vec<usize>,
}

fn sent(performance: &Performance) -> Sent {
    let mut bytes = BTreeMap::new();
    let mut ends = Vec::new();
    let mut first = 0;
    for (event, frame) in performance.trace.frames() {
        let packet = frame.packet();
        let segment = packet.segment().filter(|_| event.host == LAPTOP);
        let Some(segment) = segment else { continue };
        if segment.flags.syn {
            first = segment.seq.wrapping_add(1);
        }
        let at = segment.seq.wrapping_sub(first) as usize;
        for (offset, byte) in packet.data().iter().enumerate() {
            bytes.insert(at + offset, *byte);
        }
        let end = at + usize::from(segment.urgent);
        if segment.flags.urg && !ends.contains(&end) {
            ends.push(end);
        }
    }
    let bytes: Vec<u8> = bytes.into_values().collect();
    Sent { text: String::from_utf8_lossy(&bytes).into_owned(), ends }
}

/// What was to be sent.
struct Piece {
    urgent: bool,
    text: String,
}

fn pieces(performance: &Performance) -> Vec<Piece> {
    let pieces = performance.facts.get("pieces").cloned().unwrap_or_default();
    let pieces: Vec<String> =
        serde_json::from_value(pieces).unwrap_or_default();
    let pieces = pieces.iter().filter_map(|piece| piece.split_once(' '));
    pieces
        .map(|(kind, text)| Piece {
            urgent: kind == "urgent",
            text: text.to_string(),
        })
        .collect()
}

/// What a receiver has to print: of the pieces that had all come before it
/// read, only the last urgent byte is one (tcp(7)); the others are ordinary.
fn receiver_lines(performance: &Performance, pieces: &[Piece]) -> Vec<String> {
    let address = performance.text("address").unwrap_or_default();
    let laptop = performance.trace.hosts[0].addresses[0];
    let mut lines =
        vec![format!("listening on {address}"), format!("accepted {laptop}")];
    let before = performance.number("before_enter").map(|n| n as usize);
    let before = before.unwrap_or(pieces.len());
    let last = pieces[..before].iter().rposition(|piece| piece.urgent);
    for (at, piece) in pieces.iter().enumerate() {
        let counts = piece.urgent && (at >= before || Some(at) == last);
        match piece.text.split_at_checked(piece.text.len().wrapping_sub(1)) {
            Some((front, byte)) if counts => {
                lines.push(format!("data {front}"));
                match performance.take.as_str() {
                    "inline" => {
                        lines.push("mark".into());
                        lines.push(format!("data {byte}"));
                    }
                    _ => lines.push(format!("urgent {byte}")),
                }
            }
            _ => lines.push(format!("data {}", piece.text)),
        }
    }
    lines.push("end of file".into());
    join(&lines)
}

fn sender_lines(performance: &Performance, pieces: &[Piece]) -> Vec<String> {
    let address = performance.text("address").unwrap_or_default();
    let ip = address.split(':').next().unwrap_or_default();
    let mut lines = vec![format!("connected to {ip}")];
    lines.extend(pieces.iter().map(|piece| {
        let urgent = if piece.urgent { ", the last one urgent" } else { "" };
        format!("sent {} bytes{urgent}", piece.text.len())
    }));
    lines.push("closed".into());
    lines
}

/// What a program printed, with neighbouring `data` lines joined: TCP is a byte
/// stream, and how many reads it takes is not said.
fn joined(performance: &Performance, program: &str) -> Vec<String> {
    join(&performance.trace.stdout(program))
}

fn join<S: AsRef<str>>(lines: &[S]) -> Vec<String> {
    let mut joined = Vec::<String>::new();
    for line in lines {
        let line = line.as_ref();
        match (joined.last_mut(), line.strip_prefix("data ")) {
            (_, Some("")) => {}
            (Some(last), Some(more)) if last.starts_with("data ") => {
                last.push_str(more);
            }
            _ => joined.push(line.to_string()),
        }
    }
    joined
}

/// All that is said to be of this kind, in one.
fn texts(lines: &[String], kind: &str) -> String {
    let prefix = format!("{kind} ");
    lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

/// The lines without the letters and addresses that were drawn.
fn shape(lines: &[String]) -> String {
    let first = |line: &String| {
        let word = line.split(' ').next().unwrap_or_default();
        format!("{word}\n")
    };
    lines.iter().map(first).collect()
}

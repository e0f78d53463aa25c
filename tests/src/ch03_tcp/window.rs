//! Grades `window`: a sender that its peer's window stops, and a reader that
//! takes what it is told to and not a byte more.
//!
//! The reader does not read, so the window closes in every run: the sender's
//! kernel is waited for until it has a timer to probe with. What the sender
//! says it has got rid of must be what the two kernels hold then. `lab run`
//! shows more: a probe that finds the window closed though a few bytes are
//! free, and a window update that the wire loses, so that a probe has to find
//! the window open.

use testbed::trace::Event;
use testbed::{Profile, Segment, TcpSocket, TcpState, TimerKind};

use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "window",
    pristine: include_str!("../../pristine/ch03_tcp/window.rs"),
    takes: &[Take { name: "closed", profile: Profile::Book }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "buffer_after_accept", cause: "window-too-large" },
        Mutant { name: "default_send_buffer", cause: "send-buffer" },
        Mutant { name: "blocks", cause: "blocks-in-write" },
        Mutant { name: "counts_what_it_offers", cause: "partial-write" },
        Mutant { name: "tries_again_and_again", cause: "burns-cpu" },
        Mutant { name: "reads_ahead", cause: "reads-ahead" },
    ],
    alternatives: &["buffered_chunks", "raw_calls"],
};

/// What `lab run` plays with, and the page speaks of.
const STORY: [u64; 3] = [4096, 8192, 40_000];
/// A read there that is smaller than a segment.
const SMALL: u64 = 1000;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let [receive, send, total] = match stage.story {
        true => STORY,
        false => [
            stage.draw.count(4096..=6144),
            stage.draw.count(4608..=8192),
            stage.draw.count(60_000..=90_000),
        ],
    };
    let receive: String =
        stage.values.first().cloned().unwrap_or(receive.to_string());
    let address = stage.address(KONGMING)?.to_string();
    stage.fact("address", &address);
    stage.fact("receive_buffer", receive.parse::<u64>().unwrap_or_default());
    stage.fact("send_buffer", send);
    stage.fact("total", total);

    let reader =
        stage.start("reader", KONGMING, ["reader", &receive, &address])?;
    stage.line(reader, "listening on ")?;
    let (send, total) = (send.to_string(), total.to_string());
    let sender =
        stage.start("sender", LAPTOP, ["sender", &send, &total, &address])?;
    stage.line(sender, "connected to ")?;
    stage.line(reader, "accepted ")?;
    let most = 2 * receive.parse::<u64>().unwrap_or_default();
    if offered(&stage.net.trace()?).is_none_or(|window| window > most) {
        return Err(Halt::Missed("waited for a small window".into()));
    }

    close(stage, sender)?;
    let unread = unread(stage)?;
    let small = match stage.story {
        true => SMALL,
        false => stage.draw.count(20..=200),
    };
    let small = small.min(unread / 2);
    read(stage, reader, small)?;
    stage.fact("small", small);
    stage.fact("after_small", stage.net.host(KONGMING)?.tcp_sockets()?);
    if stage.story {
        probe(stage)?;
    }
    // The memory of segments that lie together is free when the last byte of
    // them has been read: only then the window opens for sure.
    let large = unread - small;
    stage.fact("large", large);
    let data = stage.count("data from ernest-laptop")?;
    match stage.story {
        true => lose_the_update(stage, reader, large)?,
        false => read(stage, reader, large)?,
    }
    stage.frames("data from ernest-laptop", data + 1)?;
    stage.step(KONGMING, "end of the reader's input")?;
    stage.close_stdin(reader);
    stage.end(sender)?;
    stage.end(reader)
}

/// Waits until the sender's kernel has no window, and the sender no room.
fn close(stage: &mut Stage, sender: Role) -> Result<(), Halt> {
    stage.sockets(
        LAPTOP,
        "a timer to probe a closed window with",
        |sockets| sockets.iter().any(is_closed),
    )?;
    if !stage.idle(sender)? {
        stage.fact("never_asleep", true);
        return Err(Halt::Missed("waited for sender to sleep".into()));
    }
    if !stage.story {
        stage.rests(sender)?;
    }
    stage.lines_soon(sender, 2);
    let trace = stage.net.trace()?;
    let told = trace.stderr("sender").into_iter().rev();
    let told = told.filter_map(|line| line.strip_prefix("no room after "));
    let told = told.take(1).find_map(|count| count.parse::<u64>().ok());
    let ours = stage.net.host(LAPTOP)?.tcp_sockets()?;
    let theirs = stage.net.host(KONGMING)?.tcp_sockets()?;
    stage.fact("queued", connection(&ours).map_or(0, |s| s.send_queue));
    stage.fact("unread", connection(&theirs).map_or(0, |s| s.receive_queue));
    stage.fact("closed_sender", ours);
    stage.fact("closed_reader", theirs);
    if let Some(told) = told {
        stage.fact("told", told);
        return stage.step(LAPTOP, "the window is closed");
    }
    let what = "waited for sender to print `no room after ...`";
    Err(Halt::Missed(what.into()))
}

/// Has the program read so many bytes.
fn read(stage: &mut Stage, reader: Role, count: u64) -> Result<(), Halt> {
    stage.step(KONGMING, format!("the reader is told to read {count}"))?;
    stage.send(reader, &count.to_string());
    stage.line(reader, "read ")?;
    Ok(())
}

/// Waits for a probe and its answer.
fn probe(stage: &mut Stage) -> Result<(), Halt> {
    let sent = stage.count("ack from ernest-laptop")?;
    let answers = stage.count("ack from Kongming20")?;
    stage.frames("ack from ernest-laptop", sent + 1)?;
    stage.frames("ack from Kongming20", answers + 1)
}

/// The window opens, and the sender does not hear of it.
fn lose_the_update(
    stage: &mut Stage,
    reader: Role,
    count: u64,
) -> Result<(), Halt> {
    let drop = stage.net.wire().arm("drop every ack from Kongming20")?;
    read(stage, reader, count)?;
    stage.patiently(|stage, glance| {
        let sent = stage.count("ack from Kongming20")?;
        let trace = stage.net.trace()?;
        let last = segments(&trace).filter(|(event, _)| event.host == KONGMING);
        if last.last().is_some_and(|(_, segment)| segment.window > 0) {
            return Ok(Some(()));
        }
        stage.net.wait_frames("ack from Kongming20", sent + 1, glance)?;
        Ok(None)
    })?;
    stage.net.wire().disarm(drop)?;
    stage.step("wire", "has lost the window update")
}

/// How many bytes the reader's kernel has for it.
fn unread(stage: &Stage) -> Result<u64, Halt> {
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    Ok(connection(&sockets).map_or(0, |s| s.receive_queue.into()))
}

/// The window of the SYN ACK.
fn offered(trace: &testbed::Trace) -> Option<u64> {
    let opened = segments(trace).find(|(_, s)| s.flags.syn && s.flags.ack);
    opened.map(|(_, segment)| segment.window.into())
}

/// Does its kernel wait for a window to open?
fn is_closed(socket: &TcpSocket) -> bool {
    socket.timer.is_some_and(|timer| timer.kind == TimerKind::ZeroWindow)
}

fn connection(sockets: &[TcpSocket]) -> Option<&TcpSocket> {
    sockets.iter().find(|socket| socket.state != TcpState::Listen)
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let number = |fact| performance.number(fact).unwrap_or_default();
    let mut sent = segments(&performance.trace);
    judge.deed(
        "a segment is sent",
        sent.next().is_some() || performance.trace.stdout("sender").is_empty(),
        "there is no TCP segment on the wire",
    );
    let window = offered(&performance.trace).unwrap_or_default();
    let most = 2 * number("receive_buffer");
    judge.check(
        "window-too-large",
        "the SYN ACK's window is no larger than the buffer asked for",
        window <= most,
        format!("a buffer of {most} bytes at most, a window of {window}"),
    );
    judge.check(
        "burns-cpu",
        "the sender sleeps while there is no room",
        !performance.facts.contains_key("never_asleep"),
        "the window was closed, and the sender never asleep",
    );
    judge_closed(performance, judge);
    judge_reads(performance, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_stream(performance, judge);
    judge_output(performance, judge);
    judge.ended_well(performance, "reader");
    judge.ended_well(performance, "sender");
    judge.snapshot("story", "window", &summary(performance));
}

/// What the sender and its kernel had to say of the closed window.
fn judge_closed(performance: &Performance, judge: &mut Judge) {
    let Some(_) = performance.facts.get("closed_sender") else { return };
    let ours = performance.sockets("closed_sender");
    let theirs = performance.sockets("closed_reader");
    let queued = connection(&ours).map_or(0, |s| s.send_queue.into());
    let unread = connection(&theirs).map_or(0, |s| s.receive_queue.into());
    let asked = 2 * performance.number("send_buffer").unwrap_or_default();
    let given = connection(&ours).map_or(0, |s| s.send_buffer.into());
    judge.check(
        "send-buffer",
        "the sender's socket has the send buffer asked for, doubled",
        asked == given,
        format!("the buffer should be {asked}, and is another"),
    );
    let told = performance.number("told");
    let done = performance.trace.stdout("sender");
    let done = done.iter().any(|line| line.starts_with("sent "));
    judge.check(
        if done { "partial-write" } else { "blocks-in-write" },
        "the sender says so when its kernel has no room",
        told.is_some(),
        "bytes are queued here and unread there, and nothing was printed",
    );
    let held = queued + unread;
    judge.check(
        "partial-write",
        "it counts what its kernel has taken, and not what it has offered",
        told.is_none_or(|told| told == held),
        match told.is_some_and(|told| told > held) {
            true => "it told of more than the two kernels hold",
            false => "it told of less than the two kernels hold",
        },
    );
}

/// What was left unread after a small read.
fn judge_reads(performance: &Performance, judge: &mut Judge) {
    let (before, after) = ("closed_reader", "after_small");
    let [before, after] = [before, after].map(|fact| {
        connection(&performance.sockets(fact)).map_or(0, |s| s.receive_queue)
    });
    let Some(small) = performance.number("small") else { return };
    let taken = u64::from(before.saturating_sub(after));
    judge.check(
        "reads-ahead",
        "the reader takes as much as it is told to",
        taken == small,
        format!("told to read {small} bytes, it took another number of them"),
    );
}

/// The stream as it was on the wire.
fn judge_stream(performance: &Performance, judge: &mut Judge) {
    let total = performance.number("total").unwrap_or_default() as usize;
    let stream = stream(performance);
    let wrong =
        stream.iter().enumerate().find(|(at, byte)| **byte != byte_at(*at));
    let evidence = match wrong {
        Some((at, _)) => format!("byte {at} is not the one that belongs there"),
        None => format!("{} of {total} bytes", stream.len()),
    };
    judge.check(
        "partial-write",
        "the whole stream is sent, in order",
        wrong.is_none() && stream.len() == total,
        evidence,
    );
}

/// What the programs' `stream_of` has at this place.
fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

fn judge_output(performance: &Performance, judge: &mut Judge) {
    let number = |fact| performance.number(fact).unwrap_or_default();
    let address = performance.text("address").unwrap_or_default();
    let laptop = &performance.trace.hosts[0].addresses[0];
    let (small, large) = (number("small"), number("large"));
    let rest = number("total") - small - large;
    let buffer = 2 * number("receive_buffer");
    let reader = [
        format!("listening on {address}, receive buffer {buffer}"),
        format!("accepted {laptop}"),
        format!("read {small}"),
        format!("read {large}"),
        format!("end of file after {rest} more"),
    ];
    judge.printed("output", performance, "reader", &reader);

    // How often there is no room is the kernels' affair, and on stderr.
    let buffer = 2 * number("send_buffer");
    let sender = [
        format!("connected to {address}, send buffer {buffer}"),
        format!("sent {}", number("total")),
    ];
    judge.printed("output", performance, "sender", &sender);
}

fn segments(trace: &testbed::Trace) -> impl Iterator<Item = (&Event, Segment)> {
    trace
        .frames()
        .filter_map(|(event, frame)| Some((event, frame.packet().segment()?)))
}

/// The sender's bytes, without those that were sent again.
fn stream(performance: &Performance) -> Vec<u8> {
    let mut first = None;
    let mut stream = Vec::new();
    for (event, frame) in performance.trace.frames() {
        let packet = frame.packet();
        let Some(segment) = packet.segment() else { continue };
        if event.host != LAPTOP {
            continue;
        }
        if segment.flags.syn {
            first = Some(segment.seq.wrapping_add(1));
        }
        let Some(first) = first else { continue };
        // A probe's number is that of the last byte before.
        let at = segment.seq.wrapping_sub(first) as usize;
        let known = stream.len().saturating_sub(at);
        if at <= stream.len() && known < segment.data {
            stream.extend_from_slice(&packet.data()[known..]);
        }
    }
    stream
}

/// What was seen, without the numbers that are the kernels' affair.
fn summary(performance: &Performance) -> String {
    let number = |fact| performance.number(fact).unwrap_or_default();
    let ours = performance.sockets("closed_sender");
    let theirs = performance.sockets("closed_reader");
    let timer = ours.iter().any(is_closed);
    let mut sent = segments(&performance.trace);
    let zero = sent.any(|(event, segment)| {
        event.host == KONGMING && segment.window == 0 && !segment.flags.rst
    });
    let yes = |is: bool| if is { "yes" } else { "no" };
    let rows = [
        ("the window was 0", zero),
        ("the sender's kernel had a timer to probe with", timer),
        ("it held bytes", ours.iter().any(|socket| socket.send_queue > 0)),
        (
            "the reader's kernel held bytes",
            connection(&theirs).is_some_and(|s| s.receive_queue > 0),
        ),
        ("all bytes came", stream(performance).len() as u64 == number("total")),
    ];
    let rows = rows.map(|(what, is)| format!("{what}: {}\n", yes(is)));
    rows.concat()
}

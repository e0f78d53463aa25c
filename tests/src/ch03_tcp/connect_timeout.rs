//! Grades `connect_timeout`: one attempt, ended by whoever is first.
//!
//! In the takes `silent` and `book` every SYN is lost, and the deadline is
//! shorter than the kernel's first interval. In `kernel` the kernel gives up
//! first; it is told to do so after one repetition, since it would else take
//! minutes. In `refused` the answer is RST, and in `late` it is a SYN ACK that
//! the wire keeps for a while.
//!
//! `lab run connect_timeout -- MILLISECONDS` has as long a deadline as it is
//! told, up to nine seconds: for the intervals in both profiles.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use testbed::trace::{Event, Frame};
use testbed::{Profile, TcpSocket, TcpState};

use super::wire::segments;
use crate::ch05_sockets::peer::{Peer, listen};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "connect_timeout",
    pristine: include_str!("../../pristine/ch03_tcp/connect_timeout.rs"),
    takes: &[
        Take { name: "silent", profile: Profile::Modern },
        Take { name: "book", profile: Profile::Book },
        Take { name: "kernel", profile: Profile::Book },
        Take { name: "refused", profile: Profile::Modern },
        Take { name: "late", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "blocks", cause: "deadline-ignored" },
        Mutant { name: "leaves_it_to_a_thread", cause: "attempt-goes-on" },
        Mutant { name: "pollout_is_enough", cause: "error-not-asked" },
        Mutant { name: "sleeps_it_out", cause: "sleeps-it-out" },
        Mutant { name: "stays_nonblocking", cause: "still-nonblocking" },
        Mutant { name: "one_word_for_both", cause: "kernel-gave-up" },
        Mutant { name: "tries_again", cause: "many-attempts" },
    ],
    alternatives: &["std_connect_timeout", "sndtimeo"],
};

const PROGRAM: &str = "client";
/// How long the wire keeps the SYN ACK of a host that is late.
const LATE: u64 = 250;
/// A deadline that is not met: the kernel's word comes before.
const LONG: u64 = 8000;
/// The same, where whoever sleeps through it is waited for.
const NOT_SO_LONG: u64 = 2000;
/// What a busy machine may take in addition to what was asked for.
const GRACE_MS: u64 = 600;

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?.to_string();
    stage.fact("address", &address);
    let drawn = stage.draw.count(300..=700);
    let limit = match stage.take {
        "kernel" => LONG,
        "refused" => NOT_SO_LONG,
        "late" => NOT_SO_LONG,
        _ => drawn,
    };
    let asked = stage.values.first().and_then(|text| text.parse().ok());
    let limit: u64 = asked.unwrap_or(limit);
    stage.fact("limit", limit);
    let args = [address.clone(), limit.to_string()];
    // Before the program can begin, and until its word is here: never less
    // than what the program itself has measured.
    let began = Instant::now();
    let said = |stage: &mut Stage| {
        stage.fact("elapsed", began.elapsed().as_millis() as u64);
    };
    match stage.take {
        "late" => late(stage, &args, said),
        "refused" => {
            let client = stage.start(PROGRAM, LAPTOP, args)?;
            stage.line(client, "connect: ")?;
            said(stage);
            ends(stage, client)
        }
        "kernel" => {
            kernel_first(stage)?;
            let client = silence(stage, &args)?;
            stage.line(client, "connect: ")?;
            said(stage);
            ends(stage, client)
        }
        _ => {
            let client = silence(stage, &args)?;
            match asked {
                None => in_time(stage, client)?,
                Some(_) => stage.line(client, "gave up").map(drop)?,
            }
            said(stage);
            stage.idle(client)?;
            let sockets = stage.net.host(LAPTOP)?.tcp_sockets()?;
            let trying = |s: &TcpSocket| s.state == TcpState::SynSent;
            let left = sockets.iter().filter(|s| trying(s)).count();
            stage.fact("still_trying", left);
            stage.step(LAPTOP, format!("sockets in SYN-SENT: {left}"))?;
            ends(stage, client)
        }
    }
}

/// Has the kernel repeat a SYN once, and as soon as it can be told to.
fn kernel_first(stage: &mut Stage) -> Result<(), Halt> {
    let name = "net.ipv4.tcp_syn_retries";
    stage.net.host(LAPTOP)?.set_sysctl(name, "1")?;
    stage.step(LAPTOP, format!("{name} is 1"))?;
    if !stage.story {
        // Linux 6.15 and later; the others wait for 2 s after the second SYN.
        let name = "net.ipv4.tcp_rto_max_ms";
        let _ = stage.net.host(LAPTOP)?.set_sysctl(name, "1000");
    }
    Ok(())
}

/// Starts the program with nobody to hear it.
fn silence(stage: &mut Stage, args: &[String; 2]) -> Result<Role, Halt> {
    stage.net.wire().arm("drop every syn from ernest-laptop")?;
    let client = stage.start(PROGRAM, LAPTOP, args.clone())?;
    stage.line(client, "connecting for ")?;
    Ok(client)
}

/// Waits for the program's word, or until it is too late for it.
fn in_time(stage: &mut Stage, client: Role) -> Result<(), Halt> {
    let in_time = stage.patiently(|stage, _| {
        let glance = Duration::from_millis(20);
        if stage.program(client).wait_line("gave up", glance).is_some()
            || stage.program(client).has_closed_its_output()
        {
            return Ok(Some(true));
        }
        // The third SYN leaves after two seconds, or three.
        let what = "syn from ernest-laptop";
        let late = stage.net.wait_frames(what, 3, Duration::ZERO)?;
        Ok(late.then_some(false))
    })?;
    stage.fact("overran", in_time == Some(false));
    match in_time {
        Some(true) => Ok(()),
        _ => Err(Halt::Missed("waited for the program to give up".into())),
    }
}

/// A server whose SYN ACK takes its time, and whose data comes later still.
fn late(
    stage: &mut Stage,
    args: &[String; 2],
    said: impl Fn(&mut Stage),
) -> Result<(), Halt> {
    let at = args[0].parse().map_err(|_| Halt::Missed("an address".into()))?;
    let listener = listen(stage, KONGMING, at)?;
    let rule = format!("delay {LATE}ms every synack from Kongming20");
    stage.net.wire().arm(&rule)?;
    let client = stage.start(PROGRAM, LAPTOP, args.clone())?;
    stage.line(client, "connected")?;
    said(stage);
    let mut peer = Peer::accept(stage, &listener)?;
    // Whoever does not wait for data has not found any.
    stage.idle(client)?;
    let count = stage.draw.count(3..=9);
    stage.fact("bytes", count);
    let text = stage.draw.letters(count as usize);
    peer.send(&text);
    peer.finish();
    stage.line(client, "read ")?;
    ends(stage, client)
}

fn ends(stage: &mut Stage, client: Role) -> Result<(), Halt> {
    stage.close_stdin(client);
    stage.end(client)
}

/// What the kernel answers comes first; then what it does not.
fn judge(performances: &[Performance], judge: &mut Judge) {
    for take in ["silent", "book", "refused", "late", "kernel"] {
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
    let syns = syns(performance);
    let begun = judge.deed(
        "a SYN is sent",
        !syns.is_empty() || performance.trace.stdout(PROGRAM).is_empty(),
        "there is no SYN on the wire",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let ports: HashSet<u16> = syns.into_iter().collect();
    judge.check(
        "many-attempts",
        "the program makes one attempt; to repeat the SYN is the kernel's work",
        ports.len() <= 1,
        "SYNs left from more than one port",
    );
    match performance.take.as_str() {
        "silent" | "book" => judge_deadline(performance, judge),
        "late" => judge_late(performance, judge),
        take => judge_kernel(performance, take, judge),
    }
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    let limit = performance.number("limit").unwrap_or_default();
    let mut lines = vec![format!("connecting for {limit} ms at most")];
    match performance.take.as_str() {
        "refused" => lines.push("connect: ECONNREFUSED".into()),
        "kernel" => lines.push("connect: ETIMEDOUT".into()),
        "late" => {
            let bytes = performance.number("bytes").unwrap_or_default();
            lines.extend(["connected".into(), format!("read {bytes} bytes")]);
        }
        _ => lines.push("gave up".into()),
    }
    judge.printed("output", performance, PROGRAM, &lines);
    judge.ended_well(performance, PROGRAM);
    if judge.content() {
        let name = format!("connect_timeout-{}", performance.take);
        judge.snapshot("segments", &name, &summary(performance));
    }
}

fn judge_deadline(performance: &Performance, judge: &mut Judge) {
    let overran = performance.facts.get("overran");
    let said = performance.trace.stdout(PROGRAM).join("\n");
    judge.check(
        "deadline-ignored",
        "the program gives up at its deadline",
        overran.is_none_or(|overran| overran == false),
        format!("three SYNs had left, and it had only said\n{said}"),
    );
    if let Some(after) = performance.number("elapsed") {
        let limit = performance.number("limit").unwrap_or_default();
        let grace = GRACE_MS * u64::from(performance.slack.max(1));
        judge.check(
            "deadline-missed",
            "the program gives up when its time is over, and not before",
            (limit..limit + grace).contains(&after),
            format!("deadline: {limit} ms; it gave up after {after} ms"),
        );
    }
    let left = performance.number("still_trying").unwrap_or_default();
    judge.check(
        "attempt-goes-on",
        "nothing is left of the attempt when the program has given up",
        left == 0,
        format!("sockets in SYN-SENT after `gave up`: {left}"),
    );
}

/// The kernel's answer, in the program's words.
fn judge_kernel(performance: &Performance, take: &str, judge: &mut Judge) {
    let printed = performance.trace.stdout(PROGRAM);
    let word = printed.get(1).copied().unwrap_or_default();
    let (cause, name, wrong) = match take {
        "refused" => (
            "error-not-asked",
            "the program finds out that it was refused",
            word == "connected",
        ),
        _ => (
            "kernel-gave-up",
            "the program tells the kernel's ETIMEDOUT from its own deadline",
            word == "gave up",
        ),
    };
    let limit = performance.number("limit").unwrap_or_default();
    let seconds = limit / 1000;
    judge.check(
        cause,
        name,
        !wrong,
        format!("it says `{word}`, long before its deadline of {seconds} s"),
    );
}

fn judge_late(performance: &Performance, judge: &mut Judge) {
    let after = performance.number("elapsed").unwrap_or_default();
    let limit = performance.number("limit").unwrap_or_default();
    judge.check(
        "sleeps-it-out",
        "the program goes on as soon as it is connected",
        after < limit - LATE,
        format!(
            "the SYN ACK came after {LATE} ms; `connected` only after {limit}, \
             the deadline"
        ),
    );
    let said = performance.trace.stderr(PROGRAM).join("\n");
    judge.check(
        "still-nonblocking",
        "a read from the connection waits for data",
        !said.contains("os error 11"),
        said,
    );
}

/// From which port each SYN left.
fn syns(performance: &Performance) -> Vec<u16> {
    let frames = performance.trace.frames();
    let syn = |(_, frame): (&Event, &Frame)| {
        let segment = frame.packet().segment()?;
        let syn = segment.flags.syn && !segment.flags.ack;
        syn.then(|| segment.source.port())
    };
    frames.filter_map(syn).collect()
}

/// What the wire had, without what depends on the clock.
fn summary(performance: &Performance) -> String {
    let sent = segments(&performance.trace);
    let mut text = String::new();
    let mut last = String::new();
    for (host, segment) in sent {
        if segment.flags.fin || segment.data > 0 {
            break; // What follows is not the lab's.
        }
        let line = format!("{host:<14} {}\n", segment.flags);
        if line != last {
            text.push_str(&line);
        }
        last = line;
    }
    text
}

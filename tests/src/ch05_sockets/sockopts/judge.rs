//! The judge: what the sockets had, when bytes were taken, when close returned.

use testbed::{Exit, TcpState};

use super::{ALONE, Look, RECEIVER, TOO_LARGE, TWINS, connection, listeners};
use crate::verdict::{Judge, Performance};

pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        match performance.take.as_str() {
            "records" => records(performance, judge),
            _ => port(performance, judge),
        }
        if !judge.content() {
            return; // Whatever follows may follow from that.
        }
    }
    if performances.iter().any(|performance| performance.missed.is_some()) {
        return; // Half a story is not compared.
    }
    let story: String = performances.iter().map(story).collect();
    judge.snapshot("story", "sockopts", &story);
}

fn number(performance: &Performance, fact: &str) -> u64 {
    performance.number(fact).unwrap_or_default()
}

fn records(performance: &Performance, judge: &mut Judge) {
    let before = performance.sockets("listener");
    let done = judge.deed(
        "there is a listening socket",
        listeners(&before).next().is_some()
            || !printed(performance, RECEIVER, "listening on "),
        "no socket listens on Kongming20",
    );
    if !done || !options(performance, RECEIVER, judge) {
        return;
    }
    window(performance, judge);
    buffers(performance, judge);
    if !judge.content() || !taken(performance, judge) {
        return;
    }
    lingers(performance, judge);
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    judge.printed("output", performance, RECEIVER, &lines(performance));
    let whole = number(performance, "record").max(1) as usize;
    let whole = sent(performance).len() / whole;
    let answer = performance.text("answer").unwrap_or_default();
    judge.check(
        "answer",
        "the peer gets the number of records",
        answer == format!("{whole} records\n"),
        format!("{whole} records were sent, and it heard `{answer}`"),
    );
    judge.ended_well(performance, RECEIVER);
}

/// What the program says of its options is what the kernel has.
fn options(performance: &Performance, name: &str, judge: &mut Judge) -> bool {
    let expected = option_lines(performance, name);
    let printed = performance.trace.stdout(name);
    for (at, right) in expected.iter().enumerate() {
        let said = printed.get(at).copied().unwrap_or_default();
        let ok = judge.check(
            mistake(right, said),
            &format!("{name} says what the kernel has: {}", option(right)),
            said == right,
            format!("expected {right}\nactual   {said}"),
        );
        if !ok {
            return false;
        }
    }
    true
}

fn option_lines(performance: &Performance, name: &str) -> Vec<String> {
    let lines = performance.facts.get(&format!("{name}_lines")).cloned();
    serde_json::from_value(lines.unwrap_or_default()).unwrap_or_default()
}

/// The option that a line is about.
fn option(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

/// What it means that a line about an option is another.
fn mistake(right: &str, said: &str) -> &'static str {
    let words = |line: &str| -> Option<(i64, i64)> {
        let (_, rest) = line.split_once(": asked for ")?;
        let (asked, has) = rest.split_once(", has ")?;
        Some((asked.parse().ok()?, has.parse().ok()?))
    };
    match (words(right), words(said)) {
        (None, _) if said.is_empty() => "stops-at-an-error",
        (_, Some((asked, has))) if has == asked => "not-asked",
        (Some(_), Some((asked, has))) if has == 2 * asked => {
            "believes-the-double"
        }
        _ => "options",
    }
}

/// The window of the SYN ACK.
fn offered(performance: &Performance) -> Option<u64> {
    let frames = performance.trace.frames();
    let mut segments = frames.filter_map(|(_, frame)| frame.packet().segment());
    let opened = segments.find(|s| s.flags.syn && s.flags.ack)?;
    Some(opened.window.into())
}

fn window(performance: &Performance, judge: &mut Judge) {
    let Some(window) = offered(performance) else { return };
    let most = 2 * number(performance, "receive_buffer");
    judge.check(
        "window-too-large",
        "the SYN ACK's window is no larger than the buffer",
        window <= most,
        format!("a buffer of {most} bytes at most, a window of {window}"),
    );
}

/// What sock_diag says of the listener's buffers, and what the program.
fn buffers(performance: &Performance, judge: &mut Judge) {
    let lines = option_lines(performance, RECEIVER);
    let before = performance.sockets("listener");
    let Some(listener) = listeners(&before).next() else { return };
    for (name, has) in [
        ("SO_RCVBUF", listener.receive_buffer),
        ("SO_SNDBUF", listener.send_buffer),
    ] {
        let said = lines.iter().find(|line| option(line) == name);
        let Some((_, value)) = said.and_then(|line| line.split_once("has "))
        else {
            continue; // `lab run` was given other options.
        };
        judge.check(
            "not-on-the-listener",
            &format!("the listener has the {name} that is printed"),
            value == has.to_string(),
            format!("ss -tlm shows another {name} than the one asked for"),
        );
    }
}

fn sent(performance: &Performance) -> &str {
    performance.text("sent").unwrap_or_default()
}

/// Whole records are taken, at once, and nothing but whole records.
fn taken(performance: &Performance, judge: &mut Judge) -> bool {
    let looks = performance.facts.get("looks").cloned().unwrap_or_default();
    let looks: Vec<Look> = serde_json::from_value(looks).unwrap_or_default();
    let record = number(performance, "record").max(1) as usize;
    let lines = performance.trace.stdout(RECEIVER);
    let records = lines.iter().filter_map(|l| l.strip_prefix("record "));
    let sizes: Vec<usize> = records.map(str::len).collect();
    let ok = judge.check(
        "not-whole-records",
        "what it prints as a record has the size of one",
        sizes.iter().all(|size| *size == record),
        "a line has more bytes than a record, or fewer",
    );
    if !ok {
        return false;
    }
    // The first look in which bytes are gone that are no record tells how they
    // went, and the next whether they were missed.
    for (at, look) in looks.iter().enumerate() {
        let whole = look.sent / record;
        let part = look.sent % record;
        let later = &looks[at..];
        let printed = later.iter().all(|l| l.printed >= l.sent / record);
        let cause = match (at, printed) {
            (_, false) if looks[0].unread == 0 => "sleeps-in-read",
            (0, _) => "takes-what-comes",
            _ => "reads-ahead",
        };
        let seen = match (at, look.unread as usize == part) {
            (_, true) => "so it is",
            (0, false) if !printed => {
                "the first bytes were taken; when the record's last byte had \
                 come, it was not printed"
            }
            (0, false) => "the first bytes were not left to the kernel",
            (_, false) => "bytes that came after a record were taken with it",
        };
        let ok = judge.check(
            cause,
            &format!("after {whole} records the rest is left to the kernel"),
            look.unread as usize == part || look.unread as usize >= record,
            seen,
        ) && judge.check(
            if looks[0].unread == 0 { "sleeps-in-read" } else { "late" },
            &format!("record {whole} is printed as soon as it is there"),
            look.printed >= whole,
            "the last byte of a record had come, and it was not printed",
        );
        if !ok {
            return false;
        }
    }
    true
}

/// While the acknowledgement is missing, close has not returned: a process has
/// the socket.
fn lingers(performance: &Performance, judge: &mut Judge) {
    if !performance.facts.contains_key("closing") {
        return;
    }
    let lines = option_lines(performance, RECEIVER);
    if !lines.iter().any(|line| option(line) == "SO_LINGER") {
        return; // `lab run` was given other options.
    }
    let closing = performance.sockets("closing");
    let state = connection(&closing);
    let held = state.is_some_and(|socket| {
        socket.state == TcpState::LastAck && socket.inode != 0
    });
    judge.check(
        "does-not-linger",
        "close returns when the last byte is acknowledged",
        held,
        match state {
            None => "the acknowledgement was held, and there was no socket",
            Some(_) if held => "LAST-ACK, and the program is in close",
            Some(_) => "LAST-ACK, and no process has the socket any more",
        },
    );
}

/// All that the program of `records` should print.
fn lines(performance: &Performance) -> Vec<String> {
    let address = performance.text("address").unwrap_or_default();
    let laptop = &performance.trace.hosts[0].addresses[0];
    let record = number(performance, "record").max(1) as usize;
    let sent = sent(performance);
    let mut lines = option_lines(performance, RECEIVER);
    lines.push(format!("listening on {address}"));
    lines.push(format!("accepted {laptop}"));
    let chunks = sent.as_bytes().chunks_exact(record);
    let left = chunks.remainder().len();
    lines.extend(chunks.map(|text| format!("record {}", text.escape_ascii())));
    lines.push(format!("left over {left} bytes"));
    lines.push("closed".to_string());
    lines
}

fn port(performance: &Performance, judge: &mut Judge) {
    let together = performance.sockets("twins");
    let exits = |name: &str| performance.exits.get(name).copied().flatten();
    let said = performance.trace.stderr(TWINS[1]).join("\n");
    let late = exits(TWINS[1]).is_some() && said.contains("bind");
    judge.check(
        "too-late-for-the-port",
        "both programs have the port",
        !late && listeners(&together).count() <= 2,
        format!("SO_REUSEPORT was asked for twice; second: {said}"),
    );
    for name in TWINS.into_iter().chain([ALONE, TOO_LARGE]) {
        if performance.exits.contains_key(name) && judge.content() {
            options(performance, name, judge);
        }
    }
    if !judge.content() {
        return;
    }
    if let Some(exit) = exits(ALONE) {
        judge.check(
            "port-not-shared",
            "whoever does not set SO_REUSEPORT gets EADDRINUSE",
            exit == Exit::Code(1)
                && !printed(performance, ALONE, "listening on "),
            "its bind cannot have succeeded, and it ended otherwise",
        );
    }
    if performance.facts.contains_key("listens") {
        let listens = performance.facts["listens"] == true;
        judge.check(
            "mark-cut-down",
            "with a mark smaller than a record it does not listen",
            !listens && exits(TOO_LARGE) == Some(Exit::Code(1)),
            match listens {
                true => "it listens all the same",
                false => "it does not end with status 1",
            },
        );
    }
    if performance.missed.is_some() || !judge.content() {
        return;
    }
    let address = performance.text("address").unwrap_or_default();
    let laptop = &performance.trace.hosts[0].addresses[0];
    for name in TWINS {
        let mut lines = option_lines(performance, name);
        lines.push(format!("listening on {address}"));
        lines.push(format!("accepted {laptop}"));
        lines.push("left over 0 bytes".to_string());
        lines.push("closed".to_string());
        judge.printed("output", performance, name, &lines);
        judge.ended_well(performance, name);
    }
}

fn printed(performance: &Performance, name: &str, head: &str) -> bool {
    let lines = performance.trace.stdout(name);
    lines.iter().any(|line| line.starts_with(head))
}

/// The takes, without what was drawn.
fn story(performance: &Performance) -> String {
    let mut text = String::new();
    for name in [RECEIVER, TWINS[0], TWINS[1], ALONE, TOO_LARGE] {
        let lines = performance.trace.stdout(name);
        let mut last = "";
        for line in lines {
            let verb = line.split([':', ' ']).next().unwrap_or_default();
            if verb != last {
                text.push_str(&format!("{name}: {verb}\n"));
            }
            last = verb;
        }
        if let Some(Some(exit)) = performance.exits.get(name) {
            text.push_str(&format!("{name}: {exit}\n"));
        }
    }
    text
}

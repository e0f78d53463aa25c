//! Grades `handshake`: three segments to open, and each end closes in its turn.
//!
//! The scenario presses Enter for both programs. In the take `later` the server
//! gets its line only when its kernel has acknowledged the client's FIN: four
//! segments close the connection. In `at-once` the line is there already, and
//! the server's FIN mostly carries that acknowledgement; it is the kernel's
//! choice, so only `later` is compared segment by segment.

use testbed::trace::{Frame, What};
use testbed::{Profile, TcpState};

use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "handshake",
    pristine: include_str!("../../pristine/ch03_tcp/handshake.rs"),
    takes: &[
        Take { name: "later", profile: Profile::Modern },
        Take { name: "at-once", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "server_closes_first", cause: "server-closes-first" },
        Mutant { name: "linger_zero", cause: "reset-by-client" },
        Mutant { name: "closes_at_end_of_file", cause: "server-does-not-wait" },
        Mutant { name: "keeps_the_connection", cause: "server-never-closes" },
    ],
    alternatives: &["raw_calls", "std_shutdown"],
};

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?.to_string();
    stage.fact("address", &address);
    let at_once = stage.take == "at-once";

    let server = stage.start("server", KONGMING, ["server", &address])?;
    stage.line(server, "listening on ")?;
    let client = stage.start("client", LAPTOP, ["client", &address])?;
    stage.line(client, "connected to ")?;
    stage.line(server, "accepted ")?;

    // Who closes without waiting for its line may only be about to.
    stage.rests(server)?;
    stage.idle(client)?;
    stage.fact("fins_before_client_enter", fins(stage)?);
    if at_once {
        stage.enter(server);
    }
    stage.step(LAPTOP, "Enter for the client")?;
    stage.enter(client);
    stage.line(client, "closed")?;
    let closed = stage.soon("fin from ernest-laptop", 1)?;
    stage.fact("client_closed", closed);
    stage.line(server, "end of file after ")?;
    if !at_once {
        // Its kernel acknowledges the FIN by itself, in its own time.
        stage.sockets(LAPTOP, "FIN-WAIT-2", |sockets| {
            sockets.iter().any(|s| s.state == TcpState::FinWait2)
        })?;
        stage.idle(server)?;
        stage.fact("fins_before_server_enter", fins(stage)?);
        stage.step(KONGMING, "Enter for the server")?;
        stage.enter(server);
    }
    stage.line(server, "closed")?;
    let closed = stage.soon("fin from Kongming20", 1)?;
    stage.fact("server_closed", closed);
    if closed {
        stage.sockets(LAPTOP, "TIME-WAIT", |sockets| {
            sockets.iter().any(|s| s.state == TcpState::TimeWait)
        })?;
        // The last segment of the story is the ACK that ends LAST-ACK.
        stage.sockets(KONGMING, "the end of the connection", |sockets| {
            sockets.iter().all(|s| s.state == TcpState::Listen)
        })?;
    }
    stage.end(client)?;
    stage.close_stdin(server);
    stage.end(server)
}

/// Who has sent a FIN so far.
fn fins(stage: &Stage) -> Result<Vec<String>, Halt> {
    let trace = stage.net.trace()?;
    Ok(segments(&trace, |frame| frame.flags.fin))
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
    if let Some(later) = performances.iter().find(|p| p.take == "later") {
        if later.missed.is_some() {
            return; // What was not done yet is missing, and not wrong.
        }
        judge.about(later);
        judge.snapshot("segments", "handshake-later", &later.segments());
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let trace = &performance.trace;
    let story = performance.segments();
    let any = segments(trace, |_| true);
    let begun = judge.deed(
        "a segment is sent",
        !any.is_empty() || trace.stdout("client").is_empty(),
        "there is no TCP segment on the wire",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let opened = segments(trace, |s| s.flags.syn && s.flags.ack);
    let cause =
        if opened.is_empty() { "no-connection" } else { "two-connections" };
    judge.check(
        cause,
        "the client opens one TCP connection to the server",
        opened == [KONGMING],
        story.as_str(),
    );
    let resets = segments(trace, |s| s.flags.rst);
    let cause = match resets.first().map(String::as_str) {
        Some(LAPTOP) => "reset-by-client",
        _ => "reset-by-server",
    };
    judge.check(
        cause,
        "both ends close with FIN, and none resets",
        resets.is_empty(),
        story.as_str(),
    );
    let fins = segments(trace, |s| s.flags.fin);
    judge.check(
        "server-closes-first",
        "the client closes first",
        fins.first().is_none_or(|first| first == LAPTOP),
        story.as_str(),
    );
    let early = listed(performance, "fins_before_client_enter");
    judge.check(
        "client-does-not-wait",
        "the client closes only after its line",
        early.is_empty(),
        format!("FIN before that line from: {}", early.join(", ")),
    );
    let closed = performance.facts.get("client_closed");
    judge.check(
        "client-never-closes",
        "the client's direction is closed when it prints `closed`",
        closed.is_none_or(|closed| closed == true),
        story.as_str(),
    );
    let early = match performance.take.as_str() {
        // Without the wait its FIN carries the ACK, and FIN-WAIT-2 never is.
        "later"
            if !performance.facts.contains_key("fins_before_server_enter") =>
        {
            fins
        }
        _ => listed(performance, "fins_before_server_enter"),
    };
    judge.check(
        "server-does-not-wait",
        "the server closes only after its line",
        !early.iter().any(|host| host == KONGMING),
        "its FIN followed the client's while it had not got its line",
    );
    let closed = performance.facts.get("server_closed");
    judge.check(
        "server-never-closes",
        "the connection is closed when the server prints `closed`",
        closed.is_none_or(|closed| closed == true),
        story.as_str(),
    );
    let data = trace.frames().map(|(_, frame)| frame.packet().data().len());
    judge.check(
        "sent-data",
        "nothing is sent but the opening and the closing",
        data.sum::<usize>() == 0,
        story.as_str(),
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let address = performance.text("address").unwrap_or_default();
    let ip = address.split(':').next().unwrap_or_default();
    let laptop = &trace.hosts[0].addresses[0];
    let lines = [
        format!("listening on {address}"),
        format!("accepted {laptop}"),
        "end of file after 0 bytes".to_string(),
        "closed".to_string(),
    ];
    judge.printed("output", performance, "server", &lines);
    let lines = [format!("connected to {ip}"), "closed".to_string()];
    judge.printed("output", performance, "client", &lines);
    judge.ended_well(performance, "server");
    judge.ended_well(performance, "client");
}

fn listed(performance: &Performance, fact: &str) -> Vec<String> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// The senders of the segments that `wanted` picks, in order.
fn segments(
    trace: &testbed::Trace,
    wanted: impl Fn(&testbed::Segment) -> bool,
) -> Vec<String> {
    let sender = |event: &testbed::trace::Event| match &event.what {
        What::Frame(frame) if is_one(frame, &wanted) => {
            Some(event.host.clone())
        }
        _ => None,
    };
    trace.events.iter().filter_map(sender).collect()
}

fn is_one(frame: &Frame, wanted: impl Fn(&testbed::Segment) -> bool) -> bool {
    frame.packet().segment().is_some_and(|segment| wanted(&segment))
}

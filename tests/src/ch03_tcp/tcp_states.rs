//! Grades `tcp_states`: the state machine of TCP as a function.
//!
//! Two kernels open and close connections, one move at a time: the wire holds
//! every segment, and lets it go, or loses it, when the scene says so. After each
//! move the state is read from sock_diag(7) and what was sent from the wire. What
//! a kernel did is compared with RFC 9293; where the two agree, the history up to
//! there is a question. Then come histories that nobody played, made of steps that
//! a kernel took in this very run.

use testbed::Profile;

use crate::filter::{self, Question};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod rfc;
mod scenario;
mod scenes;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "tcp_states",
    pristine: include_str!("../../pristine/ch03_tcp/tcp_states.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "no_simultaneous_open", cause: "simultaneous-open" },
        Mutant { name: "no_closing", cause: "simultaneous-close" },
        Mutant { name: "fin_before_ack", cause: "one-segment" },
        Mutant { name: "refused_for_ever", cause: "reset-while-opening" },
        Mutant { name: "deaf_in_time_wait", cause: "lost-last-ack" },
        Mutant { name: "silent_when_closed", cause: "half-open" },
        Mutant { name: "goes_on", cause: "not-from-closed" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["table", "methods"],
};

const PROGRAM: &str = "tcp_states";

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        let carried = carries_on(performance);
        filter::judge(performance, PROGRAM, judge, |question, answer| {
            if Some(&question.name) == carried.as_ref() {
                return Some("not-from-closed");
            }
            let silent = question.answer == "CLOSED RST"
                && question.text.contains("rcv ")
                && answer == "CLOSED -";
            silent.then_some("half-open")
        });
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "tcp_states", &shapes);
        }
    }
}

/// The first line that is answered wrongly, if those before it are answered as
/// if its history were theirs and its own: the program does not begin in CLOSED
/// again.
fn carries_on(performance: &Performance) -> Option<String> {
    let value = performance.facts.get("questions").cloned()?;
    let questions: Vec<Question> = serde_json::from_value(value).ok()?;
    let lines = performance.trace.stdout(PROGRAM);
    let mut end = rfc::End::default();
    for question in &questions {
        let events = question.text.split(", ");
        let sent =
            events.fold(rfc::NOTHING, |_, event| end.step_loosely(event));
        let carried = format!("{} {sent}", end.state);
        let said = format!("{} {carried}", question.name);
        if !lines.contains(&said.as_str()) {
            return None;
        }
        if carried != question.answer {
            return Some(question.name.clone());
        }
    }
    None
}

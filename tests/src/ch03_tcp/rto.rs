//! Grades `rto`: the retransmission timeout that follows from round-trip times.
//!
//! A kernel sends one segment after another, and the wire delays each
//! acknowledgement by a time that was drawn, or loses the segment, so that it is
//! sent again. The times that it took are the questions; the right answers are RFC
//! 6298's arithmetic on them. What the kernel makes of the same times is put down
//! beside them, and not judged: it reckons otherwise. After that come connections
//! that nobody had.
//!
//! `lab run rto -- cut` cuts the cable instead, and `-- tail` loses the last
//! segments of several.

use std::collections::HashMap;

use testbed::Profile;

use crate::filter;
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod rfc;
mod scenario;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "rto",
    pristine: include_str!("../../pristine/ch03_tcp/rto.rs"),
    takes: &[
        Take { name: "modern", profile: Profile::Modern },
        Take { name: "book", profile: Profile::Book },
    ],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "average_first", cause: "order" },
        Mutant { name: "rounds", cause: "rounding" },
        Mutant { name: "zero_before_the_first", cause: "first-sample" },
        Mutant { name: "takes_every_sample", cause: "karn" },
        Mutant { name: "forgets_the_backoff", cause: "backoff-kept" },
        Mutant { name: "adds_instead_of_doubling", cause: "backoff" },
        Mutant { name: "no_minimum", cause: "minimum" },
        Mutant { name: "no_maximum", cause: "maximum" },
        Mutant { name: "no_granularity", cause: "granularity" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["scaled", "phases"],
};

const PROGRAM: &str = "rto";

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        let value = performance.facts.get("mistakes").cloned();
        let mistakes: HashMap<String, &'static str> = value
            .and_then(|value| serde_json::from_value(value).ok())
            .map(rfc::known)
            .unwrap_or_default();
        filter::judge(performance, PROGRAM, judge, |question, answer| {
            mistakes.get(&format!("{} {answer}", question.name)).copied()
        });
        judge.ended_well(performance, PROGRAM);
        if !judge.content() {
            return;
        }
        let shapes = filter::shapes(performance, PROGRAM);
        judge.snapshot("answers", "rto", &shapes);
    }
}

//! Grades `congestion`: Reno's window, event by event.
//!
//! A kernel with `reno` sends, and the wire lets one segment go at a time, so that
//! there is one acknowledgement at a time; it loses one in the middle, and the last
//! one twice. What came of each acknowledgement and each timeout is a question; the
//! right answer is RFC 5681's. The kernel's own window is read after each event,
//! and put down beside it. It is not judged by: Linux repairs a loss in another way.
//! After that come connections that nobody had.
//!
//! `lab run congestion -- cubic` has the kernel use another algorithm.

use std::collections::HashMap;

use testbed::Profile;

use crate::filter;
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

mod reno;
mod scenario;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "congestion",
    pristine: include_str!("../../pristine/ch03_tcp/congestion.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario: scenario::scenario,
    judge,
    mutants: &[
        Mutant { name: "slow_start_for_ever", cause: "avoidance" },
        Mutant { name: "counts_acknowledgements", cause: "segments" },
        Mutant { name: "halves_the_window", cause: "flight" },
        Mutant { name: "tahoe", cause: "fast-recovery" },
        Mutant { name: "no_inflation", cause: "inflation" },
        Mutant { name: "no_deflation", cause: "deflation" },
        Mutant { name: "adds_dupacks_up", cause: "in-a-row" },
        Mutant { name: "halves_again", cause: "second-timeout" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["states", "fold"],
};

const PROGRAM: &str = "congestion";

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        let value = performance.facts.get("mistakes").cloned();
        let mistakes: HashMap<String, &'static str> = value
            .and_then(|value| serde_json::from_value(value).ok())
            .map(reno::known)
            .unwrap_or_default();
        filter::judge(performance, PROGRAM, judge, |question, answer| {
            mistakes.get(&format!("{} {answer}", question.name)).copied()
        });
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "congestion", &shapes);
        }
    }
}

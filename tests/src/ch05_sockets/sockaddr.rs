//! Grades `sockaddr`: addresses as bytes, and what a length makes of them.
//!
//! Each address is first given to the kernel: a socket is bound to its bytes, or
//! connected to them, and getsockname(2) or getpeername(2) say what the kernel
//! has taken them for. What it writes is the right answer in bytes, and what
//! socket2 reads there is the right answer in text. Of bytes and lengths that
//! are none the kernel's error is the answer.

mod kernel;
mod lengths;
mod samples;

use testbed::Profile;

use crate::corpus::hex;
use crate::filter::{self, Question};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "sockaddr",
    pristine: include_str!("../../pristine/ch05_sockets/sockaddr.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "port_in_host_order", cause: "port-order" },
        Mutant { name: "family_in_network_order", cause: "family-order" },
        Mutant { name: "flow_in_host_order", cause: "flow-order" },
        Mutant { name: "scope_left_out", cause: "scope-left-out" },
        Mutant { name: "no_nul_behind_a_path", cause: "path-nul" },
        Mutant { name: "path_of_107", cause: "path-full" },
        Mutant { name: "nul_behind_a_name", cause: "abstract-length" },
        Mutant { name: "path_with_its_nul", cause: "path-end" },
        Mutant { name: "whole_buffer", cause: "abstract-end" },
        Mutant { name: "name_ends_at_nul", cause: "abstract-nul" },
        Mutant { name: "scope_demanded", cause: "no-scope" },
        Mutant { name: "believes_the_length", cause: "crashed" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["socket2_inside", "c_structures"],
};

const PROGRAM: &str = "sockaddr";

/// What is asked, about what, and what the kernel says to it.
pub(super) struct Asked {
    about: &'static str,
    text: String,
    answer: String,
    usual: bool,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut asked = Vec::new();
    if stage.values.is_empty() {
        asked.extend(samples::usual(stage)?);
        asked.extend(lengths::usual(stage)?);
        match stage.story {
            true => lengths::steps(stage)?,
            false => {
                asked.extend(samples::drawn(stage)?);
                asked.extend(lengths::drawn(stage)?);
            }
        }
    }
    for text in &stage.values {
        asked.push(Asked {
            about: "own",
            text: text.clone(),
            answer: String::new(),
            usual: false,
        });
    }
    let named = filter::names().zip(asked);
    let question = |(name, asked): (String, Asked)| {
        let Asked { about, text, answer, usual } = asked;
        Question { name, text, answer, about: about.to_string(), usual }
    };
    let questions: Vec<Question> = named.map(question).collect();
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        filter::judge(performance, PROGRAM, judge, why);
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "sockaddr", &shapes);
        }
    }
}

/// The bytes of a field the other way round, or not there.
fn why(question: &Question, answer: &str) -> Option<&'static str> {
    if question.text.starts_with("text ") {
        return other_port(&question.answer, answer).then_some("port-order");
    }
    let turned = |field: std::ops::Range<usize>| {
        let (said, right) = (unhex(answer)?, unhex(&question.answer)?);
        let mut turned = right.clone();
        turned.get_mut(field)?.reverse();
        (turned == said && turned != right).then_some(())
    };
    if turned(0..2).is_some() {
        Some("family-order")
    } else if turned(2..4).is_some() {
        Some("port-order")
    } else if turned(4..8).is_some() {
        Some("flow-order")
    } else if turned(24..28).is_some() {
        Some("scope-order")
    } else {
        None
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    crate::corpus::unhex(text)
}

/// Are they the same but for a port that is the other way round?
fn other_port(right: &str, said: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(' ').map(str::to_string).collect()
    };
    let (mut right, said) = (words(right), words(said));
    let port = right.get(2).and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else { return false };
    right[2] = port.swap_bytes().to_string();
    right == said
}

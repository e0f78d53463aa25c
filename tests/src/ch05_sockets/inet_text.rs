//! Grades `inet_text`: addresses from text and back, strictly and as of old.
//!
//! Some seventy texts are asked about in every run, then some thousands that the
//! run has drawn: addresses in all their forms, and what is next to them. The
//! right answers are what inet_pton(3), inet_ntop(3) and inet_aton(3) of this
//! machine's C library give.

mod texts;

use std::net::Ipv4Addr;

use testbed::Profile;

use crate::corpus::hex;
use crate::filter::{self, Question};
use crate::stage::{Halt, LAPTOP, Stage};
use crate::sys::addresses;
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "inet_text",
    pristine: include_str!("../../pristine/ch05_sockets/inet_text.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "accepts_256", cause: "octet-range" },
        Mutant { name: "leading_zeros", cause: "leading-zero" },
        Mutant { name: "trailing_dot", cause: "trailing-dot" },
        Mutant { name: "parses_a_sign", cause: "sign" },
        Mutant { name: "skips_empty_groups", cause: "two-gaps" },
        Mutant { name: "gap_of_nothing", cause: "gap-of-nothing" },
        Mutant { name: "upper_case", cause: "upper-case" },
        Mutant { name: "compresses_one", cause: "one-group" },
        Mutant { name: "first_row_wins", cause: "longest-row" },
        Mutant { name: "last_row_wins", cause: "first-row" },
        Mutant { name: "std_display", cause: "compatible" },
        Mutant { name: "four_parts_only", cause: "fewer-parts" },
        Mutant { name: "octal_as_decimal", cause: "octal" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["c_library", "std_where_it_agrees"],
};

const PROGRAM: &str = "inet_text";
/// In place of an address.
const NONE: &str = "no address";

/// What is asked, and about what.
pub(super) struct Asked {
    about: &'static str,
    /// A kind and a text.
    text: String,
    usual: bool,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut asked = Vec::new();
    for value in &stage.values {
        asked.push(Asked { about: "own", text: value.clone(), usual: false });
    }
    if asked.is_empty() {
        asked.extend(texts::usual());
        match stage.story {
            true => library_calls(stage)?,
            false => asked.extend(texts::drawn(&mut stage.draw)),
        }
    }
    let mut questions = Vec::new();
    for (name, asked) in filter::names().zip(asked) {
        let answer = answer(&asked.text).ok_or_else(|| {
            let kinds = "`pton4 TEXT`, `pton6 TEXT`, `aton TEXT`, `ntop6 HEX`";
            Halt::Missed(format!("waited for {kinds}"))
        })?;
        let Asked { about, text, usual } = asked;
        let about = about.to_string();
        questions.push(Question { name, text, answer, about, usual });
    }
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

/// What the C library says.
fn answer(question: &str) -> Option<String> {
    let (kind, text) = question.split_once(' ')?;
    let found = match kind {
        "pton4" => addresses::pton4(text).map(|bytes| hex(&bytes)),
        "pton6" => addresses::pton6(text).map(|bytes| hex(&bytes)),
        "aton" => addresses::aton(text).map(|bytes| hex(&bytes)),
        "ntop6" => {
            let number = u128::from_str_radix(text, 16).ok()?;
            Some(addresses::ntop6(number.into()))
        }
        _ => return None,
    };
    Some(found.unwrap_or(NONE.to_string()))
}

/// What the old calls do, for who looks at a run.
fn library_calls(stage: &mut Stage) -> Result<(), Halt> {
    let both = [108, 109].map(|last| Ipv4Addr::new(192, 168, 1, last));
    let [first, second] = addresses::ntoa_twice(both);
    let [a, b] = both;
    stage.step(
        LAPTOP,
        format!("inet_ntoa({a}), inet_ntoa({b}), then read: {first} {second}"),
    )?;
    for text in [c"255.255.255.255", c"255.255.255.256"] {
        let number = addresses::addr(text);
        let text = text.to_string_lossy();
        stage.step(LAPTOP, format!("inet_addr({text}) = {number:#x}"))?;
    }
    for (family, name) in [(libc::AF_INET, "AF_INET"), (99, "99")] {
        let (returned, errno) =
            addresses::pton_says(family, c"255.255.255.256");
        let errno = match errno {
            0 => "0".to_string(),
            errno => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        };
        stage.step(
            LAPTOP,
            format!(
                "inet_pton({name}, 255.255.255.256) = {returned}, errno {errno}"
            ),
        )?;
    }
    Ok(())
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        filter::judge(performance, PROGRAM, judge, why);
        judge.ended_well(performance, PROGRAM);
        if judge.content() {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "inet_text", &shapes);
        }
    }
}

/// Right but for its letters.
fn why(question: &Question, answer: &str) -> Option<&'static str> {
    let same = answer.eq_ignore_ascii_case(&question.answer);
    (same && question.text.starts_with("ntop6")).then_some("upper-case")
}

//! Labs whose program is a filter: for each line on standard input, a line on
//! standard output.
//!
//! A line's first word is its name, such as the time when a frame was captured,
//! and the answer begins with it. No run has the names of another, whatever its
//! seed: who recites is found out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::corpus;
use crate::generated::Script;
use crate::stage::{Halt, Role, Stage};
use crate::verdict::{Judge, Performance};

/// So many questions are asked one by one: the next when the program sleeps.
const ONE_BY_ONE: usize = 3;
/// What evidence about an answer begins with.
const ASKED: &str = "asked    ";
/// In place of a right answer, which another run does not ask for.
const RIGHT: &str = "a right answer";
/// In seconds.
const DAY: u64 = 24 * 60 * 60;
/// What a person reads of a question.
const MOST_SHOWN: usize = 240;

/// A line in, and the line that must come out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its first word, which the answer repeats. No two have the same.
    pub name: String,
    /// What follows it.
    pub text: String,
    /// The right answer, without the name.
    pub answer: String,
    /// What it asks for: the cause of a failure where it is answered wrongly.
    pub about: String,
    /// Is it one that every run has? It is among those for the snapshot.
    pub usual: bool,
}

/// Names for questions that nothing on the wire gives a name to: the time of
/// day in seconds, and a nanosecond more for each.
pub fn names() -> impl Iterator<Item = String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos() as u64;
    (now % (DAY * 1_000_000_000)..).map(corpus::name)
}

/// Starts the subject as a filter on a host and asks it everything; it has to
/// end by itself when its input has ended.
///
/// # Errors
///
/// It did not end.
pub fn ask(
    stage: &mut Stage,
    program: &str,
    host: &str,
    args: &[String],
    questions: &[Question],
) -> Result<(), Halt> {
    stage.fact("questions", questions);
    let role = stage.start(program, host, args)?;
    let lines: Vec<String> =
        questions.iter().map(|q| format!("{} {}", q.name, q.text)).collect();
    let mut asked = 0;
    for line in lines.iter().take(ONE_BY_ONE) {
        stage.send(role, line);
        asked += 1;
        if !answered(stage, role, asked)? {
            stage.fact("late", line);
            break;
        }
    }
    stage.feed(role, &lines[asked..]);
    stage.end(role)
}

/// Is there an answer before the next question is asked?
fn answered(stage: &mut Stage, role: Role, count: usize) -> Result<bool, Halt> {
    let slept = stage.idle(role)?;
    Ok(stage.lines_or_quiet(role, count)? || !slept)
}

/// Judges the answers. `why` may know a mistake by the wrong answer; else the
/// cause is what the question is about. The first check is the deed.
pub fn judge(
    performance: &Performance,
    program: &str,
    judge: &mut Judge,
    why: impl Fn(&Question, &str) -> Option<&'static str>,
) {
    let questions = questions(performance);
    let lines = performance.trace.stdout(program);
    let names: HashSet<&str> =
        questions.iter().map(|q| q.name.as_str()).collect();
    let first = |line: &&str| line.split(' ').next().unwrap_or("").to_string();
    let known = |line: &&str| names.contains(first(line).as_str());
    let named = |line: &&str| {
        let digit = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
        !first(line).is_empty() && first(line).chars().all(digit)
    };
    judge.deed(
        "its lines are about what it was given",
        lines.iter().any(known) || !lines.iter().any(named),
        lines.first().map_or(String::new(), |line| {
            format!("{ASKED}nothing of this\nactual   {line}")
        }),
    );
    let named = lines.is_empty() || lines.iter().any(known);
    judge.check(
        "answer-not-named",
        "each line begins with the first word of the one it answers",
        named,
        lines.first().copied().unwrap_or_default(),
    );
    if named {
        judge_each(performance, program, &questions, judge, why);
    }
    judge.check(
        "answers-late",
        "each line is answered before the next one is read",
        !performance.facts.contains_key("late"),
        performance.text("late").map_or(String::new(), |line| {
            format!("{ASKED}{}\nactual   asleep", shown(line))
        }),
    );
}

fn judge_each(
    performance: &Performance,
    program: &str,
    questions: &[Question],
    judge: &mut Judge,
    why: impl Fn(&Question, &str) -> Option<&'static str>,
) {
    let lines = performance.trace.stdout(program);
    let mut said: HashMap<&str, &str> = HashMap::new();
    for line in &lines {
        let (name, answer) = line.split_once(' ').unwrap_or((line, ""));
        said.insert(name, answer);
    }
    let mut abouts = BTreeSet::new();
    for question in questions {
        let Some(answer) = said.get(question.name.as_str()) else { continue };
        let ok = *answer == question.answer;
        let cause = why(question, answer).unwrap_or(&question.about);
        let about = question.about.as_str();
        if ok && !abouts.insert(about) {
            continue; // One line for each kind that was answered rightly.
        }
        let name = format!("{} is answered", about.replace('-', " "));
        judge.check(cause, &name, ok, told(question, answer));
        if !ok {
            return; // The first is the one to mend.
        }
    }
    let missing = questions.iter().find(|q| !said.contains_key(&*q.name));
    judge.check(
        "no-answer",
        "every line has its answer",
        missing.is_none() || performance.missed.is_some(),
        missing.map_or(String::new(), |q| told(q, "no line")),
    );
    judge.check(
        "more-lines",
        "no line is answered twice",
        lines.len() <= questions.len(),
        format!("{} questions, {} lines", questions.len(), lines.len()),
    );
}

/// The answers to the usual questions, each kind once: numbers are left out.
pub fn shapes(performance: &Performance, program: &str) -> String {
    let questions = questions(performance);
    let usual: HashSet<&str> = questions
        .iter()
        .filter_map(|q| q.usual.then_some(q.name.as_str()))
        .collect();
    let mut shapes = BTreeSet::new();
    for line in performance.trace.stdout(program) {
        if let Some((name, answer)) = line.split_once(' ')
            && usual.contains(name)
        {
            shapes.insert(without_numbers(answer));
        }
    }
    shapes.iter().map(|shape| format!("{shape}\n")).collect()
}

/// What each program said, for who compares it with another's. A filter's right
/// answers are all one: no other run asks for them.
pub(crate) fn scripts(performance: &Performance) -> Vec<Script> {
    let questions = questions(performance);
    let right: HashSet<String> =
        questions.iter().map(|q| format!("{} {}", q.name, q.answer)).collect();
    let mut scripts = performance.scripts.clone();
    for script in scripts.iter_mut().filter(|_| !questions.is_empty()) {
        script.lines.iter_mut().for_each(|line| {
            if right.contains(line) {
                *line = RIGHT.to_string();
            }
        });
        script.lines.dedup();
    }
    scripts
}

/// Evidence of [`judge`] without what is of its run alone; any other as it is.
pub(crate) fn without_lots(evidence: &str) -> String {
    if let Some((at, message)) = evidence.split_once("panicked at ") {
        let (place, message) =
            message.split_once('\n').unwrap_or((message, ""));
        // An index is what the run's lots made it.
        let message: String = message
            .lines()
            .map(|line| format!("\n{}", without_numbers(line)))
            .collect();
        return format!("{at}panicked at {place}{message}");
    }
    if !evidence.starts_with(ASKED) {
        return evidence.to_string();
    }
    let lines = evidence.lines().skip(1).map(|line| {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let (word, name) = (words.next(), words.next());
        let answer = name.and_then(|name| line.split_once(name));
        let answer = answer.map_or("", |(_, answer)| answer);
        format!("{}{}\n", word.unwrap_or(""), without_numbers(answer))
    });
    lines.collect()
}

fn without_numbers(answer: &str) -> String {
    let words = answer.split(' ').map(|word| {
        let digit = |c: char| c.is_ascii_digit() || ":{".contains(c);
        if word.starts_with(digit) { "N" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What was asked.
pub fn questions(performance: &Performance) -> Vec<Question> {
    let value = performance.facts.get("questions").cloned();
    value.and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default()
}

fn told(question: &Question, answer: &str) -> String {
    let Question { name, text, answer: right, .. } = question;
    format!(
        "{ASKED}{}\nexpected {name} {right}\nactual   {name} {answer}",
        shown(&format!("{name} {text}")),
    )
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_string(),
    }
}

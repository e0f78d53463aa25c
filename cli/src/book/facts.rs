//! What a page may say of a recording, and how it is looked up.
//!
//! A fact is written in words, as rules for the wire are:
//!
//! ```text
//! count [lost|again] KIND [from HOST] [port N]    how many frames
//! time FRAME                                      when it was sent, in ms
//! gap FRAME to FRAME                              the time between the two
//! late FRAME                                      how long the wire kept it
//! data FRAME                                      a segment's, a datagram's bytes
//! window FRAME                                    a segment's field
//! urgent FRAME                                    its urgent pointer, with URG
//! bytes FRAME                                     what it carries: aa bb cc
//! state HOST [after FRAME]                        at last, or once it was there
//! connections                                     how many TCP connections
//! lines PROGRAM, line N PROGRAM                   what was printed (-1: at last)
//! said PROGRAM TEXT                               how many lines contain TEXT
//! steps TEXT                                      how many steps contain TEXT
//! calls NAME [PROGRAM]                            how many watched, or traced, calls
//! exit PROGRAM                                    how it ended
//! missed                                          what was waited for in vain
//! drawn NAME                                      what the scenario put down
//! sockets NAME [STATE]                            how many of a list it put down
//! cause, evidence                                 why a program was refused
//! runs where FACT = VALUE                         in how many of several runs
//! kernel, profile, recorded                       where it comes from
//! ```
//!
//! FRAME is `[#N|last] [lost|again] KIND [from HOST] [port N]`. A condition is
//! `FACT = VALUE`; other signs are `!=`, `<`, `>`, `<=`, `>=`, `in LOW..HIGH`
//! and `contains`. Several are joined by `and`.

use std::fmt;

use anyhow::{Context, bail, ensure};
use graders::verdict::Performance;
use testbed::trace::{CallEvent, Event, Frame, View, What};
use testbed::{Matcher, TcpSocket, Trace};

use super::page::split;
use super::recording::Recording;

/// What a fact is found to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count or a field: the same in every run.
    Number(i64),
    /// Milliseconds: different in every run.
    Millis(f64),
    /// Words.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Millis(ms) if *ms < 10.0 => write!(f, "{ms:.2} ms"),
            Value::Millis(ms) if *ms < 100.0 => write!(f, "{ms:.1} ms"),
            Value::Millis(ms) => write!(f, "{ms:.0} ms"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// Looks a fact up: `count syn from ernest-laptop`.
///
/// # Errors
///
/// It is no fact, or the recording has nothing that it speaks of.
pub fn find(recording: &Recording, fact: &str) -> anyhow::Result<Value> {
    let words = split(fact)?;
    find_words(recording, &words)
        .with_context(|| format!("the fact `{fact}` cannot be found"))
}

/// Does a condition hold: `count syn = 1 and state ernest-laptop = TIME-WAIT`?
///
/// # Errors
///
/// It is no condition, or speaks of what the recording has not.
pub fn holds(recording: &Recording, condition: &str) -> anyhow::Result<bool> {
    all_hold(condition, |fact| find_words(recording, fact))
}

/// The same of one of several runs.
///
/// # Errors
///
/// As [`holds`].
pub fn holds_in(run: &Performance, condition: &str) -> anyhow::Result<bool> {
    all_hold(condition, |fact| {
        let words: Vec<&str> = fact.iter().map(String::as_str).collect();
        of_run(run, &words)
    })
}

fn all_hold(
    condition: &str,
    find: impl Fn(&[String]) -> anyhow::Result<Value>,
) -> anyhow::Result<bool> {
    let words = split(condition)?;
    for part in words.split(|word| word == "and") {
        let holds = compare(part, &find)
            .with_context(|| format!("the condition `{condition}`"))?;
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Is a value in a range, `LOW..HIGH`?
///
/// # Errors
///
/// It is no range, or the value is no number.
pub fn in_range(value: &Value, range: &str) -> anyhow::Result<bool> {
    let (low, high) = range.split_once("..").context("a range is LOW..HIGH")?;
    let number = number(value).context("only a number has a range")?;
    let (low, high): (f64, f64) = (low.parse()?, high.parse()?);
    Ok(low <= number && number <= high)
}

fn compare(
    words: &[String],
    find: impl Fn(&[String]) -> anyhow::Result<Value>,
) -> anyhow::Result<bool> {
    const SIGNS: &[&str] = &["=", "!=", "<", ">", "<=", ">=", "in", "contains"];
    let at = words
        .iter()
        .rposition(|word| SIGNS.contains(&word.as_str()))
        .context("a condition is FACT = VALUE")?;
    let value = find(&words[..at])?;
    let wanted = words[at + 1..].join(" ");
    let order = |test: fn(f64, f64) -> bool| {
        let has = number(&value).context("only numbers have an order")?;
        Ok(test(has, wanted.parse()?))
    };
    match words[at].as_str() {
        "=" => Ok(value.to_string() == wanted),
        "!=" => Ok(value.to_string() != wanted),
        "<" => order(|has, than| has < than),
        ">" => order(|has, than| has > than),
        "<=" => order(|has, than| has <= than),
        ">=" => order(|has, than| has >= than),
        "in" => in_range(&value, &wanted),
        _ => Ok(value.to_string().contains(&wanted)),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number as f64),
        Value::Millis(ms) => Some(*ms),
        Value::Text(_) => None,
    }
}

fn find_words(
    recording: &Recording,
    words: &[String],
) -> anyhow::Result<Value> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let refusal = recording.refusal.as_ref();
    match words.as_slice() {
        ["recorded"] => Ok(Value::Text(recording.stamp.to_string())),
        ["kernel"] => Ok(Value::Text(recording.stamp.kernel.clone())),
        ["cause"] => {
            let refusal = refusal.context("nobody was refused")?;
            Ok(Value::Text(refusal.cause.clone()))
        }
        ["evidence"] => {
            let refusal = refusal.context("nobody was refused")?;
            let wrong = refusal.checks.iter().find(|check| !check.ok);
            let wrong = wrong.context("nothing was wrong")?;
            Ok(Value::Text(wrong.evidence.clone()))
        }
        ["runs"] => Ok(Value::Number(recording.runs.len() as i64)),
        ["runs", "where", condition @ ..] => {
            let mut count = 0;
            for run in &recording.runs {
                count += i64::from(holds_in(run, &condition.join(" "))?);
            }
            Ok(Value::Number(count))
        }
        words => of_run(recording.run()?, words),
    }
}

fn of_run(run: &Performance, words: &[&str]) -> anyhow::Result<Value> {
    let trace = &run.trace;
    let count = |count: usize| Ok(Value::Number(count as i64));
    let millis = |ns: u64| Ok(Value::Millis(ns as f64 / 1e6));
    match words {
        ["profile"] => Ok(Value::Text(trace.profile.clone())),
        ["missed"] => {
            let missed = run.missed.clone().unwrap_or_else(|| "nothing".into());
            Ok(Value::Text(missed))
        }
        ["connections"] => count(connections(trace)),
        ["count", rest @ ..] => count(matching(trace, rest)?.len()),
        ["time", rest @ ..] => millis(frame(trace, rest)?.0.t_ns),
        ["gap", rest @ ..] => {
            let at = rest.iter().position(|word| *word == "to");
            let at = at.context("a gap is from FRAME to FRAME")?;
            let from = frame(trace, &rest[..at])?.0.t_ns;
            let to = frame(trace, &rest[at + 1..])?.0.t_ns;
            millis(to.checked_sub(from).context("the second came first")?)
        }
        ["late", rest @ ..] => {
            let (event, frame) = frame(trace, rest)?;
            let there = frame.delivered_ns.context("it never arrived")?;
            millis(there.saturating_sub(event.t_ns))
        }
        ["data", rest @ ..] => {
            let packet = frame(trace, rest)?.1.packet();
            packet.ports().context("it is no segment and no datagram")?;
            count(packet.data().len())
        }
        ["urgent", rest @ ..] => {
            let segment = frame(trace, rest)?.1.packet().segment();
            let segment = segment.filter(|segment| segment.flags.urg);
            count(segment.context("it has no URG")?.urgent.into())
        }
        ["bytes", rest @ ..] => {
            let frame = frame(trace, rest)?.1;
            Ok(Value::Text(hex(frame.packet().data())))
        }
        ["window", rest @ ..] => {
            let segment = frame(trace, rest)?.1.packet().segment();
            count(segment.context("it is no segment")?.window.into())
        }
        ["state", host, "after", rest @ ..] => {
            let (_, frame) = frame(trace, rest)?;
            let state = frame.states.get(*host);
            let state = state.with_context(|| format!("{host} has none"))?;
            Ok(Value::Text(state.name().to_string()))
        }
        ["state", host] => {
            let states =
                trace.frames().filter_map(|(_, frame)| frame.states.get(*host));
            let state = states.last();
            let state = state.with_context(|| format!("{host} has none"))?;
            Ok(Value::Text(state.name().to_string()))
        }
        ["lines", program] => count(trace.stdout(program).len()),
        ["line", number, program] => {
            let lines = trace.stdout(program);
            let number: i64 = number.parse().context("line N PROGRAM")?;
            let at = match number {
                ..0 => lines.len() as i64 + number,
                _ => number - 1,
            };
            let line = usize::try_from(at).ok().and_then(|at| lines.get(at));
            let line = line.with_context(|| {
                format!("{program} printed {} lines", lines.len())
            })?;
            Ok(Value::Text(line.to_string()))
        }
        ["said", program, text] => {
            let lines = trace.stdout(program);
            count(lines.iter().filter(|line| line.contains(text)).count())
        }
        ["steps", text] => {
            let steps = trace.events.iter().filter(|event| {
                matches!(&event.what, What::Step { text: step }
                    if step.contains(text))
            });
            count(steps.count())
        }
        ["calls", name, of @ ..] => {
            let wanted = |call: &CallEvent| {
                call.name == *name
                    && of.first().is_none_or(|program| call.program == *program)
            };
            // What is traced may be watched too, and counts once.
            let traced = trace.traced_calls();
            count(match traced.is_empty() {
                true => trace.calls().filter(|one| wanted(one.1)).count(),
                false => traced.iter().filter(|one| wanted(one.call)).count(),
            })
        }
        ["exit", program] => {
            let exit = run.exits.get(*program);
            let exit = exit.with_context(|| format!("no program {program}"))?;
            Ok(Value::Text(match exit {
                Some(exit) => exit.to_string(),
                None => "still running".to_string(),
            }))
        }
        ["drawn", name] => {
            let fact = run.facts.get(*name);
            let fact = fact.with_context(|| format!("nothing named {name}"))?;
            Ok(match fact.as_i64() {
                Some(number) => Value::Number(number),
                None => Value::Text(match fact.as_str() {
                    Some(text) => text.to_string(),
                    None => fact.to_string(),
                }),
            })
        }
        ["sockets", name, state @ ..] => {
            let there = run.facts.contains_key(*name);
            ensure!(there, "nothing named {name}");
            let sockets = run.sockets(name);
            let of = |socket: &&TcpSocket| {
                state.iter().all(|state| socket.state.name() == *state)
            };
            count(sockets.iter().filter(of).count())
        }
        _ => bail!("there is no such fact; see cli/src/book/facts.rs"),
    }
}

/// The frame of `[#N|last] [lost|again] KIND [from HOST] [port N]`.
///
/// # Errors
///
/// There is none.
pub fn frame<'t>(
    trace: &'t Trace,
    words: &[&str],
) -> anyhow::Result<(&'t Event, &'t Frame)> {
    let (which, rest) = match words.split_first() {
        Some((&"last", rest)) => (None, rest),
        Some((word, rest)) if word.starts_with('#') => {
            let number: usize = word[1..].parse().context("#N is a number")?;
            (Some(number), rest)
        }
        _ => (Some(1), words),
    };
    let all = matching(trace, rest)?;
    let found = match which {
        None => all.last(),
        Some(number) => all.get(number.wrapping_sub(1)),
    };
    found.copied().with_context(|| {
        format!("there are {} frames `{}`", all.len(), rest.join(" "))
    })
}

/// `[lost|again] KIND [from HOST] [port N]`
fn matching<'t>(
    trace: &'t Trace,
    words: &[&str],
) -> anyhow::Result<Vec<(&'t Event, &'t Frame)>> {
    let (lost, again, rest) = match words.split_first() {
        Some((&"lost", rest)) => (true, false, rest),
        Some((&"again", rest)) => (false, true, rest),
        _ => (false, false, words),
    };
    let matcher: Matcher = rest.join(" ").parse()?;
    let mut view = View::new();
    let frames = trace.frames().filter(|(event, frame)| {
        let segment = view.segment(trace, frame);
        matcher.matches(&event.host, &frame.packet())
            && (!lost || frame.delivered_ns.is_none())
            && (!again || segment.is_some_and(|segment| segment.again))
    });
    Ok(frames.collect())
}

/// Bytes in the order in which they were sent: `aa bb cc`.
pub fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> =
        bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// How many TCP connections a trace shows.
pub fn connections(trace: &Trace) -> usize {
    let mut view = View::new();
    let numbers = trace
        .frames()
        .filter_map(|(_, frame)| view.segment(trace, frame))
        .map(|segment| segment.connection);
    numbers.max().unwrap_or(0)
}

//! What must have come of a run of `condvar`.

use super::super::steps;
use crate::verdict::{Judge, Performance, side_by_side};

/// Judges both takes.
pub fn judge(performances: &[Performance], judge: &mut Judge) {
    let mut story = String::new();
    for performance in performances {
        judge.about(performance);
        story.push_str(&format!("{}:\n", performance.take));
        story.push_str(&judge_one(performance, judge));
    }
    if judge.content() && performances.iter().all(|p| p.missed.is_none()) {
        judge.snapshot("story", "condvar", &story);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) -> String {
    let Some(threads) = performance.number("threads") else {
        return String::new(); // What was missed is told at the end.
    };
    let name = "there are consumers when the program says so";
    if !judge.deed(name, threads > 0, "it has no thread besides main") {
        return String::new();
    }
    let text = steps::judge_seen(performance, "condvar", judge);
    if performance.missed.is_some() {
        return text; // The rest of the story is not there to be judged.
    }
    judge_lines(performance, judge);
    judge_output(performance, judge);
    judge.ended_well(performance, "condvar");
    text
}

fn sent(performance: &Performance) -> Vec<String> {
    let value = performance.facts.get("sent").cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// Each line is taken once, and in the order in which they were put.
fn judge_lines(performance: &Performance, judge: &mut Judge) {
    let sent = sent(performance);
    let printed = performance.trace.stdout("condvar");
    let taken: Vec<&str> = printed
        .iter()
        .filter_map(|line| Some(line.split_once(" took ")?.1))
        .collect();
    let cause = match sent.iter().all(|line| taken.contains(&line.as_str())) {
        true => "order",
        false => "lines-left",
    };
    judge.check(
        cause,
        "each line is taken once, and first come is first taken",
        sent == taken,
        side_by_side(&sent, &taken),
    );
}

/// The first consumer took all lines but one; who is done first is open.
fn judge_output(performance: &Performance, judge: &mut Judge) {
    let number = |fact| performance.number(fact).unwrap_or_default();
    let (room, consumers) = (number("room"), number("consumers"));
    let sent = sent(performance);
    let printed = performance.trace.stdout("condvar");
    let is_done = |line: &str| line.ends_with(" is done");
    let taken = printed.iter().filter(|line| line.contains(" took "));
    let mut expected = vec![format!("{consumers} consumers, room for {room}")];
    let by = |line: &&str| {
        let number = line.strip_prefix("consumer ")?.split(' ').next()?;
        let number = number.parse::<u64>().ok()?;
        (1..=consumers).contains(&number).then_some(number)
    };
    for (line, taken) in sent.iter().zip(taken) {
        let number = by(taken).unwrap_or(1);
        expected.push(format!("consumer {number} took {line}"));
    }
    expected.extend((1..=consumers).map(|k| format!("consumer {k} is done")));
    expected.push(format!("{} lines taken", sent.len()));
    let mut done: Vec<&str> =
        printed.iter().copied().filter(|line| is_done(line)).collect();
    done.sort_unstable();
    let mut actual: Vec<&str> =
        printed.iter().copied().filter(|line| !is_done(line)).collect();
    let last = actual.pop();
    actual.extend(done);
    actual.extend(last);
    judge.check(
        "output",
        "condvar prints what the stub asks for",
        expected == actual,
        side_by_side(&expected, &actual),
    );
}

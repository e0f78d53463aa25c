//! What must have come of the orders.

use serde::Deserialize;

use super::{LENGTH, Lesson, POSIX, Queue, ROOM, SYSTEM_V, Turn};
use crate::verdict::{Judge, Performance};

/// All that must have come of it, in the order of the story.
pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if !performance.facts.contains_key("queues") {
        return; // It was not ready; what was missed is told at the end.
    }
    judge_queue(performance, judge);
    judge_first(performance, judge);
    let turns: Vec<Turn> = fact(performance, "turns");
    for turn in &turns {
        judge_turn(turn, judge);
    }
    judge_taken(performance, judge);
    judge_listening(performance, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let left: Vec<Queue> = fact(performance, "left");
    let left: Vec<String> = left.iter().map(tell).collect();
    judge.check(
        "left-behind",
        "no queue is left when the program has ended",
        left.is_empty(),
        left.join("\n"),
    );
    judge_output(performance, &turns, judge);
    judge.ended_well(performance, "message_queue");
    if judge.content() {
        let name = format!("message_queue-{}", performance.take);
        judge.snapshot("story", &name, &normalised(performance));
    }
}

fn fact<T: Default + for<'a> Deserialize<'a>>(
    performance: &Performance,
    name: &str,
) -> T {
    let value = performance.facts.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn tell(queue: &Queue) -> String {
    let Queue { name, messages, bytes, .. } = queue;
    format!("queue {name}: {messages} message(s), {bytes} byte(s)")
}

/// The queue as it was when the program said that it was there.
fn judge_queue(performance: &Performance, judge: &mut Judge) {
    let queues: Vec<Queue> = fact(performance, "queues");
    let name = performance.text("name").unwrap_or_default();
    let wanted = match name.parse::<u32>() {
        Ok(key) => format!("{key:#x}"),
        Err(_) => name.to_string(),
    };
    judge.deed(
        "a queue exists when the program says so",
        !queues.is_empty(),
        "no message queue on Kongming20",
    );
    judge.check(
        "other-name",
        "it is found by the key or the name that was asked for",
        queues.iter().any(|queue| queue.name == wanted),
        format!(
            "expected {wanted}\nactual   {}",
            queues.first().map_or("none", |queue| queue.name.as_str())
        ),
    );
    let room = queues.first().map_or(0, |queue| queue.room);
    judge.check(
        "limit-not-set",
        "it holds as many messages as were asked for",
        room == ROOM as u64 || performance.take == SYSTEM_V,
        format!("expected {ROOM} messages\nactual   {room}"),
    );
}

/// The queue with one message in it.
fn judge_first(performance: &Performance, judge: &mut Judge) {
    let queues: Vec<Queue> = fact(performance, "first");
    // The file of a POSIX queue tells more than the bytes of the messages on
    // some kernels; its length is not the point there.
    let (Some(queue), SYSTEM_V) = (queues.first(), performance.take.as_str())
    else {
        return;
    };
    let type_and_text = (size_of::<i64>() + LENGTH) as u64;
    let cause = match queue.bytes == type_and_text {
        true => "length-with-type",
        false => "wrong-length",
    };
    judge.check(
        cause,
        "a message has the bytes of its text, and no others",
        (queue.messages, queue.bytes) == (1, LENGTH as u64),
        format!(
            "expected 1 message(s), {LENGTH} byte(s)\nactual   {} message(s), \
             {} byte(s)",
            queue.messages, queue.bytes
        ),
    );
}

/// An order, and its answer.
fn judge_turn(turn: &Turn, judge: &mut Judge) {
    let Turn { lesson, line, want, got, waits } = turn;
    if got.is_none() && !waits {
        return; // It has ended; that is told at the end.
    }
    let said = got.as_deref().unwrap_or("no answer: the program waits");
    judge.check(
        turn_cause(turn),
        &format!("`{line}` is answered {}", purpose(*lesson)),
        got.as_ref() == Some(want),
        format!("expected {want}\nactual   {said}"),
    );
}

fn purpose(lesson: Lesson) -> &'static str {
    match lesson {
        Lesson::Send => "as there is room",
        Lesson::Full => "as the queue is full",
        Lesson::Arrival => "with the first that came",
        Lesson::Type => "with the first of its type",
        Lesson::Negative => "with the lowest type of those",
        Lesson::Empty => "as there is no such message",
        Lesson::Priority => "with the highest priority, the oldest first",
        Lesson::Outside => "with the message of another process",
    }
}

/// What a wrong answer comes from.
fn turn_cause(turn: &Turn) -> &'static str {
    let got = turn.got.as_deref().unwrap_or_default();
    match turn.lesson {
        Lesson::Send if got == "full" => "wrong-length",
        Lesson::Full if turn.waits => "blocks-when-full",
        Lesson::Full if got.starts_with("sent ") => "limit-not-set",
        Lesson::Empty if turn.waits => "blocks-when-empty",
        Lesson::Type if got.starts_with("received ") => "type-ignored",
        Lesson::Negative => "negative-type",
        Lesson::Priority if number(got) < number(&turn.want) => {
            "priority-reversed"
        }
        _ => "wrong-answer",
    }
}

/// The priority or the type in an answer.
fn number(answer: &str) -> Option<u32> {
    answer.strip_prefix("received ")?.split(' ').next()?.parse().ok()
}

/// The message that another process took.
fn judge_taken(performance: &Performance, judge: &mut Judge) {
    let taken: Vec<String> = fact(performance, "taken");
    let [actual, expected] = &taken[..] else { return };
    judge.check(
        "wrong-bytes",
        "another process receives the text as it was sent",
        actual == expected,
        format!("expected {expected}\nactual   {actual}"),
    );
}

/// Who was told of the messages that came from outside.
fn judge_listening(performance: &Performance, judge: &mut Judge) {
    let Some(registrations) = performance.number("registrations") else {
        return; // It has not come to that.
    };
    judge.check(
        "not-registered",
        "while it listens it is registered with the queue",
        registrations > 0,
        "mq_notify(3) has never been called",
    );
    let Some(again) = performance.facts.get("again") else { return };
    let lines = performance.trace.stdout("message_queue");
    let after = lines.iter().skip_while(|line| *line != &"listening");
    let after: Vec<&str> = after.copied().collect();
    judge.check(
        "registered-once",
        "told of a message, it registers anew",
        again == true,
        format!("no second mq_notify(3); it printed\n{}", after.join("\n")),
    );
    let Some(missed) = performance.facts.get("missed") else { return };
    let held: Vec<Queue> = fact(performance, "held");
    let (cause, why) = match held.first() {
        Some(queue) if queue.messages > 0 => (
            "not-emptied",
            "it registered with a message in the queue, and left one there",
        ),
        _ => (
            "registers-late",
            "the message came to an empty queue while nobody was registered",
        ),
    };
    judge.check(
        cause,
        "a message that comes just before the registration is received too",
        missed == false,
        format!("{why}; it printed\n{}", after.join("\n")),
    );
}

/// Every line, those of `listen` included.
fn judge_output(performance: &Performance, turns: &[Turn], judge: &mut Judge) {
    let (name, unit, limit) = match performance.take.as_str() {
        POSIX => (performance.text("name"), "messages", ROOM),
        _ => (performance.text("name"), "bytes", ROOM * LENGTH),
    };
    let name = name.unwrap_or_default();
    let mut expected = vec![format!("queue {name} of {limit} {unit}")];
    expected.extend(turns.iter().map(|turn| turn.want.clone()));
    let listened: Vec<String> = fact(performance, "listened");
    if let [first, second, third] = &listened[..] {
        expected.extend(
            ["listening", "notified", first, second].map(str::to_string),
        );
        expected.extend(["notified", third].map(str::to_string));
    }
    judge.printed("output", performance, "message_queue", &expected);
}

/// The output, without what was drawn.
fn normalised(performance: &Performance) -> String {
    let texts: Vec<String> = fact(performance, "texts");
    let mut text = String::new();
    for line in performance.trace.stdout("message_queue") {
        let mut words: Vec<String> =
            line.split(' ').map(str::to_string).collect();
        for word in &mut words {
            if let Some(at) = texts.iter().position(|text| text == word) {
                *word = format!("TEXT-{at}");
            } else if Some(word.as_str()) == performance.text("name") {
                *word = "NAME".to_string();
            }
        }
        if words.len() == 3 {
            words[1] = "NUMBER".to_string();
        }
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text
}

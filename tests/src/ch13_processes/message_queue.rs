//! Grades `message_queue`: which message comes first, what a full queue says,
//! who is told of a message, and what is left.
//!
//! The scenario types orders, one at a time, and goes on as long as the answers
//! are right. It looks into the queue, as ipcs(1) does, and is the other side
//! itself: it takes a message that the program has sent, and sends some that
//! the program cannot know. The second registration of `listen` is held at its
//! system call while one more message comes: whoever has emptied the queue
//! before it will never be told of that one.

mod judge;

use nix::mqueue::{MQ_OFlag, mq_close, mq_open, mq_send};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};
use testbed::{IpcKind, IpcObject, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::{Grader, Mutant, Take, sys};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "message_queue",
    pristine: include_str!("../../pristine/ch13_processes/message_queue.rs"),
    takes: &[
        Take { name: SYSTEM_V, profile: Profile::Modern },
        Take { name: POSIX, profile: Profile::Modern },
    ],
    scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "private_key", cause: "other-name" },
        Mutant { name: "length_with_type", cause: "length-with-type" },
        Mutant { name: "limit_forgotten", cause: "limit-not-set" },
        Mutant { name: "blocks_when_full", cause: "blocks-when-full" },
        Mutant { name: "any_type", cause: "type-ignored" },
        Mutant { name: "type_without_sign", cause: "negative-type" },
        Mutant { name: "priority_reversed", cause: "priority-reversed" },
        Mutant { name: "looks_now_and_then", cause: "not-registered" },
        Mutant { name: "registered_once", cause: "registered-once" },
        Mutant { name: "registers_late", cause: "registers-late" },
        Mutant { name: "not_unlinked", cause: "left-behind" },
    ],
    alternatives: &["signal_descriptor", "handler_and_timeouts"],
};

const SYSTEM_V: &str = "sysv";
const POSIX: &str = "posix";
/// The length of every text.
const LENGTH: usize = 8;
/// How many messages fill a queue.
const ROOM: usize = 4;

/// What an order is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Lesson {
    Send,
    Full,
    Arrival,
    Type,
    Negative,
    Empty,
    Priority,
    Outside,
}

/// An order, and the line that answered it.
#[derive(Debug, Serialize, Deserialize)]
struct Turn {
    lesson: Lesson,
    line: String,
    want: String,
    /// `None`: nothing came.
    got: Option<String>,
    /// Nothing came, and the program goes on running.
    waits: bool,
}

/// What is known of a queue.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Queue {
    name: String,
    messages: u64,
    bytes: u64,
    room: u64,
}

impl From<IpcObject> for Queue {
    fn from(object: IpcObject) -> Queue {
        Queue {
            name: object.name,
            messages: object.messages,
            bytes: object.bytes,
            room: object.most_messages,
        }
    }
}

/// The program in its part, and what it has answered.
struct Play<'a> {
    stage: &'a mut Stage,
    program: Role,
    turns: Vec<Turn>,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let take = stage.take;
    let (name, limit, texts) = draw(stage);
    let args = [take.to_string(), name.clone(), limit];
    let watch = |launch: testbed::Launch| launch.watch(&["mq_notify"]);
    let program = stage.start_with("message_queue", KONGMING, args, watch)?;
    stage.line(program, "queue ")?;
    let queues = queues(stage)?;
    stage.fact("queues", &queues);
    let mut play = Play { stage, program, turns: Vec::new() };
    let played = if !play.stage.values.is_empty() {
        play.orders_of_the_user()
    } else if take == SYSTEM_V {
        play.system_v(name.parse().unwrap_or_default(), &texts)
    } else {
        play.posix(&name, &texts)
    };
    let turns = play.turns;
    stage.fact("turns", &turns);
    played?;
    stage.step(KONGMING, "end of the program's input")?;
    stage.close_stdin(program);
    stage.end(program)?;
    let left = self::queues(stage)?;
    stage.fact("left", left);
    Ok(())
}

/// The queue's name, its limit, and texts.
fn draw(stage: &mut Stage) -> (String, String, Vec<String>) {
    let draw = &mut stage.draw;
    let texts = (0..12).map(|_| draw.letters(LENGTH)).collect();
    let name = match stage.take {
        SYSTEM_V => draw.count(1_000..=60_000).to_string(),
        _ => format!("/{}", draw.letters(6)),
    };
    let limit = match stage.take {
        SYSTEM_V => ROOM * LENGTH,
        _ => ROOM,
    };
    stage.fact("name", &name);
    stage.fact("texts", &texts);
    (name, limit.to_string(), texts)
}

/// The host's queues.
fn queues(stage: &Stage) -> Result<Vec<Queue>, Halt> {
    let mut objects = stage.net.host(KONGMING)?.ipc()?;
    objects.retain(|object| {
        let kinds = [IpcKind::MessageQueue, IpcKind::PosixMessageQueue];
        kinds.contains(&object.kind)
    });
    Ok(objects.into_iter().map(Queue::from).collect())
}

impl Play<'_> {
    /// Gives an order; an error unless the answer is the right one.
    fn order(
        &mut self,
        lesson: Lesson,
        line: &str,
        want: &str,
    ) -> Result<(), Halt> {
        self.stage.step(KONGMING, format!("orders: {line}"))?;
        self.stage.send(self.program, line);
        let got = self.stage.line(self.program, "");
        let program = self.stage.program(self.program);
        self.turns.push(Turn {
            lesson,
            line: line.to_string(),
            want: want.to_string(),
            got: got.as_ref().ok().cloned(),
            waits: got.is_err() && !program.has_closed_its_output(),
        });
        match got? {
            got if got == want => Ok(()),
            _ => Err(Halt::Missed(format!("waited for `{want}`"))),
        }
    }

    /// Fills the queue, and sends one message too many.
    fn fill(&mut self, messages: &[(u64, &str)]) -> Result<(), Halt> {
        for (number, text) in messages {
            let line = format!("send {number} {text}");
            let want = format!("sent {number} {text}");
            self.order(Lesson::Send, &line, &want)?;
            if self.turns.len() == 1 {
                let queues = queues(self.stage)?;
                self.stage.fact("first", queues);
            }
        }
        let line = format!("send {} {}", messages[0].0, "x".repeat(LENGTH));
        self.order(Lesson::Full, &line, "full")?;
        let queues = queues(self.stage)?;
        self.stage.fact("full", queues);
        Ok(())
    }

    fn receive(
        &mut self,
        lesson: Lesson,
        line: &str,
        (number, text): (u64, &str),
    ) -> Result<(), Halt> {
        self.order(lesson, line, &format!("received {number} {text}"))
    }

    fn system_v(&mut self, key: i32, texts: &[String]) -> Result<(), Halt> {
        let draw = &mut self.stage.draw;
        let low = draw.count(2..=9);
        let mid = low + draw.count(1..=9);
        let top = mid + draw.count(1..=9);
        let far = top + draw.count(1..=9);
        let messages = [(mid, &*texts[0]), (far, &texts[1]), (top, &texts[2])];
        let [first, second, third] = messages;
        let fourth = (low, &*texts[3]);
        self.fill(&[first, second, third, fourth])?;
        self.receive(Lesson::Arrival, "receive 0", first)?;
        self.receive(Lesson::Type, &format!("receive {top}"), third)?;
        self.put(key, top, &texts[4])?;
        let below = format!("receive -{top}");
        self.receive(Lesson::Negative, &below, fourth)?;
        self.receive(Lesson::Negative, &below, (top, &texts[4]))?;
        self.order(Lesson::Empty, &below, "empty")?;
        self.take(key, second)?;
        self.put(key, mid, &texts[5])?;
        self.put(key, far, &texts[6])?;
        let from_outside = (far, &*texts[6]);
        self.receive(Lesson::Type, &format!("receive {far}"), from_outside)
    }

    /// Takes a message that the program has sent.
    fn take(&mut self, key: i32, wanted: (u64, &str)) -> Result<(), Halt> {
        let (kind, text) = wanted;
        let host = self.stage.net.host(KONGMING)?;
        self.stage.step(KONGMING, format!("another process takes {kind}"))?;
        let taken = host.at(|| sys::msgrcv(key, kind as i64))?;
        let taken = match &taken {
            Ok(taken) => taken.escape_ascii().to_string(),
            Err(err) => format!("msgrcv: {err}"),
        };
        self.stage.fact("taken", [&taken, text]);
        match taken == text {
            true => Ok(()),
            false => Err(Halt::Missed("waited for a message".into())),
        }
    }

    /// Sends a message of another process.
    fn put(&mut self, key: i32, kind: u64, text: &str) -> Result<(), Halt> {
        let host = self.stage.net.host(KONGMING)?;
        let step = format!("another process sends {kind} {text}");
        self.stage.step(KONGMING, step)?;
        let sent = host.at(|| sys::msgsnd(key, kind as i64, text))?;
        sent.map_err(|err| Halt::Missed(format!("msgsnd {key}: {err}")))
    }

    fn posix(&mut self, name: &str, texts: &[String]) -> Result<(), Halt> {
        let draw = &mut self.stage.draw;
        let low = draw.count(1..=9);
        let mid = low + draw.count(1..=9);
        let high = mid + draw.count(1..=9);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let messages = [(mid, texts[0]), (high, texts[1]), (low, texts[2])];
        let [first, second, third] = messages;
        let fourth = (high, texts[3]);
        self.fill(&[first, second, third, fourth])?;
        for next in [second, fourth, first, third] {
            self.receive(Lesson::Priority, "receive", next)?;
        }
        self.order(Lesson::Empty, "receive", "empty")?;
        self.mq_put(name, mid, texts[4])?;
        self.receive(Lesson::Outside, "receive", (mid, texts[4]))?;
        self.listen(name, [(high, texts[5]), (mid, texts[6]), (low, texts[7])])
    }

    /// Three messages, each at a moment of its own.
    fn listen(
        &mut self,
        name: &str,
        messages: [(u64, &str); 3],
    ) -> Result<(), Halt> {
        let program = self.program;
        let lines = messages
            .map(|(priority, text)| format!("received {priority} {text}"));
        self.stage.fact("listened", &lines);
        self.stage.step(KONGMING, "orders: listen 3")?;
        self.stage.send(program, "listen 3");
        self.stage.line(program, "listening")?;
        self.stage.rests(program)?;
        let Some(calls) = self.stage.program(program).calls().cloned() else {
            return Err(Halt::Missed("waited for watched calls".into()));
        };
        self.stage.fact("registrations", calls.count("mq_notify"));
        if calls.count("mq_notify") == 0 {
            return Err(Halt::Missed("waited for mq_notify".into()));
        }
        calls.hold("mq_notify");
        let [first, second, third] = messages;
        self.mq_put(name, first.0, first.1)?;
        let again = self.stage.patiently(|_, glance| {
            Ok(calls.wait_held("mq_notify", 1, glance).then_some(()))
        })?;
        self.stage.fact("again", again.is_some());
        if again.is_none() {
            return Err(Halt::Missed("waited for mq_notify again".into()));
        }
        self.stage.step(KONGMING, "mq_notify is held at its entry")?;
        let held = queues(self.stage)?;
        self.stage.fact("held", held);
        self.mq_put(name, second.0, second.1)?;
        calls.let_go("mq_notify");
        self.stage.step(KONGMING, "mq_notify goes on")?;
        self.stage.fact("missed", true);
        self.stage.line(program, &lines[1])?;
        self.stage.fact("missed", false);
        self.stage.idle(program)?;
        self.mq_put(name, third.0, third.1)?;
        self.stage.line(program, &lines[2])?;
        Ok(())
    }

    /// Sends a message of another process.
    fn mq_put(
        &mut self,
        name: &str,
        priority: u64,
        text: &str,
    ) -> Result<(), Halt> {
        let host = self.stage.net.host(KONGMING)?;
        let step = format!("another process sends {priority} {text}");
        self.stage.step(KONGMING, step)?;
        let sent = host.at(|| {
            let flags = MQ_OFlag::O_WRONLY | MQ_OFlag::O_NONBLOCK;
            let queue = mq_open(name, flags, Mode::empty(), None)?;
            let sent = mq_send(&queue, text.as_bytes(), priority as u32);
            mq_close(queue).and(sent)
        })?;
        sent.map_err(|err| Halt::Missed(format!("mq_send {name}: {err}")))
    }

    fn orders_of_the_user(&mut self) -> Result<(), Halt> {
        for line in self.stage.values.clone() {
            self.stage.step(KONGMING, format!("orders: {line}"))?;
            self.stage.send(self.program, &line);
            self.stage.line(self.program, "")?;
            self.stage.idle(self.program)?;
        }
        Ok(())
    }
}

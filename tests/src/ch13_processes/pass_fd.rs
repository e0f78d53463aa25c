//! Grades `pass_fd`: one open file in two processes, with one offset.
//!
//! The sender opens a file that the scenario has written and hands it over;
//! then its name is removed. Sender and receiver are told by turns to read some
//! bytes. What the descriptors lead to, and at which offset, is read from
//! /proc/PID/fdinfo after each turn; whether the kernel was asked for the
//! peer's process, from the system calls.

use std::fs;

use serde::{Deserialize, Serialize};
use testbed::{Descriptor, DescriptorKind, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "pass_fd",
    pristine: include_str!("../../pristine/ch13_processes/pass_fd.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "number_as_bytes", cause: "number-only" },
        Mutant { name: "small_control_buffer", cause: "descriptor-lost" },
        Mutant { name: "opens_by_path", cause: "offset-not-shared" },
        Mutant { name: "copies_the_content", cause: "another-file" },
        Mutant { name: "reads_ahead", cause: "reads-ahead" },
        Mutant { name: "pid_as_data", cause: "believes-the-sender" },
    ],
    alternatives: &["credentials_message", "raw_calls"],
};

/// The calls that a file or a process can be made known by.
const WATCHED: &[&str] =
    &["sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "getsockopt", "setsockopt"];
/// <asm-generic/socket.h>: the options that have the kernel tell who it is.
const SOL_SOCKET: i32 = 1;
const SO_PASSCRED: i32 = 16;
const SO_PEERCRED: i32 = 17;
const SO_PEERPIDFD: i32 = 77;

/// What one process has of the file, as it was at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Held {
    /// How many descriptors lead to it.
    copies: usize,
    /// What the descriptor of the printed number leads to, with the offset.
    text: String,
    /// Does it lead to the file?
    right: bool,
    /// Its offset, if it is a file.
    offset: Option<u64>,
}

impl Held {
    /// The offset, as the trace has it.
    fn told(&self) -> String {
        match self.offset {
            Some(offset) => offset.to_string(),
            None => "none".to_string(),
        }
    }
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let (name, file) = (stage.draw.letters(8), stage.draw.letters(6));
    let content = stage.draw.letters(40);
    let missing = || testbed::Error::new("the hosts have no scratch directory");
    let scratch = stage.net.host(KONGMING)?.scratch().ok_or_else(missing)?;
    let path = scratch.join(&file);
    let wrote = fs::write(&path, &content);
    wrote.map_err(|err| testbed::Error::from_call("write a file", err))?;
    stage.fact("name", &name);
    stage.fact("content", &content);
    stage.step(KONGMING, format!("the file {file} has {content}"))?;

    let args = ["receive", &name];
    let receiver = stage.start_with("receiver", KONGMING, args, |launch| {
        launch.watch(WATCHED)
    })?;
    stage.line(receiver, "listening on ")?;
    let sockets = sockets(stage, receiver)?;
    stage.fact("listening", sockets);
    let args = ["send", &name, &file];
    let sender = stage
        .start_with("sender", KONGMING, args, |launch| launch.watch(WATCHED))?;
    let sent = stage.line(sender, "sent descriptor ")?;
    identity(stage, sender)?;
    let held = held(stage, sender, &sent, &file)?;
    stage.fact("sender", held);
    let received = received(stage, receiver, &file)?;
    stage.step(KONGMING, format!("the name {file} is removed"))?;
    let removed = fs::remove_file(&path);
    removed.map_err(|err| testbed::Error::from_call("unlink a file", err))?;
    let numbers = [sent, received];
    read_by_turns(stage, [sender, receiver], &numbers, &file)?;
    stage.end(receiver)
}

/// Waits for the receiver's line, and puts down what its descriptor leads to
/// and what it has asked the kernel; the number.
fn received(
    stage: &mut Stage,
    receiver: Role,
    file: &str,
) -> Result<String, Halt> {
    let line = stage.line(receiver, "received descriptor ");
    let number = line.as_deref().unwrap_or_default();
    let held = held(stage, receiver, number, file)?;
    stage.fact("receiver", held);
    note_what_was_asked(stage, receiver)?;
    line
}

/// Has sender and receiver read by turns; the sender ends before the last.
fn read_by_turns(
    stage: &mut Stage,
    roles: [Role; 2],
    numbers: &[String; 2],
    file: &str,
) -> Result<(), Halt> {
    let [sender, receiver] = roles;
    let turns = [receiver, sender, receiver, receiver];
    let mut counts = Vec::new();
    for (at, role) in turns.into_iter().enumerate() {
        if at + 1 == turns.len() {
            stage.close_stdin(sender);
            stage.end(sender)?;
            stage.step(KONGMING, "the sender has ended")?;
        }
        let count = stage.draw.count(3..=9);
        counts.push(count);
        stage.fact("counts", &counts);
        let who = stage.program(role).name();
        stage.step(KONGMING, format!("the {who} is to read {count} bytes"))?;
        stage.send(role, &count.to_string());
        stage.line(role, "read ")?;
        let mut both = Vec::new();
        for (role, number) in roles.into_iter().zip(numbers) {
            both.push(held(stage, role, number, file)?);
        }
        let told: Vec<String> = both.iter().map(Held::told).collect();
        let told = told.join(", in the receiver ");
        stage.step(KONGMING, format!("offset in the sender {told}"))?;
        stage.fact(&format!("after {at}"), both);
    }
    stage.close_stdin(receiver);
    Ok(())
}

fn descriptors(stage: &Stage, role: Role) -> Result<Vec<Descriptor>, Halt> {
    let host = stage.net.host(KONGMING)?;
    Ok(host.descriptors(stage.program(role)).unwrap_or_default())
}

/// The Unix sockets that a program has, as one would say them.
fn sockets(stage: &Stage, role: Role) -> Result<Vec<String>, Halt> {
    let all = descriptors(stage, role)?.into_iter();
    let unix = all.filter(|one| one.kind == DescriptorKind::Unix);
    Ok(unix.map(|one| one.text).collect())
}

/// What a program has of the file.
fn held(
    stage: &Stage,
    role: Role,
    number: &str,
    file: &str,
) -> Result<Held, Halt> {
    let all = descriptors(stage, role)?;
    let leads_to_it = |one: &&Descriptor| {
        let name = one.text.split(" at offset").next().unwrap_or_default();
        let name = name.strip_suffix(" (deleted)").unwrap_or(name);
        one.kind == DescriptorKind::File && name.ends_with(&format!("/{file}"))
    };
    let named = all.iter().find(|one| one.number.to_string() == number);
    let text = named.map_or("nothing", |one| one.text.as_str());
    let offset = text.rsplit_once(" at offset ");
    Ok(Held {
        copies: all.iter().filter(leads_to_it).count(),
        right: named.is_some_and(|one| leads_to_it(&one)),
        offset: offset.and_then(|(_, offset)| offset.parse().ok()),
        text: text.to_string(),
    })
}

/// Whether the receiver has asked the kernel who its peer is.
fn note_what_was_asked(stage: &mut Stage, receiver: Role) -> Result<(), Halt> {
    let calls = stage.program(receiver).calls();
    let log = calls.map(|calls| calls.log()).unwrap_or_default();
    let asked = log.iter().any(|call| {
        let option = (call.args[1] as i32, call.args[2] as i32);
        match call.name {
            "getsockopt" => {
                option == (SOL_SOCKET, SO_PEERCRED)
                    || option == (SOL_SOCKET, SO_PEERPIDFD)
            }
            "setsockopt" => option == (SOL_SOCKET, SO_PASSCRED),
            _ => false,
        }
    });
    stage.fact("asked", asked);
    Ok(())
}

/// The sender as its host sees it.
fn identity(stage: &mut Stage, sender: Role) -> Result<(), Halt> {
    let pid = stage.program(sender).pid();
    let processes = stage.program(sender).processes()?;
    let own = processes.iter().find(|one| one.pid as u32 == pid);
    let own = own.map_or(0, |one| one.own_pid);
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = line.and_then(|ids| ids.split_whitespace().next());
    let uid = uid.unwrap_or_default();
    stage.fact("identity", format!("process {own} of user {uid}"));
    Ok(())
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    if performance.trace.stdout("receiver").is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }
    judge_listener(performance, judge);
    judge_sender(performance, judge);
    judge_receiver(performance, judge);
    judge_turns(performance, judge);
    judge_copies(performance, judge);
    judge_identity(performance, judge);
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    judge_output(performance, judge);
    judge.ended_well(performance, "sender");
    judge.ended_well(performance, "receiver");
    judge.snapshot("story", "pass_fd", &story(performance));
}

fn judge_listener(performance: &Performance, judge: &mut Judge) {
    let name = performance.text("name").unwrap_or_default();
    let sockets: Vec<String> = fact(performance, "listening");
    judge.deed(
        "the receiver has a Unix socket when it says so",
        !sockets.is_empty() || !performance.facts.contains_key("listening"),
        "no Unix socket in its descriptors",
    );
    let wanted = format!("LISTEN @{name}");
    judge.check(
        "wrong-name",
        "the receiver listens on the abstract name that was asked for",
        sockets.is_empty() || sockets.iter().any(|s| s.ends_with(&wanted)),
        format!("asked for @{name}\nhas {}", sockets.join(", ")),
    );
}

fn judge_sender(performance: &Performance, judge: &mut Judge) {
    if !performance.facts.contains_key("sender") {
        return;
    }
    let sender: Held = fact(performance, "sender");
    judge.check(
        "sender-has-no-file",
        "the number that the sender prints is its descriptor of the file",
        sender.right,
        format!("in the sender it leads to: {}", sender.text),
    );
}

fn judge_receiver(performance: &Performance, judge: &mut Judge) {
    if !performance.facts.contains_key("receiver") {
        return;
    }
    let receiver: Held = fact(performance, "receiver");
    let count = |program, calls: [&str; 2]| -> usize {
        calls.iter().map(|call| performance.called(program, call)).sum()
    };
    let sent = count("sender", ["sendmsg", "sendmmsg"]);
    let taken = count("receiver", ["recvmsg", "recvmmsg"]);
    let lines = performance.trace.stdout("receiver");
    let claimed = lines.iter().any(|line| line.starts_with("received "));
    let said = performance.trace.stderr("receiver").join("\n");
    // One that still waits in recvmsg has had the message by another call, or
    // the message had no byte and never was one.
    let waits = performance.exits.get("receiver") == Some(&None);
    let cause = match (sent, taken) {
        (0, _) => "nothing-sent",
        (_, 0) => "read-not-recvmsg",
        _ if waits => "message-missed",
        _ => "descriptor-lost",
    };
    judge.check(
        cause,
        "a descriptor arrives",
        claimed || receiver.copies > 0,
        format!(
            "calls of sendmsg by the sender: {sent}, of recvmsg by the \
             receiver: {taken}\nno descriptor of the receiver leads to the \
             file\n{said}"
        )
        .trim_end(),
    );
    let number = |program, what| {
        let lines = performance.trace.stdout(program);
        let line = lines.iter().find_map(|line| line.strip_prefix(what));
        line.unwrap_or_default().to_string()
    };
    let theirs = number("sender", "sent descriptor ");
    let ours = number("receiver", "received descriptor ");
    let cause = match theirs == ours && receiver.copies == 0 {
        true => "number-only",
        false => "another-file",
    };
    judge.check(
        cause,
        "the number that the receiver prints is its descriptor of that file",
        receiver.right || !claimed,
        format!(
            "the sender printed {theirs}, and the receiver {ours}\n\
             in the receiver that leads to: {}",
            receiver.text
        ),
    );
}

fn judge_copies(performance: &Performance, judge: &mut Judge) {
    let receiver: Held = fact(performance, "receiver");
    judge.check(
        "copies",
        "the receiver has one descriptor of the file, and no other",
        receiver.copies <= 1,
        format!("{} descriptors of it lead to the file", receiver.copies),
    );
}

/// One offset for both: each turn begins where the other's ended.
fn judge_turns(performance: &Performance, judge: &mut Judge) {
    let counts: Vec<u64> = fact(performance, "counts");
    let mut sum = 0;
    for (at, count) in counts.iter().enumerate() {
        sum += count;
        let both: Vec<Held> = fact(performance, &format!("after {at}"));
        let offsets: Vec<Option<u64>> =
            both.iter().filter(|one| one.right).map(|h| h.offset).collect();
        let told = both.iter().filter(|one| one.right).map(Held::told);
        let told = told.collect::<Vec<_>>().join(" and ");
        let evidence =
            format!("{sum} bytes were to be read by then; the offsets: {told}");
        let differ = offsets.windows(2).any(|pair| pair[0] != pair[1]);
        let name = format!("after turn {} both have one offset", at + 1);
        judge.check("offset-not-shared", &name, !differ, evidence.as_str());
        let ahead = offsets.iter().flatten().any(|offset| *offset > sum);
        let name = format!("turn {} reads {count} bytes, and no more", at + 1);
        judge.check("reads-ahead", &name, !ahead, evidence);
    }
}

fn judge_identity(performance: &Performance, judge: &mut Judge) {
    let lines = performance.trace.stdout("receiver");
    let line = lines.iter().find_map(|line| line.strip_prefix("from "));
    let Some(line) = line else { return };
    let identity = performance.text("identity").unwrap_or_default();
    let asked = performance.facts.get("asked");
    judge.check(
        "believes-the-sender",
        "the receiver asks the kernel who is at the other end",
        asked.is_none_or(|asked| asked == true),
        "no getsockopt SO_PEERCRED, and no setsockopt SO_PASSCRED",
    );
    judge.check(
        "wrong-process",
        "the process that the receiver names is the sender",
        identity.is_empty() || line == identity,
        side_by_side(&[identity], &[line]),
    );
}

fn judge_output(performance: &Performance, judge: &mut Judge) {
    let text = |fact| performance.text(fact).unwrap_or_default();
    let (sender, receiver) = lines(performance);
    let number = |program, prefix: &str| {
        let printed = performance.trace.stdout(program);
        // The number itself has been compared with /proc.
        let line = printed.iter().find(|line| line.starts_with(prefix));
        line.map_or(prefix.to_string(), ToString::to_string)
    };
    let first = number("sender", "sent descriptor ");
    let expected: Vec<String> = [first].into_iter().chain(sender).collect();
    judge.printed("output", performance, "sender", &expected);
    let first = [
        format!("listening on @{}", text("name")),
        format!("from {}", text("identity")),
        number("receiver", "received descriptor "),
    ];
    let expected: Vec<String> = first.into_iter().chain(receiver).collect();
    judge.printed("output", performance, "receiver", &expected);
}

/// What each of them reads: the sender in the second turn, the receiver in the
/// others.
fn lines(performance: &Performance) -> (Vec<String>, Vec<String>) {
    let counts: Vec<u64> = fact(performance, "counts");
    let content = performance.text("content").unwrap_or_default();
    let mut rest = content;
    let (mut sender, mut receiver) = (Vec::new(), Vec::new());
    for (at, count) in counts.into_iter().enumerate() {
        let (part, after) = rest.split_at(rest.len().min(count as usize));
        rest = after;
        let who = if at == 1 { &mut sender } else { &mut receiver };
        who.push(format!("read {part}"));
    }
    (sender, receiver)
}

/// Whose descriptor leads where after each turn, in multiples of the turns.
fn story(performance: &Performance) -> String {
    let counts: Vec<u64> = fact(performance, "counts");
    let mut text = String::new();
    for at in 0..counts.len() {
        let both: Vec<Held> = fact(performance, &format!("after {at}"));
        for (who, held) in ["sender", "receiver"].iter().zip(&both) {
            let reached = (0..=counts.len()).find(|turns| {
                Some(counts[..*turns].iter().sum()) == held.offset
            });
            let place = match reached {
                Some(turns) => format!("where turn {turns} ends"),
                None if held.text == "nothing" => "closed".to_string(),
                None => "elsewhere".to_string(),
            };
            text.push_str(&format!("turn {}: {who:<8} {place}\n", at + 1));
        }
    }
    text
}

/// What the scenario put down; nothing where it did not.
fn fact<T: Default + serde::de::DeserializeOwned>(
    performance: &Performance,
    name: &str,
) -> T {
    let value = performance.facts.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

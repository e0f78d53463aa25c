//! Grades `fork_exec`: what a child is given, how it ended, and what is left.
//!
//! The scenario types commands for the shell on Kongming20, one at a time, and
//! looks at the files that they wrote and at the processes that are there when
//! the shell has said how it ended. One child waits for its input: its
//! descriptors and signals are looked at, its input is typed for the shell, and
//! then a signal ends it.

mod judge;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use testbed::{Call, ProcessInfo, Profile};

use crate::stage::{Halt, KONGMING, Role, Stage};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "fork_exec",
    pristine: include_str!("../../pristine/ch13_processes/fork_exec.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "dup2_swapped", cause: "not-redirected" },
        Mutant { name: "not_truncated", cause: "not-truncated" },
        Mutant { name: "created_without_mode", cause: "file-mode" },
        Mutant { name: "status_raw", cause: "raw-status" },
        Mutant { name: "signal_as_status", cause: "signal-as-status" },
        Mutant { name: "child_returns", cause: "two-shells" },
        Mutant { name: "history_inherited", cause: "leaks-to-child" },
        Mutant { name: "sigpipe_ignored", cause: "sigpipe-ignored" },
        Mutant { name: "opened_by_the_shell", cause: "leaks-descriptors" },
        Mutant { name: "not_reaped", cause: "zombies" },
    ],
    alternatives: &["std_exec", "raw_calls"],
};

/// Calls that tell how processes begin and end.
const WATCHED: [&str; 8] = [
    "fork", "vfork", "clone", "clone3", "execve", "execveat", "wait4", "waitid",
];
/// Signals that end a process and that nobody ignores by accident, as a run in
/// the background does SIGINT.
const SIGNALS: [(i32, &str); 4] =
    [(15, "SIGTERM"), (9, "SIGKILL"), (10, "SIGUSR1"), (12, "SIGUSR2")];
/// What a process is called that has forked and not become a command.
const COPY: &str = "a copy of the shell";
/// Its bit in proc_pid_status(5).
const SIGPIPE: u64 = 1 << 12;

/// A command, and what came of it.
#[derive(Debug, Serialize, Deserialize)]
struct Turn {
    line: String,
    want: String,
    /// The line that the shell printed; empty: none.
    got: String,
    /// Processes that were there besides the shell when it had printed it.
    others: Vec<String>,
    zombies: usize,
    /// How many calls had been seen when it was typed.
    #[serde(skip)]
    calls_before: usize,
}

/// The child that waits for its input.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Waiting {
    /// Its descriptors but for 0, 1, 2 and the script that it runs.
    descriptors: Vec<String>,
    sigpipe_ignored: bool,
    blocked: u64,
}

/// The names and numbers of a run.
struct Plan {
    scratch: PathBuf,
    word: String,
    source: String,
    status: u64,
    missing: String,
    signal: (i32, &'static str),
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let plan = plan(stage)?;
    prepare(&plan)
        .map_err(|err| Halt::Missed(format!("write files: {err}")))?;
    let watch = |launch: testbed::Launch| launch.watch(&WATCHED);
    let shell = stage.start_with("fork_exec", KONGMING, ["history"], watch)?;
    stage.line(shell, "ready")?;
    stage.idle(shell)?;
    let mut turns = Vec::new();
    let played = if stage.values.is_empty() {
        let before = descriptors(stage, shell)?;
        let played = play(stage, shell, &plan, &mut turns);
        let mut after = descriptors(stage, shell)?;
        after.retain(|descriptor| !before.contains(descriptor));
        stage.fact("left", after);
        played
    } else {
        let lines = stage.values.clone();
        let mut lines = lines.iter();
        lines.try_for_each(|line| turn(stage, shell, line, "", &mut turns))
    };
    stage.fact("turns", &turns);
    played?;
    let history = fs::read_to_string(plan.scratch.join("history"));
    stage.fact("history", history.unwrap_or_default());
    stage.step(KONGMING, "end of the shell's input")?;
    stage.close_stdin(shell);
    stage.end(shell)
}

fn plan(stage: &mut Stage) -> Result<Plan, Halt> {
    let Some(scratch) = stage.net.host(KONGMING)?.scratch() else {
        return Err(testbed::Error::new(
            "Kongming20 has no directory that programs can write to",
        )
        .into());
    };
    let draw = &mut stage.draw;
    let signal = SIGNALS[draw.count(0..=3) as usize];
    let (length, status) = (draw.count(20..=90) as usize, draw.count(2..=120));
    let plan = Plan {
        scratch,
        word: draw.letters(6),
        source: draw.letters(length),
        status,
        missing: draw.letters(9),
        signal,
    };
    let drawn = [
        (plan.word.clone(), "WORD"),
        (plan.missing.clone(), "MISSING"),
        (format!("./fails: exit {status}"), "./fails: exit STATUS"),
        (signal.1.to_string(), "SIGNAL"),
    ];
    stage.fact("drawn", drawn);
    stage.fact("word", &plan.word);
    stage.fact("source", &plan.source);
    Ok(plan)
}

/// Lays out what the commands need in the shell's directory.
fn prepare(plan: &Plan) -> std::io::Result<()> {
    let Plan { scratch, source, status, .. } = plan;
    let before = "what was here before, longer than any word\n";
    fs::write(scratch.join("old"), before)?;
    fs::write(scratch.join("source"), format!("{source}\n"))?;
    fs::write(scratch.join("plain"), "not a program\n")?;
    fs::set_permissions(scratch.join("plain"), Permissions::from_mode(0o644))?;
    for (name, text) in [
        ("fails", format!("#!/bin/sh\nexit {status}\n")),
        ("waits", "#!/bin/sh\nread a\necho $a\nread b\n".to_string()),
    ] {
        fs::write(scratch.join(name), text)?;
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(scratch.join(name), mode)?;
    }
    Ok(())
}

/// The commands, one after another, and what each has left behind.
fn play(
    stage: &mut Stage,
    shell: Role,
    plan: &Plan,
    turns: &mut Vec<Turn>,
) -> Result<(), Halt> {
    let Plan { scratch, word, status, missing, signal, .. } = plan;
    let read =
        |name: &str| fs::read_to_string(scratch.join(name)).unwrap_or_default();
    let echo = format!("echo {word} > old");
    let echoed = turn(stage, shell, &echo, "exit 0", turns);
    stage.fact("echoed", read("old"));
    echoed?;
    if read("old") != format!("{word}\n") {
        return Err(Halt::Missed("waited for a word in the file".into()));
    }
    let copied = turn(stage, shell, "cat < source > new", "exit 0", turns);
    stage.fact("copied", read("new"));
    let mode = |name: &str| {
        let found = fs::metadata(scratch.join(name));
        found.map_or(0, |found| found.permissions().mode() & 0o7777)
    };
    // `source` was made by this process, which has the same umask.
    stage.fact("modes", [mode("source"), mode("new")]);
    copied?;
    for (line, want) in [
        ("./fails".to_string(), format!("exit {status}")),
        (format!("cat < {missing} > never"), "exit 1".to_string()),
        (missing.clone(), "exit 127".to_string()),
        ("./plain".to_string(), "exit 126".to_string()),
    ] {
        turn(stage, shell, &line, &want, turns)?;
    }
    let killed = format!("killed by {}", signal.1);
    begin(stage, shell, "./waits > heard", &killed, turns)?;
    let child = look_at_child(stage, shell)?;
    stage.step(KONGMING, format!("types for the child: {word}"))?;
    stage.send(shell, word);
    let heard = stage.look_each_ms(|_, _| {
        let heard = read("heard");
        Ok(heard.ends_with('\n').then_some(heard))
    })?;
    stage.fact("heard", heard.is_some_and(|it| it == format!("{word}\n")));
    stage.step(KONGMING, format!("{} for the child", signal.1))?;
    stage.net.host(KONGMING)?.signal(child, signal.0)?;
    finish(stage, shell, turns)
}

/// Types a command, and waits for its end.
fn turn(
    stage: &mut Stage,
    shell: Role,
    line: &str,
    want: &str,
    turns: &mut Vec<Turn>,
) -> Result<(), Halt> {
    begin(stage, shell, line, want, turns)?;
    finish(stage, shell, turns)
}

fn begin(
    stage: &mut Stage,
    shell: Role,
    line: &str,
    want: &str,
    turns: &mut Vec<Turn>,
) -> Result<(), Halt> {
    turns.push(Turn {
        line: line.to_string(),
        want: want.to_string(),
        got: String::new(),
        others: Vec::new(),
        zombies: 0,
        calls_before: calls(stage, shell).len(),
    });
    stage.step(KONGMING, format!("types: {line}"))?;
    stage.send(shell, line);
    Ok(())
}

/// Waits for the shell's line about the last command, and then looks round.
fn finish(
    stage: &mut Stage,
    shell: Role,
    turns: &mut [Turn],
) -> Result<(), Halt> {
    let said = loop {
        match stage.line(shell, "") {
            // A command without `>` prints, too.
            Ok(line) if !is_status(&line) && !stage.values.is_empty() => {}
            other => break other,
        }
    };
    stage.idle(shell)?;
    let others = others(stage, shell)?;
    let name = own_name(stage, shell);
    if let Some(last) = turns.last_mut() {
        last.got = said.as_ref().cloned().unwrap_or_default();
        last.zombies = others.iter().filter(|it| it.is_zombie()).count();
        let living = others.into_iter().filter(|it| !it.is_zombie());
        last.others = living.map(|it| called(&it, &name)).collect();
        let calls = calls(stage, shell).split_off(last.calls_before);
        stage.step(KONGMING, tell(&calls))?;
    }
    said.map(drop)
}

fn calls(stage: &Stage, shell: Role) -> Vec<Call> {
    stage.program(shell).calls().map_or(Vec::new(), |calls| calls.log())
}

/// Which calls the shell made, and which its child; between the two the order
/// is nobody's.
fn tell(calls: &[Call]) -> String {
    let names = |shell: bool| {
        let by = calls.iter().filter(|call| (call.thread == 1) == shell);
        let by: Vec<&str> = by.map(|call| call.name).collect();
        let runs = by.chunk_by(|one, next| one == next).map(|run| match run {
            [name] => name.to_string(),
            more => format!("{} {} times", more[0], more.len()),
        });
        let names = runs.collect::<Vec<_>>().join(", ");
        if names.is_empty() { "none".to_string() } else { names }
    };
    format!("the shell: {}; its child: {}", names(true), names(false))
}

/// The command name of the shell's process.
fn own_name(stage: &Stage, shell: Role) -> String {
    let path = format!("/proc/{}/comm", stage.program(shell).pid());
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn called(process: &ProcessInfo, shell: &str) -> String {
    match process.name.as_str() {
        name if name == shell => COPY.to_string(),
        name => format!("`{name}`"),
    }
}

fn is_status(line: &str) -> bool {
    line.starts_with("exit ") || line.starts_with("killed by ")
}

/// The processes that the shell has made and that are still there.
fn others(stage: &Stage, shell: Role) -> Result<Vec<ProcessInfo>, Halt> {
    let shell = stage.program(shell);
    let mut processes = shell.processes()?;
    processes.retain(|process| process.pid as u32 != shell.pid());
    Ok(processes)
}

/// Looks at the child that waits for its input; its number.
fn look_at_child(stage: &mut Stage, shell: Role) -> Result<i32, Halt> {
    let child = stage.look_each_ms(|stage, _| {
        let mut others = others(stage, shell)?.into_iter();
        Ok(others.find(|it| it.name == "waits" && it.state == 'S'))
    })?;
    stage.fact("reads", child.is_some());
    let Some(child) = child else {
        let text = "waited for a child that reads its standard input";
        return Err(Halt::Missed(text.into()));
    };
    stage.rests(shell)?;
    let host = stage.net.host(KONGMING)?;
    let descriptors = host.descriptors_of(child.pid)?;
    let descriptors = descriptors
        .iter()
        .map(|it| (it.number, it.text.rsplit('/').next().unwrap_or_default()))
        .filter(|(number, text)| *number > 2 && !text.starts_with("waits "))
        .map(|(number, text)| format!("{number}: {text}"))
        .collect();
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid));
    let status = status.unwrap_or_default();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = line.map(|mask| u64::from_str_radix(mask.trim(), 16));
        mask.and_then(Result::ok).unwrap_or_default()
    };
    let waiting = Waiting {
        descriptors,
        sigpipe_ignored: mask("SigIgn:") & SIGPIPE != 0,
        blocked: mask("SigBlk:"),
    };
    stage.fact("waiting", waiting);
    Ok(child.pid)
}

/// The shell's descriptors, as one would say them.
fn descriptors(stage: &Stage, shell: Role) -> Result<Vec<String>, Halt> {
    let host = stage.net.host(KONGMING)?;
    let descriptors = host.descriptors(stage.program(shell))?;
    let text = descriptors.iter().map(|it| {
        let text = it.text.rsplit('/').next().unwrap_or_default();
        // The history grows.
        let text = text.split(" at offset").next().unwrap_or_default();
        format!("{}: {text}", it.number)
    });
    Ok(text.collect())
}

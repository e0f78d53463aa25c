//! What must have come of the commands.

use serde::Deserialize;
use testbed::trace::CallEvent;

use super::{COPY, Turn, Waiting, is_status};
use crate::verdict::{Judge, Performance, side_by_side};

/// All that must have come of it, in the order of the story.
pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let turns: Vec<Turn> = fact(performance, "turns");
    if turns.is_empty() {
        return; // It was not ready; what was missed is told at the end.
    }
    judge_start(performance, judge);
    judge_files(performance, &turns[0], judge);
    judge_company(&turns, judge);
    for turn in &turns {
        judge_turn(turn, judge);
    }
    if let Some(reads) = performance.facts.get("reads") {
        judge.check(
            "stdin-not-shared",
            "a command without `<` waits for a line of the shell's input",
            reads == true,
            "`./waits > heard` was not seen to wait for one",
        );
    }
    if performance.facts.contains_key("waiting") {
        judge_waiting(performance, judge);
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let left: Vec<String> = fact(performance, "left");
    judge.check(
        "leaks-descriptors",
        "the shell has the descriptors that it began with",
        left.is_empty(),
        format!("after {} commands also\n{}", turns.len(), left.join("\n")),
    );
    let typed: Vec<&str> = turns.iter().map(|it| it.line.as_str()).collect();
    let history = performance.text("history").unwrap_or_default();
    let history: Vec<&str> = history.lines().collect();
    let evidence = side_by_side(&typed, &history);
    let name = "HISTORY has each line that was typed";
    judge.check("history", name, typed == history, evidence);
    let lines = turns.iter().map(|turn| turn.want.clone());
    let expected: Vec<String> =
        std::iter::once("ready".to_string()).chain(lines).collect();
    judge.printed("output", performance, "fork_exec", &expected);
    judge.ended_well(performance, "fork_exec");
    if judge.content() {
        let story = normalised(performance, &turns);
        judge.snapshot("story", "fork_exec", &story);
    }
}

fn fact<T: Default + for<'a> Deserialize<'a>>(
    performance: &Performance,
    name: &str,
) -> T {
    let value = performance.facts.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// How the first child came to be.
fn judge_start(performance: &Performance, judge: &mut Judge) {
    const THREAD: u64 = 0x0001_0000;
    const VFORK: u64 = 0x0000_4000;
    let made = |call: &CallEvent| match call.name.as_str() {
        "clone" => call.args[0] & THREAD == 0,
        "fork" | "vfork" | "clone3" => true,
        _ => false,
    };
    let calls: Vec<&CallEvent> =
        performance.trace.calls().map(|(_, call)| call).collect();
    let forked = calls.iter().any(|call| made(call));
    // The first is that of the shell itself.
    let executed = performance.called("fork_exec", "execve") > 1;
    judge.deed(
        "a child is forked",
        forked || executed,
        "no fork(2), and no other call that makes a process",
    );
    judge.check(
        "no-child",
        "a child becomes the command",
        forked || !executed,
        "execve(2) was called, and no call that makes a process",
    );
    let other = calls.iter().find(|call| match call.name.as_str() {
        "clone" => call.args[0] & VFORK != 0,
        "vfork" | "clone3" => true,
        _ => false,
    });
    judge.check(
        "not-forked",
        "the child is a copy of the shell, made by fork(2)",
        other.is_none(),
        other.map_or(String::new(), |call| match call.name.as_str() {
            "clone" => "clone(2) with CLONE_VFORK".to_string(),
            name => format!("{name}(2)"),
        }),
    );
}

/// What the redirected commands have written.
fn judge_files(performance: &Performance, first: &Turn, judge: &mut Judge) {
    let text = |name: &str| performance.text(name).unwrap_or_default();
    let line = format!("{}\n", text("word"));
    let echoed = text("echoed");
    // The first is that of the shell itself.
    let executed = performance.called("fork_exec", "execve") > 1
        || performance.called("fork_exec", "execveat") > 0;
    let (cause, name) = match echoed.strip_prefix(&line) {
        Some(rest) if rest.lines().any(is_status) => {
            ("shell-redirected", "the shell's own standard output stays")
        }
        Some(rest) if !rest.is_empty() => {
            ("not-truncated", "`> FILE` empties the file first")
        }
        _ if !executed
            || ["exit 126", "exit 127"].contains(&first.got.as_str()) =>
        {
            ("not-executed", "a command is found in PATH, and executed")
        }
        _ => ("not-redirected", "`> FILE` takes the place of standard output"),
    };
    let printed = performance.trace.stdout("fork_exec");
    let astray = match printed.contains(&text("word")) {
        true => "; it is on the shell's standard output",
        false => "",
    };
    let told = match first.got.as_str() {
        "" => "of which nothing was told".to_string(),
        got => format!("told as `{got}`"),
    };
    let evidence = format!(
        "`{}`, {told}: the file has `{}`{astray}",
        first.line,
        echoed.trim_end().escape_debug()
    );
    judge.check(cause, name, echoed == line, evidence);
    if !performance.facts.contains_key("copied") {
        return;
    }
    let modes: Vec<u32> = fact(performance, "modes");
    let [expected, mode] = modes[..] else { return };
    judge.check(
        "file-mode",
        "`> FILE` creates a file with mode 0666 less the umask",
        mode == expected || text("copied").is_empty(),
        format!("the new file has mode {mode:04o}"),
    );
    let source = format!("{}\n", text("source"));
    judge.check(
        "not-copied",
        "`cat < FILE > FILE` copies",
        text("copied") == source,
        side_by_side(&[source.trim()], &[text("copied")]),
    );
}

/// Who was there when the shell had said how a command ended.
fn judge_company(turns: &[Turn], judge: &mut Judge) {
    let company = turns.iter().find(|turn| !turn.others.is_empty());
    let copy = |turn: &Turn| turn.others.iter().any(|it| it == COPY);
    let cause = match company {
        Some(turn) if !copy(turn) => "not-waited",
        _ => "two-shells",
    };
    let evidence = company.map_or(String::new(), |turn| {
        let others = turn.others.join(", ");
        format!("after `{}`, besides the shell: {others}", turn.line)
    });
    let name = "between the commands there is one shell, and nobody else";
    judge.check(cause, name, company.is_none(), evidence);
    let left = turns.iter().find(|turn| turn.zombies > 0);
    let evidence = left.map_or(String::new(), |turn| {
        format!("after `{}`: {} in state Z", turn.line, turn.zombies)
    });
    judge.check("zombies", "no zombie is left", left.is_none(), evidence);
}

/// What the shell said about a command.
fn judge_turn(turn: &Turn, judge: &mut Judge) {
    let Turn { line, want, got, .. } = turn;
    if got.is_empty() {
        return; // What was missed is told at the end.
    }
    judge.check(
        status_cause(want, got),
        &format!("`{line}` is told to have ended as it did"),
        want == got,
        format!("expected {want}\nactual   {got}"),
    );
}

/// What a wrong line about a command's end comes from.
fn status_cause(want: &str, got: &str) -> &'static str {
    let code = |text: &str| {
        let code = text.strip_prefix("exit ")?;
        code.parse::<u64>().ok()
    };
    match (code(want), code(got)) {
        (Some(want), Some(got)) if want > 0 && got == want << 8 => "raw-status",
        (None, Some(_)) => "signal-as-status",
        (Some(1 | 126 | 127), Some(_)) => "wrong-reason",
        _ => "output",
    }
}

/// What the child had that waited, and what it heard.
fn judge_waiting(performance: &Performance, judge: &mut Judge) {
    let waiting: Waiting = fact(performance, "waiting");
    judge.check(
        "leaks-to-child",
        "a command has descriptors 0, 1 and 2, and no other",
        waiting.descriptors.is_empty(),
        format!("also\n{}", waiting.descriptors.join("\n")),
    );
    judge.check(
        "sigpipe-ignored",
        "SIGPIPE ends a command as it does elsewhere",
        !waiting.sigpipe_ignored,
        "/proc/PID/status of the command: SIGPIPE is in SigIgn",
    );
    judge.check(
        "signals-blocked",
        "no signal is blocked in a command",
        waiting.blocked == 0,
        format!(
            "/proc/PID/status of the command: SigBlk {:x}",
            waiting.blocked
        ),
    );
    if let Some(heard) = performance.facts.get("heard") {
        judge.check(
            "stdin-not-shared",
            "a command without `<` reads the shell's standard input",
            heard == true,
            "what was typed for the command did not come to it",
        );
    }
}

/// The commands with what they came to, without what was drawn.
fn normalised(performance: &Performance, turns: &[Turn]) -> String {
    let drawn: Vec<(String, String)> = fact(performance, "drawn");
    let mut text = String::new();
    for Turn { line, got, .. } in turns {
        let mut line = format!("{line}: {got}\n");
        for (value, name) in &drawn {
            line = line.replace(value, name);
        }
        text.push_str(&line);
    }
    text
}

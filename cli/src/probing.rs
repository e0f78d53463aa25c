//! Many probes at once, and what came of each told in order: claims, errnos.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdout};
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Probes at once: each waits more than it works.
const AT_ONCE: usize = 8;
/// Where a line ends when there is no terminal.
const WIDTH: usize = 80;

/// Tests things side by side. `done` hears of each in their order; `noun` says
/// on a terminal what is counted.
pub fn side_by_side<A: Sync, F: Send>(
    asked: &[A],
    noun: &'static str,
    test: impl Fn(&A) -> anyhow::Result<F> + Sync,
    mut done: impl FnMut(&A, &F),
) -> anyhow::Result<Vec<F>> {
    let next = Mutex::new(0..asked.len());
    let (sender, finished) = channel();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(asked.len()) {
            let (next, test, sender) = (&next, &test, sender.clone());
            scope.spawn(move || {
                while let Some(at) = next.lock().ok().and_then(|mut n| n.next())
                {
                    let result = test(&asked[at]);
                    if sender.send((at, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let progress = Progress::new(asked.len(), noun);
        let mut early = BTreeMap::new();
        let mut findings = Vec::new();
        for (count, (at, result)) in finished.into_iter().enumerate() {
            early.insert(at, result?);
            progress.erase();
            while let Some(finding) = early.remove(&findings.len()) {
                done(&asked[findings.len()], &finding);
                findings.push(finding);
            }
            progress.show(count + 1);
        }
        progress.erase();
        Ok(findings)
    })
}

/// How far it has come, on the terminal's last line.
struct Progress {
    all: usize,
    noun: &'static str,
    shown: bool,
}

impl Progress {
    fn new(all: usize, noun: &'static str) -> Progress {
        Progress { all, noun, shown: stderr().is_terminal() }
    }

    fn show(&self, count: usize) {
        if self.shown {
            eprint!("\x1b[2m{count} of {} {}\x1b[0m", self.all, self.noun);
        }
    }

    fn erase(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// Broken at spaces, each further line as far in as the first.
pub fn wrapped(text: &str, indent: usize) -> String {
    let width = match terminal_size::terminal_size() {
        Some((width, _)) if stdout().is_terminal() => usize::from(width.0),
        _ => WIDTH,
    };
    let room = width.clamp(60, 120) - indent;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

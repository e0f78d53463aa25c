//! Wrong programs that are made and not written: four for every lab.
//!
//! Each is a file whose first line names this very program as its interpreter
//! (execve(2), "Interpreter scripts"), so that nothing has to be compiled.

use std::fs::{self, Permissions};
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::compile::target_dir;
use crate::verdict::Performance;

/// The hidden first argument of a process that acts as one of them.
const ACT: &str = "__act";

/// What kind of wrong program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Prints, line for line, what the reference program printed with the same
    /// seed, waits for its input where that did, and does nothing else.
    Parrot,
    /// Ends at once.
    Silent,
    /// Never does anything.
    Hang,
    /// Prints without end.
    Chatter,
}

impl Kind {
    /// All of them, and the cause by which each lab must refuse it.
    pub const ALL: [(Kind, &str); 4] = [
        (Kind::Parrot, "only-words"),
        (Kind::Silent, "silent"),
        (Kind::Hang, "hangs"),
        (Kind::Chatter, "prints-without-end"),
    ];

    /// Its name, as verdicts have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Parrot => "parrot",
            Kind::Silent => "silent",
            Kind::Hang => "hang",
            Kind::Chatter => "chatter",
        }
    }
}

/// One program's part in a performance, as its words and its input show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The arguments it was started with.
    pub args: Vec<String>,
    /// The lines on its standard output.
    pub lines: Vec<String>,
    /// What it was given on standard input, and after how many lines.
    pub inputs: Vec<(usize, Input)>,
}

/// Something on standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// A line.
    Line,
    /// Its end.
    End,
}

/// What such a file has after its first line.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    kind: Kind,
    scripts: Vec<Script>,
}

/// Writes one take's wrong program; a parrot's has to be performed first, by
/// the reference program.
///
/// # Errors
///
/// The file cannot be written, or this program's own file has been replaced.
pub(crate) fn write(
    kind: Kind,
    name: &str,
    learnt: Option<&Performance>,
) -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe().context("read /proc/self/exe")?;
    anyhow::ensure!(
        exe.is_file(),
        "{} was built anew meanwhile; start again",
        exe.display()
    );
    let scripts = learnt.map_or(Vec::new(), |one| one.scripts.clone());
    let part = serde_json::to_string(&Part { kind, scripts })?;
    let text = format!("#!{} {ACT}\n{part}\n", exe.display());
    let dir = target_dir().join("generated");
    fs::create_dir_all(&dir)
        .with_context(|| format!("mkdir {}", dir.display()))?;
    let file = dir.join(name);
    // Whole or not at all: another verdict may be about to run the same.
    let new = dir.join(format!("{name}.{}", std::process::id()));
    fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// Acts and exits, if this process was started for that.
pub(crate) fn act_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|arg| arg != ACT) {
        return;
    }
    let file = args.next().unwrap_or_default();
    let args: Vec<String> =
        args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let done = act(Path::new(&file), &args);
    std::process::exit(i32::from(done.is_err()));
}

fn act(file: &Path, args: &[String]) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let (_, part) = text.split_once('\n').context("an empty part")?;
    let part: Part = serde_json::from_str(part)?;
    match part.kind {
        Kind::Silent => Ok(()),
        Kind::Hang => loop {
            std::thread::park();
        },
        Kind::Chatter => loop {
            writeln!(std::io::stdout(), "and another thing")?;
        },
        Kind::Parrot => {
            let mine = part.scripts.iter().find(|one| one.args == args);
            mine.map_or(Ok(()), recite)
        }
    }
}

fn recite(script: &Script) -> anyhow::Result<()> {
    let mut inputs = script.inputs.iter().peekable();
    for at in 0..=script.lines.len() {
        while let Some((_, input)) = inputs.next_if(|(after, _)| *after <= at) {
            read(*input)?;
        }
        if let Some(line) = script.lines.get(at) {
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    Ok(())
}

fn read(input: Input) -> std::io::Result<()> {
    let mut stdin = std::io::stdin().lock();
    match input {
        Input::Line => stdin.read_line(&mut String::new()).map(drop),
        Input::End => std::io::copy(&mut stdin, &mut std::io::sink()).map(drop),
    }
}

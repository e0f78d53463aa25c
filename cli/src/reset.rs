//! `lab reset`: the pristine stub back, the learner's file kept beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use graders::catalogue::{self, Lab, root};

use crate::names::LabName;
use crate::{board, style};

/// More copies than anybody makes of one lab.
const MOST_COPIES: u32 = 10_000;

/// Arguments of `lab reset`.
#[derive(Args)]
#[command(after_help = "Your file is kept beside the stub, as \
    NAME.kept-1.rs, -2 and so on; no file is ever overwritten. What has passed \
    stays passed.")]
pub struct Reset {
    /// The lab's name
    #[arg(value_parser = LabName, hide_possible_values = true)]
    lab: String,
}

impl Reset {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let lab = catalogue::find(std::slice::from_ref(&self.lab))?.remove(0);
        let file = lab.source();
        let file = file.display();
        match bring_back(&lab)? {
            Done::Already => println!("{file} is the stub already"),
            Done::Kept(kept) => {
                if let Some(kept) = kept {
                    println!("your file is {}", style::strong(&kept));
                }
                println!("{file} is the stub again");
            }
        }
        if let Some(note) = board::left_behind(&lab) {
            println!("{note}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What came of a reset.
pub enum Done {
    /// Nothing was to be done.
    Already,
    /// The stub is back; the learner's file, if there was one, is kept here.
    Kept(Option<String>),
}

/// Brings the stub back.
///
/// # Errors
///
/// A file cannot be moved or written; nothing is lost.
pub fn bring_back(lab: &Lab) -> anyhow::Result<Done> {
    let file = lab.source();
    let stub = lab.grader()?.pristine;
    let path = root().join(&file);
    let old = fs::read(&path);
    if old.as_ref().is_ok_and(|old| old == stub.as_bytes()) {
        return Ok(Done::Already);
    }
    let mut moved = None;
    match old {
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let dir = path.parent().context("a lab without a folder")?;
            fs::create_dir_all(dir)
                .with_context(|| format!("mkdir {}", dir.display()))?;
        }
        _ => {
            let kept = keep(&path)?;
            let kept = kept.strip_prefix(root()).unwrap_or(&kept);
            moved = Some(kept.display().to_string());
        }
    }
    put(&path, stub)?;
    Ok(Done::Kept(moved))
}

/// Moves a file to the first free name beside it. The name is taken first, so
/// that the move replaces nothing but our own empty file; and a move takes
/// whatever was saved last.
fn keep(path: &Path) -> anyhow::Result<PathBuf> {
    for number in 1..MOST_COPIES {
        let kept = path.with_extension(format!("kept-{number}.rs"));
        match create_new(&kept) {
            Ok(_) => {
                let moved = fs::rename(path, &kept);
                if moved.is_err() {
                    let _ = fs::remove_file(&kept);
                }
                return moved
                    .map(|()| kept)
                    .with_context(|| format!("rename {}", path.display()));
            }
            Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
            Err(err) => {
                return Err(err)
                    .with_context(|| format!("open {}", kept.display()));
            }
        }
    }
    bail!("{}: there are {MOST_COPIES} copies already", path.display())
}

/// Writes the stub where no file is.
fn put(path: &Path, stub: &str) -> anyhow::Result<()> {
    let mut file = match create_new(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {
            bail!(
                "{} was saved anew just now and is left alone; reset it again",
                path.display()
            )
        }
        Err(err) => {
            return Err(err)
                .with_context(|| format!("open {}", path.display()));
        }
    };
    file.write_all(stub.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

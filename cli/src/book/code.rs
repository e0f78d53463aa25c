//! Code in the book: parts of files that are compiled, by their anchors.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// The lines between `// ANCHOR: name` and `// ANCHOR_END: name`, moved to the
/// margin.
///
/// # Errors
///
/// The file has no such anchor, or nothing between its ends.
pub fn anchored(file: &Path, name: &str) -> anyhow::Result<String> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{shown}"))?;
    let mut lines: Option<Vec<&str>> = None;
    for line in text.lines() {
        let mark = line.trim().strip_prefix("// ANCHOR");
        match (mark, &mut lines) {
            (Some(mark), None) => {
                if mark.trim_start_matches(": ") == name {
                    lines = Some(Vec::new());
                }
            }
            (Some(mark), Some(lines)) => {
                if mark.strip_prefix("_END: ") == Some(name) {
                    ensure!(!lines.is_empty(), "{shown}: `{name}` is empty");
                    return Ok(at_the_margin(lines));
                }
            }
            (None, Some(lines)) => lines.push(line),
            (None, None) => {}
        }
    }
    match lines {
        None => bail!("{shown} has no anchor `{name}`"),
        Some(_) => bail!("{shown}: the anchor `{name}` has no end"),
    }
}

fn at_the_margin(lines: &[&str]) -> String {
    let full = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = full.map(|line| line.len() - line.trim_start().len()).min();
    let indent = indent.unwrap_or(0);
    let lines = lines.iter().map(|line| line.get(indent..).unwrap_or(""));
    lines.map(|line| format!("{line}\n")).collect()
}

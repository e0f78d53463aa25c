//! Colour, on a terminal only (and not with NO_COLOR, see no-color.org).

use std::io::{IsTerminal, stderr, stdout};

/// Passed, done.
pub fn good(text: &str) -> String {
    paint(text, "32")
}

/// Failed, refused.
pub fn bad(text: &str) -> String {
    paint(text, "31")
}

/// Neither: waiting, reduced, void.
pub fn odd(text: &str) -> String {
    paint(text, "33")
}

/// What can be passed over.
pub fn dim(text: &str) -> String {
    paint(text, "2")
}

/// A heading.
pub fn strong(text: &str) -> String {
    paint(text, "1")
}

/// Set for a process whose output another of ours will show on a terminal.
pub const COLOUR: &str = "LAB_COLOUR";

fn paint(text: &str, code: &str) -> String {
    let shown = stdout().is_terminal() || std::env::var_os(COLOUR).is_some();
    let wanted = shown && std::env::var_os("NO_COLOR").is_none();
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

/// Says on standard error what takes a while; only to a person.
pub fn progress(what: &str) {
    if stderr().is_terminal() {
        eprintln!("\x1b[2m{what}\x1b[0m");
    }
}

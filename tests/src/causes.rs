//! What a cause means: the graders' prose, `causes.toml`, by lab and cause.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

/// The table of causes that the harness finds in every lab.
const ANY: &str = "any";
/// The cause under which a lab has its hints for who has not failed yet.
pub const NOT_STARTED: &str = "not-started";

/// A cause as the table has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// What the program did, and why the kernel answered as it did; a sentence
    /// without its stop.
    #[serde(default)]
    pub means: String,
    /// Rungs, each telling more than the one before.
    pub hints: Vec<String>,
}

/// By lab, then by the cause's name.
type Table = BTreeMap<String, BTreeMap<String, Cause>>;

/// The cause of this name in this lab; `None`: the table does not have it.
pub fn find(lab: &str, cause: &str) -> Option<&'static Cause> {
    let table = table();
    let own = table.get(lab).and_then(|causes| causes.get(cause));
    own.or_else(|| table.get(ANY)?.get(cause))
}

/// The names of a lab's own causes.
pub fn of(lab: &str) -> Vec<&'static str> {
    let causes = table().get(lab).into_iter().flatten();
    causes.map(|(name, _)| name.as_str()).collect()
}

/// An unreadable table has no causes: grading then says so of the first.
fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        toml::from_str(include_str!("../causes.toml")).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GRADERS;

    #[test]
    fn the_table_is_one() {
        let table: Result<Table, _> =
            toml::from_str(include_str!("../causes.toml"));
        let table = table.unwrap();
        for (lab, causes) in &table {
            let known = GRADERS.iter().any(|grader| grader.id == lab);
            assert!(known || lab == ANY, "[{lab}.*]: no such lab");
            for (name, cause) in causes {
                assert!(!cause.hints.is_empty(), "{lab}.{name}: no hint");
                let silent = cause.means.is_empty();
                assert!(!silent || name == NOT_STARTED, "{lab}.{name}: means");
                assert!(!cause.means.ends_with('.'), "{lab}.{name}: a stop");
            }
        }
    }

    #[test]
    fn every_lab_helps_to_begin() {
        for grader in GRADERS {
            let begin = find(grader.id, NOT_STARTED);
            assert!(begin.is_some(), "[{}.not-started]", grader.id);
        }
    }

    #[test]
    fn a_lab_may_say_more_than_the_harness() {
        assert!(find("handshake", "deadline").is_some());
        assert_eq!(find("handshake", "deadline"), find("backlog", "deadline"));
        assert_ne!(find("handshake", "output"), find("backlog", "output"));
        assert_eq!(find("handshake", "no-such-cause"), None);
    }
}

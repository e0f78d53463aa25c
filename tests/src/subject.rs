//! Whose program is judged.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::catalogue::Lab;
use crate::generated::Kind;

/// A program to judge. Graders never see which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The learner's file.
    Lab,
    /// Any file that could stand in its place.
    File(PathBuf),
    /// The reference program.
    Solution,
    /// A known mistake.
    Mutant(String),
    /// A wrong program that is made and not written.
    Generated(Kind),
    /// A right program written differently.
    Alternative(String),
}

impl Subject {
    /// Its source file, relative to the checkout.
    pub fn source(&self, lab: &Lab) -> PathBuf {
        let file = Path::new(&lab.chapter).join(&lab.id);
        match self {
            Subject::Lab => lab.source(),
            Subject::File(path) => path.clone(),
            Subject::Solution => {
                Path::new("solutions").join(file).with_extension("rs")
            }
            Subject::Mutant(name) => Path::new("tests/mutants")
                .join(file)
                .join(name)
                .with_extension("rs"),
            Subject::Generated(_) => PathBuf::from("tests/src/generated.rs"),
            Subject::Alternative(name) => Path::new("tests/alternatives")
                .join(file)
                .join(name)
                .with_extension("rs"),
        }
    }
}

/// As verdicts name it: `lab`, `file:PATH`, `mutant:NAME` ...
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Lab => f.write_str("lab"),
            Subject::File(path) => write!(f, "file:{}", path.display()),
            Subject::Solution => f.write_str("solution"),
            Subject::Mutant(name) => write!(f, "mutant:{name}"),
            Subject::Generated(kind) => write!(f, "mutant:{}", kind.name()),
            Subject::Alternative(name) => write!(f, "alternative:{name}"),
        }
    }
}

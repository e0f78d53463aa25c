//! What the architecture promises, checked on the files themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use graders::catalogue::{self, root};
use graders::causes;
use graders::claims::{self, Word};
use graders::subject::Subject;

#[path = "src/hash.rs"]
mod hash;

/// Each room of the house, and what no file in it may name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("testbed", &["graders::", "labs::"]),
    ("tests/src", &["use clap", "cli::"]),
    ("labs", &["testbed", "graders", "assert_cmd"]),
    ("solutions", &["testbed", "graders", "assert_cmd"]),
    ("tests/mutants", &["testbed", "graders"]),
    ("tests/alternatives", &["testbed", "graders"]),
];

#[test]
fn layers_reach_downward_only() {
    for (room, forbidden) in FORBIDDEN {
        for file in files(room, "rs") {
            let text = read(&file);
            for word in *forbidden {
                assert!(
                    !text.contains(word),
                    "{}: `{word}` is above this layer",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn unsafe_code_lives_in_one_module_of_a_crate() {
    for room in ["testbed/src", "tests/src", "cli/src"] {
        for file in files(room, "rs") {
            let parent = file.parent().is_some_and(|dir| dir.ends_with("sys"));
            let allowed = file.ends_with("sys.rs") || parent;
            let uses = read(&file)
                .lines()
                .any(|line| !is_comment(line) && line.contains("unsafe {"));
            // `first_of_all` is where the promise of `sys` is kept.
            let kept = file.ends_with("snapshot.rs");
            assert!(
                allowed || kept || !uses,
                "{}: unsafe outside sys.rs",
                file.display()
            );
        }
    }
}

#[test]
fn every_lab_stands_in_all_its_places() {
    for lab in catalogue::all().unwrap() {
        let grader = lab.grader().unwrap();
        let module = lab.source();
        let module = module.strip_prefix("labs").unwrap();
        let mut places = vec![
            lab.source(),
            lab.page(),
            Subject::Solution.source(&lab),
            Path::new("tests/src").join(module),
            Path::new("tests/pristine").join(module),
        ];
        places.extend(grader.mutants.iter().map(|mutant| {
            Subject::Mutant(mutant.name.to_string()).source(&lab)
        }));
        places.extend(
            grader.alternatives.iter().map(|name| {
                Subject::Alternative(name.to_string()).source(&lab)
            }),
        );
        for place in places {
            assert!(
                root().join(&place).is_file(),
                "{} has no {}",
                lab.id,
                place.display()
            );
        }
        let summary = read(&root().join("book/src/SUMMARY.md"));
        let page = lab.page();
        let page = page.strip_prefix("book/src").unwrap().display().to_string();
        assert!(summary.contains(&page), "SUMMARY.md lacks {page}");
    }
}

#[test]
fn every_mutant_is_known_and_has_a_cause_of_its_own() {
    for lab in catalogue::all().unwrap() {
        let mutants = lab.grader().unwrap().mutants;
        assert!(mutants.len() >= 3, "{}: {} mutants", lab.id, mutants.len());
        let causes: BTreeSet<&str> = mutants.iter().map(|m| m.cause).collect();
        assert_eq!(causes.len(), mutants.len(), "{}: causes repeat", lab.id);
        let folder = format!("tests/mutants/{}/{}", lab.chapter, lab.id);
        let found: BTreeSet<String> =
            files(&folder, "rs").iter().map(|file| stem(file)).collect();
        let known: BTreeSet<String> =
            mutants.iter().map(|mutant| mutant.name.to_string()).collect();
        assert_eq!(found, known, "{folder}");
    }
}

#[test]
fn every_stub_has_the_head_of_its_solution() {
    for lab in catalogue::all().unwrap() {
        let stub = pristine(&lab);
        let solution = read(&root().join(Subject::Solution.source(&lab)));
        let head = |text: &str| -> Vec<String> {
            let lines = text.lines().take_while(|line| line.starts_with("//!"));
            lines.map(str::to_string).collect()
        };
        assert_eq!(head(&stub), head(&solution), "{}", lab.id);
        assert!(stub.contains("todo!("), "{}: no todo! in the stub", lab.id);
    }
}

#[test]
fn every_stub_numbers_its_steps_and_says_how_to_start_it() {
    for lab in catalogue::all().unwrap() {
        let stub = pristine(&lab);
        for part in ["//! Usage: ", "//! See also: ", "// 1. ", "// 2. "] {
            assert!(stub.contains(part), "{}: no `{part}`", lab.id);
        }
    }
}

#[test]
fn every_mutant_says_what_its_mistake_is() {
    for file in files("tests/mutants", "rs") {
        let text = read(&file);
        let head = text.lines().next().unwrap_or_default();
        assert!(head.starts_with("//! The mistake: "), "{}", file.display());
    }
}

#[test]
fn every_cause_in_the_table_is_given_by_its_grader() {
    for lab in catalogue::all().unwrap() {
        let module = lab.source();
        let module = module.strip_prefix("labs").unwrap();
        let folder = Path::new("tests/src").join(module).with_extension("");
        let mut text = read(&root().join("tests/src").join(module));
        for file in files(folder.to_str().unwrap(), "rs") {
            text.push_str(&read(&file));
        }
        for cause in causes::of(&lab.id) {
            let given = text.contains(&format!("\"{cause}\""));
            let general = causes::find("any", cause).is_some();
            let first = cause == causes::NOT_STARTED;
            assert!(given || general || first, "[{}.{cause}]", lab.id);
        }
    }
}

/// Sections of the text, and how many claims each has: the numbers run.
const SECTIONS: &[(&str, usize)] = &[
    ("1.1", 6),
    ("1.2", 1),
    ("1.3", 3),
    ("1.5", 5),
    ("1.6", 7),
    ("1.7", 1),
    ("2.1", 3),
    ("2.2", 11),
    ("2.3", 2),
    ("2.4", 3),
    ("2.5", 3),
    ("2.6", 3),
    ("2.7", 2),
    ("3.1", 2),
    ("3.2", 11),
    ("3.3", 5),
    ("3.4", 9),
    ("3.5", 3),
    ("3.6", 2),
    ("3.7", 3),
    ("3.8", 4),
    ("3.9", 3),
    ("3.10", 1),
    ("4.2", 1),
    ("4.3", 1),
    ("4.4", 1),
    ("4.5", 1),
    ("4.6", 6),
    ("5.1", 6),
    ("5.2", 1),
    ("5.3", 1),
    ("5.4", 3),
    ("5.5", 2),
    ("5.6", 1),
    ("5.7", 2),
    ("5.8", 5),
    ("5.9", 1),
];

#[test]
fn every_claim_of_the_chapters_1_to_5_is_in_the_table() {
    let ids: Vec<String> =
        claims::all().unwrap().iter().map(|claim| claim.id.clone()).collect();
    let expected = SECTIONS.iter().flat_map(|(section, count)| {
        (1..=*count).map(move |number| format!("{section}-{number}"))
    });
    assert_eq!(ids, expected.collect::<Vec<_>>());
}

#[test]
fn every_claim_has_a_verdict_with_evidence() {
    for claim in claims::all().unwrap() {
        let id = &claim.id;
        let probe = claim.probe();
        assert!(probe.is_some() || claim.source.is_some(), "{id}: no evidence");
        let holds = claim.verdict == Word::Holds;
        assert!(holds || claim.right.is_some(), "{id}: what is right?");
        let breaks = claim.breaks.is_some();
        assert_eq!(breaks, holds && probe.is_some(), "{id}: what breaks it?");
        let untestable = claim.verdict == Word::Untestable;
        assert!(!untestable || probe.is_none(), "{id}: it has a probe");
    }
}

#[test]
fn every_probe_has_a_claim_in_the_same_order() {
    let probes: Vec<&str> = claims::probes().map(|probe| probe.claim).collect();
    let tested = claims::all().unwrap().iter();
    let tested: Vec<&str> = tested
        .filter(|claim| claim.probe().is_some())
        .map(|claim| claim.id.as_str())
        .collect();
    assert_eq!(probes, tested);
}

/// A lab that is still to be written is a draft of the summary.
#[test]
fn every_lab_that_a_claim_names_is_one_of_the_course() {
    let summary = read(&root().join("book/src/SUMMARY.md"));
    let labs = catalogue::all().unwrap();
    for claim in claims::all().unwrap() {
        let Some(name) = &claim.lab else { continue };
        let known = labs.iter().any(|lab| lab.id == *name)
            || summary.contains(&format!("[{name}]()"));
        assert!(known, "{}: there is no lab {name}", claim.id);
    }
}

/// Else the graders take them for edited by a learner.
#[test]
fn no_recording_says_where_the_course_lay() {
    let recordings = files("book/recordings", "json");
    let snapshots = files("tests", "snap");
    for file in recordings.into_iter().chain(snapshots) {
        let text = read(&file);
        let line = text.lines().find(|line| line.contains("panicked at /"));
        assert_eq!(line, None, "{}", file.display());
    }
}

#[test]
fn the_recorded_runs_are_as_they_were_written() {
    for snapshot in files("tests/snapshots", "snap") {
        let whole = hash::is_whole(&read(&snapshot));
        let cure = "INSTA_UPDATE=force cargo test LAB";
        assert!(whole, "{} was edited: {cure}", snapshot.display());
    }
}

fn pristine(lab: &catalogue::Lab) -> String {
    let file = lab.source();
    let file = file.strip_prefix("labs").unwrap();
    read(&root().join("tests/pristine").join(file))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|err| panic!("read {}: {err}", path.display()))
}

/// The files below a folder of the checkout, in the order of their names; none
/// where the folder is not there.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

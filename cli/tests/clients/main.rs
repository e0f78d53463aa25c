//! The reference programs with what nobody here wrote: nc, telnet and curl are
//! their clients, and ss, tcpdump and strace say what they see of them.
//!
//! Usage: cargo test -p cli --test clients [-- FILTER]
//!
//! A server more is a row more of `servers::SERVERS`. Each test runs in a
//! process of its own, which has to enter its namespaces before it starts a
//! thread: this program is the harness, and one test (`--in-testbed`). A tool
//! that is not installed is told aloud, and a failure with LAB_NEEDS_TOOLS set.

#[path = "../support/mod.rs"]
mod support;

mod play;
mod queue;
mod servers;
mod ss;
mod strace;
mod tcpdump;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use graders::catalogue;
use graders::compile::{build, target_dir};
use graders::subject::Subject;
use libtest_mimic::{Arguments, Failed, Trial};
use play::Done;

/// The hidden word: run the test that is named next, and nothing else.
const IN_TESTBED: &str = "--in-testbed";
/// With this in the environment a tool that is not installed is a failure.
const TOOLS: &str = "LAB_NEEDS_TOOLS";
/// A test that takes longer hangs.
const LIMIT_SECONDS: u32 = 60;
/// They wait for each other more than they work.
const AT_ONCE: usize = 4;

/// A test: what it needs, and what it does.
struct Test {
    name: String,
    labs: Vec<&'static str>,
    tools: Vec<&'static str>,
    play: Box<dyn FnOnce() -> Done>,
}

fn tests() -> Vec<Test> {
    let one = |name: &str, labs: &[&'static str], tools, play: fn() -> Done| {
        let (name, labs) = (name.to_string(), labs.to_vec());
        Test { name, labs, tools, play: Box::new(play) }
    };
    let mut tests: Vec<Test> = servers::SERVERS
        .iter()
        .map(|server| Test {
            name: server.name.to_string(),
            labs: vec![server.lab],
            tools: vec![server.client_name(), "ss"],
            play: Box::new(|| play::play(server)),
        })
        .collect();
    tests.extend([
        one("backlog_and_ss", &["backlog"], vec!["nc", "ss"], queue::fills),
        one("refused", &[], vec!["nc", "telnet", "curl"], queue::refused),
        one(
            "accept_and_strace",
            &["accept"],
            vec!["nc", "strace"],
            strace::accepts,
        ),
        one("connect_and_strace", &["oob"], vec!["strace"], strace::is_refused),
        one("oob_and_tcpdump", &["oob"], vec!["tcpdump"], tcpdump::urgent),
    ]);
    tests
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, name] = &words[..]
        && word == IN_TESTBED
    {
        return run_one(name);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let trials = tests().into_iter().map(|test| {
        let Test { name, labs, tools, .. } = test;
        Trial::test(name.clone(), move || run_apart(&name, &labs, &tools))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs this program again, for one test, once all that it needs is there.
fn run_apart(name: &str, labs: &[&str], tools: &[&str]) -> Result<(), Failed> {
    for tool in tools {
        if !support::has(tool, TOOLS, &format!("so {name} is not run")) {
            return Ok(());
        }
    }
    let names: Vec<String> = labs.iter().map(ToString::to_string).collect();
    // Of no name `find` makes every lab.
    for lab in catalogue::find(&names)?.iter().filter(|_| !labs.is_empty()) {
        build(lab, &Subject::Solution)??;
    }
    let output = Command::new("/proc/self/exe")
        .args([IN_TESTBED, name])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{said}({})", output.status).into())
}

/// The process of one test.
fn run_one(name: &str) -> ExitCode {
    let Some(test) = tests().into_iter().find(|test| test.name == name) else {
        eprintln!("there is no test {name}");
        return ExitCode::FAILURE;
    };
    // Stays with the outer process, and its end is the end of the inner one.
    nix::unistd::alarm::set(LIMIT_SECONDS);
    let enter = match test.tools.contains(&"strace") {
        true => testbed::enter_with_tracer,
        false => testbed::enter,
    };
    match enter().map_err(Into::into).and_then(|()| (test.play)()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

/// The reference program of a lab.
fn program(lab: &str) -> PathBuf {
    target_dir().join("debug").join(format!("{lab}-solution"))
}

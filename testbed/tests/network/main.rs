//! The testbed as its user drives it: every test is a network of its own.
//!
//! Usage: cargo test -p testbed [FILTER]
//!        cargo test -p testbed --test network -- [FILTER] [--exact] [--list]
//!
//! Each test runs once on each backend that this machine has, in a process of
//! its own: it has to enter its namespaces before it starts a thread. This
//! program is therefore three: the harness, one test (`--in-testbed`), and the
//! programs that the tests start on their hosts (`--as`).

mod autopsy;
mod calls;
mod harness;
mod hosts;
mod internet;
mod isolation;
mod links;
mod neighbours;
mod pcapng;
mod processes;
mod profiles;
mod programs;
mod roles;
mod routes;
mod rules;
mod sitters;
mod subjects;
mod trace;
mod traced;
mod traffic;

use std::process::ExitCode;

use harness::Test;

/// Every test: the file's name, and the names of the functions in it.
const TESTS: &[(&str, &[Test])] = &[
    ("hosts", hosts::TESTS),
    ("programs", programs::TESTS),
    ("processes", processes::TESTS),
    ("autopsy", autopsy::TESTS),
    ("rules", rules::TESTS),
    ("links", links::TESTS),
    ("neighbours", neighbours::TESTS),
    ("trace", trace::TESTS),
    ("pcapng", pcapng::TESTS),
    ("isolation", isolation::TESTS),
    ("internet", internet::TESTS),
    ("routes", routes::TESTS),
    ("profiles", profiles::TESTS),
    ("calls", calls::TESTS),
    ("traced", traced::TESTS),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [harness::IN_TESTBED, name] => harness::run_one(TESTS, name),
        [roles::AS, role, ref arguments @ ..] => roles::play(role, arguments),
        _ => harness::run_all(TESTS),
    }
}

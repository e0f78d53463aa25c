//! One trial for each test and backend, each in a process of its own.

use std::error::Error;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::Backend;

/// The hidden word: run the test that is named next, and nothing else.
pub const IN_TESTBED: &str = "--in-testbed";
/// A test that takes longer hangs.
const LIMIT_SECONDS: u32 = 40;
/// Tests wait for the kernel's timers more than they work.
const AT_ONCE: usize = 6;

/// What a test returns. Where the network cannot be had, the error says why.
pub type Done = Result<(), Box<dyn Error>>;

/// A test and its name.
pub type Test = (&'static str, fn(Backend) -> Done);

/// `tests![one, two]` is `&[("one", one), ("two", two)]`.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        &[$((stringify!($test), $test as fn(testbed::Backend) -> _)),*]
    };
}
pub(crate) use tests;

/// The harness: builds the trials and runs those that were asked for.
pub fn run_all(tests: &[(&str, &[Test])]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials = Vec::new();
    for backend in backends() {
        for (file, tests) in tests {
            for (test, _) in *tests {
                let name = format!("{}::{file}::{test}", backend.name());
                let asked = name.clone();
                trials.push(Trial::test(name, move || run_apart(&asked)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What this machine has; `pkt` needs no device.
fn backends() -> Vec<Backend> {
    match Backend::tap_problem() {
        None => vec![Backend::Tap, Backend::Pkt],
        Some(err) => {
            eprintln!("only pkt is tested, tap cannot be had: {}", err.what());
            vec![Backend::Pkt]
        }
    }
}

/// Runs this program again, for one test.
fn run_apart(name: &str) -> Result<(), Failed> {
    let output = Command::new("/proc/self/exe")
        .args([IN_TESTBED, name])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let ended = match output.status.signal() {
        Some(libc::SIGALRM) => format!("no end after {LIMIT_SECONDS} s"),
        _ => output.status.to_string(),
    };
    Err(format!("{said}({ended})").into())
}

/// The process of one test.
pub fn run_one(tests: &[(&str, &[Test])], name: &str) -> ExitCode {
    let mut parts = name.splitn(3, "::");
    let backend = match parts.next() {
        Some("tap") => Backend::Tap,
        _ => Backend::Pkt,
    };
    let (file, test) = (parts.next(), parts.next());
    let found = tests
        .iter()
        .filter(|(name, _)| Some(*name) == file)
        .flat_map(|(_, tests)| *tests)
        .find(|(name, _)| Some(*name) == test);
    let Some((_, test)) = found else {
        eprintln!("there is no test {name}");
        return ExitCode::FAILURE;
    };
    // Stays with the outer process, and its end is the end of the inner one.
    nix::unistd::alarm::set(LIMIT_SECONDS);
    let enter = match file {
        Some("traced") => testbed::enter_with_tracer,
        _ => testbed::enter,
    };
    match enter().map_err(Into::into).and_then(|()| test(backend)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

//! A row of `tests/errnos.toml` is confirmed by its own errno of its own call,
//! made in a run, and by nothing else.

use std::process::ExitCode;

use graders::errnos::test::{Finding, Options, test, test_by};
use graders::errnos::{find, probes};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    graders::first_of_all();
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("a_row_is_confirmed_by_its_own_probe", || {
            let row = row(&["connect", "ECONNREFUSED"]);
            let finding = test(row, &Options::default());
            is(finding.map_err(|err| format!("{err:#}"))?, "ECONNREFUSED", true)
        }),
        Trial::test("another_errno_of_the_call_is_refused", || {
            is(tried_by("connect ENETUNREACH")?, "ENETUNREACH", false)
        }),
        Trial::test("the_errno_of_another_call_is_refused", || {
            is(tried_by("recv ECONNREFUSED")?, "recv ECONNREFUSED", false)
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn row(names: &[&str]) -> &'static graders::errnos::Row {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    find(&names).expect("the table has this row")[0]
}

/// A refused connection, "shown" by the probe of something else.
fn tried_by(name: &str) -> Result<Finding, Failed> {
    let row = row(&["connect", "ECONNREFUSED"]);
    let mut all = probes();
    let probe = all.find(|probe| probe.name() == name).expect("a probe");
    let finding = test_by(row, probe, &Options::default());
    Ok(finding.map_err(|err| format!("{err:#}"))?)
}

fn is(finding: Finding, got: &str, confirmed: bool) -> Result<(), Failed> {
    match finding.got == got && finding.confirmed == confirmed {
        true => Ok(()),
        false => Err(Failed::from(format!("{finding:#?}"))),
    }
}

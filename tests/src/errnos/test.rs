//! A row in, a finding out.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use testbed::Backend;

use super::{Got, Probe, Row, TAKE};
use crate::ground;
use crate::perform::Request;

/// How rows are tested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// This backend and no other.
    pub backend: Option<Backend>,
    /// What is drawn from.
    pub seed: Option<u64>,
}

/// What came of a row. Its fields are those of `lab errno --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The call.
    pub call: String,
    /// What the table says that it says.
    pub errno: String,
    /// What it was given in this run.
    pub given: String,
    /// What it said in this run: an errno, or why there is none.
    pub got: String,
    /// Whether that is the table's errno, of the table's call.
    pub confirmed: bool,
    /// After how many milliseconds it returned.
    pub after: u64,
    /// What has happened.
    pub cause: String,
    /// What a program does about it.
    pub cure: String,
    /// Where it can be read.
    pub source: String,
    /// The lab that meets it.
    pub lab: Option<String>,
    /// How long all of it took.
    pub millis: u64,
}

/// Has a call say it on this kernel.
///
/// # Errors
///
/// A [`crate::perform::Failure`] when this machine cannot run it.
pub fn test(row: &Row, options: &Options) -> anyhow::Result<Finding> {
    match row.probe() {
        Some(probe) => test_by(row, probe, options),
        None => Ok(judged(row, Err("it has no probe".to_string()))),
    }
}

/// The same by a probe that need not be the row's own: another one must not
/// confirm it.
///
/// # Errors
///
/// As [`test`].
pub fn test_by(
    row: &Row,
    probe: &Probe,
    options: &Options,
) -> anyhow::Result<Finding> {
    let start = Instant::now();
    let request = Request {
        lab: probe.name(),
        take: TAKE.to_string(),
        internet: probe.internet,
        backend: options.backend,
        seed: options.seed.unwrap_or_else(testbed::Draw::fresh_seed),
        story: true, // Kernel timers are waited for.
        ..Request::default()
    };
    let mut finding = judged(row, ground::play(&request)?);
    finding.millis = start.elapsed().as_millis() as u64;
    Ok(finding)
}

/// The row beside what a run saw, or why it saw nothing.
fn judged(row: &Row, got: Result<Got, String>) -> Finding {
    let Row { call, errno, cause, cure, source, lab } = row.clone();
    let mut finding = Finding {
        call,
        errno,
        given: String::new(),
        got: String::new(),
        confirmed: false,
        after: 0,
        cause,
        cure,
        source,
        lab,
        millis: 0,
    };
    match got {
        Err(why) => finding.got = why,
        Ok(got) => {
            let same = got.errno.as_ref() == Some(&finding.errno);
            finding.confirmed = same && got.call == finding.call;
            let said = got.errno.unwrap_or_else(|| "no error".to_string());
            finding.got = match got.call == finding.call {
                true => said,
                false => format!("{} {said}", got.call),
            };
            finding.given = got.given;
            finding.after = got.after;
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            call: "connect".into(),
            errno: "ETIMEDOUT".into(),
            cause: String::new(),
            cure: String::new(),
            source: String::new(),
            lab: None,
        }
    }

    fn got(call: &str, errno: Option<&str>) -> Result<Got, String> {
        let (call, errno) = (call.to_string(), errno.map(str::to_string));
        Ok(Got { call, errno, given: "an address".into(), after: 3 })
    }

    #[test]
    fn a_row_is_confirmed_by_its_errno_of_its_call_and_by_nothing_else() {
        let right = judged(&row(), got("connect", Some("ETIMEDOUT")));
        assert!(right.confirmed);
        assert_eq!((right.got.as_str(), right.after), ("ETIMEDOUT", 3));
        for (wrong, said) in [
            (got("connect", Some("ECONNREFUSED")), "ECONNREFUSED"),
            (got("connect", None), "no error"),
            (got("recv", Some("ETIMEDOUT")), "recv ETIMEDOUT"),
            (Err("it waited, in vain".into()), "it waited, in vain"),
        ] {
            let finding = judged(&row(), wrong);
            assert!(!finding.confirmed, "{said}");
            assert_eq!(finding.got, said);
        }
    }

    #[test]
    fn errors_have_their_names() {
        use crate::errnos::name_of;
        use crate::sys::calls::Error;
        assert_eq!(name_of(Error::Errno(libc::ECONNRESET)), "ECONNRESET");
        assert_eq!(name_of(Error::Eai(libc::EAI_AGAIN)), "EAI_AGAIN");
        assert_eq!(name_of(Error::Eai(libc::EAI_SERVICE)), "EAI_SERVICE");
        assert_eq!(name_of(Error::Eai(-99)), "EAI -99");
    }
}

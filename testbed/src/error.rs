//! Errors that name the call, the operand, the likely cause and the cure.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::diagnosis;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call: which, on what, why, and what to do about it.
#[derive(Debug)]
pub struct Error {
    call: String,
    source: Option<io::Error>,
    cause: Option<String>,
    cure: Option<String>,
}

impl Error {
    /// A failure that is not a system call's: a bad rule, an unknown host.
    pub fn new(what: impl Into<String>) -> Error {
        Error { call: what.into(), source: None, cause: None, cure: None }
    }

    /// A failed system call, `call` being its name and operand. The cause and
    /// the cure are looked up where this machine's settings explain it.
    pub fn from_call(call: impl Into<String>, source: io::Error) -> Error {
        let call = call.into();
        let (cause, cure) = match diagnosis::explain(&call, &source) {
            Some(found) => (Some(found.cause), Some(found.cure)),
            None => (None, None),
        };
        Error { call, source: Some(source), cause, cure }
    }

    /// The same error with a likely cause.
    pub fn cause(mut self, cause: impl Into<String>) -> Error {
        self.cause = Some(cause.into());
        self
    }

    /// The same error with the exact thing to do about it.
    pub fn cure(mut self, cure: impl Into<String>) -> Error {
        self.cure = Some(cure.into());
        self
    }

    /// The same error, of this host.
    pub(crate) fn on(mut self, host: &str) -> Error {
        self.call = format!("{host}: {}", self.call);
        self
    }

    /// The call and its errno, on one line.
    pub fn what(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {source}", self.call),
            None => self.call.clone(),
        }
    }

    /// Was it a system call that failed, on a host or on the way to it?
    pub fn is_of_a_call(&self) -> bool {
        self.source.is_some()
    }

    /// The errno, if it was a system call that failed.
    pub fn errno(&self) -> Option<i32> {
        self.source.as_ref()?.raw_os_error()
    }

    /// The likely cause, where one is known.
    pub fn likely_cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The exact cure, where one is known.
    pub fn exact_cure(&self) -> Option<&str> {
        self.cure.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  likely cause: {cause}")?;
        }
        if let Some(cure) = &self.cure {
            write!(f, "\n  cure: {cure}")?;
        }
        Ok(())
    }
}

/// An error as it is told to another machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    call: String,
    errno: Option<i32>,
    /// What was said of it, where there is no errno.
    said: Option<String>,
    cause: Option<String>,
    cure: Option<String>,
}

impl From<&Error> for Told {
    fn from(err: &Error) -> Told {
        let errno = err.errno();
        let source = err.source.as_ref().filter(|_| errno.is_none());
        Told {
            call: err.call.clone(),
            errno,
            said: source.map(ToString::to_string),
            cause: err.cause.clone(),
            cure: err.cure.clone(),
        }
    }
}

impl From<Told> for Error {
    fn from(told: Told) -> Error {
        let Told { call, errno, said, cause, cure } = told;
        let source = match (errno, said) {
            (Some(errno), _) => Some(io::Error::from_raw_os_error(errno)),
            (None, said) => said.map(io::Error::other),
        };
        Error { call, source, cause, cure }
    }
}

// Without a source: the text has the errno already, and a reader of the chain
// would see it twice.
impl std::error::Error for Error {}

/// Names the call that failed: `open(path).call("open /dev/net/tun")?`.
pub(crate) trait Call<T> {
    fn call(self, call: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Call<T> for std::result::Result<T, E> {
    fn call(self, call: impl Into<String>) -> Result<T> {
        self.map_err(|err| Error::from_call(call, err.into()))
    }
}

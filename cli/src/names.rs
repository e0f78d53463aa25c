//! Names of labs, claims, calls and errnos on the command line, known to completion scripts.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};
use graders::{GRADERS, catalogue, claims, errnos};

/// Takes any name: [`catalogue::find`] knows a better answer to a wrong one.
#[derive(Clone)]
pub struct LabName;

impl TypedValueParser for LabName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(
        &self,
    ) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        let labs = catalogue::all().unwrap_or_default();
        let values = GRADERS.iter().map(move |grader| {
            let lab = labs.iter().find(|lab| lab.id == grader.id);
            let title = lab.map_or(String::new(), |lab| lab.title.clone());
            PossibleValue::new(grader.id).help(title)
        });
        Some(Box::new(values))
    }
}

/// Takes any name: [`claims::find`] knows a better answer to a wrong one.
#[derive(Clone)]
pub struct ClaimName;

impl TypedValueParser for ClaimName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(
        &self,
    ) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        let claims = claims::all().unwrap_or_default().iter();
        let values = claims.map(|claim| {
            PossibleValue::new(claim.id.as_str()).help(claim.says.as_str())
        });
        Some(Box::new(values))
    }
}

/// Takes any name: [`errnos::find`] knows a better answer to a wrong one.
#[derive(Clone)]
pub struct ErrnoName;

impl TypedValueParser for ErrnoName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(
        &self,
    ) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        let mut names = errnos::calls();
        let rows = errnos::all().unwrap_or_default().iter();
        let known: BTreeSet<&str> =
            rows.map(|row| row.errno.as_str()).collect();
        names.extend(known);
        Some(Box::new(names.into_iter().map(PossibleValue::new)))
    }
}

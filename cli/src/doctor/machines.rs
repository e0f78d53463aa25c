//! `lab doctor --on vagrant`: what the two machines can do.

use std::process::ExitCode;

use anyhow::Context;
use graders::catalogue;
use graders::perform::{Failure, Idle, Request};
use serde::Serialize;
use testbed::{Backend, Trace};

use super::{Capability, missing, print_capability, works};
use crate::{machines, style};

/// What was found.
#[derive(Serialize)]
struct Report {
    kernel: Option<String>,
    capabilities: Vec<Capability>,
    labs: Vec<CanRun>,
}

/// Whether a lab runs there.
#[derive(Serialize)]
struct CanRun {
    lab: String,
    /// What it takes that they have not got; `None`: it runs.
    needs: Option<String>,
}

/// Tries the machines, and says which labs run there.
pub fn examine(json: bool) -> anyhow::Result<ExitCode> {
    let reach = machines::find()?;
    style::progress("starting an agent on each machine");
    let request = Request {
        take: "probe".into(),
        backend: Some(Backend::Vagrant),
        machines: Some(reach),
        live: true,
        ..Request::default()
    };
    let up = match Idle::start(&request) {
        Ok(idle) => Ok(idle.blank.clone()),
        Err(err) => match err.downcast::<Failure>() {
            Ok(failure) => Err(failure),
            Err(bug) => return Err(bug),
        },
    };
    let kernel = up.as_ref().ok().map(|trace| trace.kernel.clone());
    let report =
        Report { kernel, capabilities: capabilities(&up), labs: labs()? };
    if json {
        let text = serde_json::to_string_pretty(&report);
        println!("{}", text.context("a report")?);
    } else {
        print(&report);
    }
    Ok(match up {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn capabilities(up: &Result<Trace, Failure>) -> Vec<Capability> {
    let name = "two hosts on two machines".to_string();
    let trace = match up {
        Ok(trace) => trace,
        Err(failure) => return vec![missing(name, failure)],
    };
    let mut found = vec![works(name, "up, IPv4 and IPv6 connections opened")];
    for clock in &trace.clocks {
        let error = clock.error_ns as f64 / 1e6;
        found.push(works(
            format!("the clock of {}", clock.host),
            &format!("known to {error:.3} ms; better once frames have passed"),
        ));
    }
    found
}

fn labs() -> anyhow::Result<Vec<CanRun>> {
    let labs = catalogue::all()?.into_iter().map(|lab| {
        let needs = machines::lacking(&lab);
        CanRun { lab: lab.id, needs }
    });
    Ok(labs.collect())
}

fn print(report: &Report) {
    if let Some(kernel) = &report.kernel {
        println!("Linux {kernel}");
    }
    report.capabilities.iter().for_each(print_capability);
    let (can, cannot): (Vec<&CanRun>, Vec<&CanRun>) =
        report.labs.iter().partition(|lab| lab.needs.is_none());
    println!("\nLabs that run on two machines: {}", can.len());
    for lab in can {
        println!("  {}", lab.lab);
    }
    println!("Labs that do not, and what they need: {}", cannot.len());
    for CanRun { lab, needs } in cannot {
        let needs = needs.as_deref().unwrap_or_default();
        println!("  {lab:<16} {needs}");
    }
}

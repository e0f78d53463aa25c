//! `lab doctor`: what this machine can do, tried and not guessed.

mod machines;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use graders::perform::{Failure, Idle, Request};
use serde::Serialize;
use testbed::Backend;

use crate::style;

/// Programs that some labs are about; none is needed to run or to grade.
const TOOLS: &[(&str, &str)] = &[
    ("ss", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("strace", "strace"),
    ("nc", "netcat-openbsd"),
    ("ps", "procps"),
];

/// Arguments of `lab doctor`.
#[derive(Args)]
pub struct Doctor {
    /// Try the two machines of `vagrant up` in place of this one, and list the
    /// labs that run there
    #[arg(long, value_enum, conflicts_with = "fix")]
    on: Option<Elsewhere>,
    /// As JSON: {"backend","kernel","capabilities":[{"name","state","detail",
    /// "cure"}]}; of machines {"kernel","capabilities","labs":[{"lab","needs"}]}
    #[arg(long)]
    json: bool,
    /// Show the commands that cure what is missing, ask, and apply them
    #[arg(long, conflicts_with = "json")]
    fix: bool,
    /// With --fix: do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
}

/// Where hosts can be but here.
#[derive(Clone, Copy, ValueEnum)]
enum Elsewhere {
    /// The two machines of `vagrant up`
    Vagrant,
}

#[derive(Serialize)]
struct Report {
    backend: Option<&'static str>,
    kernel: String,
    capabilities: Vec<Capability>,
}

#[derive(Serialize)]
struct Capability {
    name: String,
    state: State,
    detail: String,
    cure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Works,
    Reduced,
    Missing,
}

impl Doctor {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(Elsewhere::Vagrant) = self.on {
            return machines::examine(self.json);
        }
        let report = examine()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        if self.fix {
            return self.apply(&report);
        }
        Ok(match report.backend {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        })
    }

    /// Shows the cures that are commands, asks, and runs them.
    fn apply(&self, report: &Report) -> anyhow::Result<ExitCode> {
        let mut cures: Vec<&str> = report
            .capabilities
            .iter()
            .filter_map(|capability| capability.cure.as_deref())
            .filter(|cure| cure.starts_with("sudo "))
            .filter(|cure| !cure.starts_with("sudo apt-get"))
            .collect();
        cures.dedup();
        if cures.is_empty() {
            println!("\nThere is nothing that a command could cure.");
            return Ok(ExitCode::SUCCESS);
        }
        println!("\nTo be run:");
        for cure in &cures {
            println!("  {cure}");
        }
        if !self.yes && !ask()? {
            println!("Nothing was changed.");
            return Ok(ExitCode::FAILURE);
        }
        for cure in &cures {
            let status = Command::new("/bin/sh")
                .args(["-c", &without_sudo_for_root(cure)])
                .status()
                .with_context(|| format!("run {cure}"))?;
            if !status.success() {
                bail!("`{cure}` ended with {status}");
            }
        }
        println!();
        let after = examine()?;
        print(&after);
        Ok(match after.backend {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        })
    }
}

/// A container's root has no sudo, and needs none.
fn without_sudo_for_root(cure: &str) -> String {
    match nix::unistd::geteuid().is_root() {
        true => cure.trim_start_matches("sudo ").to_string(),
        false => cure.to_string(),
    }
}

fn ask() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        println!("Nobody is there to be asked: run it yourself, or add --yes.");
        return Ok(false);
    }
    print!("Run it? [y/N] ");
    std::io::stdout().flush().context("write")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("read")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn examine() -> anyhow::Result<Report> {
    let tap = probe("probe", Some(Backend::Tap))?;
    let pkt = probe("probe", Some(Backend::Pkt))?;
    let backend = match (&tap, &pkt) {
        (Ok(()), _) => Some("tap"),
        (_, Ok(())) => Some("pkt"),
        _ => None,
    };
    let mut capabilities = vec![namespaces(&tap, &pkt)];
    capabilities.push(host_pair("tap", &tap, pkt.is_ok()));
    capabilities.push(host_pair("pkt", &pkt, tap.is_ok()));
    if backend.is_some() {
        capabilities.push(watched_calls(&probe("probe-calls", None)?));
        capabilities.push(read_only_mounts(&probe("probe-mounts", None)?));
    }
    capabilities.push(book_profile());
    capabilities
        .extend(TOOLS.iter().map(|(tool, package)| program(tool, package)));
    let kernel = testbed::kernel_release();
    Ok(Report { backend, kernel, capabilities })
}

/// Brings two hosts up, and tries something there.
fn probe(what: &str, backend: Option<Backend>) -> anyhow::Result<Probed> {
    let request = Request {
        take: what.into(),
        backend,
        live: true,
        ..Request::default()
    };
    match Idle::start(&request) {
        Ok(_) => Ok(Ok(())),
        Err(err) => match err.downcast::<Failure>() {
            Ok(failure) => Ok(Err(failure)),
            Err(bug) => Err(bug),
        },
    }
}

type Probed = Result<(), Failure>;

/// Did either backend get as far as its devices?
fn namespaces(tap: &Probed, pkt: &Probed) -> Capability {
    let name = "namespaces: user, net, mnt, uts, ipc, pid".to_string();
    let failed = |probed: &Probed| {
        let failure = probed.as_ref().err()?;
        let early = ["unshare", "write /proc/self", "capset", "fork", "mount"];
        let early = early.iter().any(|call| failure.what.starts_with(call));
        early.then(|| failure.clone())
    };
    match failed(tap).and(failed(pkt)) {
        None => works(name, "a host of its own for each program"),
        Some(failure) => missing(name, &failure),
    }
}

fn host_pair(backend: &str, probed: &Probed, other: bool) -> Capability {
    let name = format!("two hosts on a wire: {backend}");
    match probed {
        Ok(()) => works(name, "up, IPv4 and IPv6 connections opened"),
        Err(failure) => {
            let mut capability = missing(name, failure);
            if other {
                capability.state = State::Reduced;
                capability.detail += "; the other backend serves";
            }
            capability
        }
    }
}

/// What the graders of processes and threads force schedules with.
fn watched_calls(probed: &Probed) -> Capability {
    let name = "system calls watched and held".to_string();
    match probed {
        Ok(()) => works(name, "a call of a program was seen"),
        Err(failure) => missing(name, failure),
    }
}

/// What keeps a program from writing to anything but its own directory.
fn read_only_mounts(probed: &Probed) -> Capability {
    let name = "programs contained by read-only mounts".to_string();
    match probed {
        Ok(()) => works(name, "a write outside its directory was refused"),
        Err(failure) => {
            let mut capability = missing(name, failure);
            capability.state = State::Reduced;
            capability.detail += "; labs run, but what they run can write \
                                  wherever you can";
            capability
        }
    }
}

/// Every setting of the book profile that this kernel knows.
fn book_profile() -> Capability {
    let name = "profile book".to_string();
    let settings = testbed::Profile::Book.settings();
    let unknown: Vec<&str> = settings
        .iter()
        .filter(|setting| !Path::new("/proc/sys/net").join(setting).exists())
        .copied()
        .collect();
    if unknown.is_empty() {
        return works(name, "every setting exists");
    }
    Capability {
        name,
        state: State::Works,
        detail: format!(
            "this kernel never had what {} would undo",
            unknown.join(", ")
        ),
        cure: None,
    }
}

fn program(tool: &str, package: &str) -> Capability {
    let name = format!("program {tool}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into));
    match places.find(|dir| dir.join(tool).is_file()) {
        Some(dir) => works(name, &dir.join(tool).display().to_string()),
        None => Capability {
            name,
            state: State::Reduced,
            detail: "not installed; only needed to look around with".into(),
            cure: Some(format!("sudo apt-get install {package}")),
        },
    }
}

fn works(name: String, detail: &str) -> Capability {
    Capability { name, state: State::Works, detail: detail.into(), cure: None }
}

fn missing(name: String, failure: &Failure) -> Capability {
    let detail = match &failure.cause {
        Some(cause) => format!("{}: {cause}", failure.what),
        None => failure.what.clone(),
    };
    let cure = failure.cure.clone();
    Capability { name, state: State::Missing, detail, cure }
}

fn print_capability(capability: &Capability) {
    let state = match capability.state {
        State::Works => style::good("works  "),
        State::Reduced => style::odd("reduced"),
        State::Missing => style::bad("missing"),
    };
    println!("{state} {:<44} {}", capability.name, capability.detail);
    if let Some(cure) = &capability.cure {
        println!("        cure: {cure}");
    }
}

fn print(report: &Report) {
    println!("Linux {}", report.kernel);
    report.capabilities.iter().for_each(print_capability);
    match report.backend {
        Some(backend) => println!("\nLabs run here, on the {backend} backend."),
        None => println!(
            "\nLabs cannot run here yet. `lab doctor --fix` shows what would \
             help, asks, and does it."
        ),
    }
}

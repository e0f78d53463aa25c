//! `lab shell`: onto a host of a running network, or of a fresh one.

use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use graders::perform::{Idle, Request};
use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};
use testbed::door::{self, Running};
use testbed::{Backend, Draw, Profile};

use crate::run::{On, ProfileName};
use crate::style;

/// Arguments of `lab shell`.
#[derive(Args)]
pub struct Shell {
    /// The host: ernest-laptop or Kongming20; with --internet also router,
    /// ns.example.test and www.example.test
    host: String,
    /// Enter the running network that this process holds (the error without one lists them)
    #[arg(long, value_name = "PID")]
    of: Option<u32>,
    /// A fresh network, even while others run
    #[arg(long, conflicts_with = "of")]
    fresh: bool,
    /// A fresh network with the router and the small internet behind it
    #[arg(long, conflicts_with = "of")]
    internet: bool,
    /// The backend of a fresh network
    #[arg(long, value_enum)]
    on: Option<On>,
    /// The profile of a fresh network
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,
    /// The command; without one, your shell
    #[arg(last = true)]
    command: Vec<String>,
}

/// A network's hosts by name, each with a descriptor of its first process.
type Hosts = Vec<(String, OwnedFd)>;

impl Shell {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some((network, hosts)) = self.running()? {
            return self.enter(&network, hosts);
        }
        let idle = Idle::start(&self.request())?;
        self.greet(&idle);
        let network = find(idle.pid)?;
        let hosts = network.hosts()?;
        self.enter(&network, hosts)
    }

    /// The network to enter: the one that is named, else the newest that
    /// answers; one that is about to end does not.
    fn running(&self) -> anyhow::Result<Option<(Running, Hosts)>> {
        if let Some(pid) = self.of {
            let network = find(pid)?;
            let hosts = network.hosts().with_context(|| {
                format!("enter the network of process {pid}")
            })?;
            return Ok(Some((network, hosts)));
        }
        if self.fresh || self.internet {
            return Ok(None);
        }
        let newest_first = Running::all()?.into_iter().rev();
        Ok(newest_first
            .filter_map(|network| {
                Some((network.clone(), network.hosts().ok()?))
            })
            .find(|(_, hosts)| !hosts.is_empty()))
    }

    fn request(&self) -> Request {
        Request {
            internet: self.internet,
            profile: self.profile.map(Profile::from).unwrap_or_default(),
            backend: self.on.map(Backend::from),
            seed: Draw::fresh_seed(),
            live: true,
            ..Request::default()
        }
    }

    fn greet(&self, idle: &Idle) {
        for host in &idle.blank.hosts {
            let addresses = host.addresses.iter().map(ToString::to_string);
            let addresses = addresses.collect::<Vec<_>>().join(" ");
            style::progress(&format!("{:<18} {addresses}", host.name));
        }
        style::progress(
            "Another terminal enters the same network: lab shell HOST. \
             It ends with this shell.",
        );
    }

    fn enter(
        &self,
        network: &Running,
        mut hosts: Hosts,
    ) -> anyhow::Result<ExitCode> {
        let names: Vec<String> =
            hosts.iter().map(|host| host.0.clone()).collect();
        let Some(at) = names.iter().position(|name| *name == self.host) else {
            bail!(
                "no host `{}` on this network ({}); there are {}",
                self.host,
                network.label,
                names.join(", ")
            );
        };
        let (_, process) = hosts.swap_remove(at);
        let mut command = self.command();
        door::join(&mut command, process);
        // One command is for whoever gave it to stop or to suspend.
        let leads = self.command.is_empty() && in_the_foreground();
        if leads {
            door::lead_the_terminal(&mut command);
        }
        // Ctrl-C is for the command; this process waits for its end.
        testbed::door::leave_interrupts_to_children();
        let name = command.get_program().to_string_lossy().into_owned();
        let status = command
            .spawn()
            .with_context(|| format!("exec {name} on {}", self.host))?
            .wait()
            .context("waitid")?;
        if leads {
            // Its group is gone, and nobody else would read the terminal.
            let _ = tcsetpgrp(std::io::stdin(), getpgrp());
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(1)))
    }

    fn command(&self) -> Command {
        match self.command.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            None => {
                let shell = std::env::var_os("SHELL");
                Command::new(shell.unwrap_or_else(|| "/bin/sh".into()))
            }
        }
    }
}

/// Is this process the one that the terminal is for?
fn in_the_foreground() -> bool {
    tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp())
}

fn find(pid: u32) -> anyhow::Result<Running> {
    let all = Running::all()?;
    let found = all.iter().find(|network| network.pid == pid).cloned();
    found.with_context(|| {
        let known: Vec<String> = all
            .iter()
            .map(|network| format!("{} ({})", network.pid, network.label))
            .collect();
        format!(
            "no network of process {pid} runs; there are: {}",
            known.join(", ")
        )
    })
}

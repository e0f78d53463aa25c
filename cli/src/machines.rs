//! `--on vagrant`: the machines that `vagrant/` provisions, and what cannot be
//! run on them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::ValueEnum;
use graders::catalogue::{Lab, root};
use testbed::Backend;
use testbed::machine::Reach;

use crate::style;

/// An ssh_config(5) in place of the one that Vagrant writes, for machines that
/// Vagrant has not made.
const SSH_CONFIG: &str = "LAB_SSH_CONFIG";
const HOSTS: [&str; 2] = ["ernest-laptop", "Kongming20"];

/// Where hosts can be.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// TAP devices
    Tap,
    /// veth pairs and packet sockets
    Pkt,
    /// The two machines of `vagrant up`
    Vagrant,
}

impl From<Place> for Backend {
    fn from(place: Place) -> Backend {
        match place {
            Place::Tap => Backend::Tap,
            Place::Pkt => Backend::Pkt,
            Place::Vagrant => Backend::Vagrant,
        }
    }
}

/// The machines, if they are asked for: each is ready, and can do what each of
/// these labs takes.
///
/// # Errors
///
/// What a lab needs and they have not; or what is the matter with a machine, and
/// the command that mends it.
pub fn reach(
    place: Option<Place>,
    labs: &[Lab],
) -> anyhow::Result<Option<Reach>> {
    if place != Some(Place::Vagrant) {
        return Ok(None);
    }
    for lab in labs {
        if let Some(needs) = lacking(lab) {
            bail!(
                "{} needs: {needs}; vagrant cannot\n  cure: run it without \
                 `--on vagrant`; `lab doctor --on vagrant` lists what can run",
                lab.id
            );
        }
    }
    find().map(Some)
}

/// What a lab takes that machines have not; `None`: they have it all.
pub fn lacking(lab: &Lab) -> Option<String> {
    let lacking = lab.machines_lack.iter().map(ToString::to_string);
    let lacking: Vec<String> = lacking.collect();
    (!lacking.is_empty()).then(|| lacking.join(", "))
}

/// How the machines are reached, once both are ready.
///
/// # Errors
///
/// What `vagrant/status` says, if they are not.
pub fn find() -> anyhow::Result<Reach> {
    if let Some(path) = std::env::var_os(SSH_CONFIG) {
        return Ok(Reach { ssh_config: path.into() });
    }
    let folder = root().join("vagrant");
    style::progress("asking Vagrant for its machines");
    let status = Command::new(folder.join("status"))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("exec {}/status", folder.display()))?;
    if !status.status.success() {
        let told = [status.stdout, status.stderr].concat();
        bail!(
            "the machines are not ready\n{}",
            String::from_utf8_lossy(&told).trim_end()
        );
    }
    let config = Command::new("vagrant")
        .arg("ssh-config")
        .args(HOSTS)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .context("exec vagrant")?;
    if !config.status.success() {
        bail!(
            "vagrant ssh-config: {}",
            String::from_utf8_lossy(&config.stderr).trim_end()
        );
    }
    let path = place_of_config()?;
    fs::write(&path, config.stdout)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(Reach { ssh_config: path })
}

/// Beside what is built.
fn place_of_config() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("readlink /proc/self/exe")?;
    let folder = program.parent().context("the program's folder")?;
    Ok(folder.join("machines.ssh_config"))
}

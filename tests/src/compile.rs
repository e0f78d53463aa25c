//! From a subject's source to a binary, by cargo.
//!
//! The learner's and the reference programs are packages of the workspace. Any
//! other source is built in a package that is written for it under `target/`,
//! with the dependencies of `labs/`, as if the file stood there.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, bail};
use serde::Deserialize;
use toml::{Table, Value};

use crate::catalogue::{self, Lab, root};
use crate::subject::Subject;

/// A binary, or what the compiler said.
pub type Built = Result<PathBuf, String>;

/// Builds one subject.
///
/// # Errors
///
/// Cargo could not be run at all. A program that does not compile is `Ok`:
/// with the compiler's message in it.
pub fn build(lab: &Lab, subject: &Subject) -> anyhow::Result<Built> {
    let source = root().join(subject.source(lab));
    let source = fs::canonicalize(&source)
        .with_context(|| format!("open {}", source.display()))?;
    let package = match subject {
        Subject::Lab => in_workspace("labs", lab.id.clone()),
        Subject::Solution => {
            in_workspace("solutions", format!("{}-solution", lab.id))
        }
        Subject::Mutant(_) | Subject::Alternative(_) => {
            let select = vec!["--offline".into()];
            let binary = course_name(lab, subject);
            Package { manifest: course()?, select, binary }
        }
        Subject::File(path) => package_for(&lab.id, path)?,
        Subject::Generated(kind) => {
            bail!("{} is not compiled", kind.name())
        }
    };
    if let Some(binary) = fresh(&package, &source) {
        return Ok(Ok(binary));
    }
    cargo(&package)
}

fn in_workspace(package: &str, binary: String) -> Package {
    Package {
        manifest: root().join("Cargo.toml"),
        select: vec!["--package".into(), package.into()],
        binary,
    }
}

/// The binary, if it is newer than all that it is made of: a lab is one file.
/// To ask cargo costs a tenth of a second.
fn fresh(package: &Package, source: &Path) -> Option<PathBuf> {
    let time = |path: &Path| fs::metadata(path).ok()?.modified().ok();
    let binary = target_dir().join("debug").join(&package.binary);
    let built = time(&binary)?;
    let parts = [
        source,
        &package.manifest,
        &root().join("Cargo.toml"),
        &root().join("Cargo.lock"),
        &root().join("labs/Cargo.toml"),
    ];
    let newer = parts.iter().all(|part| time(part).is_some_and(|t| t < built))
        && time(&begun(&binary)) == Some(built);
    newer.then_some(binary)
}

/// What cargo is asked for.
struct Package {
    manifest: PathBuf,
    select: Vec<String>,
    binary: String,
}

/// The messages of `cargo build --message-format=json` that matter here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn cargo(package: &Package) -> anyhow::Result<Built> {
    let begun = SystemTime::now();
    let output = cargo_build(&package.manifest)
        .args(&package.select)
        .args(["--bin", &package.binary])
        .output()
        .context("run cargo")?;
    let executable = messages(&output.stdout)
        .into_iter()
        .filter(|message| {
            let name = message.target.as_ref().map(|target| &target.name);
            name == Some(&package.binary)
        })
        .find_map(|message| message.executable);
    Ok(match executable {
        Some(executable) if output.status.success() => {
            date(&executable, begun)?;
            Ok(executable)
        }
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}

/// `cargo build` of this package, as machines like it.
fn cargo_build(manifest: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(["build", "--quiet", "--manifest-path"])
        .arg(manifest)
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target_dir())
        // Not from inside `cargo test`: its variables would rebuild the world.
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null());
    command
}

fn messages(stdout: &[u8]) -> Vec<Message> {
    let text = String::from_utf8_lossy(stdout);
    let messages = text.lines().map(serde_json::from_str);
    messages.filter_map(Result::ok).collect()
}

/// Dates a binary to the start of its build: what is saved while the compiler
/// works is newer, and is built next time. One that cargo found up to date is
/// newer than every file it was compared with.
fn date(binary: &Path, begun: SystemTime) -> anyhow::Result<()> {
    let stamp = self::begun(binary);
    fs::File::open(binary)
        .and_then(|file| file.set_modified(begun))
        .and_then(|()| fs::File::create(&stamp)?.set_modified(begun))
        .with_context(|| format!("utimensat {}", binary.display()))
}

/// The file that bears the date of a binary whose build was heard of to its
/// end. One that was ended just after it had linked leaves a binary with the
/// date of that moment, which is newer than what was saved before it.
fn begun(binary: &Path) -> PathBuf {
    binary.with_extension("begun")
}

/// Builds every program that these labs are verified with, so that each is
/// there when it is asked for. What does not compile is told then.
///
/// # Errors
///
/// Cargo could not be run at all.
pub fn build_course() -> anyhow::Result<()> {
    let workspace = root().join("Cargo.toml");
    for (manifest, select) in [
        (workspace, ["--package", "solutions"].as_slice()),
        (course()?, &["--offline"]),
    ] {
        let begun = SystemTime::now();
        let output = cargo_build(&manifest)
            .args(select)
            .args(["--bins", "--keep-going"])
            .output()
            .context("run cargo")?;
        for message in messages(&output.stdout) {
            if let Some(executable) = message.executable {
                date(&executable, begun)?;
            }
        }
    }
    Ok(())
}

/// The name of a mutant's or an alternative's binary.
fn course_name(lab: &Lab, subject: &Subject) -> String {
    format!("{}-{subject}", lab.id).replace(':', "-")
}

/// Writes the one package that has every mutant and alternative in it.
fn course() -> anyhow::Result<PathBuf> {
    static ONCE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut once = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(manifest) = &*once {
        return Ok(manifest.clone());
    }
    let mut bins = Vec::new();
    for lab in catalogue::all()? {
        let grader = lab.grader()?;
        let mutants = grader.mutants.iter();
        let mutants = mutants.map(|m| Subject::Mutant(m.name.to_string()));
        let others = grader.alternatives.iter();
        let others = others.map(|name| Subject::Alternative(name.to_string()));
        bins.extend(mutants.chain(others).map(|subject| {
            let source = root().join(subject.source(&lab));
            (course_name(&lab, &subject), source)
        }));
    }
    let manifest = write_package("course", &bins)?;
    *once = Some(manifest.clone());
    Ok(manifest)
}

/// Writes the package that builds a file from anywhere.
fn package_for(lab: &str, source: &Path) -> anyhow::Result<Package> {
    let source = fs::canonicalize(source)
        .with_context(|| format!("open {}", source.display()))?;
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let name = format!("{lab}-{:016x}", hasher.finish());
    let manifest = write_package(&name, &[(name.clone(), source)])?;
    Ok(Package { manifest, select: vec!["--offline".into()], binary: name })
}

/// Writes a package outside the workspace, with these binaries in it.
fn write_package(
    name: &str,
    bins: &[(String, PathBuf)],
) -> anyhow::Result<PathBuf> {
    let dir = target_dir().join("subjects").join(name);
    fs::create_dir_all(&dir)
        .with_context(|| format!("mkdir {}", dir.display()))?;
    let manifest = dir.join("Cargo.toml");
    write_if_changed(&manifest, &manifest_text(name, bins)?)?;
    let lock = fs::read_to_string(root().join("Cargo.lock"))
        .context("read Cargo.lock")?;
    // Cargo drops what this package does not need and keeps the versions, so
    // the dependencies are those that are built already.
    if !dir.join("Cargo.lock").exists() {
        write_if_changed(&dir.join("Cargo.lock"), &lock)?;
    }
    Ok(manifest)
}

fn manifest_text(
    name: &str,
    bins: &[(String, PathBuf)],
) -> anyhow::Result<String> {
    let workspace = read_table(&root().join("Cargo.toml"))?;
    let labs = read_table(&root().join("labs/Cargo.toml"))?;
    let shared = workspace
        .get("workspace")
        .and_then(|table| table.get("dependencies"))
        .and_then(Value::as_table)
        .context("Cargo.toml: workspace.dependencies")?;
    let wanted = labs
        .get("dependencies")
        .and_then(Value::as_table)
        .context("labs/Cargo.toml: dependencies")?;
    let mut dependencies = Table::new();
    for (crate_name, wish) in wanted {
        let base = shared
            .get(crate_name)
            .with_context(|| format!("Cargo.toml: {crate_name}"))?;
        let resolved = resolve(base, wish);
        dependencies.insert(crate_name.clone(), Value::Table(resolved));
    }
    // The same profile, or everything would be built twice.
    let mut profile = workspace.get("profile").cloned();
    let packages = profile
        .as_mut()
        .and_then(|profile| profile.get_mut("dev"))
        .and_then(|dev| dev.get_mut("package"))
        .and_then(Value::as_table_mut);
    if let Some(packages) = packages {
        packages.retain(|name, _| name == "*");
    }
    let package = BTreeMap::from([("name", name), ("edition", "2024")]);
    let bins = bins.iter().map(|(name, source)| {
        Value::Table(Table::from_iter([
            ("name".to_string(), Value::from(name.as_str())),
            ("path".to_string(), Value::from(source.display().to_string())),
        ]))
    });
    let mut manifest = Table::new();
    manifest.insert("workspace".into(), Value::Table(Table::new()));
    manifest.insert("package".into(), Value::try_from(package)?);
    manifest.insert("bin".into(), Value::Array(bins.collect()));
    manifest.insert("dependencies".into(), Value::Table(dependencies));
    if let Some(profile) = profile {
        manifest.insert("profile".into(), profile);
    }
    Ok(toml::to_string(&manifest)?)
}

/// What `NAME = { workspace = true, features = [...] }` comes to.
fn resolve(base: &Value, wish: &Value) -> Table {
    let mut resolved = match base {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_string(), version.clone())]),
    };
    let more = wish.get("features").and_then(Value::as_array);
    if let Some(more) = more {
        let features = resolved
            .entry("features")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(features) = features {
            features.extend(more.iter().cloned());
        }
    }
    resolved
}

fn read_table(path: &Path) -> anyhow::Result<Table> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

/// A new time stamp would have cargo build everything again.
fn write_if_changed(path: &Path, text: &str) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(old) if old == text => Ok(()),
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("read {}", path.display()))
        }
        _ => fs::write(path, text)
            .with_context(|| format!("write {}", path.display())),
    }
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

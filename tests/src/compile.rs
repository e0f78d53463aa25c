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
use std::time::SystemTime;

use anyhow::Context;
use serde::Deserialize;
use toml::{Table, Value};

use crate::catalogue::{Lab, root};
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
        Subject::File(_) | Subject::Mutant(_) | Subject::Alternative(_) => {
            package_for(&lab.id, &source)?
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
    let newer = parts.iter().all(|part| time(part).is_some_and(|t| t < built));
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
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let begun = SystemTime::now();
    let output = Command::new(&cargo)
        .current_dir(root())
        .args(["build", "--quiet", "--manifest-path"])
        .arg(&package.manifest)
        .args(&package.select)
        .args(["--bin", &package.binary])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target_dir())
        // Not from inside `cargo test`: its variables would rebuild the world.
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", cargo.display()))?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
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

/// Dates a binary to the start of its build: what is saved while the compiler
/// works is newer, and is built next time. One that cargo found up to date is
/// newer than every file it was compared with.
fn date(binary: &Path, begun: SystemTime) -> anyhow::Result<()> {
    fs::File::open(binary)
        .and_then(|file| file.set_modified(begun))
        .with_context(|| format!("utimensat {}", binary.display()))
}

/// Writes the package that builds a file from anywhere.
fn package_for(lab: &str, source: &Path) -> anyhow::Result<Package> {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let name = format!("{lab}-{:016x}", hasher.finish());
    let dir = target_dir().join("subjects").join(&name);
    fs::create_dir_all(&dir)
        .with_context(|| format!("mkdir {}", dir.display()))?;
    let manifest = dir.join("Cargo.toml");
    write_if_changed(&manifest, &manifest_text(&name, source)?)?;
    let lock = fs::read_to_string(root().join("Cargo.lock"))
        .context("read Cargo.lock")?;
    // Cargo drops what this package does not need and keeps the versions, so
    // the dependencies are those that are built already.
    if !dir.join("Cargo.lock").exists() {
        write_if_changed(&dir.join("Cargo.lock"), &lock)?;
    }
    let select = vec!["--offline".into()];
    Ok(Package { manifest, select, binary: name })
}

fn manifest_text(name: &str, source: &Path) -> anyhow::Result<String> {
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
    let binary = Table::from_iter([
        ("name".to_string(), Value::from(name)),
        ("path".to_string(), Value::from(source.display().to_string())),
    ]);
    let mut manifest = Table::new();
    manifest.insert("workspace".into(), Value::Table(Table::new()));
    manifest.insert("package".into(), Value::try_from(package)?);
    manifest.insert("bin".into(), Value::Array(vec![Value::Table(binary)]));
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

//! Takes the recorded runs into the program, so that it grades by them whatever
//! becomes of the files.
//!
//! A file that was edited by hand, or is gone, is taken as it was when it was
//! last built in; one that never was is left out.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[path = "src/hash.rs"]
mod hash;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=snapshots");
    println!("cargo::rerun-if-changed=src/hash.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let kept = out.join("snapshots");
    fs::create_dir_all(&kept)?;
    for file in snapshots(Path::new("snapshots")).unwrap_or_default() {
        let text = fs::read_to_string(&file)?;
        if hash::is_whole(&text) {
            let name = file.file_name().unwrap_or_default();
            fs::write(kept.join(name), text)?;
        }
    }
    let rows = snapshots(&kept)?.into_iter().map(|file| {
        let name = file.file_stem().unwrap_or_default().display().to_string();
        format!("    ({name:?}, include_str!({file:?})),\n")
    });
    let rows: String = rows.collect();
    fs::write(
        out.join("snapshots.rs"),
        format!("static BUILT_IN: &[(&str, &str)] = &[\n{rows}];\n"),
    )
}

fn snapshots(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = files.collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "snap"));
    files.sort();
    Ok(files)
}

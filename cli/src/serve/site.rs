//! A built book in memory: its files by the paths that browsers ask for.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use axum::body::Bytes;

use crate::book;

/// Every file of the book.
pub struct Site {
    files: HashMap<String, File>,
}

/// A file as it is sent.
pub struct File {
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub bytes: Bytes,
}

impl Site {
    /// Builds the book; as a draft it is built whatever is wrong with it, and
    /// what is wrong comes along.
    ///
    /// # Errors
    ///
    /// It cannot be built.
    pub fn build(draft: bool) -> anyhow::Result<(Site, Vec<String>)> {
        let folder = tempfile::tempdir().context("mkdtemp")?;
        let built = book::build(&book::sources(), folder.path(), draft)?;
        let mut files = HashMap::new();
        for path in below(folder.path())? {
            let name = path.strip_prefix(folder.path()).unwrap_or(&path);
            let bytes = fs::read(&path)
                .with_context(|| format!("{}", path.display()))?;
            let file = File { kind: kind(&path), bytes: bytes.into() };
            files.insert(format!("/{}", name.display()), file);
        }
        Ok((Site { files }, built.problems))
    }

    /// The file of a path; of a folder's the index.
    pub fn find(&self, path: &str) -> Option<&File> {
        match path.ends_with('/') {
            true => self.files.get(&format!("{path}index.html")),
            false => self.files.get(path),
        }
    }
}

impl File {
    /// A page that loads itself again after the next build.
    pub fn reloading(&self, build: u64) -> String {
        let page = String::from_utf8_lossy(&self.bytes);
        let script = format!(
            "<script>(async () => {{\
             for (;;) {{\
             try {{ const said = await fetch('/live?{build}');\
             if (said.ok) {{ location.reload(); return; }} }}\
             catch {{ await new Promise(done => setTimeout(done, 1000)); }}\
             }} }})();</script></body>"
        );
        page.replace("</body>", &script)
    }
}

fn below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder)
        .with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(below(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}

/// The media types of what mdBook writes.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|end| end.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

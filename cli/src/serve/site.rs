//! A built book: its files by the paths that browsers ask for. They are in one
//! file without a name, so that they need no memory and nothing stays of them.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use axum::body::Bytes;
use graders::catalogue;
use serde_json::json;

use super::api::address;
use crate::book::{self, page::escape};

/// What makes the pages alive.
const PAGE: &[(&str, &str)] = &[
    ("/lab.css", include_str!("page/lab.css")),
    ("/api.js", include_str!("page/api.js")),
    ("/board.js", include_str!("page/board.js")),
    ("/check.js", include_str!("page/check.js")),
    ("/choices.js", include_str!("page/choices.js")),
    ("/dom.js", include_str!("page/dom.js")),
    ("/lab.js", include_str!("page/lab.js")),
    ("/panel.js", include_str!("page/panel.js")),
    ("/predictions.js", include_str!("page/predictions.js")),
    ("/run.js", include_str!("page/run.js")),
    ("/saves.js", include_str!("page/saves.js")),
    ("/sse.js", include_str!("page/sse.js")),
    ("/wire.js", include_str!("page/wire.js")),
];

/// Every file of the book.
pub struct Site {
    files: HashMap<String, Place>,
    /// All of the built ones, one behind the other.
    store: fs::File,
}

/// Where a file is.
enum Place {
    /// In the store: the first byte, and how many.
    Built { at: u64, length: usize, lab: Option<String> },
    /// In this program.
    Known(&'static str),
}

/// A file as it is sent.
pub struct File {
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub bytes: Bytes,
    /// The lab that the page is about.
    lab: Option<String>,
}

impl Site {
    /// Builds the book, in a process of its own, since that takes much memory
    /// for a moment; a draft is built whatever is wrong with it. What is wrong
    /// is said on standard error.
    ///
    /// # Errors
    ///
    /// It cannot be built.
    pub fn build(draft: bool) -> anyhow::Result<Site> {
        let folder = tempfile::tempdir().context("mkdtemp")?;
        // Not current_exe(): the file may have been built anew meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(["book", "build", "--to"]).arg(folder.path());
        command.args(draft.then_some("--draft")).stdout(Stdio::null());
        let status = command.status().context("exec /proc/self/exe")?;
        // A draft with problems is one, too.
        let built = status.success() || (draft && status.code() == Some(1));
        ensure!(built, "the book cannot be built");
        let labs = catalogue::all()?;
        let labs: HashMap<String, String> =
            labs.iter().map(|lab| (address(lab), lab.id.clone())).collect();
        let mut files = HashMap::new();
        let mut store = tempfile::tempfile().context("open O_TMPFILE")?;
        let mut at = 0;
        for path in book::below(folder.path())? {
            let name = path.strip_prefix(folder.path()).unwrap_or(&path);
            let bytes = fs::read(&path)
                .with_context(|| format!("{}", path.display()))?;
            store.write_all(&bytes).context("write")?;
            let name = format!("/{}", name.display());
            let (length, lab) = (bytes.len(), labs.get(&name).cloned());
            files.insert(name, Place::Built { at, length, lab });
            at += length as u64;
        }
        for (name, text) in PAGE {
            files.insert(name.to_string(), Place::Known(text));
        }
        Ok(Site { files, store })
    }

    /// The file of a path; of a folder's the index.
    pub fn find(&self, path: &str) -> Option<File> {
        let name = match path.ends_with('/') {
            true => format!("{path}index.html"),
            false => path.to_string(),
        };
        let kind = kind(Path::new(&name));
        match self.files.get(&name)? {
            Place::Known(text) => Some(File {
                kind,
                bytes: Bytes::from_static(text.as_bytes()),
                lab: None,
            }),
            Place::Built { at, length, lab } => {
                let mut bytes = vec![0; *length];
                // It was written by us, and nobody else can open it.
                self.store.read_exact_at(&mut bytes, *at).ok()?;
                Some(File { kind, bytes: bytes.into(), lab: lab.clone() })
            }
        }
    }
}

impl File {
    /// A page with what makes it alive; where it may be built anew, it loads
    /// itself again after this build.
    pub fn page(&self, token: &str, build: Option<u64>) -> String {
        let page = String::from_utf8_lossy(&self.bytes);
        let told = json!({ "token": token, "lab": self.lab }).to_string();
        let head = format!(
            "<meta name=\"lab\" content=\"{}\">\n\
             <link rel=\"stylesheet\" href=\"/lab.css\">\n\
             <script type=\"module\" src=\"/lab.js\"></script>\n</head>",
            escape(&told)
        );
        let page = page.replacen("</head>", &head, 1);
        match build {
            None => page,
            Some(build) => page.replacen("</body>", &reload(build), 1),
        }
    }
}

/// Waits for another build than this one.
fn reload(build: u64) -> String {
    format!(
        "<script>(async () => {{\
         for (;;) {{\
         try {{ const said = await fetch('/live?{build}');\
         if (said.ok) {{ location.reload(); return; }} }}\
         catch {{ await new Promise(done => setTimeout(done, 1000)); }}\
         }} }})();</script></body>"
    )
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

//! What happens beside the pages: files saved, labs passed in a terminal.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::http::Response;
use graders::catalogue::{self, root};
use graders::progress;
use notify::{Event, RecursiveMode, Watcher};
use serde_json::{Value, json};

use super::api;
use super::stream::{Sink, stream as events};

/// An editor's events come within this time of each other.
const SETTLED: Duration = Duration::from_millis(40);

/// `saved` for each lab whose file has another text than before, `progress`
/// with the whole board where that has changed.
pub fn stream() -> Response<Body> {
    let (sender, files) = channel();
    let watcher = watcher(move || {
        let _ = sender.send(());
    });
    match watcher {
        Ok(watcher) => {
            // With the watcher goes the sender, and with that the thread.
            let (sink, response) = events(move || drop(watcher));
            std::thread::spawn(move || tell(&files, &sink));
            response
        }
        Err(err) => {
            let (sink, response) = events(|| {});
            sink.say("error", &json!({ "what": format!("{err:#}") }));
            response
        }
    }
}

fn watcher(
    wake: impl Fn() + Send + 'static,
) -> anyhow::Result<notify::RecommendedWatcher> {
    let mut watcher =
        notify::recommended_watcher(move |event: notify::Result<Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                wake();
            }
        })
        .context("inotify_init1")?;
    let progress = root().join(".lab");
    fs::create_dir_all(&progress)
        .with_context(|| format!("mkdir {}", progress.display()))?;
    for folder in [root().join("labs"), progress] {
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .with_context(|| format!("inotify {}", folder.display()))?;
    }
    Ok(watcher)
}

/// What is seen at one time.
struct Look {
    texts: BTreeMap<String, Option<String>>,
    board: Value,
}

fn look() -> anyhow::Result<Look> {
    let labs = catalogue::all()?;
    let text = |lab: &catalogue::Lab| {
        (lab.id.clone(), progress::text_of(lab).ok().flatten())
    };
    let texts = labs.iter().map(text).collect();
    Ok(Look { texts, board: api::labs()? })
}

fn tell(files: &Receiver<()>, sink: &Sink) {
    let Ok(mut before) = look() else { return };
    while files.recv().is_ok() {
        while files.recv_timeout(SETTLED).is_ok() {}
        let Ok(now) = look() else { continue };
        for (lab, text) in &now.texts {
            // No text: the file is being replaced.
            if text.is_some() && before.texts.get(lab) != Some(text) {
                sink.say("saved", &json!({ "lab": lab }));
            }
        }
        if now.board != before.board {
            sink.say("progress", &now.board);
        }
        before = now;
    }
}

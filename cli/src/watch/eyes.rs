//! Which files have been saved: told by inotify, known by their hashes.
//!
//! Editors write a file in place, or a new one under another name that they
//! then rename, and each of it is several events. An event here only says that
//! it is time to look; what counts is whether a lab's text is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use graders::catalogue::{Lab, root};
use graders::progress;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};

use super::News;

/// An editor's events come within this time of each other.
const SETTLED: Duration = Duration::from_millis(30);
/// Even a file that is written all the time is looked at so often.
const MOST: Duration = Duration::from_millis(300);
/// Without inotify.
const POLL: Duration = Duration::from_millis(500);

/// Watches the labs' files.
pub struct Eyes {
    labs: Vec<Lab>,
    seen: BTreeMap<String, String>,
    /// Labs whose file was seen without text, since the last other one.
    empty: BTreeSet<String>,
    /// When the first event came that was not looked at yet, and the last.
    events: Option<(Instant, Instant)>,
    /// When to look next without any event.
    poll: Option<Instant>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Eyes {
    /// Opens them; and why they have to do without inotify, if so.
    pub fn open(
        labs: &[Lab],
        poll: bool,
        news: Sender<News>,
    ) -> (Eyes, Option<String>) {
        let (watcher, why) = match poll {
            true => (None, None),
            false => match watcher(news) {
                Ok(watcher) => (Some(watcher), None),
                Err(err) => (None, Some(explain(&err))),
            },
        };
        let mut eyes = Eyes {
            labs: labs.to_vec(),
            seen: BTreeMap::new(),
            empty: BTreeSet::new(),
            events: None,
            poll: watcher.is_none().then(Instant::now),
            _watcher: watcher,
        };
        eyes.look();
        (eyes, why)
    }

    /// The hash of a lab's text as it was last seen.
    pub fn seen(&self, lab: &Lab) -> Option<&String> {
        self.seen.get(&lab.id)
    }

    /// There was an event.
    pub fn hear(&mut self) {
        let now = Instant::now();
        let first = self.events.map_or(now, |(first, _)| first);
        self.events = Some((first, now));
    }

    /// When it is time to look.
    pub fn due(&self) -> Option<Instant> {
        let settled = |(first, last): (Instant, Instant)| {
            (last + SETTLED).min(first + MOST)
        };
        let settled = self.events.map(settled);
        settled.into_iter().chain(self.poll).min()
    }

    /// The labs whose text is another one than at the last look.
    pub fn look(&mut self) -> Vec<Lab> {
        self.events = None;
        self.poll = self.poll.map(|_| Instant::now() + POLL);
        let mut changed = Vec::new();
        for lab in &self.labs {
            // A file that is not there, or not to be read, is being replaced.
            let Ok(Some(text)) = progress::text_of(lab) else { continue };
            if text == progress::hash(b"") && self.empty.insert(lab.id.clone())
            {
                // Perhaps in the middle of being written: it has to be so
                // twice.
                let later = Instant::now() + MOST;
                self.events = Some((later, later));
                continue;
            }
            let old = self.seen.insert(lab.id.clone(), text.clone());
            if old.as_ref() != Some(&text) {
                self.empty.remove(&lab.id);
                changed.push(lab.clone());
            }
        }
        changed
    }
}

/// The folders are watched, not the files: a rename puts another file there.
fn watcher(news: Sender<News>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher =
        notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| counts(&event.kind)) {
                let _ = news.send(News::Files);
            }
        })?;
    watcher.watch(&root().join("labs"), RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// To look at a file is an event too, and changes nothing.
fn counts(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// The call, the likely cause and the cure, inotify(7).
fn explain(err: &notify::Error) -> String {
    let labs = root().join("labs");
    let (what, limit) = match &err.kind {
        notify::ErrorKind::MaxFilesWatch => (
            format!("inotify_add_watch {}: {err}", labs.display()),
            Some("max_user_watches"),
        ),
        notify::ErrorKind::Io(io) if io.raw_os_error() == Some(EMFILE) => {
            (format!("inotify_init1: {io}"), Some("max_user_instances"))
        }
        _ => (format!("inotify {}: {err}", labs.display()), None),
    };
    match limit {
        None => what,
        Some(limit) => format!(
            "{what}\n  likely cause: other programs have used up \
             fs.inotify.{limit}\n  cure: sudo sysctl fs.inotify.{limit}={}",
            if limit == "max_user_watches" { 524_288 } else { 1024 }
        ),
    }
}

/// errno(3).
const EMFILE: i32 = nix::errno::Errno::EMFILE as i32;

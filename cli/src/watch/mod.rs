//! `lab watch`: each lab is graded as its file is saved.
//!
//! One thread decides; the others only bring it news: of files, of keys, of the
//! run under way. A run is `lab check` in a process of its own, so that a save
//! can end it at once, with the compiler, the network and the programs.

mod eyes;
mod performer;

use std::collections::VecDeque;
use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use graders::catalogue::{self, Lab};
use graders::progress::{self, State};

use crate::hint::Hint;
use crate::names::LabName;
use crate::{board, serve, solution, style};
use eyes::Eyes;
use performer::Performer;
pub use performer::{
    PHASE, beside, end_with_the_watcher, is_watched, performer, tell_phase,
};

/// What takes longer is told of while it lasts.
const SHORT: Duration = Duration::from_secs(1);

/// Arguments of `lab watch`.
#[derive(Args)]
#[command(after_help = "Keep your editor in another window: each save is \
    graded within seconds, and a save during a run ends it and starts again. \
    Keys, each followed by Enter: h hint, n next lab, s solution, r run again, \
    q quit.")]
pub struct WatchArgs {
    /// The labs to watch; without any, all of them
    #[arg(value_parser = LabName, hide_possible_values = true)]
    labs: Vec<String>,
    /// Look at the files twice a second in place of being told by the kernel:
    /// for folders that another machine writes to
    #[arg(long)]
    poll: bool,
}

/// What the threads tell.
enum News {
    /// Something has happened in labs/.
    Files,
    /// A line of standard input.
    Line(String),
    /// A terminal's end-of-file.
    Hangup,
    /// What the run is at.
    Phase { number: u64, phase: String },
    /// The run is over, and this is what it said.
    Done { number: u64, said: String },
}

impl WatchArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.begin("watching labs/: save a file, and it is graded\n")
    }

    fn begin(self, greeting: &str) -> anyhow::Result<ExitCode> {
        let labs = catalogue::find(&self.labs)?;
        nix::sys::prctl::set_child_subreaper(true)
            .context("prctl PR_SET_CHILD_SUBREAPER")?;
        let (sender, news) = channel();
        let (eyes, blind) = Eyes::open(&labs, self.poll, sender.clone());
        if let Some(why) = blind {
            eprintln!("{} {why}", style::odd("note:"));
            eprintln!("  until then labs/ is looked at twice a second");
        }
        read_keys(sender.clone());
        let current = board::next(labs.clone(), None)?;
        let mut watch = Watch {
            labs,
            eyes,
            current,
            queue: VecDeque::new(),
            run: None,
            runs: 0,
            sender,
            screen: Screen::open(),
        };
        watch.begin(greeting)?;
        watch.go(&news)
    }
}

/// `lab` on a terminal: the board, the book, and every lab watched.
pub fn course() -> anyhow::Result<ExitCode> {
    style::progress("building the book");
    let server = serve::Beside::start();
    let book = match &server {
        Ok(server) => format!("Read the book at {}", server.address),
        Err(err) => format!("{} {err:#}", style::bad("no book:")),
    };
    let watching = "watching labs/: save a file, and it is graded";
    let greeting = format!("{}\n{book}\n{watching}\n\n", board::text()?);
    WatchArgs { labs: Vec::new(), poll: false }.begin(&greeting)
}

struct Watch {
    labs: Vec<Lab>,
    eyes: Eyes,
    /// The lab that keys are about.
    current: Option<Lab>,
    /// Labs to be graded.
    queue: VecDeque<Lab>,
    run: Option<Performer>,
    /// How many runs there were.
    runs: u64,
    sender: Sender<News>,
    screen: Screen,
}

impl Watch {
    /// What there is to do. A text that no verdict is known of gets one.
    fn begin(&mut self, greeting: &str) -> anyhow::Result<()> {
        if let Some(lab) = &self.current {
            let last = progress::entry(lab)?.last.map(|last| last.text);
            let begun = progress::state(lab)? == State::InProgress;
            if begun && last.as_ref() != self.eyes.seen(lab) {
                self.queue.push_back(lab.clone());
            }
        }
        self.screen.clear();
        print!("{greeting}");
        self.show_current();
        self.screen.keys();
        Ok(())
    }

    fn go(&mut self, news: &Receiver<News>) -> anyhow::Result<ExitCode> {
        loop {
            self.start_what_waits()?;
            let goes_on = match self.next(news) {
                Some(news) => self.hear(news)?,
                None => true,
            };
            if !goes_on {
                return Ok(ExitCode::SUCCESS);
            }
            if self.eyes.due().is_some_and(|due| due <= Instant::now()) {
                self.look();
            }
            self.screen.status(self.run.as_ref());
        }
    }

    /// Does what the news ask for; `false`: the end.
    fn hear(&mut self, news: News) -> anyhow::Result<bool> {
        match news {
            News::Files => self.eyes.hear(),
            News::Hangup => return Ok(false),
            News::Line(key) => return self.key(key.trim()),
            News::Phase { number, phase } => {
                let run = self.run.as_mut();
                if let Some(run) = run.filter(|run| run.number == number) {
                    run.phase = phase;
                }
            }
            News::Done { number, said } => self.done(number, &said)?,
        }
        Ok(true)
    }

    /// The next news; `None`: there is something to do without any.
    fn next(&self, news: &Receiver<News>) -> Option<News> {
        let tick = self.run.as_ref().filter(|_| self.screen.terminal);
        let tick = tick.map(|_| Instant::now() + SHORT);
        match self.eyes.due().into_iter().chain(tick).min() {
            None => news.recv().ok(),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                match news.recv_timeout(left) {
                    Ok(news) => Some(news),
                    Err(RecvTimeoutError::Timeout) => None,
                    // This one has a sender itself.
                    Err(RecvTimeoutError::Disconnected) => None,
                }
            }
        }
    }

    /// Each text that is new is graded: at once if its own run is under way,
    /// and after the other labs that wait.
    fn look(&mut self) {
        for lab in self.eyes.look() {
            let this = |run: &Performer| run.lab.id == lab.id;
            if self.run.as_ref().is_some_and(this) {
                self.screen.wipe();
                println!("{}: saved again, starting anew", lab.id);
                self.run = None;
                self.queue.push_front(lab);
            } else if !self.queue.iter().any(|other| other.id == lab.id) {
                self.queue.push_back(lab);
            }
        }
    }

    fn start_what_waits(&mut self) -> anyhow::Result<()> {
        if self.run.is_some() {
            return Ok(());
        }
        let Some(lab) = self.queue.pop_front() else { return Ok(()) };
        self.runs += 1;
        self.screen.clear();
        println!("{}: grading {}", lab.id, lab.source().display());
        self.run = Some(Performer::start(&lab, self.runs, &self.sender)?);
        self.current = Some(lab);
        Ok(())
    }

    fn done(&mut self, number: u64, said: &str) -> anyhow::Result<()> {
        let Some(run) = self.run.take_if(|run| run.number == number) else {
            return Ok(()); // It was ended, and its output with it.
        };
        self.screen.wipe();
        print!("{said}");
        if run.finish()?.success() {
            let labs = self.labs.clone();
            match board::next(labs, self.current.as_ref())? {
                Some(lab) => print!("\n{}", board::what_to_do(&lab)),
                None => println!("\nEvery lab that is watched is passed."),
            }
        }
        self.screen.keys();
        Ok(())
    }

    /// Does what a key asks for; `false`: the end.
    fn key(&mut self, key: &str) -> anyhow::Result<bool> {
        self.screen.wipe();
        match (key, self.current.clone()) {
            ("q", _) => return Ok(false),
            ("n", current) => {
                let labs = self.labs.clone();
                self.current = board::next(labs, current.as_ref())?;
                self.screen.clear();
                self.show_current();
            }
            ("h", Some(lab)) => print!("{}", Hint::next(&lab)?.tell()),
            ("s", Some(lab)) => match solution::show(&lab, false)? {
                Ok(text) | Err(text) => print!("{text}"),
            },
            ("r", Some(lab)) => {
                self.run.take_if(|run| run.lab.id == lab.id);
                self.queue.retain(|other| other.id != lab.id);
                self.queue.push_front(lab);
                return Ok(true);
            }
            _ => {}
        }
        self.screen.keys();
        Ok(true)
    }

    fn show_current(&self) {
        match &self.current {
            Some(lab) => print!("{}", board::what_to_do(lab)),
            None => println!("Every lab that is watched is passed."),
        }
    }
}

/// Lines of standard input. A terminal's end-of-file is somebody's wish to
/// leave; any other's says nothing.
fn read_keys(sender: Sender<News>) {
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.send(News::Line(line)).is_err() {
                return;
            }
        }
        if stdin().is_terminal() {
            let _ = sender.send(News::Hangup);
        }
    });
}

/// Where the verdicts are shown.
struct Screen {
    terminal: bool,
    /// Can it do more than print lines?
    clever: bool,
    status: bool,
}

impl Screen {
    fn open() -> Screen {
        let terminal = stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Screen { terminal, clever: terminal && !dumb, status: false }
    }

    /// Makes room for something new.
    fn clear(&mut self) {
        self.status = false;
        if self.clever {
            print!("\x1b[H\x1b[2J\x1b[3J");
        }
    }

    /// What is going on, in one line that the next one replaces.
    fn status(&mut self, run: Option<&Performer>) {
        let Some(run) = run.filter(|_| self.terminal) else { return };
        let seconds = run.since.elapsed().as_secs();
        if seconds < SHORT.as_secs() {
            return;
        }
        let line = format!("{} {} ... {seconds} s", run.phase, run.lab.id);
        let end = if self.clever { "" } else { "\n" };
        self.wipe();
        print!("{}{end}", style::dim(&line));
        let _ = stdout().flush();
        self.status = true;
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.status) && self.clever {
            print!("\r\x1b[K");
        }
    }

    fn keys(&self) {
        if stdin().is_terminal() {
            let keys = "h hint   n next lab   s solution   r run again   \
                        q quit   (then Enter)";
            println!("\n{}", style::dim(keys));
        }
    }
}

//! A run for a page: its events and its figure as they happen, and at the end
//! what differs from the run that the page shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Body;
use axum::http::Response;
use graders::catalogue::Lab;
use graders::compile;
use graders::perform::{Failure, Message, Orders, Request, Show};
use graders::subject::Subject;
use graders::verdict::Performance;
use serde_json::{Value, json};
use testbed::{Rule, Trace};

use super::acts::Act;
use super::api::{Api, Wish, measure};
use super::differs::differences;
use super::stream::{Sink, stream as events};
use crate::book;
use crate::book::figures::sequence;
use crate::book::page::{Settings, split};
use crate::book::recording::{Recording, Shelf};
use crate::book::story::{self, Item, Kind};
use crate::run::Run;

/// The figure is not drawn more often than this.
const PICTURES: Duration = Duration::from_millis(100);
/// A run with more events than this is told, and no longer drawn.
const MOST_DRAWN: usize = 400;

/// Whose pages have a console for the wire.
pub const WITH_A_CONSOLE: &str = "ch03_tcp";

/// A wish that can be fulfilled.
pub struct Checked {
    lab: Lab,
    run: Run,
}

impl Checked {
    /// # Errors
    ///
    /// What cannot be understood: a rule, a take, a profile.
    pub fn new(lab: Lab, wish: Wish) -> anyhow::Result<Checked> {
        measure(&wish)?;
        for rule in &wish.rules {
            rule.parse::<Rule>()?;
        }
        let run = Run::wished(wish)?;
        run.take_of(&lab)?;
        Ok(Checked { lab, run })
    }
}

/// The wire of a run under way.
pub struct Wire {
    orders: Orders,
}

impl Wire {
    /// # Errors
    ///
    /// It is no order, or the run is over.
    pub fn order(&self, order: &str) -> anyhow::Result<()> {
        self.orders.give(order)
    }
}

/// `start`, then `line` and `figure` as it goes, then `end`, or `error`.
pub fn stream(
    wish: Checked,
    number: u64,
    act: Arc<Act>,
    api: Arc<Api>,
) -> Response<Body> {
    let leaving = act.clone();
    let (sink, response) = events(move || leaving.end());
    std::thread::spawn(move || {
        let mut stage = Stage { wish, number, act, sink, api };
        if let Err(err) = stage.play() {
            stage.sink.say("error", &told(&err));
        }
        stage.api.close_wire(number);
    });
    response
}

/// An error with its likely cause and its cure, if it is the testbed's.
fn told(err: &anyhow::Error) -> Value {
    match err.downcast_ref::<Failure>() {
        Some(failure) => json!({
            "what": failure.what, "cause": failure.cause, "cure": failure.cure,
        }),
        None => {
            json!({ "what": format!("{err:#}"), "cause": null, "cure": null })
        }
    }
}

/// Where a run is played for its page.
struct Stage {
    wish: Checked,
    number: u64,
    act: Arc<Act>,
    sink: Sink,
    api: Arc<Api>,
}

impl Stage {
    fn play(&mut self) -> anyhow::Result<()> {
        let Checked { lab, run, .. } = &self.wish;
        let subject = run.subject(lab)?;
        let binary = match compile::build(lab, &subject)? {
            Ok(binary) => binary,
            Err(message) => anyhow::bail!(
                "{} does not compile\n{message}",
                subject.source(lab).display()
            ),
        };
        let mut request = run.request(lab, binary, None)?;
        request.console = lab.chapter == WITH_A_CONSOLE;
        if self.act.is_over() {
            return Ok(());
        }
        let mut show = Show::start(&request)?;
        let orders = show.orders();
        let ending = show.orders();
        self.act.ends_by(move || ending.end());
        self.api.open_wire(self.number, Wire { orders });
        self.sink.say("start", &self.start(&subject, &request));
        let Some(performance) = self.follow(&mut show)? else {
            return Ok(());
        };
        self.finish(&request, &performance)
    }

    fn start(&self, subject: &Subject, request: &Request) -> Value {
        let lab = &self.wish.lab;
        json!({
            "run": self.number,
            "lab": lab.id,
            "program": subject.source(lab),
            "kernel": testbed::kernel_release(),
            "profile": request.profile.name(),
            "seed": request.seed,
        })
    }

    /// Tells events as they come; `None`: the reader has left.
    fn follow(&self, show: &mut Show) -> anyhow::Result<Option<Performance>> {
        let mut tale: Option<Tale> = None;
        loop {
            if self.act.is_over() || self.sink.is_closed() {
                return Ok(None);
            }
            let limit = match &tale {
                Some(tale) => tale.due(),
                None => Duration::from_secs(3600),
            };
            let message = match show.within(limit) {
                Err(_) if self.act.is_over() => return Ok(None),
                message => message?,
            };
            match message {
                Some(Message::Up(blank)) => tale = Some(Tale::new(*blank)),
                Some(Message::Event(event)) => {
                    let Some(tale) = &mut tale else { continue };
                    tale.trace.events.push(event);
                    for item in tale.new_items()? {
                        self.sink.say("line", &line(&item));
                    }
                }
                Some(Message::Refused(why)) => {
                    let text = format!("the wire refuses: {why}");
                    self.sink.say(
                        "line",
                        &json!({
                            "t_ms": 0, "host": "wire", "kind": "step",
                            "text": text,
                        }),
                    );
                }
                Some(Message::Performance(performance)) => {
                    return Ok(Some(*performance));
                }
                None => {}
            }
            if let Some(tale) = &mut tale
                && tale.is_due()
            {
                self.sink.say("figure", &json!({ "html": tale.picture()? }));
            }
        }
    }

    fn finish(
        &self,
        request: &Request,
        performance: &Performance,
    ) -> anyhow::Result<()> {
        let items = story::tell(performance, &Settings(&[]))?;
        let trace = &performance.trace;
        let exits: Vec<Value> = performance
            .exits
            .iter()
            .map(|(program, exit)| {
                let how = exit.map_or("still running, ended".into(), |exit| {
                    exit.to_string()
                });
                json!({ "program": program, "how": how })
            })
            .collect();
        let failed = performance
            .exits
            .values()
            .any(|exit| !exit.is_some_and(|exit| exit.is_success()));
        let differs = match self.recorded(request)? {
            Some(recorded) => differences(recorded.run()?, performance),
            None => Vec::new(),
        };
        let table = match items.is_empty() {
            true => String::new(),
            false => sequence::table(trace, &items),
        };
        self.sink.say(
            "end",
            &json!({
                "ok": !failed && performance.missed.is_none(),
                "exits": exits,
                "missed": performance.missed,
                "html": draw(trace, &items),
                "table": table,
                "differs": differs,
                "void": trace.losses,
            }),
        );
        Ok(())
    }

    /// The run of the page that was asked for in the same words, if there is
    /// one.
    fn recorded(&self, request: &Request) -> anyhow::Result<Option<Recording>> {
        let lab = &self.wish.lab;
        let pages = book::pages()?;
        let page = pages.iter().find(|page| page.lab.as_ref() == Some(lab));
        let shelf = Shelf::new(book::sources().join("recordings"));
        for order in page.context("a lab has a page")?.orders()? {
            let words = split(&order.command)?;
            let Ok(recording) = shelf.take(lab, &order.name) else { continue };
            let Ok(run) = recording.run() else { continue };
            let same_take = run.take == request.take
                && run.trace.profile == request.profile.name();
            if same_take
                && rules_of(&words) == request.rules
                && values_of(&words) == request.values
            {
                return Ok(Some((*recording).clone()));
            }
        }
        Ok(None)
    }
}

/// The rules in a command's words.
pub fn rules_of(words: &[String]) -> Vec<String> {
    let pairs = words.iter().zip(words.iter().skip(1));
    let rules = pairs.filter(|(word, _)| *word == "--rule");
    rules.map(|(_, rule)| rule.clone()).collect()
}

/// The values in a command's words.
pub fn values_of(words: &[String]) -> Vec<String> {
    let values = words.iter().skip_while(|word| *word != "--").skip(1);
    values.cloned().collect()
}

fn line(item: &Item) -> Value {
    let kind = match &item.kind {
        Kind::Frame(_) | Kind::Fold { .. } => "frame",
        Kind::Output { .. } => "output",
        Kind::Step => "step",
        Kind::Call { .. } => "call",
        Kind::Listens => "state",
    };
    let t_ms = (item.t_ns as f64 / 1e4).round() / 100.0;
    json!({ "t_ms": t_ms, "host": item.host, "kind": kind, "text": item.text })
}

/// The figure of a run with frames; nothing for one without.
fn draw(trace: &Trace, items: &[Item]) -> String {
    let frames = items.iter().any(|i| matches!(i.kind, Kind::Frame(_)));
    match frames && items.len() <= MOST_DRAWN {
        true => sequence::draw(trace, items, "your-run", "Your run"),
        false => String::new(),
    }
}

/// A run so far.
struct Tale {
    trace: Trace,
    told: usize,
    drawn: Instant,
    /// Has anything happened since it was drawn?
    changed: bool,
}

impl Tale {
    fn new(trace: Trace) -> Tale {
        Tale { trace, told: 0, drawn: Instant::now(), changed: false }
    }

    fn items(&self) -> anyhow::Result<Vec<Item>> {
        let performance = Performance {
            take: String::new(),
            trace: self.trace.clone(),
            exits: BTreeMap::new(),
            facts: BTreeMap::new(),
            missed: None,
            autopsies: BTreeMap::new(),
            restless: Vec::new(),
            scripts: Vec::new(),
            slack: 1,
            asked: BTreeSet::new(),
        };
        if self.trace.events.is_empty() {
            return Ok(Vec::new());
        }
        // Nothing that a reader is shown may have happened yet.
        Ok(story::tell(&performance, &Settings(&[])).unwrap_or_default())
    }

    /// What has happened since this was asked last.
    fn new_items(&mut self) -> anyhow::Result<Vec<Item>> {
        let items = self.items()?;
        let new = items.get(self.told..).unwrap_or_default().to_vec();
        self.changed |= !new.is_empty();
        self.told = items.len();
        Ok(new)
    }

    /// How long until it may be drawn, if there is anything new.
    fn due(&self) -> Duration {
        match self.changed {
            true => PICTURES.saturating_sub(self.drawn.elapsed()),
            false => Duration::from_secs(3600),
        }
    }

    fn is_due(&self) -> bool {
        self.changed && self.drawn.elapsed() >= PICTURES
    }

    fn picture(&mut self) -> anyhow::Result<String> {
        self.changed = false;
        self.drawn = Instant::now();
        Ok(draw(&self.trace, &self.items()?))
    }
}

//! From a page as it is written to the Markdown that mdBook renders.
//!
//! A page is prose, and fenced blocks that a run, a command or a compiled file
//! fills in. The first word after the fence says which:
//!
//! ```text
//! console                   commands, each after `$ `
//! console NAME [hidden] [times=N] [seed=N]
//!                           one command; `lab record` runs it
//! figure NAME [from=...]    the run's frames, states and output, drawn
//! transcript NAME [of=...]  what was printed, or why a program was refused
//! header NAME PROTOCOL FRAME   a captured header, field by field
//! machine NAME              the TCP state machine and the run's way through
//! predict                   a question, its options, what the run answers
//! predictions               every question of the book
//! code ANCHOR [of=FILE]     part of the reference program
//! claims CHAPTER            what the text of 2013 says, and what a run saw
//! errnos [CALL ...]         what these calls can say; all calls for none
//! two-machines labs|seen    which labs run on two machines; what a check saw
//! ```
//!
//! Any other block is refused: nothing that a run could say is typed by hand.
//! In prose, `{{NAME: FACT}}` is what the run answers: see [`super::facts`].
//! NAME is a recording of the page's lab; `LAB/NAME` is another's.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, bail, ensure};
use graders::catalogue::{self, Lab};

use super::facts::{self, Value};
use super::figures::{self, header, machine, sequence};
use super::orders::{commands, order};
use super::page::{Block, Settings, blocks, escape, line_of};
use super::predict::{Prediction, from_the_root};
use super::recording::{APART, CLAIMS, ERRNOS, Recording, Shelf};
use super::{card, claims, code, errnos, story, transcript, two_machines};

/// A page to be expanded.
pub struct Page {
    /// Its file below `book/src`, for messages and links.
    pub path: PathBuf,
    /// The title that the summary gives it.
    pub title: String,
    /// The lab that it is about.
    pub lab: Option<Lab>,
    /// What is written there.
    pub text: String,
}

/// What a page becomes.
pub struct Expanded {
    /// Markdown and HTML.
    pub text: String,
    /// Its questions.
    pub predictions: Vec<Prediction>,
    /// What it says of recorded runs.
    pub promises: Vec<Promise>,
    /// The recordings that it names, by lab and name.
    pub named: Vec<(String, String)>,
}

/// Something that a page says of a run, and that holds for every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `FILE:LINE`.
    pub place: String,
    /// What is asked.
    pub fact: String,
    /// What is said.
    pub value: String,
}

/// What pages are expanded with.
pub struct Desk<'a> {
    /// The checkout.
    pub root: &'a Path,
    /// The recordings.
    pub shelf: &'a Shelf,
    /// What is wrong, `FILE:LINE: MESSAGE` each.
    pub problems: RefCell<Vec<String>>,
    /// Every question so far: its page and the question.
    pub questions: RefCell<Vec<(Rc<Page>, Vec<Prediction>)>>,
}

impl Page {
    /// `book/src/FILE:LINE`.
    pub fn place(&self, line: usize) -> String {
        format!("{}:{line}", Path::new("book/src").join(&self.path).display())
    }
}

/// Expands a page; what is wrong with it goes to the desk's problems.
pub fn expand(page: &Rc<Page>, desk: &Desk<'_>) -> Expanded {
    let expanded = Expanded {
        text: String::new(),
        predictions: Vec::new(),
        promises: Vec::new(),
        named: Vec::new(),
    };
    let mut work = Work { page, desk, expanded, figures: 0 };
    match blocks(&page.text) {
        Ok(blocks) => work.through(blocks),
        Err((line, err)) => work.problem(line, &err),
    }
    if !work.expanded.predictions.is_empty() {
        let questions = work.expanded.predictions.clone();
        desk.questions.borrow_mut().push((page.clone(), questions));
    }
    work.expanded
}

/// One page under work.
struct Work<'a> {
    page: &'a Rc<Page>,
    desk: &'a Desk<'a>,
    expanded: Expanded,
    figures: usize,
}

impl Work<'_> {
    fn through(&mut self, blocks: Vec<Block>) {
        let page = self.page.clone();
        let mut done = 0;
        for block in blocks {
            let line = line_of(&page.text, block.range.start);
            self.prose(&page.text[done..block.range.start], done);
            match self.block(&block, line) {
                Ok(text) => self.expanded.text.push_str(&text),
                Err(err) => self.problem(line, &err),
            }
            done = block.range.end;
        }
        self.prose(&page.text[done..], done);
        if let Some(lab) = &page.lab {
            match card::card(self.desk.root, lab) {
                Ok(card) => self.after_the_title(&card),
                Err(err) => self.problem(1, &err),
            }
        }
    }

    /// Notes what is wrong; a draft shows it at its place.
    fn problem(&mut self, line: usize, err: &anyhow::Error) {
        let text = format!("{}: {err:#}", self.page.place(line));
        let shown = escape(&text.replace('\n', " "));
        let shown = format!("<strong class=\"problem\">{shown}</strong>\n\n");
        self.expanded.text.push_str(&shown);
        self.desk.problems.borrow_mut().push(text);
    }

    fn after_the_title(&mut self, card: &str) {
        let text = &mut self.expanded.text;
        let at = text.find('\n').map_or(text.len(), |at| at + 1);
        text.insert_str(at, &format!("\n{card}\n"));
    }

    /// Prose with what is asked in it answered.
    fn prose(&mut self, text: &str, start: usize) {
        let line = line_of(&self.page.text, start);
        let answered = self.answered(text, line);
        self.expanded.text.push_str(&answered);
    }

    /// `{{NAME: FACT}}` replaced, wherever it stands. `line` is the text's.
    fn answered(&mut self, text: &str, line: usize) -> String {
        let mut answered = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            answered.push_str(&rest[..at]);
            let before = text.len() - rest.len() + at;
            let line = line + text[..before].matches('\n').count();
            let Some(end) = rest[at..].find("}}") else {
                self.problem(line, &anyhow::anyhow!("`{{{{` has no end"));
                return answered;
            };
            let question = &rest[at + 2..at + end];
            match self.answer(question, line) {
                Ok(answer) => answered.push_str(&answer),
                Err(err) => self.problem(line, &err),
            }
            rest = &rest[at + end + 2..];
        }
        answered + rest
    }

    /// `NAME: FACT [in LOW..HIGH] [as words|Words|s]`
    fn answer(
        &mut self,
        question: &str,
        line: usize,
    ) -> anyhow::Result<String> {
        let question =
            question.split_whitespace().collect::<Vec<_>>().join(" ");
        let (name, fact) =
            question.split_once(": ").context("a question is `NAME: FACT`")?;
        let (fact, form) = match fact.rsplit_once(" as ") {
            Some((fact, form)) => (fact, form),
            None => (fact, ""),
        };
        let (fact, range) = match fact.rsplit_once(" in ") {
            Some((fact, range)) => (fact, Some(range)),
            None => (fact, None),
        };
        let recording = self.recording(name)?;
        let value = facts::find(&recording, fact)?;
        if let Some(range) = range {
            ensure!(
                facts::in_range(&value, range)?,
                "`{fact}` is {value}, which is not in {range}"
            );
        } else {
            ensure!(
                !matches!(value, Value::Millis(_)),
                "`{fact}` is a time, which differs from run to run: say `in \
                 LOW..HIGH` after it"
            );
        }
        let said = written(&value, form)?;
        // What is promised is what every run must say again.
        let fixed = range.is_none()
            && !["kernel", "recorded"].contains(&fact)
            && !fact.starts_with("evidence");
        if fixed {
            let value = value.to_string();
            self.promise(line, &question, value);
        }
        Ok(said)
    }

    fn promise(&mut self, line: usize, fact: &str, value: String) {
        let place = self.page.place(line);
        let promise = Promise { place, fact: fact.to_string(), value };
        self.expanded.promises.push(promise);
    }

    /// The recording of a name as pages write it: `NAME` or `LAB/NAME`.
    fn recording(&mut self, name: &str) -> anyhow::Result<Rc<Recording>> {
        let (lab, name) = match name.split_once('/') {
            Some((lab, name)) => {
                (catalogue::find(&[lab.to_string()])?.remove(0), name)
            }
            None => {
                let lab = self.page.lab.clone();
                let lab = lab.context("this page has no lab: say LAB/NAME")?;
                (lab, name)
            }
        };
        self.expanded.named.push((lab.id.clone(), name.to_string()));
        self.desk.shelf.take(&lab, name)
    }

    fn block(&mut self, block: &Block, line: usize) -> anyhow::Result<String> {
        let words: Vec<&str> = block.words.iter().map(String::as_str).collect();
        let rest = block.words.get(2..).unwrap_or_default();
        let settings = Settings(rest);
        match words.as_slice() {
            ["console"] => {
                commands(&block.body)?;
                Ok(fenced("console", &block.body))
            }
            ["console", name, ..] => {
                self.recorded_command(name, block, line)?;
                Ok(match settings.has("hidden") {
                    true => String::new(),
                    false => fenced("console", &block.body),
                })
            }
            ["figure", name, ..] => {
                let caption = self.answered(&block.body, line + 1);
                self.figure(name, &settings, &caption)
            }
            ["transcript", name, ..] => {
                ensure!(block.body.trim().is_empty(), "a transcript is empty");
                let recording = self.recording(name)?;
                transcript::lines(&recording, &settings)
            }
            ["header", name, protocol, frame @ ..] => {
                let caption = self.answered(&block.body, line + 1);
                self.header(name, protocol, frame, &caption)
            }
            ["machine", name] => {
                let caption = self.answered(&block.body, line + 1);
                self.machine(name, &caption)
            }
            ["predict"] => self.prediction(block, line),
            ["predictions"] => Ok(self.questions()),
            ["claims", chapter] => {
                let recording = self.desk.shelf.take_apart(CLAIMS)?;
                let (text, kept) = claims::chapter(&recording, chapter)?;
                for (id, verdict) in kept {
                    self.promise(line, &format!("claim {id}"), verdict);
                }
                Ok(text)
            }
            ["errnos", calls @ ..] => {
                let recording = self.desk.shelf.take_apart(ERRNOS)?;
                let (text, kept) =
                    errnos::table(&recording, calls, &self.page.path)?;
                for (row, said) in kept {
                    self.promise(line, &format!("errno {row}"), said);
                }
                Ok(text)
            }
            ["two-machines", "labs"] => two_machines::labs(),
            ["two-machines", "seen"] => two_machines::seen(self.desk.root),
            ["code", anchor, ..] => {
                settings.only(&["of="])?;
                let file = match (settings.get("of"), &self.page.lab) {
                    (Some(file), _) => PathBuf::from(file),
                    (None, Some(lab)) => Path::new("solutions")
                        .join(&lab.chapter)
                        .join(&lab.id)
                        .with_extension("rs"),
                    (None, None) => bail!("say of=FILE"),
                };
                let code = code::anchored(&self.desk.root.join(file), anchor)?;
                Ok(fenced("rust,ignore", &code))
            }
            _ => bail!(
                "a block `{}` is not among console, figure, transcript, \
                 header, machine, predict, predictions, claims, errnos, \
                 two-machines and code: what a run can say is not typed by hand",
                words.join(" ")
            ),
        }
    }

    /// The command shown is the one that was recorded.
    fn recorded_command(
        &mut self,
        name: &str,
        block: &Block,
        line: usize,
    ) -> anyhow::Result<()> {
        let place = self.page.place(line);
        let order = order(block, &place)?.context("it is no command")?;
        let recording = match (&self.page.lab, APART.contains(&name)) {
            (None, true) => self.desk.shelf.take_apart(name)?,
            _ => self.recording(name)?,
        };
        ensure!(
            recording.command == order.command,
            "`{name}` was recorded from `{}`; record it anew",
            recording.command
        );
        Ok(())
    }

    fn figure(
        &mut self,
        name: &str,
        settings: &Settings<'_>,
        caption: &str,
    ) -> anyhow::Result<String> {
        settings.only(story::KNOWN)?;
        let recording = self.recording(name)?;
        let run = transcript::run(&recording, settings)?;
        let items = story::tell(run, settings)?;
        let (id, title) = self.next_figure(name);
        let drawn = sequence::draw(&run.trace, &items, &id, &title);
        let table = sequence::table(&run.trace, &items);
        let stamp = stamp(&recording);
        Ok(figures::frame(&id, &drawn, caption, &stamp, &table))
    }

    fn header(
        &mut self,
        name: &str,
        protocol: &str,
        frame: &[&str],
        caption: &str,
    ) -> anyhow::Result<String> {
        let recording = self.recording(name)?;
        let (_, frame) = facts::frame(recording.trace()?, frame)?;
        let (id, title) = self.next_figure(name);
        let (drawn, table) = header::draw(protocol, &frame.bytes, &id, &title)?;
        let stamp = stamp(&recording);
        Ok(figures::frame(&id, &drawn, caption, &stamp, &table))
    }

    fn machine(&mut self, name: &str, caption: &str) -> anyhow::Result<String> {
        let recording = self.recording(name)?;
        let (id, title) = self.next_figure(name);
        let (drawn, table) = machine::draw(recording.trace()?, &id, &title)?;
        let stamp = stamp(&recording);
        Ok(figures::frame(&id, &drawn, caption, &stamp, &table))
    }

    fn next_figure(&mut self, name: &str) -> (String, String) {
        self.figures += 1;
        let id = format!("figure-{}", self.figures);
        let title = format!(
            "{}, figure {}: the run {name}",
            self.page.title, self.figures
        );
        (id, title)
    }

    fn prediction(
        &mut self,
        block: &Block,
        line: usize,
    ) -> anyhow::Result<String> {
        let body = self.answered(&block.body, line + 1);
        let mut asked = Vec::new();
        let prediction = Prediction::parse(&body, |condition| {
            let (name, condition) = condition
                .split_once(": ")
                .context("a condition is `NAME: FACT = VALUE`")?;
            let recording = self.recording(name)?;
            let holds = facts::holds(&recording, condition)?;
            asked.push((format!("{name}: {condition}"), holds.to_string()));
            Ok(holds)
        })?;
        for (fact, value) in asked {
            self.promise(line, &fact, value);
        }
        let number = self.expanded.predictions.len() + 1;
        let html = prediction.html(&format!("predict-{number}"));
        self.expanded.predictions.push(prediction);
        Ok(html)
    }

    /// Every question of the pages before this one, each under its page.
    fn questions(&self) -> String {
        let mut text = String::new();
        let mut number = 0;
        for (page, questions) in self.desk.questions.borrow().iter() {
            let path = page.path.display().to_string();
            text.push_str(&format!(
                "\n## {}\n\nFrom the page [{}]({path}).\n\n",
                page.title, page.title
            ));
            for question in questions {
                number += 1;
                let html = question.html(&format!("question-{number}"));
                text.push_str(&from_the_root(&html, &page.path));
                text.push('\n');
            }
        }
        text
    }
}

/// A value as it stands in a sentence.
fn written(value: &Value, form: &str) -> anyhow::Result<String> {
    const WORDS: &[&str] = &[
        "none", "one", "two", "three", "four", "five", "six", "seven", "eight",
        "nine", "ten", "eleven", "twelve",
    ];
    let word = |number: i64| {
        let at = usize::try_from(number).ok();
        let word = at.and_then(|at| WORDS.get(at)).map(|w| w.to_string());
        word.unwrap_or_else(|| number.to_string())
    };
    Ok(match (value, form) {
        (value, "") => value.to_string(),
        (Value::Number(number), "words") => word(*number),
        (Value::Number(number), "Words") => {
            let word = word(*number);
            word[..1].to_uppercase() + &word[1..]
        }
        (Value::Millis(ms), "s") => format!("{:.1} s", ms / 1000.0),
        (value, form) => bail!("`{value}` cannot be written as {form}"),
    })
}

/// Where and how a recorded run was made, for a caption.
fn stamp(recording: &Recording) -> String {
    let stamp = &recording.stamp;
    match recording.runs.first() {
        Some(run) => format!("{stamp}, profile {}", run.trace.profile),
        None => stamp.to_string(),
    }
}

/// A fence that nothing inside can close.
fn fenced(language: &str, text: &str) -> String {
    let mut fence = "```".to_string();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

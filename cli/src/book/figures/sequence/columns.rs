//! The figure with a column for each of three hosts or more.
//!
//! A frame has a row of its own: what it is stands above its arrow, the state
//! of a connection beside the end that it is the state of. On a telephone
//! there is no room for states; the table has them.

use std::collections::HashMap;

use super::super::super::story::{Arrow, Item, Kind};
use super::super::svg::{Anchor, Svg, wrap};
use super::rows::Row;
use super::since;

/// The measures of one form of the figure.
struct Form {
    name: &'static str,
    width: f64,
    /// The first and the last host's line.
    lines: (f64, f64),
    wide: bool,
    slope: f64,
    /// How wide a character of a label is taken to be.
    character: f64,
}

const WIDE: Form = Form {
    name: "wide",
    width: 730.0,
    lines: (146.0, 640.0),
    wide: true,
    slope: 8.0,
    character: 6.7,
};

const NARROW: Form = Form {
    name: "narrow",
    width: 344.0,
    lines: (12.0, 332.0),
    wide: false,
    slope: 5.0,
    character: 6.7,
};

/// Where times stand in the wide form: they end here.
const CLOCK: f64 = 46.0;

/// Both forms of the figure.
pub fn draw(
    hosts: &[String],
    items: &[Item],
    rows: &[Row<'_>],
    id: &str,
    title: &str,
    about: &str,
) -> String {
    let forms = [&WIDE, &NARROW].map(|form| {
        let mut painter = Painter::new(form, hosts, items);
        rows.iter().for_each(|row| painter.row(row));
        painter.finish(&format!("{id}-{}", form.name), title, about)
    });
    forms.concat()
}

struct Painter<'a> {
    form: &'a Form,
    hosts: &'a [String],
    items: &'a [Item],
    svg: Svg,
    y: f64,
    /// The bottom of each host's name.
    tops: Vec<f64>,
    /// What was last said of a connection on a host.
    said: HashMap<(usize, usize), String>,
    /// Where a frame that is under way left.
    leaving: HashMap<*const Item, (f64, f64)>,
    numbered: bool,
    /// Long arrows lie under everything else.
    under: Svg,
}

impl<'a> Painter<'a> {
    fn new(
        form: &'a Form,
        hosts: &'a [String],
        items: &'a [Item],
    ) -> Painter<'a> {
        let mut painter = Painter {
            form,
            hosts,
            items,
            svg: Svg::new(),
            y: 0.0,
            tops: Vec::new(),
            said: HashMap::new(),
            leaving: HashMap::new(),
            numbered: items.iter().any(|item| item.text.starts_with('#')),
            under: Svg::new(),
        };
        painter.header();
        painter
    }

    /// The names, in as many rows as they need not to touch each other.
    fn header(&mut self) {
        const HEIGHT: f64 = 26.0;
        const STEP: f64 = 31.0;
        let mut ends: Vec<f64> = Vec::new();
        for (at, host) in self.hosts.iter().enumerate() {
            let width = host.chars().count() as f64 * 7.6 + 20.0;
            let most = self.form.width - width - 1.0;
            let left = (self.lane(at) - width / 2.0).clamp(1.0, most);
            let row = ends.iter().position(|end| end + 4.0 < left);
            let row = row.unwrap_or(ends.len());
            match ends.get_mut(row) {
                Some(end) => *end = left + width,
                None => ends.push(left + width),
            }
            let top = 1.0 + row as f64 * STEP;
            self.svg.rect("host", (left, top), (width, HEIGHT), 5.0);
            let middle = (left + width / 2.0, top + 17.5);
            self.svg.text("host", Anchor::Middle, middle, host);
            self.tops.push(top + HEIGHT + 1.0);
        }
        let rows = ends.len() as f64;
        if self.form.wide {
            self.svg.text("time", Anchor::End, (CLOCK, 18.5), "ms");
        }
        self.y = rows * STEP + 3.0;
    }

    fn lane(&self, at: usize) -> f64 {
        let (first, last) = self.form.lines;
        let gaps = (self.hosts.len() - 1).max(1) as f64;
        first + (last - first) * at as f64 / gaps
    }

    /// A host's column; what is not there stands in the first.
    fn column(&self, host: &str) -> usize {
        self.hosts.iter().position(|other| other == host).unwrap_or(0)
    }

    /// Where a frame leaves, and where it goes: to all is to the neighbour.
    fn ends(&self, item: &Item, arrow: &Arrow) -> (usize, usize) {
        let from = self.column(&item.host);
        let to = arrow.to.as_ref().map(|host| self.column(host));
        let beside = if from == 0 { 1 } else { from - 1 };
        (from, to.filter(|to| *to != from).unwrap_or(beside))
    }

    fn row(&mut self, row: &Row<'a>) {
        match row {
            Row::Through(item, arrow) => self.through(item, arrow),
            Row::Leaves(item, arrow) => self.leaves(item, arrow),
            Row::Arrives(item, arrow) => self.arrives(item, arrow),
            Row::Beside(item) | Row::Calls(item, _) => self.beside(item),
            Row::Returns(_) => {}
            Row::Fold(item) => self.fold(item),
            Row::Pause(ns) => self.pause(*ns),
        }
    }

    fn through(&mut self, item: &Item, arrow: &Arrow) {
        let (from, to) = self.ends(item, arrow);
        let start = self.label(item, arrow, from, to);
        let tail = (self.touch(from, to), start);
        let mut head = (self.touch(to, from), start + self.form.slope);
        let class = format!("arrow {}", arrow.look.class());
        match arrow.delivered_ns {
            Some(_) => self.svg.arrow(&class, tail, head),
            None => {
                head.0 = tail.0 + (head.0 - tail.0) * 0.8;
                head.1 = tail.1 + (head.1 - tail.1) * 0.8;
                self.svg.line(&format!("{class} lost"), tail, head);
                self.svg.cross(&class, head);
            }
        }
        self.state(arrow, from, to, start);
        self.state(arrow, to, from, start + self.form.slope);
        self.y = start + self.form.slope + 5.0;
        self.notes(arrow);
    }

    fn leaves(&mut self, item: &Item, arrow: &Arrow) {
        let (from, to) = self.ends(item, arrow);
        let start = self.label(item, arrow, from, to);
        let tail = (self.touch(from, to), start);
        self.leaving.insert(item as *const Item, tail);
        self.state(arrow, from, to, start);
        self.y = start + 6.0;
        self.notes(arrow);
    }

    fn arrives(&mut self, item: &Item, arrow: &Arrow) {
        let (from, to) = self.ends(item, arrow);
        let end = self.y + 10.0;
        let tail = self.leaving.remove(&(item as *const Item));
        let tail = tail.unwrap_or((self.touch(from, to), end));
        let class = format!("arrow {}", arrow.look.class());
        self.under.arrow(&class, tail, (self.touch(to, from), end));
        self.state(arrow, to, from, end);
        self.y = end + 4.0;
    }

    /// Where an arrow between two hosts touches the first one's line.
    fn touch(&self, at: usize, other: usize) -> f64 {
        let gap = if self.form.wide { 6.0 } else { 4.0 };
        self.lane(at) + if other > at { gap } else { -gap }
    }

    /// What a frame is, and when; the height at which its arrow begins.
    fn label(
        &mut self,
        item: &Item,
        arrow: &Arrow,
        from: usize,
        to: usize,
    ) -> f64 {
        let length = item.text.chars().count();
        let long = length > 42;
        let size = if long { " long" } else { "" };
        let class = format!("label {}{size}", arrow.look.class());
        let character = match long {
            true => self.form.character * 0.88,
            false => self.form.character,
        };
        let half = length as f64 * character / 2.0;
        let margin = if self.form.wide { CLOCK + 8.0 } else { 3.0 };
        let middle = (self.lane(from) + self.lane(to)) / 2.0;
        let middle = middle.clamp(
            (margin + half).min(self.form.width / 2.0),
            (self.form.width - 3.0 - half).max(self.form.width / 2.0),
        );
        let time = since(self.items, item.t_ns);
        if self.form.wide {
            let at = (CLOCK, self.y + 16.0);
            self.svg.text("time", Anchor::End, at, &time);
        } else {
            // Beside the label where there is room, else above it.
            const ROOM: f64 = 58.0;
            let text = format!("{time} ms");
            let (x, anchor) = match middle > self.form.width / 2.0 {
                true => (3.0, Anchor::Start),
                false => (self.form.width - 3.0, Anchor::End),
            };
            let free = (middle - half).max(self.form.width - middle - half);
            if free < ROOM {
                self.y += 12.0;
                self.svg.text("time", anchor, (x, self.y), &text);
            } else {
                self.svg.text("time", anchor, (x, self.y + 11.0), &text);
            }
        }
        self.y += 11.0;
        self.svg.text(&class, Anchor::Middle, (middle, self.y), &item.text);
        self.y + 6.0
    }

    /// A host's state where it has changed, on the far side of the arrow.
    fn state(&mut self, arrow: &Arrow, at: usize, other: usize, y: f64) {
        let Some(state) = arrow.states.get(self.hosts[at].as_str()) else {
            return;
        };
        let key = (arrow.connection, at);
        if self.said.get(&key).is_some_and(|said| said == state) {
            return;
        }
        self.said.insert(key, state.to_string());
        if !self.form.wide {
            return;
        }
        let text = match self.numbered {
            false => state.to_string(),
            true => format!("#{} {state}", arrow.connection),
        };
        let (x, anchor) = match other > at {
            true => (self.lane(at) - 8.0, Anchor::End),
            false => (self.lane(at) + 8.0, Anchor::Start),
        };
        self.svg.text("state", anchor, (x, y + 4.0), &text);
    }

    /// What the wire did to the frame above.
    fn notes(&mut self, arrow: &Arrow) {
        let middle = (self.form.lines.0 + self.form.lines.1) / 2.0;
        for note in &arrow.notes {
            for line in wrap(&format!("the wire: {note}"), 46) {
                self.y += 11.0;
                self.svg.text("note", Anchor::Middle, (middle, self.y), &line);
                self.y += 3.0;
            }
        }
    }

    /// Something on one host, beside its line.
    fn beside(&mut self, item: &Item) {
        let (class, mark) = match &item.kind {
            Kind::Output { error: true, .. } => ("output", "✎ stderr: "),
            Kind::Output { .. } => ("output", "✎ "),
            Kind::Call { .. } => ("call", ""),
            Kind::Listens => ("state", ""),
            _ => ("step", "▸ "),
        };
        let at = self.column(&item.host);
        let named = self.hosts.contains(&item.host);
        let text = match named {
            true => format!("{mark}{}", item.text),
            false => format!("{mark}{}: {}", item.host, item.text),
        };
        let x = self.lane(at);
        let to_right = x < self.form.width * 0.7;
        let (room, anchor, x) = match to_right {
            true => (self.form.width - x, Anchor::Start, x + 8.0),
            false => (x, Anchor::End, x - 8.0),
        };
        let most = if self.form.wide { 46.0 } else { 40.0 };
        let room = (room / 6.5 - 3.0).clamp(10.0, most) as usize;
        self.y += 2.0;
        if self.form.wide {
            let at = (CLOCK, self.y + 11.5);
            let time = since(self.items, item.t_ns);
            self.svg.text("time", Anchor::End, at, &time);
        }
        for line in wrap(&text, room) {
            self.y += 12.0;
            self.svg.text(class, anchor, (x, self.y), &line);
            self.y += 2.0;
        }
        self.y += 3.0;
    }

    fn fold(&mut self, item: &Item) {
        let middle = (self.form.lines.0 + self.form.lines.1) / 2.0;
        let wide = item.text.chars().count() as f64 * 6.4 + 18.0;
        self.y += 4.0;
        let (x, y) = (middle - wide / 2.0, self.y);
        self.svg.rect("fold", (x, y), (wide, 18.0), 4.0);
        self.svg.text("fold", Anchor::Middle, (middle, y + 12.5), &item.text);
        if self.form.wide {
            let time = since(self.items, item.t_ns);
            self.svg.text("time", Anchor::End, (CLOCK, y + 12.5), &time);
        }
        self.y += 22.0;
    }

    fn pause(&mut self, ns: u64) {
        let middle = (self.form.lines.0 + self.form.lines.1) / 2.0;
        let text = match ns / 1_000_000 {
            ms @ ..1000 => format!("{ms} ms pass"),
            ms => format!("{:.1} s pass", ms as f64 / 1000.0),
        };
        self.y += 14.0;
        self.svg.text("pause", Anchor::Middle, (middle, self.y), &text);
        self.y += 6.0;
    }

    fn finish(self, id: &str, title: &str, about: &str) -> String {
        let end = self.y + 6.0;
        let mut whole = Svg::new();
        for (at, top) in self.tops.iter().enumerate() {
            let x = self.lane(at);
            whole.line("life", (x, *top), (x, end));
        }
        whole.append(self.under);
        whole.append(self.svg);
        let class = format!("sequence {}", self.form.name);
        let size = (self.form.width, end + 2.0);
        whole.finish(&class, id, (title, about), size)
    }
}

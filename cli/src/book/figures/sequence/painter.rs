//! Draws one form of the figure, row by row.

use std::collections::HashMap;

use super::super::super::story::{Arrow, Item, Kind};
use super::super::svg::{Anchor, Svg, wrap};
use super::rows::Row;
use super::since;

/// The measures of one form of the figure.
pub struct Form {
    pub name: &'static str,
    width: f64,
    left: f64,
    right: f64,
    /// Are texts outside the hosts' lines, and times at the margin?
    wide: bool,
    /// How many characters there is room for beside the left and right line.
    room: (usize, usize),
    slope: f64,
}

/// For a column of 600 pixels and more.
pub const WIDE: Form = Form {
    name: "wide",
    width: 730.0,
    left: 226.0,
    right: 516.0,
    wide: true,
    room: (25, 31),
    slope: 15.0,
};

/// For a telephone.
pub const NARROW: Form = Form {
    name: "narrow",
    width: 344.0,
    left: 8.0,
    right: 336.0,
    wide: false,
    room: (48, 48),
    slope: 8.0,
};

/// Draws one form row by row.
pub struct Painter<'a> {
    form: &'a Form,
    hosts: [&'a str; 2],
    items: &'a [Item],
    svg: Svg,
    y: f64,
    /// What was last said of a connection on a side.
    said: HashMap<(usize, bool), String>,
    /// Where a frame that is under way left.
    leaving: HashMap<*const Item, (f64, f64)>,
    /// Calls that have not returned yet, and from where they wait.
    waiting: HashMap<*const Item, (&'a Item, f64)>,
    /// The bars on each side: from where, and in which phase.
    bars: [Option<(f64, &'static str)>; 2],
    /// Is there one connection, whose states are drawn as bars?
    bar: bool,
    /// Do labels number their connections?
    numbered: bool,
    /// Has it been said of a side that it listens?
    listens: [bool; 2],
    /// Hosts on which several programs print.
    crowded: Vec<&'a str>,
    /// Bars and long arrows lie under everything else.
    under: Svg,
}

impl<'a> Painter<'a> {
    /// Nothing drawn yet but the names of the hosts.
    pub fn new(
        form: &'a Form,
        left: &'a str,
        right: &'a str,
        items: &'a [Item],
    ) -> Painter<'a> {
        let mut connections =
            items.iter().filter_map(|item| match &item.kind {
                Kind::Frame(arrow) => Some(arrow.connection),
                _ => None,
            });
        let mut painter = Painter {
            form,
            hosts: [left, right],
            items,
            svg: Svg::new(),
            y: 0.0,
            said: HashMap::new(),
            leaving: HashMap::new(),
            waiting: HashMap::new(),
            bars: [None, None],
            bar: is_one(&mut connections),
            numbered: items.iter().any(|item| item.text.starts_with('#')),
            listens: [false, false],
            crowded: crowded(items),
            under: Svg::new(),
        };
        painter.header();
        painter
    }

    fn header(&mut self) {
        for (at, host) in self.hosts.iter().enumerate() {
            let width = host.chars().count() as f64 * 7.6 + 20.0;
            let x = self.lane(at);
            let left =
                (x - width / 2.0).clamp(1.0, self.form.width - width - 1.0);
            self.svg.rect("host", (left, 1.0), (width, 26.0), 5.0);
            let middle = (left + width / 2.0, 18.5);
            self.svg.text("host", Anchor::Middle, middle, host);
        }
        if self.form.wide {
            self.svg.text("time", Anchor::End, (46.0, 18.5), "ms");
        }
        self.y = 34.0;
    }

    fn lane(&self, side: usize) -> f64 {
        [self.form.left, self.form.right][side]
    }

    /// 0: left, 1: right. What other hosts do stands on the left.
    fn side(&self, host: &str) -> usize {
        usize::from(host == self.hosts[1])
    }

    /// Where an arrow touches a host's line.
    fn edge(&self, side: usize) -> f64 {
        let gap = if self.form.wide { 8.0 } else { 6.0 };
        if side == 0 { self.form.left + gap } else { self.form.right - gap }
    }

    /// Draws the next row.
    pub fn row(&mut self, row: &Row<'a>) {
        match row {
            Row::Through(item, arrow) => self.through(item, arrow),
            Row::Leaves(item, arrow) => self.leaves(item, arrow),
            Row::Arrives(item, arrow) => self.arrives(item, arrow),
            Row::Beside(item) => self.beside(item),
            Row::Calls(item, waits) => {
                let from = self.y + 9.0;
                self.beside(item);
                if *waits
                    && matches!(item.kind, Kind::Call { traced: true, .. })
                {
                    self.waiting.insert(*item as *const Item, (item, from));
                }
            }
            Row::Returns(item) => self.returns(item),
            Row::Fold(item) => self.fold(item),
            Row::Pause(ns) => self.pause(*ns),
        }
    }

    fn through(&mut self, item: &Item, arrow: &Arrow) {
        let from = self.side(&item.host);
        let to = 1 - from;
        let slope = self.form.slope;
        let start = self.y + if self.form.wide { 14.0 } else { 30.0 };
        self.time(item.t_ns, start);
        let tail = (self.edge(from), start);
        let mut head = (self.edge(to), start + slope);
        let class = format!("arrow {}", arrow.look.class());
        let kept = is_kept(arrow);
        if arrow.delivered_ns.is_none() {
            let part = if kept { 0.5 } else { 0.82 };
            head = (
                tail.0 + (head.0 - tail.0) * part,
                tail.1 + (head.1 - tail.1) * part,
            );
            self.svg.line(&format!("{class} lost"), tail, head);
            if !kept {
                self.svg.cross(&class, head);
            }
        } else {
            self.svg.arrow(&class, tail, head);
        }
        let whole = (self.edge(to), start + slope);
        self.label(item, arrow, tail, whole);
        self.states(arrow, from, (start, start + slope));
        let below = if self.form.wide { 7.0 } else { 4.0 };
        self.y = start + slope + below;
        self.notes(arrow);
    }

    fn label(
        &mut self,
        item: &Item,
        arrow: &Arrow,
        tail: (f64, f64),
        head: (f64, f64),
    ) {
        let middle = ((tail.0 + head.0) / 2.0, (tail.1 + head.1) / 2.0 - 4.5);
        let (from, to) =
            if tail.0 < head.0 { (tail, head) } else { (head, tail) };
        let degrees = (to.1 - from.1).atan2(to.0 - from.0).to_degrees();
        let class = label_class(item, arrow, self.form);
        self.svg.sloped(&class, middle, degrees, &item.text);
    }

    fn leaves(&mut self, item: &Item, arrow: &Arrow) {
        let from = self.side(&item.host);
        let start = self.y + if self.form.wide { 12.0 } else { 26.0 };
        self.time(item.t_ns, start);
        let at = (self.edge(from), start);
        self.leaving.insert(item as *const Item, at);
        // Where other arrows may cross it, the label stands at its tail.
        let (x, anchor) = match from {
            0 => (at.0 + 4.0, Anchor::Start),
            _ => (at.0 - 4.0, Anchor::End),
        };
        let class = label_class(item, arrow, self.form);
        self.svg.text(&class, anchor, (x, start - 3.5), &item.text);
        self.one_state(arrow, from, start);
        self.y = start + 8.0;
        self.notes(arrow);
    }

    fn arrives(&mut self, item: &Item, arrow: &Arrow) {
        let from = self.side(&item.host);
        let to = 1 - from;
        let end = self.y + if self.form.wide { 12.0 } else { 26.0 };
        let tail = self.leaving.remove(&(item as *const Item));
        let tail = tail.unwrap_or((self.edge(from), end));
        let head = (self.edge(to), end);
        let class = format!("arrow {}", arrow.look.class());
        // Under what has been written since it left.
        self.under.arrow(&class, tail, head);
        if let Some(there) = arrow.delivered_ns {
            self.time(there, end);
        }
        self.one_state(arrow, to, end);
        self.y = end + 6.0;
    }

    /// What the wire did to the frame above.
    fn notes(&mut self, arrow: &Arrow) {
        let middle = (self.form.left + self.form.right) / 2.0;
        let end = match is_kept(arrow) {
            true => "; to the end of the run",
            false => "",
        };
        for note in &arrow.notes {
            for line in wrap(&format!("the wire: {note}{end}"), 46) {
                self.y += 11.0;
                self.svg.text("note", Anchor::Middle, (middle, self.y), &line);
                self.y += 3.0;
            }
        }
    }

    fn states(&mut self, arrow: &Arrow, from: usize, (tail, head): (f64, f64)) {
        self.one_state(arrow, from, tail);
        self.one_state(arrow, 1 - from, head);
    }

    /// A host's state where it has changed.
    fn one_state(&mut self, arrow: &Arrow, side: usize, y: f64) {
        let Some(state) = arrow.states.get(self.hosts[side]) else { return };
        if *state == "LISTEN" && self.listens[side] {
            return;
        }
        let key = (arrow.connection, side == 1);
        if self.said.get(&key).is_some_and(|said| said == state) {
            return;
        }
        self.said.insert(key, state.to_string());
        let text = match (self.numbered, arrow.connection) {
            (false, _) => state.to_string(),
            (true, number) => format!("#{number} {state}"),
        };
        self.state(&text, side, y);
        if self.bar {
            self.end_bar(side, y);
            self.bars[side] = phase(state).map(|phase| (y, phase));
        }
    }

    fn state(&mut self, text: &str, side: usize, y: f64) {
        let (x, anchor, y) = match (self.form.wide, side) {
            (true, 0) => (self.form.left - 11.0, Anchor::End, y + 3.5),
            (true, _) => (self.form.right + 11.0, Anchor::Start, y + 3.5),
            // Above the arrow and its label.
            (false, 0) => (self.form.left + 9.0, Anchor::Start, y - 18.5),
            (false, _) => (self.form.right - 9.0, Anchor::End, y - 23.5),
        };
        self.svg.text("state", anchor, (x, y), text);
    }

    fn end_bar(&mut self, side: usize, y: f64) {
        let Some((from, phase)) = self.bars[side].take() else { return };
        let wide = if self.form.wide { 9.0 } else { 6.0 };
        let x = self.lane(side) - wide / 2.0;
        let height = (y - from - 1.5).max(1.0);
        let class = format!("bar {phase}");
        self.under.rect(&class, (x, from), (wide, height), wide / 2.0);
    }

    fn time(&mut self, t_ns: u64, y: f64) {
        let text = since(self.items, t_ns);
        match self.form.wide {
            true => {
                self.svg.text("time", Anchor::End, (46.0, y + 3.5), &text);
            }
            false => {
                let middle = (self.form.left + self.form.right) / 2.0;
                let at = (middle, y - 16.0);
                self.svg.text(
                    "time",
                    Anchor::Middle,
                    at,
                    &format!("{text} ms"),
                );
            }
        }
    }

    fn beside(&mut self, item: &Item) {
        let side = self.side(&item.host);
        if matches!(item.kind, Kind::Listens) {
            self.listens[side] = true;
            self.y += 13.0;
            self.state(
                &item.text,
                side,
                self.y + if self.form.wide { 0.0 } else { 20.0 },
            );
            self.y += 5.0;
            return;
        }
        let (class, mark) = match &item.kind {
            Kind::Output { error, program } => {
                let stream = if *error { "stderr: " } else { "" };
                let many = self.crowded.contains(&item.host.as_str());
                let who = match many {
                    true => format!("{program}: "),
                    false => String::new(),
                };
                ("output", format!("✎ {who}{stream}"))
            }
            Kind::Call { .. } => ("call", String::new()),
            _ => ("step", "▸ ".to_string()),
        };
        let text = match self.hosts.contains(&item.host.as_str()) {
            true => format!("{mark}{}", item.text),
            false => format!("{mark}{}: {}", item.host, item.text),
        };
        let room = [self.form.room.0, self.form.room.1][side];
        let (x, anchor) = match (self.form.wide, side) {
            (true, 0) => (self.form.left - 11.0, Anchor::End),
            (true, _) => (self.form.right + 11.0, Anchor::Start),
            (false, 0) => (self.form.left + 9.0, Anchor::Start),
            (false, _) => (self.form.right - 9.0, Anchor::End),
        };
        self.y += 2.0;
        if self.form.wide {
            self.time(item.t_ns, self.y + 8.0);
        }
        for line in wrap(&text, room) {
            self.y += 12.0;
            self.svg.text(class, anchor, (x, self.y), &line);
            self.y += 2.0;
        }
        self.y += 3.0;
    }

    /// A call that waited returns here.
    fn returns(&mut self, item: &Item) {
        let waiting = self.waiting.remove(&(item as *const Item));
        if let (Some((_, from)), Kind::Call { returned_ns: Some(there), .. }) =
            (waiting, &item.kind)
        {
            self.y += 9.0;
            self.time(*there, self.y - if self.form.wide { 1.0 } else { -2.0 });
            self.bracket(item, from, self.y, true);
            self.y += 4.0;
        }
    }

    /// A thin line beside the host's own, for as long as a call waits.
    fn bracket(&mut self, item: &Item, from: f64, to: f64, ends: bool) {
        let side = self.side(&item.host);
        let outward = if (side == 0) == self.form.wide { -1.0 } else { 1.0 };
        let x = self.lane(side) + outward * 7.0;
        let tick = x + outward * 3.0;
        self.under.line("waits", (x, from), (x, to));
        self.under.line("waits", (x, from), (tick, from));
        if ends {
            self.under.line("waits", (x, to), (tick, to));
        }
    }

    fn fold(&mut self, item: &Item) {
        let middle = (self.form.left + self.form.right) / 2.0;
        let wide = item.text.chars().count() as f64 * 6.4 + 18.0;
        self.y += 4.0;
        let (x, y) = (middle - wide / 2.0, self.y);
        self.svg.rect("fold", (x, y), (wide, 18.0), 4.0);
        self.svg.text("fold", Anchor::Middle, (middle, y + 12.5), &item.text);
        if self.form.wide {
            self.time(item.t_ns, y + 9.0);
        }
        self.y += 22.0;
    }

    fn pause(&mut self, ns: u64) {
        let middle = (self.form.left + self.form.right) / 2.0;
        let ms = ns / 1_000_000;
        let text = match ms {
            ..1000 => format!("{ms} ms pass"),
            _ => format!("{:.1} s pass", ms as f64 / 1000.0),
        };
        self.y += 14.0;
        let half = text.chars().count() as f64 * 3.2 + 8.0;
        let y = self.y - 3.5;
        for (from, to) in [
            (self.form.left + 14.0, middle - half),
            (middle + half, self.form.right - 14.0),
        ] {
            self.svg.line("pause", (from, y), (to, y));
        }
        self.svg.text("pause", Anchor::Middle, (middle, self.y), &text);
        self.y += 6.0;
    }

    /// The picture, with what a screen reader says in its place.
    pub fn finish(mut self, id: &str, title: &str, about: &str) -> String {
        let end = self.y + 6.0;
        let waiting: Vec<(&Item, f64)> =
            self.waiting.drain().map(|(_, waits)| waits).collect();
        for (item, from) in waiting {
            self.bracket(item, from, end, false);
        }
        let mut whole = Svg::new();
        for side in 0..2 {
            self.end_bar(side, end);
            let x = self.lane(side);
            whole.line("life", (x, 28.0), (x, end));
        }
        whole.append(self.under);
        whole.append(self.svg);
        let class = format!("sequence {}", self.form.name);
        let size = (self.form.width, end + 2.0);
        whole.finish(&class, id, (title, about), size)
    }
}

/// Has the wire kept the frame, and has it not been lost?
fn is_kept(arrow: &Arrow) -> bool {
    let kept = |note: &String| {
        ["held", "delayed", "reordered"].iter().any(|w| note.starts_with(w))
    };
    arrow.delivered_ns.is_none() && arrow.notes.iter().any(kept)
}

/// Is it about one connection at most?
fn is_one(connections: &mut dyn Iterator<Item = usize>) -> bool {
    let mut first = None;
    connections
        .filter(|number| *number > 0)
        .all(|number| *first.get_or_insert(number) == number)
}

/// Hosts on which more than one program prints.
fn crowded(items: &[Item]) -> Vec<&str> {
    let mut programs: HashMap<&str, &str> = HashMap::new();
    let mut crowded = Vec::new();
    for item in items {
        let Kind::Output { program, .. } = &item.kind else { continue };
        if programs.entry(&item.host).or_insert(program) != program {
            crowded.push(item.host.as_str());
        }
    }
    crowded
}

/// The class of a label; one that is wider than its arrow has smaller letters.
fn label_class(item: &Item, arrow: &Arrow, form: &Form) -> String {
    let room = if form.wide { 40 } else { 46 };
    let long = item.text.chars().count() > room;
    let size = if long { " long" } else { "" };
    format!("label {}{size}", arrow.look.class())
}

/// The phases that have colours of their own.
fn phase(state: &str) -> Option<&'static str> {
    match state {
        "CLOSED" => None,
        "LISTEN" | "SYN-SENT" | "SYN-RECV" => Some("opening"),
        "ESTABLISHED" => Some("established"),
        "TIME-WAIT" => Some("waiting"),
        _ => Some("closing"),
    }
}

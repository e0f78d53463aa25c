//! The time-sequence figure: two hosts, time running down, every frame an
//! arrow from the moment it left to the moment it arrived.
//!
//! It is drawn twice from the same rows: wide, with states and output beside
//! the hosts' lines, and narrow, for a telephone, with everything between them.
//! Where frames of a third host are shown, each host has a column of its own.

mod columns;
mod painter;
mod rows;
mod table;

use testbed::Trace;

use super::super::story::{self, Item, Kind, pair};
use painter::{NARROW, Painter, WIDE};
use rows::rows;

pub use table::table;

/// Both forms of the figure, and its events as a table.
pub fn draw(trace: &Trace, items: &[Item], id: &str, title: &str) -> String {
    let (left, right) = pair(trace);
    let rows = rows(items);
    let about = about(items, &left, &right);
    let hosts = story::columns(trace, items);
    if hosts != [left.as_str(), right.as_str()] {
        return columns::draw(&hosts, items, &rows, id, title, &about);
    }
    let forms = [&WIDE, &NARROW].map(|form| {
        let mut painter = Painter::new(form, &left, &right, items);
        for row in &rows {
            painter.row(row);
        }
        painter.finish(&format!("{id}-{}", form.name), title, &about)
    });
    forms.concat()
}

/// What the figure shows, in a sentence or two.
fn about(items: &[Item], left: &str, right: &str) -> String {
    let mut text = format!("Time runs down from {left} to {right}. ");
    let arrows = items.iter().filter_map(|item| match &item.kind {
        Kind::Frame(arrow) => Some((item, arrow)),
        _ => None,
    });
    let mut count = 0;
    let mut last = None;
    let frames: Vec<String> = arrows
        .map(|(item, arrow)| {
            count += 1;
            last = Some(arrow);
            let lost = if arrow.delivered_ns.is_some() { "" } else { ", lost" };
            format!("{} sends {}{lost}", item.host, item.text)
        })
        .take(12)
        .collect();
    let more = count.max(frames.len()) - frames.len();
    text.push_str(&frames.join("; "));
    if more > 0 {
        text.push_str(&format!("; and {more} frames more"));
    }
    text.push('.');
    let states = last.map(|arrow| {
        let state = |host| arrow.states.get(host).copied();
        (state(left), state(right))
    });
    if let Some((Some(a), Some(b))) = states {
        text.push_str(&format!(" At last {left} is in {a}, {right} in {b}."));
    }
    text
}

/// Milliseconds since the first of the items.
fn since(items: &[Item], t_ns: u64) -> String {
    let first = items.first().map_or(0, |item| item.t_ns);
    let ms = t_ns.saturating_sub(first) as f64 / 1e6;
    match ms {
        0.0..10.0 => format!("{ms:.2}"),
        10.0..100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

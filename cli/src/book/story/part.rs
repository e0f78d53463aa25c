//! Which part of a run is told: what is hidden, what is left out before and
//! after, what is folded into one line.

use anyhow::{Context, ensure};
use testbed::Matcher;
use testbed::trace::{Event, Stream, What};

use super::super::page::Settings;
use super::{Item, Kind};

/// What `hide=` names.
pub(super) enum Hidden {
    Output,
    Errors,
    Steps,
    Calls,
    Notes,
    Frames(Matcher),
}

impl Hidden {
    pub(super) fn parse(text: &str) -> anyhow::Result<Hidden> {
        Ok(match text {
            "output" => Hidden::Output,
            "errors" => Hidden::Errors,
            "steps" => Hidden::Steps,
            "calls" => Hidden::Calls,
            "notes" => Hidden::Notes,
            kind => Hidden::Frames(kind.parse()?),
        })
    }

    pub(super) fn hides(&self, event: &Event) -> bool {
        match (self, &event.what) {
            (Hidden::Output, What::Output(_))
            | (Hidden::Steps, What::Step { .. })
            | (Hidden::Calls, What::Call(_)) => true,
            (Hidden::Errors, What::Output(line)) => {
                line.stream == Stream::Stderr
            }
            (Hidden::Frames(matcher), What::Frame(frame)) => {
                matcher.matches(&event.host, &frame.packet())
            }
            _ => false,
        }
    }
}

/// Items, and which `fold=` each is matched by.
type Folded = Vec<(Item, Option<usize>)>;

/// What `from=`, `until=` and `to=` leave.
pub(super) fn select(
    items: Vec<Item>,
    folded: Vec<Option<usize>>,
    settings: &Settings<'_>,
) -> anyhow::Result<Folded> {
    let mut items: Folded = items.into_iter().zip(folded).collect();
    let find = |items: &Folded, text: &str| {
        let at = items.iter().position(|(item, _)| item.text.contains(text));
        at.with_context(|| format!("nothing in the run contains `{text}`"))
    };
    if let Some(text) = settings.get("from") {
        items.drain(..find(&items, text)?);
    }
    if let Some(text) = settings.get("until") {
        let at = find(&items[1.min(items.len())..].to_vec(), text)?;
        items.truncate(at + 1);
    }
    if let Some(text) = settings.get("to") {
        items.truncate(find(&items, text)? + 1);
    }
    ensure!(!items.is_empty(), "nothing of the run is left to be shown");
    Ok(items)
}

/// Joins neighbours that one `fold=` matches.
pub(super) fn fold(
    items: Folded,
    settings: &Settings<'_>,
) -> anyhow::Result<Vec<Item>> {
    let words: Vec<&str> = settings.all("fold").collect();
    let mut told: Vec<Item> = Vec::new();
    let mut at = 0;
    while at < items.len() {
        let (first, by) = &items[at];
        let Some(rule) = by else {
            told.push(first.clone());
            at += 1;
            continue;
        };
        let same = items[at..].iter().take_while(|(_, by)| by == &Some(*rule));
        let count = same.count();
        let last = &items[at + count - 1].0;
        let until_ns = match &last.kind {
            Kind::Frame(arrow) => arrow.delivered_ns.unwrap_or(last.t_ns),
            _ => last.t_ns,
        };
        let what = words[*rule];
        let frames = if count == 1 { "frame" } else { "frames" };
        told.push(Item {
            text: format!("{count} {frames} folded: {what}"),
            kind: Kind::Fold { until_ns },
            ..first.clone()
        });
        at += count;
    }
    Ok(told)
}

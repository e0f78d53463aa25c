//! What happens, brought onto one time axis: a row for each moment.

use super::super::super::story::{Arrow, Item, Kind};

/// A pause in the run that is worth a row.
const PAUSE_NS: u64 = 40_000_000;

/// One line of the figure.
pub enum Row<'a> {
    /// A frame that arrived before anything else happened, or never did.
    Through(&'a Item, &'a Arrow),
    /// A frame that arrives in a later row.
    Leaves(&'a Item, &'a Arrow),
    /// That frame arrives.
    Arrives(&'a Item, &'a Arrow),
    /// Something on one host.
    Beside(&'a Item),
    /// A program calls; does it return in a later row, or never?
    Calls(&'a Item, bool),
    /// A traced call returns, and other things have happened since its entry.
    Returns(&'a Item),
    /// Frames that are folded.
    Fold(&'a Item),
    /// Nothing happens for this long.
    Pause(u64),
}

/// The rows of a figure, from the top.
pub fn rows(items: &[Item]) -> Vec<Row<'_>> {
    // Departures, arrivals and the rest on one time axis. Arrivals that come
    // before the next thing happens share the row of their departure.
    let mut moments: Vec<(u64, usize, bool)> = Vec::new();
    let last = items.iter().map(|item| item.t_ns).max().unwrap_or(0);
    for (at, item) in items.iter().enumerate() {
        moments.push((item.t_ns, at, false));
        // What returns after all that is shown, does not here.
        if let Kind::Call { returned_ns: Some(there), .. } = &item.kind
            && *there <= last
        {
            moments.push((*there, at, true));
        }
        if let Kind::Frame(Arrow { delivered_ns: Some(there), .. }) = &item.kind
        {
            moments.push((*there, at, true));
        }
    }
    moments.sort_by_key(|(t_ns, at, arrival)| (*t_ns, *at, *arrival));
    let mut rows = Vec::new();
    let mut before: Option<u64> = None;
    let mut next = moments.iter().peekable();
    while let Some((t_ns, at, arrival)) = next.next() {
        let item = &items[*at];
        if let Some(before) = before
            && t_ns.saturating_sub(before) > PAUSE_NS
        {
            rows.push(Row::Pause(t_ns - before));
        }
        before = Some(*t_ns);
        rows.push(match (&item.kind, arrival) {
            (Kind::Frame(arrow), true) => Row::Arrives(item, arrow),
            (Kind::Frame(arrow), false) => {
                let at_once = next
                    .peek()
                    .is_some_and(|(_, other, arrival)| other == at && *arrival);
                let late = arrow
                    .delivered_ns
                    .is_some_and(|there| there - t_ns > PAUSE_NS);
                if arrow.delivered_ns.is_none() {
                    Row::Through(item, arrow)
                } else if at_once && !late {
                    next.next();
                    before = arrow.delivered_ns;
                    Row::Through(item, arrow)
                } else {
                    Row::Leaves(item, arrow)
                }
            }
            (Kind::Call { .. }, true) => Row::Returns(item),
            (Kind::Call { returned_ns, .. }, false) => {
                let at_once = next
                    .peek()
                    .is_some_and(|(_, other, back)| other == at && *back);
                let waits = returned_ns.is_some_and(|t| t - t_ns > PAUSE_NS);
                let waits = waits || !at_once;
                if !waits {
                    next.next();
                    before = *returned_ns;
                }
                Row::Calls(item, waits)
            }
            (Kind::Fold { until_ns }, _) => {
                before = Some(*until_ns);
                Row::Fold(item)
            }
            _ => Row::Beside(item),
        });
    }
    rows
}

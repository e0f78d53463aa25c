//! The events of a figure as a table, for who cannot see it or wants to look up.

use testbed::Trace;

use super::super::super::page::escape;
use super::super::super::story::{Item, Kind, pair};
use super::since;

/// The items as a table: when, where, what, and for a frame both ends' states.
pub fn table(trace: &Trace, items: &[Item]) -> String {
    let (left, right) = pair(trace);
    let frames = items.iter().any(|i| matches!(i.kind, Kind::Frame(_)));
    let heads = match frames {
        true => vec!["ms", "host", "what", &left, &right],
        false => vec!["ms", "host", "what"],
    };
    let mut html = String::from("<table><thead><tr>");
    for head in heads {
        html.push_str(&format!("<th scope=\"col\">{}</th>", escape(head)));
    }
    html.push_str("</tr></thead><tbody>\n");
    for item in items {
        let (what, states) = match &item.kind {
            Kind::Frame(arrow) => {
                let mut what = escape(&item.text);
                if arrow.delivered_ns.is_none() {
                    what.push_str(" <strong>✗ lost</strong>");
                }
                for note in &arrow.notes {
                    what.push_str(&format!("<br><em>{}</em>", escape(note)));
                }
                let state = |host| arrow.states.get(host).copied();
                (what, (state(&left), state(&right)))
            }
            Kind::Output { .. } => {
                let line = escape(&item.text);
                (format!("prints <samp>{line}</samp>"), (None, None))
            }
            Kind::Listens => {
                let state = Some(item.text.as_str());
                let on = |host: &String| *host == item.host;
                let states =
                    (state.filter(|_| on(&left)), state.filter(|_| on(&right)));
                ("listens".to_string(), states)
            }
            _ => (escape(&item.text), (None, None)),
        };
        html.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{what}</td>",
            since(items, item.t_ns),
            escape(&item.host)
        ));
        if frames {
            let (a, b) = states;
            let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
            html.push_str(&format!("<td>{a}</td><td>{b}</td>"));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table>\n");
    html
}

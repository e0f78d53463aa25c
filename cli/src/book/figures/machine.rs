//! The TCP state machine (RFC 9293, section 3.3.2), and the two ends' way
//! through it in a recorded run.

use std::collections::BTreeSet;

use testbed::Trace;
use testbed::trace::What;

use super::super::page::escape;
use super::super::story::pair;
use super::svg::{Anchor, Svg};

/// The states, each with the middle of its box.
const STATES: &[(&str, f64, f64)] = &[
    ("CLOSED", 180.0, 20.0),
    ("SYN-SENT", 76.0, 92.0),
    ("LISTEN", 298.0, 68.0),
    ("SYN-RECV", 298.0, 138.0),
    ("ESTABLISHED", 180.0, 200.0),
    ("FIN-WAIT-1", 76.0, 266.0),
    ("CLOSE-WAIT", 298.0, 266.0),
    ("CLOSING", 180.0, 318.0),
    ("FIN-WAIT-2", 76.0, 346.0),
    ("LAST-ACK", 298.0, 346.0),
    ("TIME-WAIT", 76.0, 426.0),
    ("CLOSED ", 180.0, 486.0),
];

/// The transitions: from, to, and what is done or seen / what is sent.
const STEPS: &[(&str, &str, &str)] = &[
    ("CLOSED", "SYN-SENT", "connect / SYN"),
    ("CLOSED", "LISTEN", "listen"),
    ("LISTEN", "SYN-RECV", "SYN / SYN ACK"),
    ("SYN-SENT", "SYN-RECV", "SYN / SYN ACK"),
    ("SYN-SENT", "ESTABLISHED", "SYN ACK / ACK"),
    ("SYN-RECV", "ESTABLISHED", "ACK"),
    ("ESTABLISHED", "FIN-WAIT-1", "close / FIN"),
    ("ESTABLISHED", "CLOSE-WAIT", "FIN / ACK"),
    ("FIN-WAIT-1", "FIN-WAIT-2", "ACK"),
    ("FIN-WAIT-1", "CLOSING", "FIN / ACK"),
    ("FIN-WAIT-1", "TIME-WAIT", "FIN ACK / ACK"),
    ("FIN-WAIT-2", "TIME-WAIT", "FIN / ACK"),
    ("CLOSING", "TIME-WAIT", "ACK"),
    ("CLOSE-WAIT", "LAST-ACK", "close / FIN"),
    ("LAST-ACK", "CLOSED ", "ACK"),
    ("TIME-WAIT", "CLOSED ", "60 s"),
];

const BOX: (f64, f64) = (96.0, 26.0);

/// The machine with both ends' ways, and the ways as a table.
///
/// # Errors
///
/// The run has no TCP connection.
pub fn draw(
    trace: &Trace,
    id: &str,
    title: &str,
) -> anyhow::Result<(String, String)> {
    let (left, right) = pair(trace);
    let ways = [way(trace, &left), way(trace, &right)];
    for (host, way) in [&left, &right].into_iter().zip(&ways) {
        anyhow::ensure!(!way.is_empty(), "{host} has no TCP connection");
    }
    let taken = ways.each_ref().map(|way| {
        let steps = way.windows(2);
        steps.map(|w| (w[0].clone(), w[1].clone())).collect::<BTreeSet<_>>()
    });
    let mut svg = Svg::new();
    for (from, to, label) in STEPS {
        let step = (from.to_string(), to.to_string());
        let by = (taken[0].contains(&step), taken[1].contains(&step));
        arrow(&mut svg, from, to, label, by);
    }
    for (state, x, y) in STATES {
        let on = |way: &Vec<String>| way.iter().any(|s| s == state);
        let class = format!("box {}", whose((on(&ways[0]), on(&ways[1]))));
        let corner = (x - BOX.0 / 2.0, y - BOX.1 / 2.0);
        svg.rect(&class, corner, BOX, 6.0);
        svg.text("name", Anchor::Middle, (*x, y + 4.0), state.trim());
    }
    for (at, host) in [&left, &right].into_iter().enumerate() {
        let y = 462.0 + 22.0 * at as f64;
        let class = ["arrow left", "arrow right"][at];
        svg.arrow(class, (246.0, y), (270.0, y));
        svg.text("key", Anchor::Start, (274.0, y + 3.5), host);
    }
    let told = |host: &str, way: &[String]| {
        let names: Vec<&str> = way.iter().map(|s| s.trim()).collect();
        format!("{host}: {}", names.join(", "))
    };
    let about =
        format!("{}. {}.", told(&left, &ways[0]), told(&right, &ways[1]));
    let drawn = svg.finish("machine", id, (title, &about), (366.0, 504.0));
    let mut table = String::from(
        "<table><thead><tr><th scope=\"col\">host</th><th scope=\"col\">its \
         states, in order</th></tr></thead><tbody>\n",
    );
    for (host, way) in [&left, &right].into_iter().zip(&ways) {
        let names: Vec<&str> = way.iter().map(|s| s.trim()).collect();
        table.push_str(&format!(
            "<tr><td>{}</td><td>{}</td></tr>\n",
            escape(host),
            names.join(", ")
        ));
    }
    table.push_str("</tbody></table>\n");
    Ok((drawn, table))
}

/// A host's states in its first connection; CLOSED at the end is another box
/// than CLOSED at the beginning.
fn way(trace: &Trace, host: &str) -> Vec<String> {
    let mut first = None;
    let mut way: Vec<String> = Vec::new();
    for event in trace.events.iter().filter(|event| event.host == host) {
        let What::State(change) = &event.what else { continue };
        let name = change.to.name();
        if change.peer.port() == 0 {
            if way.is_empty() && name == "LISTEN" {
                way.extend(["CLOSED".to_string(), "LISTEN".to_string()]);
            }
            continue;
        }
        let ends = (change.local, change.peer);
        if *first.get_or_insert(ends) != ends {
            continue;
        }
        if way.is_empty() {
            way.push("CLOSED".to_string());
        }
        match name {
            "CLOSED" => way.push("CLOSED ".to_string()),
            name => way.push(name.to_string()),
        }
    }
    if first.is_none() { Vec::new() } else { way }
}

fn whose(by: (bool, bool)) -> &'static str {
    match by {
        (true, true) => "both",
        (true, false) => "left",
        (false, true) => "right",
        (false, false) => "off",
    }
}

fn arrow(svg: &mut Svg, from: &str, to: &str, label: &str, by: (bool, bool)) {
    let find = |name: &str| STATES.iter().find(|(state, ..)| *state == name);
    let (Some((_, x1, y1)), Some((_, x2, y2))) = (find(from), find(to)) else {
        return;
    };
    let around = (from, to) == ("FIN-WAIT-1", "TIME-WAIT");
    let class = whose(by);
    if around {
        // Past FIN-WAIT-2, at the left margin.
        let x = x1 - BOX.0 / 2.0 - 7.0;
        let edge = x1 - BOX.0 / 2.0;
        svg.line(&format!("arrow {class}"), (edge, *y1), (x, *y1));
        svg.line(&format!("arrow {class}"), (x, *y1), (x, *y2));
        svg.arrow(&format!("arrow {class}"), (x, *y2), (edge, *y2));
        let at = (x - 4.0, (y1 + y2) / 2.0);
        svg.sloped(&format!("step {class}"), at, -90.0, label);
        return;
    }
    let start = border((*x1, *y1), (*x2, *y2));
    let end = border((*x2, *y2), (*x1, *y1));
    svg.arrow(&format!("arrow {class}"), start, end);
    let middle = ((start.0 + end.0) / 2.0, (start.1 + end.1) / 2.0 + 3.0);
    svg.text(&format!("step {class}"), Anchor::Middle, middle, label);
}

/// Where the line from the middle of a box to another point leaves the box.
fn border(at: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (to.0 - at.0, to.1 - at.1);
    let scale = (BOX.0 / 2.0 + 2.0) / dx.abs().max(0.01);
    let scale = scale.min((BOX.1 / 2.0 + 2.0) / dy.abs().max(0.01));
    (at.0 + dx * scale, at.1 + dy * scale)
}

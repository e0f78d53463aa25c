//! The trace as text: a time-sequence diagram between two hosts.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Event, Frame, Trace, View, What};
use crate::wire::Matcher;

/// The widest state name, CLOSE-WAIT or ESTABLISHED, and a space.
const STATE: usize = 12;
/// The length of an arrow with what is written on it.
const ARROW: usize = 50;

impl Trace {
    /// What is the same in every run: names for addresses, numbers relative to
    /// the first, no ports and no clock.
    ///
    /// Each line is a frame: left and right the state of the connection on
    /// either host once the frame had arrived, or was lost (`✗`).
    pub fn to_text(&self) -> String {
        self.render(false)
    }

    /// The same with milliseconds in front.
    pub fn to_timeline(&self) -> String {
        self.render(true)
    }

    /// The trace without the frames that do not match.
    ///
    /// # Errors
    ///
    /// `what` is not a KIND with what may follow it; see [`crate::Rule`].
    pub fn select(&self, what: &str) -> crate::Result<Trace> {
        let matcher: Matcher = what.parse()?;
        let mut selected = self.clone();
        selected.events.retain(|event| match &event.what {
            What::Frame(frame) => matcher.matches(&event.host, &frame.packet()),
            _ => true,
        });
        Ok(selected)
    }

    fn render(&self, clock: bool) -> String {
        let mut text = String::new();
        let mut view = View::new();
        let (left, right) = self.pair();
        let margin = if clock { " ".repeat(10) } else { String::new() };
        let gap = (STATE + ARROW + 2).saturating_sub(left.len());
        line(&mut text, &format!("{margin}{left}{}{right}", " ".repeat(gap)));
        let several = self.connections() > 1;
        for event in &self.events {
            let stamp = match clock {
                true => format!("{:>8.3}  ", event.t_ns as f64 / 1e6),
                false => String::new(),
            };
            match &event.what {
                What::Frame(frame) => {
                    let what = self.caption(frame, &mut view, several);
                    let drawn = draw(event, frame, &what, &left, &right);
                    line(&mut text, &format!("{stamp}{drawn}"));
                    for note in &frame.wire {
                        let indent = " ".repeat(STATE + 2);
                        line(&mut text, &format!("{margin}{indent}^ {note}"));
                    }
                }
                What::Output(out) => {
                    let said = self.without_ports(&out.line);
                    let host = &event.host;
                    line(&mut text, &format!("{stamp}{host} prints: {said}"));
                }
                What::Step { text: step } => {
                    let step = self.without_ports(step);
                    line(
                        &mut text,
                        &format!("{stamp}[{}: {step}]", event.host),
                    );
                }
                // Between segments only a listener is worth a line; the rest
                // stands beside the segments.
                What::State(change) => {
                    if change.peer.port() == 0 && change.from.is_none() {
                        let state = change.to.name();
                        let drawn = place(&event.host, state, &left);
                        line(&mut text, &format!("{stamp}{drawn}"));
                    }
                }
            }
        }
        for loss in &self.losses {
            line(&mut text, &format!("VOID: {loss}, and nobody asked for it"));
        }
        text
    }

    /// The hosts on the left and on the right: the first two that spoke TCP to
    /// each other, else the first two of the plan.
    fn pair(&self) -> (String, String) {
        let mut view = View::new();
        let first = self
            .frames()
            .find_map(|(_, frame)| view.segment(self, frame))
            .map(|segment| (segment.from, segment.to));
        let name = |at: usize| {
            self.hosts
                .get(at)
                .map_or_else(String::new, |host| host.name.clone())
        };
        first.unwrap_or_else(|| (name(0), name(1)))
    }

    fn connections(&self) -> usize {
        let mut view = View::new();
        let numbers = self
            .frames()
            .filter_map(|(_, frame)| view.segment(self, frame))
            .map(|segment| segment.connection);
        numbers.max().unwrap_or(0)
    }

    fn caption(&self, frame: &Frame, view: &mut View, several: bool) -> String {
        let Some(segment) = view.segment(self, frame) else {
            return frame.packet().describe(&|address| self.name_of(address));
        };
        let mut caption = segment.summary();
        if several {
            caption = format!("#{} {caption}", segment.connection);
        }
        caption
    }

    /// Writes `host:PORT` for each `address:number` of this network.
    fn without_ports(&self, said: &str) -> String {
        let mut text = said.to_string();
        for host in &self.hosts {
            for address in &host.addresses {
                let written = match address {
                    IpAddr::V4(v4) => format!("{v4}:"),
                    IpAddr::V6(v6) => format!("[{v6}]:"),
                };
                let named = format!("{}:PORT", host.name);
                text = replace_port(&text, &written, &named);
            }
        }
        text
    }
}

/// Replaces each `written` that digits follow, and the digits.
fn replace_port(text: &str, written: &str, named: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(written) {
        let after = &rest[at + written.len()..];
        let digits = after.chars().take_while(char::is_ascii_digit).count();
        result.push_str(&rest[..at]);
        result.push_str(if digits > 0 { named } else { written });
        rest = &after[digits..];
    }
    result + rest
}

/// `SYN-SENT    ──── SYN seq 0 ────▶ SYN-RECV`
fn draw(
    event: &Event,
    frame: &Frame,
    what: &str,
    left: &str,
    right: &str,
) -> String {
    let state = |host: &str| frame.states.get(host).map_or("", |s| s.name());
    let arrives = frame.delivered_ns.is_some();
    let label = format!(" {what} ");
    let dashes = ARROW.saturating_sub(label.chars().count() + 2);
    let (before, after) =
        ("─".repeat(dashes / 2), "─".repeat(dashes - dashes / 2));
    let arrow = match (event.host == right, arrives) {
        (false, true) => format!("─{before}{label}{after}▶"),
        (false, false) => format!("─{before}{label}{after}✗"),
        (true, true) => format!("◀{before}{label}{after}─"),
        (true, false) => format!("✗{before}{label}{after}─"),
    };
    let mut drawn = format!("{:<STATE$} {arrow} {}", state(left), state(right));
    if event.host != left && event.host != right {
        let _ = write!(drawn, " (by {})", event.host);
    }
    drawn
}

fn place(host: &str, state: &str, left: &str) -> String {
    let indent = if host == left { 0 } else { STATE + ARROW + 2 };
    format!("{}{state}", " ".repeat(indent))
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_replaced_and_nothing_else() {
        let replace = |text| replace_port(text, "10.0.0.1:", "a:PORT");
        assert_eq!(replace("on 10.0.0.1:80, ok"), "on a:PORT, ok");
        assert_eq!(replace("10.0.0.1: no"), "10.0.0.1: no");
        assert_eq!(replace("10.0.0.1:1 10.0.0.1:2"), "a:PORT a:PORT");
    }
}

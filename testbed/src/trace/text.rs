//! The trace as text: a time-sequence diagram between two hosts.

use std::net::IpAddr;

use super::{
    CallEvent, Event, Frame, ReturnEvent, StateChange, Trace, View, What,
};
use crate::sockets::TcpState;
use crate::wire::Matcher;

/// The widest state name, CLOSE-WAIT or ESTABLISHED, and a space.
const STATE: usize = 12;
/// The length of an arrow with what is written on it.
const ARROW: usize = 50;

impl Trace {
    /// What is the same in every run: names for addresses, numbers relative to
    /// the first, no ports and no clock. Only where a program's line stands
    /// among the frames is left to chance: two hosts do not wait for each other.
    ///
    /// Each line is a frame: left and right the state of the connection on
    /// either host once the frame had arrived, or was lost (`✗`). A frame from
    /// or to a third host says both names: `router → www.example.test`. System
    /// calls are left out.
    pub fn to_text(&self) -> String {
        self.render(Painter::new(self, false))
    }

    /// The same with milliseconds in front.
    pub fn to_timeline(&self) -> String {
        self.render(Painter::new(self, true))
    }

    /// The text with a line for each watched system call. Which of two threads
    /// was first is left to chance, unless the scenario held them.
    pub fn to_text_with_calls(&self) -> String {
        self.render(Painter::new(self, false).with_calls())
    }

    /// The timeline with a line for each watched system call.
    pub fn to_timeline_with_calls(&self) -> String {
        self.render(Painter::new(self, true).with_calls())
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

    fn render(&self, mut painter: Painter) -> String {
        painter.several = self.connections() > 1;
        let mut text = painter.header();
        for event in &self.events {
            text.push_str(&painter.paint(self, event));
        }
        text.push_str(&painter.finish(self));
        if self.not_kept > 0 {
            let more = self.not_kept;
            line(&mut text, &format!("({more} frames more, not recorded)"));
        }
        if self.calls_not_kept > 0 && painter.calls {
            let more = self.calls_not_kept;
            line(&mut text, &format!("({more} calls more, not recorded)"));
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

/// Draws events one by one, as they happen or afterwards.
pub struct Painter {
    left: String,
    right: String,
    clock: bool,
    calls: bool,
    changes: bool,
    several: bool,
    view: View,
    /// Traced calls that are not drawn yet, in the order of their entries.
    calls_ahead: Vec<Ahead>,
    /// Are programs traced? Their watched calls are told twice then.
    sees_all: bool,
}

/// A traced call, and its return if that has come.
struct Ahead {
    t_ns: u64,
    host: String,
    call: CallEvent,
    returned: Option<ReturnEvent>,
}

/// A call that has not returned after this is drawn as one that waits.
const WAITS_NS: u64 = 1_000_000;

impl Painter {
    /// For a trace that may still be empty but for its hosts. With `clock`
    /// each line begins with its milliseconds, and output keeps its ports.
    pub fn new(trace: &Trace, clock: bool) -> Painter {
        let (left, right) = trace.pair();
        Painter {
            left,
            right,
            clock,
            calls: false,
            changes: false,
            several: false,
            view: View::new(),
            calls_ahead: Vec::new(),
            sees_all: false,
        }
    }

    /// Draws system calls too: those that are traced, where any are, else
    /// those that are watched.
    pub fn with_calls(mut self) -> Painter {
        self.calls = true;
        self
    }

    /// Draws every change of state, and not only new listeners.
    pub fn with_changes(mut self) -> Painter {
        self.changes = true;
        self
    }

    /// Does a frame's line show this end's state? There is a column for each of
    /// two hosts.
    pub(super) fn shows(&self, host: &str) -> bool {
        host == self.left || host == self.right
    }

    /// The names of the two hosts, each above its column.
    pub fn header(&self) -> String {
        let margin = self.margin();
        let gap = (STATE + ARROW + 2).saturating_sub(self.left.len());
        let gap = " ".repeat(gap);
        let mut text = String::new();
        line(&mut text, &format!("{margin}{}{gap}{}", self.left, self.right));
        text
    }

    /// The lines of one event; none for what stands beside the segments, and
    /// for a traced call until it has returned, or other things happen
    /// meanwhile: `accept4(3) …`, and later `… accept4 = 4`.
    pub fn paint(&mut self, trace: &Trace, event: &Event) -> String {
        match &event.what {
            What::Call(call) if call.text.is_some() => {
                self.sees_all = true;
                if !self.calls || call.startup {
                    return String::new();
                }
                let text = self.draw_ahead(trace, |oldest| {
                    event.t_ns.saturating_sub(oldest.t_ns) > WAITS_NS
                });
                self.calls_ahead.push(Ahead {
                    t_ns: event.t_ns,
                    host: event.host.clone(),
                    call: call.clone(),
                    returned: None,
                });
                text
            }
            What::Return(returned) => {
                if !self.calls || returned.startup {
                    return String::new();
                }
                self.returns(trace, event, returned)
            }
            _ => {
                let drawn = self.draw_event(trace, event);
                match drawn.is_empty() {
                    true => drawn,
                    false => self.finish(trace) + &drawn,
                }
            }
        }
    }

    /// The lines of what has not returned.
    pub fn finish(&mut self, trace: &Trace) -> String {
        self.draw_ahead(trace, |_| true)
    }

    fn returns(
        &mut self,
        trace: &Trace,
        event: &Event,
        returned: &ReturnEvent,
    ) -> String {
        let mut ahead = self.calls_ahead.iter_mut();
        let own = ahead
            .find(|one| one.call.tid == returned.tid && one.returned.is_none());
        if let Some(own) = own {
            own.returned = Some(returned.clone());
            return self.draw_ahead(trace, |_| false);
        }
        let ReturnEvent { program, thread, name, text, .. } = returned;
        let said = format!("… {name} {text}");
        self.call_line(trace, event, &who(program, *thread), &said)
    }

    /// Draws the oldest calls: those that have returned, and others if `now`
    /// says so.
    fn draw_ahead(
        &mut self,
        trace: &Trace,
        now: impl Fn(&Ahead) -> bool,
    ) -> String {
        let mut text = String::new();
        while let Some(oldest) = self.calls_ahead.first() {
            if oldest.returned.is_none() && !now(oldest) {
                break;
            }
            let Ahead { t_ns, host, call, returned } =
                self.calls_ahead.remove(0);
            let entered = call.text.clone().unwrap_or_default();
            let said = match &returned {
                Some(returned) => format!("{entered} {}", returned.text),
                // Nobody comes back from it.
                None if call.name.starts_with("exit") => entered,
                None => format!("{entered} …"),
            };
            let who = who(&call.program, call.thread);
            let event = Event { t_ns, host, what: What::Call(call) };
            text.push_str(&self.call_line(trace, &event, &who, &said));
        }
        text
    }

    fn call_line(
        &self,
        trace: &Trace,
        event: &Event,
        who: &str,
        said: &str,
    ) -> String {
        let (stamp, host) = (self.stamp(event.t_ns), &event.host);
        let said = self.plain(trace, said);
        let mut text = String::new();
        line(&mut text, &format!("{stamp}{host} {who}: {said}"));
        text
    }

    fn stamp(&self, t_ns: u64) -> String {
        match self.clock {
            true => format!("{:>8.3}  ", t_ns as f64 / 1e6),
            false => String::new(),
        }
    }

    /// What is the same in every run; with a clock, all of it.
    fn plain(&self, trace: &Trace, said: &str) -> String {
        match self.clock {
            true => said.to_string(),
            false => trace.without_ports(said),
        }
    }

    fn draw_event(&mut self, trace: &Trace, event: &Event) -> String {
        let mut text = String::new();
        let stamp = self.stamp(event.t_ns);
        match &event.what {
            What::Frame(frame) => {
                let what = self.caption(trace, frame);
                let drawn = match self.third(trace, event, frame) {
                    None => draw(event, frame, &what, &self.left, &self.right),
                    Some((from, to)) => {
                        let lost = match frame.delivered_ns {
                            Some(_) => "",
                            None => " ✗",
                        };
                        let indent = " ".repeat(STATE + 1);
                        format!("{indent}{from} → {to}{lost}: {what}")
                    }
                };
                line(&mut text, &format!("{stamp}{drawn}"));
                for note in &frame.wire {
                    let indent = " ".repeat(STATE + 2);
                    let margin = self.margin();
                    line(&mut text, &format!("{margin}{indent}^ {note}"));
                }
            }
            What::Output(out) => {
                let said = self.plain(trace, &out.line);
                let host = &event.host;
                line(&mut text, &format!("{stamp}{host} prints: {said}"));
            }
            What::Step { text: step } => {
                let step = self.plain(trace, step);
                line(&mut text, &format!("{stamp}[{}: {step}]", event.host));
            }
            What::Call(call) if self.calls && !self.sees_all => {
                let (host, name) = (&event.host, &call.name);
                let who = format!("{} thread {}", call.program, call.thread);
                line(&mut text, &format!("{stamp}{host} {who}: {name}"));
            }
            What::Call(_) | What::Return(_) => {}
            // Between segments only a listener is worth a line.
            What::State(change)
                if change.peer.port() == 0 && change.from.is_none() =>
            {
                if !self.shows(&event.host) {
                    return text; // There is no column for it.
                }
                let drawn = place(&event.host, change.to.name(), &self.left);
                line(&mut text, &format!("{stamp}{drawn}"));
            }
            What::State(change) if self.changes => {
                let said = self.tell(&event.host, change);
                line(&mut text, &format!("{stamp}{said}"));
            }
            What::State(_) => {}
        }
        text
    }

    fn margin(&self) -> &'static str {
        if self.clock { "          " } else { "" }
    }

    /// `Kongming20 #1 LAST-ACK -> CLOSED`
    fn tell(&self, host: &str, change: &StateChange) -> String {
        let number = self.view.number(change.local, change.peer);
        let number = number.map_or(String::new(), |n| format!("#{n} "));
        let from = change.from.map_or("new", TcpState::name);
        format!("{host} {number}{from} -> {}", change.to.name())
    }

    /// Sender and receiver, if one of them has no column.
    fn third(
        &self,
        trace: &Trace,
        event: &Event,
        frame: &Frame,
    ) -> Option<(String, String)> {
        let to = trace.receiver(frame);
        if self.shows(&event.host) && to.is_none_or(|host| self.shows(host)) {
            return None;
        }
        Some((event.host.clone(), to.unwrap_or("all").to_string()))
    }

    fn caption(&mut self, trace: &Trace, frame: &Frame) -> String {
        let Some(segment) = self.view.segment(trace, frame) else {
            return frame.packet().describe(&|address| trace.name_of(address));
        };
        let summary = segment.summary();
        match segment.connection {
            1 if !self.several => summary,
            number => format!("#{number} {summary}"),
        }
    }
}

/// `server`, `server thread 2`.
fn who(program: &str, thread: u32) -> String {
    match thread {
        1 => program.to_string(),
        thread => format!("{program} thread {thread}"),
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
    format!("{:<STATE$} {arrow} {}", state(left), state(right))
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

//! A trace as a story: one item for each thing that a reader is shown.

mod part;

use std::collections::{BTreeMap, BTreeSet};

use graders::verdict::Performance;
use testbed::trace::{CallEvent, Event, Frame, Stream, View, What};
use testbed::{Flags, Matcher, Trace};

use super::facts::{self, connections};
use super::page::Settings;
use part::{Hidden, fold, select};

/// One thing that happened, ready to be drawn.
#[derive(Clone, Debug)]
pub struct Item {
    /// Nanoseconds since the network was up.
    pub t_ns: u64,
    /// On which host.
    pub host: String,
    /// What it is, in words.
    pub text: String,
    /// What kind of thing.
    pub kind: Kind,
}

/// What kinds there are.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A frame left the host.
    Frame(Arrow),
    /// A program printed a line.
    Output {
        /// On standard error?
        error: bool,
        /// The name that the scenario gave the program.
        program: String,
    },
    /// The scenario did something.
    Step,
    /// A program entered a system call.
    Call {
        /// When it returned; `None`: not while the run lasted, or that is not
        /// known.
        returned_ns: Option<u64>,
        /// Is it traced, so that its return would be known?
        traced: bool,
    },
    /// A socket listens.
    Listens,
    /// Frames that are not drawn one by one.
    Fold {
        /// When the last of them was there.
        until_ns: u64,
    },
}

/// A frame as it is drawn.
#[derive(Clone, Debug)]
pub struct Arrow {
    /// The host that it is for; `None`: to all.
    pub to: Option<String>,
    /// When it arrived; `None`: never.
    pub delivered_ns: Option<u64>,
    /// What the wire did to it.
    pub notes: Vec<String>,
    /// The number of its TCP connection, from 1; 0 for what is not TCP.
    pub connection: usize,
    /// Host to TCP state, once it had arrived or was lost.
    pub states: BTreeMap<String, &'static str>,
    /// Whose colour it has.
    pub look: Look,
}

/// Which of the colours a frame has: a help for the eye, never the only sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// SYN.
    Open,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// Data, a datagram.
    Data,
    /// The rest: a bare acknowledgement, ARP.
    Plain,
}

impl Look {
    /// The name of its class.
    pub fn class(self) -> &'static str {
        match self {
            Look::Open => "open",
            Look::Close => "close",
            Look::Reset => "reset",
            Look::Data => "data",
            Look::Plain => "plain",
        }
    }
}

/// The words of [`Settings`] that [`tell`] understands.
pub const KNOWN: &[&str] =
    &["from=", "to=", "until=", "hide=", "fold=", "run=", "bytes", "windows"];

/// What of a run is to be shown: all of it, or
///
/// ```text
/// from=TEXT until=TEXT    from the first item that contains it, up to the next
/// to=TEXT                 the same, and that one too
/// hide=WHAT               without output, errors, steps, calls, notes, KIND
///                         [from HOST]; errors is standard error, notes say
///                         which rule of the wire it was
/// fold=KIND               neighbours of a kind become one item
/// bytes                   with the data of frames that have a few bytes of it
/// windows                 with each segment's window field, as it was sent
/// ```
///
/// # Errors
///
/// Nothing contains TEXT, or WHAT is no kind of frame.
pub fn tell(
    run: &Performance,
    settings: &Settings<'_>,
) -> anyhow::Result<Vec<Item>> {
    let trace = &run.trace;
    let mut hidden = Vec::new();
    for what in settings.all("hide") {
        hidden.push(Hidden::parse(what)?);
    }
    let without_notes = settings.all("hide").any(|what| what == "notes");
    let folds = settings.all("fold").map(str::parse::<Matcher>);
    let folds = folds.collect::<Result<Vec<_>, _>>()?;
    let mut items = Vec::new();
    let mut view = View::new();
    let several = connections(trace) > 1;
    let mut folded = Vec::new();
    let loader = of_the_loader(trace);
    let returns = Returns::of(trace);
    for (at, event) in trace.events.iter().enumerate() {
        if loader.contains(&at) || returns.has_twice(event) {
            continue;
        }
        let drawn = item(trace, event, &mut view, several);
        let Some(mut item) = drawn else { continue };
        returns.add(at, &mut item);
        if hidden.iter().any(|hidden| hidden.hides(event)) {
            continue;
        }
        let fold = match &event.what {
            What::Frame(frame) => folds
                .iter()
                .position(|fold| fold.matches(&event.host, &frame.packet())),
            _ => None,
        };
        if let (What::Frame(frame), true) = (&event.what, settings.has("bytes"))
        {
            item.text.push_str(&short_bytes(frame.packet().data()));
        }
        if let (What::Frame(frame), true) =
            (&event.what, settings.has("windows"))
        {
            item.text.push_str(&window(frame));
        }
        if let (Kind::Frame(arrow), true) = (&mut item.kind, without_notes) {
            arrow.notes.clear();
        }
        items.push(item);
        folded.push(fold);
    }
    let mut items = fold(select(items, folded, settings)?, settings)?;
    let columns = columns(trace, &items);
    items.retain(|item| match item.kind {
        Kind::Listens => columns.contains(&item.host),
        _ => true,
    });
    Ok(items)
}

fn item(
    trace: &Trace,
    event: &Event,
    view: &mut View,
    several: bool,
) -> Option<Item> {
    let (text, kind) = match &event.what {
        What::Frame(frame) => {
            let segment = view.segment(trace, frame);
            let connection = segment.as_ref().map_or(0, |s| s.connection);
            let text = match &segment {
                None => {
                    frame.packet().describe(&|address| trace.name_of(address))
                }
                Some(segment) if several => {
                    format!("#{connection} {}", segment.summary())
                }
                Some(segment) => segment.summary(),
            };
            let look = match &segment {
                Some(segment) => look(segment.flags, segment.data),
                None if frame.packet().protocol() == "udp" => Look::Data,
                None => Look::Plain,
            };
            let states = frame.states.iter();
            let states =
                states.map(|(host, state)| (host.clone(), state.name()));
            let arrow = Arrow {
                to: trace.receiver(frame).map(str::to_string),
                delivered_ns: frame.delivered_ns,
                notes: frame.wire.clone(),
                connection,
                states: match is_outlived(trace, event, frame) {
                    false => states.collect(),
                    true => BTreeMap::new(),
                },
                look,
            };
            (text, Kind::Frame(arrow))
        }
        What::Output(line) => {
            let error = line.stream == Stream::Stderr;
            let program = line.program.clone();
            (line.line.clone(), Kind::Output { error, program })
        }
        What::Step { text } => (text.clone(), Kind::Step),
        What::Call(call) if call.startup => return None,
        What::Call(call) => {
            // Nobody comes back from exit_group.
            let traced = call.text.is_some() && !call.name.starts_with("exit");
            (said_of(call), Kind::Call { returned_ns: None, traced })
        }
        What::State(change)
            if change.peer.port() == 0 && change.from.is_none() =>
        {
            (change.to.name().to_string(), Kind::Listens)
        }
        What::State(_) | What::Return(_) => return None,
    };
    Some(Item { t_ns: event.t_ns, host: event.host.clone(), text, kind })
}

/// Before the number of a thread that is not the first.
const IN_THREAD: &str = " in thread ";

/// `close(3)`; threads have a number if it is not the first.
fn said_of(call: &CallEvent) -> String {
    /// Calls whose first argument is a descriptor.
    const OF_A_DESCRIPTOR: &str = "accept accept4 bind close connect \
        getpeername getsockname getsockopt listen read recvfrom recvmsg \
        sendmsg sendto setsockopt shutdown write";
    let of_one = OF_A_DESCRIPTOR.split(' ').any(|name| name == call.name);
    let argument = match of_one {
        true => (call.args[0] as i32).to_string(),
        false => String::new(),
    };
    let name = &call.name;
    let said = match &call.text {
        Some(text) => text.clone(),
        None => format!("{name}({argument})"),
    };
    match call.thread {
        1 => said,
        thread => format!("{said}{IN_THREAD}{thread}"),
    }
}

/// What became of traced calls.
struct Returns<'a> {
    /// By the place of the call: when it returned, and what.
    returned: BTreeMap<usize, (u64, &'a str)>,
    /// The programs that are traced.
    traced: BTreeSet<&'a str>,
}

impl<'a> Returns<'a> {
    fn of(trace: &'a Trace) -> Returns<'a> {
        let mut under_way = BTreeMap::new();
        let (mut returned, mut traced) = (BTreeMap::new(), BTreeSet::new());
        for (at, event) in trace.events.iter().enumerate() {
            match &event.what {
                What::Call(call) if call.text.is_some() => {
                    under_way.insert(call.tid, at);
                    traced.insert(call.program.as_str());
                }
                What::Return(back) => {
                    if let Some(call) = under_way.remove(&back.tid) {
                        returned.insert(call, (event.t_ns, back.text.as_str()));
                    }
                }
                _ => {}
            }
        }
        Returns { returned, traced }
    }

    /// Is it a watched call of a program that is traced as well?
    fn has_twice(&self, event: &Event) -> bool {
        match &event.what {
            What::Call(call) => {
                call.text.is_none() && self.traced.contains(&*call.program)
            }
            _ => false,
        }
    }

    /// Makes the call and its return one item: `accept4(3) = 4`.
    fn add(&self, at: usize, item: &mut Item) {
        let Kind::Call { returned_ns, .. } = &mut item.kind else { return };
        let Some((there, result)) = self.returned.get(&at) else { return };
        *returned_ns = Some(*there);
        item.text = match item.text.split_once(IN_THREAD) {
            Some((call, thread)) => {
                format!("{call} {result}{IN_THREAD}{thread}")
            }
            None => format!("{} {result}", item.text),
        };
    }
}

/// The loader closes the libraries that it has read before a program begins:
/// the calls that are not the program's own.
fn of_the_loader(trace: &Trace) -> BTreeSet<usize> {
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for (at, event) in trace.events.iter().enumerate() {
        let What::Call(call) = &event.what else { continue };
        if call.text.is_some() {
            continue; // It is known of each.
        }
        if begun.contains(call.program.as_str()) {
            continue;
        }
        match call.name.as_str() {
            "close" => drop(calls.insert(at)),
            _ => drop(begun.insert(&call.program)),
        }
    }
    calls
}

/// What a frame carries, if that is not too long.
fn short_bytes(data: &[u8]) -> String {
    const FEW: usize = 8;
    match data.len() {
        1..=FEW => format!(": {}", facts::hex(data)),
        _ => String::new(),
    }
}

/// The window field of a segment, where its summary has not told it.
fn window(frame: &Frame) -> String {
    match frame.packet().segment() {
        Some(segment) if segment.window > 0 && !segment.flags.rst => {
            format!(", win {}", segment.window)
        }
        _ => String::new(),
    }
}

/// Does a segment arrive when there is a newer connection between its ends?
/// The states that were sampled then are the newer one's.
fn is_outlived(trace: &Trace, event: &Event, frame: &Frame) -> bool {
    let (Some(there), Some(late), false) =
        (frame.delivered_ns, frame.packet().segment(), frame.wire.is_empty())
    else {
        return false; // Only the wire makes a segment late.
    };
    let ends = [late.source, late.destination];
    let mut view = View::new();
    let mut own = None;
    for (other, frame) in trace.frames() {
        let Some(segment) = frame.packet().segment() else { continue };
        let number = view.segment(trace, frame).map(|s| s.connection);
        let between = ends.contains(&segment.source)
            && ends.contains(&segment.destination);
        if std::ptr::eq(other, event) {
            own = number;
        } else if own.is_some()
            && between
            && own != number
            && other.t_ns < there
        {
            return true;
        }
    }
    false
}

fn look(flags: Flags, data: usize) -> Look {
    match flags {
        Flags { rst: true, .. } => Look::Reset,
        Flags { syn: true, .. } => Look::Open,
        Flags { fin: true, .. } => Look::Close,
        _ if data > 0 => Look::Data,
        _ => Look::Plain,
    }
}

/// Every host with a column: those two, and if a third sends or gets a frame
/// of the part that is shown, whoever does.
pub fn columns(trace: &Trace, items: &[Item]) -> Vec<String> {
    let (left, right) = pair(trace);
    let mut ends: BTreeSet<&str> = BTreeSet::new();
    for item in items {
        if let Kind::Frame(arrow) = &item.kind {
            ends.insert(&item.host);
            ends.extend(arrow.to.as_deref());
        }
    }
    if ends.iter().all(|host| *host == left || *host == right) {
        return vec![left, right];
    }
    let mut columns = vec![left, right];
    for host in &trace.hosts {
        if !columns.contains(&host.name) {
            columns.push(host.name.clone());
        }
    }
    columns.retain(|host| ends.contains(host.as_str()));
    columns
}

/// The two hosts that are drawn, left and right: those that spoke TCP first,
/// else the first two of the network.
pub fn pair(trace: &Trace) -> (String, String) {
    let mut view = View::new();
    let first = trace
        .frames()
        .find_map(|(_, frame)| view.segment(trace, frame))
        .map(|segment| (segment.from, segment.to));
    let name = |at: usize| {
        trace.hosts.get(at).map_or_else(String::new, |host| host.name.clone())
    };
    first.unwrap_or_else(|| (name(0), name(1)))
}

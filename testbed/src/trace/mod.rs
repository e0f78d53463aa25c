//! One list of everything that happened in a run, on one clock.

mod json;
mod live;
mod pcapng;
mod stations;
mod text;
mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::packet::Packet;
use crate::sockets::TcpState;

pub use live::{Live, MOMENT};
pub use text::Painter;
pub use view::{SegmentView, View};

/// A whole run: what the world was, and what happened in it.
///
/// It serialises to JSON and back without loss. [`Trace::to_json`] adds what a
/// reader of the JSON wants decoded, [`Trace::to_text`] renders the part that
/// is the same in every run, [`Trace::to_pcapng`] the frames for Wireshark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// `uname -r` of the kernel that both hosts shared; of machines, of each
    /// different one.
    pub kernel: String,
    /// `book` or `modern`.
    pub profile: String,
    /// `tap`, `pkt` or `vagrant`.
    pub backend: String,
    /// What the run's ports, payloads and counts were drawn from.
    pub seed: u64,
    /// Nanoseconds since 1970 at the trace's time 0.
    pub epoch_ns: u64,
    /// Who took part, in the order in which they are drawn.
    pub hosts: Vec<HostInfo>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Frames that vanished and nobody told the wire to lose. A run with one
    /// is void: it says nothing about the programs in it.
    pub losses: Vec<String>,
    /// Frames after the recorder's limit, of which nothing was kept.
    pub not_kept: u64,
    /// Calls of traced programs after the first 10,000 of each, of which
    /// nothing was kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls_not_kept: u64,
    /// Of hosts on other machines: what each one's clock showed at time 0. The
    /// events' times are this clock's already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockInfo>,
}

/// A host as the trace knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its host name.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// What a trace says of a host's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// Whose.
    pub host: String,
    /// What it showed at the trace's time 0, in nanoseconds.
    pub offset_ns: i64,
    /// The offset is known to this.
    pub error_ns: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the network was up.
    pub t_ns: u64,
    /// On which host; `wire` for what the wire did of itself.
    pub host: String,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// A host put a frame on the wire.
    Frame(Frame),
    /// A TCP socket of the host is in another state than before.
    State(StateChange),
    /// A thread of a program entered a system call that is watched, or one of
    /// a program that is traced. A program's first 10,000 are here.
    Call(CallEvent),
    /// A system call of a traced program returned.
    Return(ReturnEvent),
    /// A program printed a line.
    Output(Line),
    /// The scenario did something.
    Step {
        /// What it did, as one would tell it.
        text: String,
    },
}

/// A frame as the wire saw it, and what it did to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The bytes, from the destination station address on. Of frames after
    /// the recorder's budget only the headers are kept.
    #[serde(with = "hex")]
    pub bytes: Vec<u8>,
    /// The length on the wire, without the 4-byte CRC.
    pub length: usize,
    /// What the wire did to it, empty where it passed untouched.
    pub wire: Vec<String>,
    /// When it was given to the last of its receivers; `None`: to nobody.
    pub delivered_ns: Option<u64>,
    /// For TCP: the state of this connection on each of its two hosts once
    /// this segment had been delivered, or lost.
    pub states: BTreeMap<String, TcpState>,
}

impl Frame {
    /// The decoded headers.
    pub fn packet(&self) -> Packet<'_> {
        Packet::decode(&self.bytes)
    }
}

/// A socket's step from one state to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// This end.
    pub local: SocketAddr,
    /// The other end; port 0 for a listener.
    pub peer: SocketAddr,
    /// The state before; `None`: the socket is new.
    pub from: Option<TcpState>,
    /// The state now; CLOSED: the socket is gone.
    pub to: TcpState,
}

/// A system call that a program's thread entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    /// The name that the scenario gave the program.
    pub program: String,
    /// The program's threads, counted from 1 by their first watched call.
    pub thread: u32,
    /// The thread's number, as this run's /proc counted.
    pub tid: u32,
    /// The call's name, as in syscalls(2).
    pub name: String,
    /// What the registers held; of a pointer the address.
    pub args: [u64; 6],
    /// Of a traced call: as one would write it, `connect(3, 192.0.2.1:80)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Does it only prepare the program, or a thread, and is not its own?
    #[serde(default, skip_serializing_if = "is_false")]
    pub startup: bool,
}

/// A system call of a traced program has returned to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnEvent {
    /// The name that the scenario gave the program.
    pub program: String,
    /// The program's threads, counted from 1 as they were made.
    pub thread: u32,
    /// The thread's number, as this run's /proc counted.
    pub tid: u32,
    /// The call's name, as in syscalls(2).
    pub name: String,
    /// When it was entered: the time of the [`CallEvent`] of this thread.
    pub entered_ns: u64,
    /// What the kernel returned: of an error the negative errno, and one of
    /// those from -512 to -516 if a signal has come and it begins again.
    pub result: i64,
    /// The same as one would write it, with what was filled in:
    /// `= 5 bytes "hello"`, `= -1 EAGAIN`, `= 4, 192.0.2.1:51882`.
    pub text: String,
    /// As of its call.
    #[serde(default, skip_serializing_if = "is_false")]
    pub startup: bool,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A system call of a traced program, from its entry to its return.
#[derive(Clone, Copy, Debug)]
pub struct TracedCall<'a> {
    /// When and where it was entered.
    pub event: &'a Event,
    /// What was called.
    pub call: &'a CallEvent,
    /// When it returned, and what; `None`: it has not.
    pub returned: Option<(&'a Event, &'a ReturnEvent)>,
}

impl TracedCall<'_> {
    /// The whole of it on a line: `connect(3, 192.0.2.1:80) = 0`.
    pub fn text(&self) -> String {
        let text = self.call.text.as_deref().unwrap_or(&self.call.name);
        match self.returned {
            Some((_, returned)) => format!("{text} {}", returned.text),
            None => text.to_string(),
        }
    }
}

/// A line that a program printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The name that the scenario gave the program.
    pub program: String,
    /// Where it printed.
    pub stream: Stream,
    /// The line without its end, bytes that are not UTF-8 replaced.
    pub line: String,
}

/// The two streams that are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Trace {
    /// The frames, with their sender and time.
    pub fn frames(&self) -> impl Iterator<Item = (&Event, &Frame)> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Frame(frame) => Some((event, frame)),
            _ => None,
        })
    }

    /// What `program` printed on standard output, line by line.
    pub fn stdout(&self, program: &str) -> Vec<&str> {
        self.lines(program, Stream::Stdout)
    }

    /// What `program` printed on standard error, line by line.
    pub fn stderr(&self, program: &str) -> Vec<&str> {
        self.lines(program, Stream::Stderr)
    }

    fn lines(&self, program: &str, stream: Stream) -> Vec<&str> {
        let lines = self.events.iter().filter_map(|event| match &event.what {
            What::Output(out)
                if out.program == program && out.stream == stream =>
            {
                Some(out.line.as_str())
            }
            _ => None,
        });
        lines.collect()
    }

    /// The watched calls, with their host and time.
    pub fn calls(&self) -> impl Iterator<Item = (&Event, &CallEvent)> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Call(call) if call.text.is_none() => Some((event, call)),
            _ => None,
        })
    }

    /// The calls of traced programs, each with its return. Those that only
    /// prepare a program are left out.
    pub fn traced_calls(&self) -> Vec<TracedCall<'_>> {
        let mut calls = Vec::new();
        let mut under_way = BTreeMap::new();
        for event in &self.events {
            match &event.what {
                What::Call(call) if call.text.is_some() => {
                    under_way.insert(call.tid, calls.len());
                    calls.push(TracedCall { event, call, returned: None });
                }
                What::Return(returned) => {
                    if let Some(at) = under_way.remove(&returned.tid) {
                        calls[at].returned = Some((event, returned));
                    }
                }
                _ => {}
            }
        }
        calls.retain(|traced| !traced.call.startup);
        calls
    }

    /// The name of the host that has this address, or the address itself.
    pub fn name_of(&self, address: IpAddr) -> String {
        let owner =
            self.hosts.iter().find(|host| host.addresses.contains(&address));
        owner.map_or_else(|| address.to_string(), |host| host.name.clone())
    }

    /// Is the run worth nothing, because the network lost something by itself?
    pub fn is_void(&self) -> bool {
        !self.losses.is_empty()
    }
}

/// Bytes as hexadecimal digits: compact, and readable in JSON.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.as_bytes();
        let pairs = digits.chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        pairs
            .collect::<Option<Vec<u8>>>()
            .filter(|_| digits.len().is_multiple_of(2))
            .ok_or_else(|| D::Error::custom("not pairs of hex digits"))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

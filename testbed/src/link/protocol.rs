//! What is said over a link: a JSON value a line, in both directions.
//!
//! ```text
//! {"host":"Kongming20","profile":"book",...}          first, to the agent
//! [1,"TcpSockets"]                                    a question, numbered
//! {"Up":{"kernel":"6.1.0",...}}                       first, from the agent
//! {"Event":[0,{"t_ns":...}]}                          what happened
//! {"Answer":{"to":1,"began":...,"done":{"Ok":[]}}}
//! ```
//!
//! After [`Ask::Bring`] come the bytes of the file. What has happened before an
//! answer is told before it. A link that ends ends the agent.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Told;
use crate::launch::Launch;
use crate::profile::Profile;
use crate::trace::Event;

/// What the agent is to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) host: String,
    pub(crate) profile: Profile,
    /// Whether programs can be traced.
    pub(crate) tracer: bool,
}

/// A question, or an order; what numbers are of is what an answer has given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    // The host.
    TcpSockets,
    Sysctl(String),
    SetSysctl(String, String),
    NetTable(String),
    Counters,
    // Programs.
    /// Is there a file of this name? Where.
    Has(String),
    /// It follows, so many bytes. Where.
    Bring(String, usize),
    Start(Launch),
    Type(usize, String),
    Feed(usize, String),
    CloseInput(usize),
    Wait(usize, Duration),
    WaitIdle(usize, Duration),
    Signal(usize, i32),
    Processes(usize),
    Rests(usize, Duration),
    Threads(usize),
    Descriptors(usize),
    Autopsy(usize),
    Kill(usize),
    // Connections.
    Connect(Option<u16>, SocketAddr, Duration),
    BeginConnect(SocketAddr),
    Listen(SocketAddr),
    Accept(usize),
    CloseListener(usize),
    CanBind(SocketAddr),
    Send(usize, Vec<u8>),
    SendUrgent(usize, Vec<u8>),
    Read(usize, Duration),
    WithoutDelay(usize),
    Finish(usize),
    Abort(usize),
    Close(usize),
    // The wire.
    Arm(String),
    ArmAloud(String),
    Release(usize),
    ReleaseNext(usize, bool),
    ReleaseAllAloud,
    Disarm(usize),
    Cable(bool),
    Carrier(bool),
    Sample,
    Losses,
}

/// What came of a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// Bytes.
    Bytes(Vec<u8>),
    /// None yet.
    Nothing,
    /// The other end's FIN.
    End,
    /// The other end's RST.
    Reset,
}

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Tell {
    /// Its host is up.
    Up(Up),
    /// There will be no host.
    Failed(Told),
    /// What has happened there. A number that has been told before: more is
    /// known of it.
    Event(usize, Event),
    /// A program's output has ended: standard output, and how many streams.
    Ended(String, bool, u8),
    Answer(Answer),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Up {
    /// `uname -r`.
    pub(crate) kernel: String,
    /// The machine's interface on the LAN.
    pub(crate) interface: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The number of the question.
    pub(crate) to: u64,
    /// When it came, and when it was answered, by the agent's clock.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) done: Result<serde_json::Value, Told>,
}

//! Hosts on a wire that obeys: network tests on a real kernel, without root.
//!
//! A [`Host`] is a set of namespaces with a name, files, processes and sockets
//! of its own. The [`Wire`] between them is a thread of the test: it drops
//! exactly the frame that a [`Rule`] names, holds, delays, duplicates, reorders
//! or corrupts it, slows the line, cuts the cable. The [`Trace`] tells what
//! happened: frames with what the wire did to them, socket states of every
//! host, the programs' output and the test's own steps, on one clock.
//!
//! ```no_run
//! # use testbed::Network;
//! # use std::net::{TcpListener, TcpStream};
//! fn main() -> testbed::Result<()> {
//!     testbed::enter()?; // before the first thread
//!     let net = Network::lan().up()?;
//!     let (laptop, server) = (net.host("ernest-laptop")?, net.host("Kongming20")?);
//!     net.wire().arm("drop syn from ernest-laptop")?;
//!     let _listener = server.at(|| TcpListener::bind("192.168.1.109:80"))?;
//!     let _client = laptop.at(|| TcpStream::connect("192.168.1.109:80"))?;
//!     print!("{}", net.trace()?.to_text());
//!     Ok(())
//! }
//! ```
//!
//! Hosts can also be on two machines ([`Network::on_machines`]), each made there as
//! it would be here.
//!
//! What stays true: nothing sent in a network leaves it, but for the LAN between
//! machines; when the process that called [`enter`] ends, however it ends, nothing
//! of the network is left; a run in which a frame was lost unasked says so
//! ([`Trace::is_void`]).
//!
//! Modules, in reading order; each uses those above it: `error` and `diagnosis`,
//! `power`, `sys` (all `unsafe`), `enter`, `neighbours`, `netlink`, `routes`, `packet`,
//! `sockets`, `trace`, `recorder`, `sampler`, `sessions`, `threads`, `calls`, `tracer`,
//! `processes`, `descriptors`, `counters`, `autopsy`, `ipc`, `room`, `process`, `launch`,
//! `output`, `link`, `wire`, `program`, `host`, `connection`, `interfaces`, `network`,
//! `running`, `internet`, `door`, `machine`.

mod autopsy;
mod calls;
mod connection;
mod counters;
mod descriptors;
mod diagnosis;
pub mod door;
mod draw;
mod enter;
mod error;
mod host;
mod interfaces;
pub mod internet;
mod ipc;
mod launch;
mod link;
pub mod machine;
mod neighbours;
mod netlink;
mod network;
mod output;
mod packet;
mod power;
mod process;
mod processes;
mod profile;
mod program;
mod recorder;
mod room;
mod routes;
mod running;
mod sampler;
mod sessions;
mod sockets;
mod sys;
mod threads;
pub mod trace;
mod tracer;
mod wire;

pub use autopsy::{Autopsy, Finding, SystemCall};
pub use calls::{Call, Calls};
pub use connection::{Connection, Listener};
pub use descriptors::{Descriptor, DescriptorKind};
pub use diagnosis::{Diagnosis, explain};
pub use draw::Draw;
pub use enter::{enter, enter_with_tracer};
pub use error::{Error, Result};
pub use host::{Acting, Host};
pub use ipc::{IpcKind, IpcObject};
pub use launch::Launch;
pub use neighbours::{Neighbour, NeighbourState};
pub use network::{Backend, HostSpec, Network};
pub use packet::{Flags, Packet, Segment};
pub use power::Power;
pub use processes::{ProcessInfo, Rest};
pub use profile::Profile;
pub use program::{Exit, Program};
pub use routes::Route;
pub use running::{Follower, Testbed};
pub use sockets::{TcpSocket, TcpState, Timer, TimerKind};
pub use threads::ThreadInfo;
pub use trace::Trace;
pub use wire::{Action, Armed, Console, KINDS, Kind, Matcher, Rule, Wire};

/// `uname -r` of the running kernel, which every host shares.
pub fn kernel_release() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(
        |_| "unknown".to_string(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// The first two numbers of the release; (0, 0) if it has none.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    }
}

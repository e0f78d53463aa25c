//! Watches the TCP sockets of every host while frames pass.
//!
//! A state changes because a segment came or because a program made a call. The
//! wire samples every host when a segment comes, and its receiver when it has been
//! delivered, so each change is seen between the two segments where it happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::host::Addresses;
use crate::packet::{Flags, Packet};
use crate::recorder::Recorder;
use crate::sockets::{Inspector, TcpSocket, TcpState};
use crate::trace::StateChange;

/// How long a host may take to do what a segment asks of it.
const SETTLING: Duration = Duration::from_millis(2);
/// The same on a machine of its own, which may be an emulated one.
const SETTLING_THERE: Duration = Duration::from_millis(30);

/// This end, other end.
type Ends = (SocketAddr, SocketAddr);

pub(crate) struct Sampler {
    hosts: Vec<Watched>,
    recorder: Recorder,
    settling: Duration,
}

struct Watched {
    name: String,
    addresses: Addresses,
    inspector: Inspector,
    known: BTreeMap<Ends, TcpState>,
}

impl Sampler {
    pub(crate) fn new(
        hosts: Vec<(String, Addresses, Inspector)>,
        recorder: Recorder,
    ) -> Sampler {
        let watch = |(name, addresses, inspector)| Watched {
            name,
            addresses,
            inspector,
            known: BTreeMap::new(),
        };
        let hosts = hosts.into_iter().map(watch).collect();
        Sampler { hosts, recorder, settling: SETTLING }
    }

    /// For a host that has a machine for itself.
    pub(crate) fn there(self) -> Sampler {
        Sampler { settling: SETTLING_THERE, ..self }
    }

    /// Looks at every host, for a frame that has just been sent.
    pub(crate) fn before(&mut self, frame: &[u8]) {
        if Packet::decode(frame).flags().is_some() {
            self.sample_all();
        }
    }

    /// Looks at a host that has just been given this frame.
    ///
    /// Its kernel may not have got to it: another processor does that work, or
    /// a program is inside a call on the socket and the segment has to wait. A
    /// segment that must change the state is waited for, a little.
    pub(crate) fn after(&mut self, frame: &[u8], host: &str) {
        let packet = Packet::decode(frame);
        let (Some((flags, _)), Some(ends)) = (packet.flags(), packet.ends())
        else {
            return;
        };
        let (sender, receiver) = ends;
        let mut hosts = self.hosts.iter_mut();
        let Some(watched) = hosts.find(|watched| watched.name == host) else {
            return;
        };
        let asks = flags.syn && !flags.ack;
        let before = watched.state(receiver, sender, asks);
        let deadline = Instant::now() + self.settling;
        loop {
            watched.look(&self.recorder);
            let settled = watched.state(receiver, sender, asks) != before
                || !must_change(before, flags);
            if settled || Instant::now() > deadline {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Looks at every host.
    pub(crate) fn sample_all(&mut self) {
        for watched in &mut self.hosts {
            watched.look(&self.recorder);
        }
    }

    /// The states of a segment's connection on its two hosts.
    pub(crate) fn states(&self, frame: &[u8]) -> BTreeMap<String, TcpState> {
        let mut states = BTreeMap::new();
        let packet = Packet::decode(frame);
        let (Some((flags, _)), Some((sender, receiver))) =
            (packet.flags(), packet.ends())
        else {
            return states;
        };
        let asks = flags.syn && !flags.ack;
        for (local, peer) in [(sender, receiver), (receiver, sender)] {
            let mut owners = self.hosts.iter();
            let owner =
                owners.find(|w| w.addresses.now().contains(&local.ip()));
            if let Some(watched) = owner {
                states.insert(
                    watched.name.clone(),
                    watched.state(local, peer, asks),
                );
            }
        }
        states
    }
}

/// Does a segment with these flags take a socket out of this state, whatever
/// else is in it (RFC 9293, section 3.10.7)? A listener whose queue is full
/// stays as it is, and an ACK in FIN-WAIT-1 need not be of the FIN.
fn must_change(state: TcpState, flags: Flags) -> bool {
    match state {
        TcpState::Listen => flags.syn && !flags.ack,
        TcpState::SynSent => flags.syn || flags.rst,
        TcpState::SynRecv | TcpState::LastAck => flags.ack || flags.rst,
        TcpState::Established => flags.fin || flags.rst,
        TcpState::FinWait1 | TcpState::Closing => flags.ack || flags.rst,
        TcpState::FinWait2 => flags.fin || flags.rst,
        TcpState::CloseWait => flags.rst,
        TcpState::TimeWait | TcpState::Closed => false,
    }
}

impl Watched {
    /// Writes down what changed since the last look. A dump that fails is a
    /// look that did not happen; the next one will see the same.
    fn look(&mut self, recorder: &Recorder) {
        let Ok(sockets) = self.inspector.tcp() else { return };
        let mut now: BTreeMap<Ends, TcpState> = BTreeMap::new();
        for TcpSocket { local, peer, state, .. } in sockets {
            let state_now = now.entry((local, peer)).or_insert(state);
            // Of a connection in TIME-WAIT the program may have the socket
            // still: it is CLOSED, bound, and in the dump as well.
            if *state_now == TcpState::Closed {
                *state_now = state;
            }
        }
        for (&(local, peer), &to) in &now {
            let from = self.known.get(&(local, peer)).copied();
            if from != Some(to) {
                let change = StateChange { local, peer, from, to };
                recorder.state(&self.name, change);
            }
        }
        for (&(local, peer), &state) in &self.known {
            let closed = state == TcpState::Closed;
            if !closed && !now.contains_key(&(local, peer)) {
                let (from, to) = (Some(state), TcpState::Closed);
                let change = StateChange { local, peer, from, to };
                recorder.state(&self.name, change);
            }
        }
        self.known = now;
    }

    /// The state of a connection here. Where there is none it is CLOSED, but
    /// for a SYN that a listener gets: it asks for a new one.
    fn state(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
        asks: bool,
    ) -> TcpState {
        if let Some(state) = self.known.get(&(local, peer)) {
            return *state;
        }
        let listens = self.known.iter().any(|((bound, _), state)| {
            *state == TcpState::Listen
                && bound.port() == local.port()
                && (bound.ip() == local.ip() || bound.ip().is_unspecified())
        });
        if asks && listens { TcpState::Listen } else { TcpState::Closed }
    }
}

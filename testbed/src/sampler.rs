//! Watches the TCP sockets of every host while frames pass.
//!
//! A state changes because a segment came or because a program made a call. The
//! wire samples every host when a segment comes, and its receiver when it has been
//! delivered, so each change is seen between the two segments where it happened.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::packet::Packet;
use crate::recorder::Recorder;
use crate::sockets::{Inspector, TcpSocket, TcpState};
use crate::trace::StateChange;

/// This end, other end.
type Ends = (SocketAddr, SocketAddr);

pub(crate) struct Sampler {
    hosts: Vec<Watched>,
    recorder: Recorder,
}

struct Watched {
    name: String,
    addresses: Vec<IpAddr>,
    inspector: Inspector,
    known: BTreeMap<Ends, TcpState>,
}

impl Sampler {
    pub(crate) fn new(
        hosts: Vec<(String, Vec<IpAddr>, Inspector)>,
        recorder: Recorder,
    ) -> Sampler {
        let watch = |(name, addresses, inspector)| Watched {
            name,
            addresses,
            inspector,
            known: BTreeMap::new(),
        };
        Sampler { hosts: hosts.into_iter().map(watch).collect(), recorder }
    }

    /// Looks at every host, or at one, if the frame is a TCP segment.
    pub(crate) fn sample_for(&mut self, frame: &[u8], host: Option<&str>) {
        if Packet::decode(frame).flags().is_none() {
            return;
        }
        for watched in &mut self.hosts {
            if host.is_none_or(|name| name == watched.name) {
                watched.look(&self.recorder);
            }
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
        let (Some((source, destination)), Some((from, to))) =
            (packet.addresses(), packet.ports())
        else {
            return states;
        };
        let sender = SocketAddr::new(source, from);
        let receiver = SocketAddr::new(destination, to);
        for (local, peer) in [(sender, receiver), (receiver, sender)] {
            let mut owners = self.hosts.iter();
            let owner = owners.find(|w| w.addresses.contains(&local.ip()));
            if let Some(watched) = owner {
                states.insert(watched.name.clone(), watched.state(local, peer));
            }
        }
        states
    }
}

impl Watched {
    /// Writes down what changed since the last look. A dump that fails is a
    /// look that did not happen; the next one will see the same.
    fn look(&mut self, recorder: &Recorder) {
        let Ok(sockets) = self.inspector.tcp() else { return };
        let mut now: BTreeMap<Ends, TcpState> = BTreeMap::new();
        for TcpSocket { local, peer, state, .. } in sockets {
            now.insert((local, peer), state);
            let from = self.known.get(&(local, peer)).copied();
            if from != Some(state) {
                let to = state;
                let change = StateChange { local, peer, from, to };
                recorder.state(&self.name, change);
            }
        }
        for (&(local, peer), &state) in &self.known {
            if !now.contains_key(&(local, peer)) {
                let (from, to) = (Some(state), TcpState::Closed);
                let change = StateChange { local, peer, from, to };
                recorder.state(&self.name, change);
            }
        }
        self.known = now;
    }

    /// The state of a connection here; where there is none yet, that of the
    /// listener; where there is neither, CLOSED.
    fn state(&self, local: SocketAddr, peer: SocketAddr) -> TcpState {
        if let Some(state) = self.known.get(&(local, peer)) {
            return *state;
        }
        let listens = self.known.iter().any(|((bound, _), state)| {
            *state == TcpState::Listen
                && bound.port() == local.port()
                && (bound.ip() == local.ip() || bound.ip().is_unspecified())
        });
        if listens { TcpState::Listen } else { TcpState::Closed }
    }
}

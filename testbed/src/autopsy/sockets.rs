//! Who waits at a socket, and what the other end and the frames tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::scene::Scene;
use crate::sockets::{TcpSocket, TcpState};

impl Scene<'_> {
    pub(super) fn accepts(&self) -> String {
        let tcp = self.descriptor(self.int(0)).and_then(|one| one.tcp.as_ref());
        let Some(listener) = tcp else {
            return format!("waits in accept on {}", self.text(self.int(0)));
        };
        let local = listener.local;
        match listener.receive_queue {
            0 => format!(
                "waits in accept on {local}, whose queue is empty{}",
                self.who_has_tried(local)
            ),
            1 => format!(
                "waits in accept on {local}, though a connection is in its \
                 queue"
            ),
            count => format!(
                "waits in accept on {local}, though {count} connections are \
                 in its queue"
            ),
        }
    }

    /// What the frames say about connections to a listener. Loopback has none.
    fn who_has_tried(&self, local: SocketAddr) -> String {
        if self.world.trace.is_none() || local.ip().is_loopback() {
            return String::new();
        }
        let tries = self.tries(local);
        let of = |fate: Fate| {
            let tries = tries.iter().filter(|(_, found)| **found == fate);
            let names: Vec<String> =
                tries.map(|((peer, _), _)| self.peer(*peer)).collect();
            names.join(" and ")
        };
        let parts: Vec<String> = [
            (Fate::Answered, "connected so far: ", ""),
            (
                Fate::Refused,
                "the SYN of ",
                " was answered with RST before it listened",
            ),
            (Fate::Arrived, "the SYN of ", " had no answer"),
            (Fate::Lost, "the SYN of ", " has never arrived"),
        ]
        .into_iter()
        .filter_map(|(fate, before, after)| {
            let names = of(fate);
            let some = !names.is_empty();
            some.then(|| format!("{before}{names}{after}"))
        })
        .collect();
        match parts.as_slice() {
            [] => ": nobody has connected".to_string(),
            parts => format!(": {}", parts.join("; ")),
        }
    }

    /// The SYNs to this address, by who sent them, and what became of each.
    fn tries(&self, local: SocketAddr) -> BTreeMap<(SocketAddr, u32), Fate> {
        let is_local = |address: SocketAddr| {
            address.port() == local.port()
                && (address.ip() == local.ip()
                    || local.ip().is_unspecified()
                        && self.world.addresses.contains(&address.ip()))
        };
        let mut tries = BTreeMap::new();
        let frames = self.world.trace.iter().flat_map(|trace| trace.frames());
        for (_, frame) in frames {
            let Some(segment) = frame.packet().segment() else { continue };
            let flags = segment.flags;
            if flags.syn && !flags.ack && is_local(segment.destination) {
                let fate = tries
                    .entry((segment.source, segment.seq))
                    .or_insert(Fate::Lost);
                if frame.delivered_ns.is_some() && *fate == Fate::Lost {
                    *fate = Fate::Arrived;
                }
            } else if is_local(segment.source) && (flags.rst || flags.syn) {
                let about = (segment.destination, segment.ack.wrapping_sub(1));
                if let Some(fate) = tries.get_mut(&about) {
                    *fate = match flags.syn {
                        true => Fate::Answered,
                        false => Fate::Refused,
                    };
                }
            }
        }
        tries
    }

    pub(super) fn connects(&self) -> String {
        let found = self.descriptor(self.int(0));
        match found.and_then(|one| one.tcp.as_ref()) {
            Some(tcp) if tcp.state == TcpState::SynSent => {
                let times = match tcp.retransmits {
                    0 => "once".to_string(),
                    1 => "twice".to_string(),
                    more => format!("{} times", u32::from(more) + 1),
                };
                format!(
                    "waits in connect for {}, which answers nothing: it has \
                     sent its SYN {times}",
                    self.peer(tcp.peer)
                )
            }
            _ => format!("waits in connect on {}", self.text(self.int(0))),
        }
    }

    pub(super) fn receives(&self, tcp: &TcpSocket) -> String {
        let peer = self.peer(tcp.peer);
        let mut text = match tcp.receive_queue {
            0 => format!(
                "waits to receive from {peer} in {}: nothing is in its \
                 receive queue",
                tcp.state
            ),
            count => format!(
                "receives from {peer} in {}, and wants more than the {count} \
                 bytes in its receive queue",
                tcp.state
            ),
        };
        match self.other_end(tcp) {
            Some(Some(end)) if end.receive_queue > 0 => {
                text.push_str(&format!(
                    "; the other end has {} bytes unread",
                    end.receive_queue
                ))
            }
            Some(Some(_)) if tcp.send_queue > 0 => text.push_str(&format!(
                "; {} bytes that it has sent are not acknowledged",
                tcp.send_queue
            )),
            Some(None) => text.push_str("; the other end is gone"),
            _ => {}
        }
        text
    }

    pub(super) fn sends(&self, tcp: &TcpSocket) -> String {
        let mut text = format!(
            "waits to send to {} in {}: {} bytes fill its send queue",
            self.peer(tcp.peer),
            tcp.state,
            tcp.send_queue
        );
        match self.other_end(tcp) {
            Some(Some(end)) => text.push_str(&format!(
                ", and the other end has {} bytes unread",
                end.receive_queue
            )),
            Some(None) => text.push_str(", and the other end is gone"),
            None => {}
        }
        text
    }
}

/// What has become of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Arrived,
    Refused,
    Answered,
}

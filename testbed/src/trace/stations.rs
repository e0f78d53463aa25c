//! Which host a frame is for.

use std::collections::HashMap;

use super::{Frame, Trace};

/// The station addresses of hosts, by what they have sent.
#[derive(Clone, Debug, Default)]
pub struct Stations {
    hosts: HashMap<[u8; 6], String>,
}

impl Stations {
    /// Those of a whole trace.
    pub fn of(trace: &Trace) -> Stations {
        let mut stations = Stations::default();
        for (event, frame) in trace.frames() {
            stations.sends(&event.host, frame);
        }
        stations
    }

    /// This host has put this frame on the wire.
    pub fn sends(&mut self, host: &str, frame: &Frame) {
        if let Some((_, station)) = frame.packet().stations() {
            self.hosts.entry(station).or_insert_with(|| host.to_string());
        }
    }

    /// The host that a frame is for; of an ARP request, which goes to all, the
    /// one that is to answer. `None`: to all, or to one that has sent nothing.
    pub fn receiver(&self, trace: &Trace, frame: &Frame) -> Option<String> {
        let packet = frame.packet();
        let (station, _) = packet.stations()?;
        if let Some(host) = self.hosts.get(&station) {
            return Some(host.clone());
        }
        let asked = packet.arp_target()?;
        let has = |host: &&super::HostInfo| host.addresses.contains(&asked);
        trace.hosts.iter().find(has).map(|host| host.name.clone())
    }
}

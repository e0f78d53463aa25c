//! Which host a frame is for, and whose it is.

use std::net::{IpAddr, Ipv4Addr};

use super::{Frame, HostInfo, Trace};

impl Trace {
    /// The host that a frame is for; of an ARP request, which goes to all, the
    /// one that is to answer. `None`: to all, or to nobody of this network.
    pub fn receiver(&self, frame: &Frame) -> Option<&str> {
        let packet = frame.packet();
        let (station, _) = packet.stations()?;
        let asked = || self.host_with(packet.arp_target()?);
        self.host_at(station).or_else(asked)
    }

    /// The host whose interface has this station address. It is told from the
    /// interface's address: [`crate::HostSpec::interface`].
    pub(super) fn host_at(&self, station: [u8; 6]) -> Option<&str> {
        let [0x52, 0x54, last @ ..] = station else { return None };
        self.host_with(Ipv4Addr::from(last).into())
    }

    /// The host that has this address.
    pub(super) fn host_with(&self, address: IpAddr) -> Option<&str> {
        let has = |host: &&HostInfo| host.addresses.contains(&address);
        self.hosts.iter().find(has).map(|host| host.name.as_str())
    }
}

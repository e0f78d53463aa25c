//! What is a host's own: files in /etc, and what its kernel keeps of its network:
//! settings, neighbours, routes, counters; and a frame put on the wire past all of
//! them.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{Host, Place};
use crate::error::{Call, Error, Result};
use crate::link::Ask;
use crate::neighbours::Neighbour;
use crate::power::Power;
use crate::routes::{Change, Route};
use crate::{counters, netlink, routes, sessions, sys};

impl Host {
    /// Is this file in /etc the host's own? Those by which names are looked up
    /// are, where this machine has one that could be covered: /etc/hosts,
    /// /etc/resolv.conf, /etc/nsswitch.conf, /etc/host.conf, /etc/gai.conf and
    /// /etc/services.
    pub fn owns(&self, path: &str) -> bool {
        self.here(Power::Files)
            .is_ok_and(|here| here.core.files.contains(&path))
    }

    /// Writes a file that is the host's own.
    ///
    /// # Errors
    ///
    /// It is the machine's: see [`Host::owns`].
    pub fn write_own(&self, path: &str, text: &str) -> Result<()> {
        if !self.owns(path) {
            let what = format!("{path} is not {}'s own", self.name());
            return Err(Error::new(what));
        }
        let (path, text) = (path.to_string(), text.to_string());
        let here = self.here(Power::Files)?;
        here.run(move || fs::write(&path, text).call(format!("write {path}")))?
    }

    /// Reads a setting of this host; the name as in sysctl(8).
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let here = match &self.place {
            Place::Here(here) => here,
            Place::There(link) => return link.ask(&Ask::Sysctl(name.into())),
        };
        let path = sysctl_path(name);
        here.run(move || {
            let text = fs::read_to_string(&path);
            text.call(format!("read {}", path.display()))
        })?
        .map(|text| text.trim().to_string())
    }

    /// Changes a setting of this host; the name as in sysctl(8).
    ///
    /// # Errors
    ///
    /// Some settings belong to the whole machine and have no copy in a network
    /// namespace (`net.core.rmem_max`, `net.ipv4.tcp_mem`).
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let here = match &self.place {
            Place::Here(here) => here,
            Place::There(link) => {
                return link.ask(&Ask::SetSysctl(name.into(), value.into()));
            }
        };
        let (path, value) = (sysctl_path(name), value.to_string());
        here.run(move || {
            let written = fs::write(&path, &value);
            written.call(format!("write `{value}` to {}", path.display()))
        })?
    }

    /// A table of this host's network as text, by its name in proc_net(5):
    /// `arp`, `route`, `snmp`, `netstat`.
    pub fn net_table(&self, name: &str) -> Result<String> {
        let here = match &self.place {
            Place::Here(here) => here,
            Place::There(link) => return link.ask(&Ask::NetTable(name.into())),
        };
        let first = sessions::number(&here.core.first)?.unwrap_or_default();
        let path = format!("/proc/{first}/net/{name}");
        fs::read_to_string(&path).call(format!("read {path}"))
    }

    /// What the host knows of the stations on the wire of an interface (`eth0`).
    pub fn neighbours(&self, interface: &str) -> Result<Vec<Neighbour>> {
        let name = interface.to_string();
        self.here(Power::Tables)?.run(move || netlink::neighbours(&name))?
    }

    /// Sets an entry of the neighbour table by hand: it is
    /// [`Permanent`](crate::NeighbourState), and nobody is asked any more.
    pub fn set_neighbour(
        &self,
        interface: &str,
        address: IpAddr,
        station: [u8; 6],
    ) -> Result<()> {
        let name = interface.to_string();
        self.here(Power::Tables)?
            .run(move || netlink::set_neighbour(&name, address, station))?
    }

    /// Deletes an entry of the neighbour table.
    ///
    /// # Errors
    ///
    /// There is none (ENOENT). Its kernel deletes entries by itself, too.
    pub fn forget_neighbour(
        &self,
        interface: &str,
        address: IpAddr,
    ) -> Result<()> {
        let name = interface.to_string();
        self.here(Power::Tables)?
            .run(move || netlink::delete_neighbour(&name, address))?
    }

    /// What its kernel has counted since it is up, by the names of nstat(8):
    /// `UdpInCsumErrors`, `IpInHdrErrors`.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let here = match &self.place {
            Place::Here(here) => here,
            Place::There(link) => return link.ask(&Ask::Counters),
        };
        let first = sessions::number(&here.core.first)?;
        let gone = || Error::new(format!("{} has ended", self.name()));
        counters::of_process(first.ok_or_else(gone)?)
    }

    /// Adds a route to the main table: `198.51.100.0/24 via 192.168.1.1`,
    /// `default via 192.168.1.109`, `blackhole 198.51.100.0/24`; see [`Route`].
    ///
    /// # Errors
    ///
    /// It is no route, one to this prefix is there already (EEXIST), or its
    /// gateway is on no link (ENETUNREACH).
    pub fn add_route(&self, route: &str) -> Result<()> {
        self.change_route(Change::Add, route)
    }

    /// The same, in place of a route to this prefix if there is one.
    ///
    /// # Errors
    ///
    /// As [`Host::add_route`], but for EEXIST.
    pub fn replace_route(&self, route: &str) -> Result<()> {
        self.change_route(Change::Replace, route)
    }

    /// Deletes a route of the main table: of those to this prefix the first
    /// that has what else is said.
    ///
    /// # Errors
    ///
    /// There is none (ESRCH).
    pub fn delete_route(&self, route: &str) -> Result<()> {
        self.change_route(Change::Delete, route)
    }

    fn change_route(&self, what: Change, route: &str) -> Result<()> {
        let route: Route = route.parse()?;
        self.here(Power::Tables)?.run(move || routes::change(what, &route))?
    }

    /// The main routing table, IPv4 first.
    pub fn routes(&self) -> Result<Vec<Route>> {
        self.here(Power::Tables)?.run(|| routes::list(false))?
    }

    /// The exceptions to it that the kernel has learned by itself, each for one
    /// destination: from an ICMP redirect, or of a path's MTU. It is what
    /// `ip route show cache` lists, since Linux 5.3.
    pub fn learned_routes(&self) -> Result<Vec<Route>> {
        self.here(Power::Tables)?.run(|| routes::list(true))?
    }

    /// For each destination the route that the kernel takes now, by asking it
    /// (RTM_GETROUTE, as `ip route get`): what it has learned by a redirect, or
    /// of a path's MTU, is in the answer. `None`: it would send nothing there.
    pub fn routes_to(
        &self,
        destinations: &[IpAddr],
    ) -> Result<Vec<Option<Route>>> {
        let destinations = destinations.to_vec();
        self.here(Power::Tables)?.run(move || routes::ask(&destinations))?
    }

    /// Gives an interface one more address. With the longest prefix, 32 or 128,
    /// no route to a network comes with it. [`Host::ip`] stays what it was; the
    /// trace knows whose the new one is.
    ///
    /// # Errors
    ///
    /// The interface has it already (EEXIST).
    pub fn add_address(
        &self,
        interface: &str,
        address: IpAddr,
        prefix: u8,
    ) -> Result<()> {
        let name = interface.to_string();
        self.here(Power::Tables)?
            .run(move || netlink::add_address(&name, address, prefix))??;
        self.addresses.add(address);
        Ok(())
    }

    /// Sets the longest packet, in bytes, that an interface sends in one frame:
    /// Ethernet's is 1500.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<()> {
        let name = interface.to_string();
        self.here(Power::Tables)?.run(move || netlink::set_mtu(&name, mtu))?
    }

    /// Puts a frame on the wire as it stands, from the destination station
    /// address on: one that no kernel would send. `interface` is `eth0` ...
    pub fn send_frame(&self, interface: &str, frame: &[u8]) -> Result<()> {
        let (interface, frame) = (interface.to_string(), frame.to_vec());
        self.here(Power::Tables)?.run(move || {
            let socket = sys::packet_socket(netlink::index(&interface)?)
                .call(format!("socket AF_PACKET on {interface}"))?;
            let sent = nix::unistd::write(&socket, &frame);
            sent.call(format!("write {} bytes", frame.len())).map(drop)
        })?
    }
}

/// `net.ipv4.tcp_sack` or `net/ipv4/tcp_sack`, as sysctl(8) takes them.
fn sysctl_path(name: &str) -> PathBuf {
    let name = if name.contains('/') {
        name.to_string()
    } else {
        name.replace('.', "/")
    };
    Path::new("/proc/sys").join(name)
}

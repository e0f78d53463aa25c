//! A host's routes: added, removed, listed, and asked for.
//!
//! A route is written as ip-route(8) has it, and printed so too:
//!
//! ```text
//! [KIND] DESTINATION [via GATEWAY] [dev INTERFACE] [src ADDRESS] [metric N]
//!
//! default via 192.168.1.109
//! 198.51.100.0/24 via 192.168.1.1 metric 5
//! 198.51.100.7 dev eth0
//! blackhole 198.51.100.128/25
//! ```
//!
//! DESTINATION is `default`, ADDRESS/LENGTH, or an ADDRESS alone. KIND is
//! `unicast` unless said, or `blackhole`, `unreachable`, `prohibit`, `throw`.
//! Each function acts on the network of the thread that calls it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage,
    RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use crate::error::{Call, Error, Result};
use crate::netlink::{self, family};

/// `RTCF_REDIRECTED`: an ICMP redirect made this route (linux/in_route.h).
const REDIRECTED: u32 = 0x0004_0000;

/// A route of the main table, or the kernel's answer for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `unicast`, `local`, `blackhole` ...: the kinds of ip-route(8).
    pub kind: String,
    /// The first address of the prefix.
    pub destination: IpAddr,
    /// The length of the prefix.
    pub length: u8,
    /// The next hop; `None`: the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface's name.
    pub interface: Option<String>,
    /// The source address of what is sent without one.
    pub source: Option<IpAddr>,
    /// Of two routes to one prefix the lower metric is taken.
    pub metric: Option<u32>,
    /// An answer only: was it an ICMP redirect that made it so?
    pub redirected: bool,
    /// An answer only: the path's MTU, if the kernel has learned one.
    pub mtu: Option<u32>,
}

/// What is to be done with a route.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Add,
    Replace,
    Delete,
}

/// Adds, replaces or deletes a route of the main table.
pub(crate) fn change(what: Change, route: &Route) -> Result<()> {
    let create = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    let mut message = route.message()?;
    if matches!(what, Change::Delete) {
        // Whoever has put it there, the kernel itself included.
        message.header.scope = RouteScope::NoWhere;
        message.header.protocol = RouteProtocol::Unspec;
    }
    let (name, flags, message) = match what {
        Change::Add => (
            "RTM_NEWROUTE",
            create | NLM_F_EXCL,
            RouteNetlinkMessage::NewRoute(message),
        ),
        Change::Replace => (
            "RTM_NEWROUTE replace",
            create | NLM_F_REPLACE,
            RouteNetlinkMessage::NewRoute(message),
        ),
        Change::Delete => (
            "RTM_DELROUTE",
            NLM_F_REQUEST | NLM_F_ACK,
            RouteNetlinkMessage::DelRoute(message),
        ),
    };
    netlink::request(message, flags, &format!("{name} {route}"))?;
    Ok(())
}

/// The main table, IPv4 before IPv6, in the order in which the kernel tells it:
/// what somebody has put there, or what the kernel has `learned`.
pub(crate) fn list(learned: bool) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let message = RouteNetlinkMessage::GetRoute(message);
        for answer in netlink::dump(message, "RTM_GETROUTE dump")? {
            match answer {
                RouteNetlinkMessage::NewRoute(message)
                    if message.header.address_family == family
                        && message.header.table
                            == RouteHeader::RT_TABLE_MAIN
                        && message
                            .header
                            .flags
                            .contains(RouteFlags::Cloned)
                            == learned =>
                {
                    routes.push(Route::from_message(&message)?);
                }
                _ => {}
            }
        }
    }
    Ok(routes)
}

/// For each destination the route that the kernel would take, exceptions that
/// it has learned included; `None`: it has none, or one that says no.
pub(crate) fn ask(destinations: &[IpAddr]) -> Result<Vec<Option<Route>>> {
    let socket = netlink::open_route()?;
    let answers = destinations.iter().map(|destination| {
        let mut message = RouteMessage::default();
        message.header.address_family = family(*destination);
        message.header.destination_prefix_length = full(*destination);
        message
            .attributes
            .push(RouteAttribute::Destination(wrap(*destination)));
        let message = RouteNetlinkMessage::GetRoute(message);
        let call = format!("RTM_GETROUTE {destination}");
        match netlink::request_on(&socket, message, NLM_F_REQUEST, &call) {
            Ok(Some(RouteNetlinkMessage::NewRoute(message))) => {
                Route::from_message(&message).map(Some)
            }
            Ok(_) => Err(Error::new(format!("{call}: no route in the answer"))),
            Err(err) if err.errno().is_some_and(says_no) => Ok(None),
            Err(err) => Err(err),
        }
    });
    answers.collect()
}

/// What a lookup that ends in no route, or in one that is not unicast, answers:
/// none and `throw`, `unreachable`, `prohibit`, `blackhole`.
fn says_no(errno: i32) -> bool {
    [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL]
        .contains(&errno)
}

impl Route {
    fn message(&self) -> Result<RouteMessage> {
        let kind = KINDS.iter().find(|(name, _)| *name == self.kind);
        let Some((_, kind)) = kind else {
            return Err(Error::new(format!("a route of kind {}", self.kind)));
        };
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family(self.destination),
            destination_prefix_length: self.length,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            // What is on the link is nearer than what is behind a gateway: a
            // gateway itself must be reached by a route of this scope.
            scope: match self.gateway.is_none() && self.interface.is_some() {
                true => RouteScope::Link,
                false => RouteScope::Universe,
            },
            kind: *kind,
            ..RouteHeader::default()
        };
        let attributes = &mut message.attributes;
        if self.length > 0 {
            let destination = wrap(self.destination);
            attributes.push(RouteAttribute::Destination(destination));
        }
        attributes
            .extend(self.gateway.map(|hop| RouteAttribute::Gateway(wrap(hop))));
        attributes.extend(
            self.source.map(|from| RouteAttribute::PrefSource(wrap(from))),
        );
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        if let Some(name) = &self.interface {
            attributes.push(RouteAttribute::Oif(netlink::index(name)?));
        }
        Ok(message)
    }

    fn from_message(message: &RouteMessage) -> Result<Route> {
        let header = &message.header;
        let nowhere = match header.address_family {
            AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let kind = KINDS.iter().find(|(_, kind)| *kind == header.kind);
        let mut route = Route {
            kind: kind.map_or("other", |(name, _)| name).to_string(),
            destination: nowhere,
            length: header.destination_prefix_length,
            gateway: None,
            interface: None,
            source: None,
            metric: None,
            redirected: header.flags.bits() & REDIRECTED != 0,
            mtu: None,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => {
                    route.destination = unwrap(to).unwrap_or(nowhere);
                }
                RouteAttribute::Gateway(hop) => route.gateway = unwrap(hop),
                RouteAttribute::PrefSource(from) => route.source = unwrap(from),
                RouteAttribute::Priority(metric) => {
                    route.metric = Some(*metric);
                }
                RouteAttribute::Oif(index) => {
                    let name = nix::net::if_::if_indextoname(*index)
                        .call(format!("if_indextoname {index}"))?;
                    route.interface = Some(name.to_string_lossy().into());
                }
                RouteAttribute::Metrics(metrics) => {
                    route.mtu =
                        metrics.iter().find_map(|metric| match metric {
                            RouteMetric::Mtu(mtu) => Some(*mtu),
                            _ => None,
                        });
                }
                _ => {}
            }
        }
        Ok(route)
    }
}

/// The kinds of routes by ip-route(8)'s words; the first is meant unless said.
const KINDS: &[(&str, RouteType)] = &[
    ("unicast", RouteType::Unicast),
    ("blackhole", RouteType::BlackHole),
    ("unreachable", RouteType::Unreachable),
    ("prohibit", RouteType::Prohibit),
    ("throw", RouteType::Throw),
    ("local", RouteType::Local),
    ("broadcast", RouteType::Broadcast),
    ("multicast", RouteType::Multicast),
];

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != KINDS[0].0 {
            write!(f, "{} ", self.kind)?;
        }
        match self.length {
            0 => f.write_str("default")?,
            length if length == full(self.destination) => {
                write!(f, "{}", self.destination)?;
            }
            length => write!(f, "{}/{length}", self.destination)?,
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        Ok(())
    }
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(text: &str) -> Result<Route> {
        parse(text).map_err(|why| {
            Error::new(format!("route `{text}`: {why}")).cure(
                "a route is [KIND] DESTINATION [via GATEWAY] [dev INTERFACE] \
                 [src ADDRESS] [metric N], like `default via 192.168.1.1`",
            )
        })
    }
}

fn parse(text: &str) -> std::result::Result<Route, String> {
    let mut words = text.split_whitespace().peekable();
    let kind = words.next_if(|word| KINDS.iter().any(|k| k.0 == *word));
    let destination = words.next().ok_or("it has no destination")?;
    let mut route = Route {
        kind: kind.unwrap_or(KINDS[0].0).to_string(),
        destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        length: 0,
        gateway: None,
        interface: None,
        source: None,
        metric: None,
        redirected: false,
        mtu: None,
    };
    while let Some(word) = words.next() {
        let operand = words.next();
        let operand =
            operand.ok_or(format!("`{word}` needs a word after it"))?;
        match word {
            "via" => route.gateway = Some(address(operand)?),
            "dev" => route.interface = Some(operand.to_string()),
            "src" => route.source = Some(address(operand)?),
            "metric" => {
                let metric = operand.parse();
                let bad = |_| format!("`{operand}` is not a number");
                route.metric = Some(metric.map_err(bad)?);
            }
            other => return Err(format!("`{other}` is not understood")),
        }
    }
    if destination == "default" {
        if route.gateway.is_some_and(|gateway| gateway.is_ipv6()) {
            route.destination = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        }
        return Ok(route);
    }
    let (first, length) = match destination.split_once('/') {
        Some((first, length)) => (first, Some(length)),
        None => (destination, None),
    };
    route.destination = address(first)?;
    let most = full(route.destination);
    route.length = length.map_or(Ok(most), |length| {
        let number = length.parse().ok().filter(|number| *number <= most);
        number.ok_or(format!("`{length}` is not a prefix length"))
    })?;
    Ok(route)
}

fn address(text: &str) -> std::result::Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address"))
}

/// The length of a prefix that is one address.
fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn wrap(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

fn unwrap(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_back() {
        for text in [
            "default via 192.168.1.109",
            "198.51.100.0/24 via 192.168.1.1 metric 5",
            "198.51.100.7 dev eth0 src 192.168.1.108",
            "blackhole 198.51.100.128/25",
            "2001:db8:9::/48 via 2001:db8:1::1",
        ] {
            let route: Route = text.parse().unwrap();
            assert_eq!(route.to_string(), text);
        }
    }

    #[test]
    fn a_bad_route_is_refused_with_the_word_that_is_wrong() {
        for (text, wrong) in [
            ("", "no destination"),
            ("everywhere", "`everywhere` is not an address"),
            ("10.0.0.0/33", "`33` is not a prefix length"),
            ("default via", "`via` needs a word"),
            ("default by 10.0.0.1", "`by` is not understood"),
            ("default metric low", "`low` is not a number"),
        ] {
            let said = text.parse::<Route>().unwrap_err().what();
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }
}

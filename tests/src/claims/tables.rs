//! Routes, neighbours and interfaces, by rtnetlink(7). Each acts on the network
//! of the thread that calls it: for `Ground::at`.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
    RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;

/// A network: its address and the length of its prefix.
pub(super) type Net = (Ipv4Addr, u8);
pub(super) const DEFAULT: Net = (Ipv4Addr::UNSPECIFIED, 0);

/// Adds a route by way of a gateway, or straight out of eth0.
pub(super) fn add_route(to: Net, by: Option<Ipv4Addr>) -> io::Result<()> {
    let mut message = route(to);
    message.header.scope = match by {
        Some(_) => RouteScope::Universe,
        None => RouteScope::Link,
    };
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(match by {
        Some(gateway) => RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
        None => RouteAttribute::Oif(if_nametoindex("eth0")?),
    });
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    ask(RouteNetlinkMessage::NewRoute(message), flags).map(drop)
}

/// Deletes the route to a network.
pub(super) fn delete_route(to: Net) -> io::Result<()> {
    let mut message = route(to);
    message.header.scope = RouteScope::NoWhere; // Any.
    ask(RouteNetlinkMessage::DelRoute(message), NLM_F_ACK).map(drop)
}

/// The gateway that would be used for an address; `None`: no gateway.
pub(super) fn gateway_to(to: Ipv4Addr) -> io::Result<Option<Ipv4Addr>> {
    let message = RouteNetlinkMessage::GetRoute(route((to, 32)));
    let Some(RouteNetlinkMessage::NewRoute(found)) = ask(message, 0)? else {
        return Err(io::Error::other("no route in the answer"));
    };
    Ok(found.attributes.into_iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(gateway),
        _ => None,
    }))
}

/// Forgets a neighbour of eth0.
pub(super) fn delete_neighbour(address: Ipv4Addr) -> io::Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = if_nametoindex("eth0")?;
    let destination = NeighbourAddress::Inet(address);
    message.attributes.push(NeighbourAttribute::Destination(destination));
    ask(RouteNetlinkMessage::DelNeighbour(message), NLM_F_ACK).map(drop)
}

/// Sets the MTU of an interface.
pub(super) fn set_mtu(interface: &str, mtu: u32) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = if_nametoindex(interface)?;
    link.attributes.push(LinkAttribute::Mtu(mtu));
    ask(RouteNetlinkMessage::SetLink(link), NLM_F_ACK).map(drop)
}

fn route((address, prefix): Net) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.destination_prefix_length = prefix;
    if prefix > 0 {
        let address = RouteAddress::Inet(address);
        message.attributes.push(RouteAttribute::Destination(address));
    }
    message
}

/// Sends one request and reads one answer.
fn ask(
    message: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Option<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let (answer, _from) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => {
            Err(error.to_io())
        }
        NetlinkPayload::InnerMessage(inner) => Ok(Some(inner)),
        _ => Ok(None),
    }
}

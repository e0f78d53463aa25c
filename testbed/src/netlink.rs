//! Interfaces, addresses, routes and neighbours, by rtnetlink(7).
//!
//! Each request acts on the network namespace of the thread that makes it and
//! waits for the kernel's answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, Stats64,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage,
    NeighbourState as State,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
    RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use crate::error::{Call, Error, Result};
use crate::neighbours::{Neighbour, NeighbourState};

/// The index of an interface of this thread's namespace.
pub(crate) fn index(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).call(format!("if_nametoindex {name}"))
}

/// Sets an interface up or down.
pub(crate) fn set_up(name: &str, up: bool) -> Result<()> {
    let mut link = link(name)?;
    link.header.change_mask = LinkFlags::Up;
    link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    set_link(link, format!("RTM_NEWLINK {name} up={up}"))
}

/// The station address and the length of the transmit queue, then up. The
/// queue of an interface that is up changes only after milliseconds (the kernel
/// waits until no processor uses the old one), hence two requests.
pub(crate) fn configure(name: &str, mac: [u8; 6], queue: u32) -> Result<()> {
    let mut link = link(name)?;
    link.attributes.push(LinkAttribute::Address(mac.to_vec()));
    link.attributes.push(LinkAttribute::TxQueueLen(queue));
    set_link(link, format!("RTM_NEWLINK {name} address, txqlen"))?;
    set_up(name, true)
}

/// The longest packet that an interface sends in one frame.
pub(crate) fn set_mtu(name: &str, mtu: u32) -> Result<()> {
    let mut link = link(name)?;
    link.attributes.push(LinkAttribute::Mtu(mtu));
    set_link(link, format!("RTM_NEWLINK {name} mtu {mtu}"))
}

/// A veth pair: `near` in this namespace, `far` in the one behind `netns`.
pub(crate) fn create_veth(
    near: &str,
    far: &str,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let mut peer = LinkMessage::default();
    peer.attributes.push(LinkAttribute::IfName(far.into()));
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut pair = LinkMessage::default();
    pair.attributes.push(LinkAttribute::IfName(near.into()));
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    create(
        RouteNetlinkMessage::NewLink(pair),
        format!("RTM_NEWLINK veth {near}"),
    )
}

/// Adds an address. The kernel makes an IPv6 address usable a little later,
/// even where duplicate address detection (RFC 4862, section 5.4) is off.
pub(crate) fn add_address(name: &str, addr: IpAddr, prefix: u8) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(addr);
    message.header.prefix_len = prefix;
    message.header.index = index(name)?;
    message.header.flags = AddressHeaderFlags::empty();
    message.attributes.push(AddressAttribute::Local(addr));
    if let IpAddr::V4(v4) = addr {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix));
        let host = !mask.unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(v4) | host);
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    create(
        RouteNetlinkMessage::NewAddress(message),
        format!("RTM_NEWADDR {addr}/{prefix} on {name}"),
    )
}

/// The default route, by way of `gateway`.
pub(crate) fn add_default_route(gateway: IpAddr) -> Result<()> {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(gateway),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Gateway(match gateway {
        IpAddr::V4(addr) => RouteAddress::Inet(addr),
        IpAddr::V6(addr) => RouteAddress::Inet6(addr),
    }));
    create(
        RouteNetlinkMessage::NewRoute(message),
        format!("RTM_NEWROUTE default via {gateway}"),
    )
}

/// The neighbours of an interface, in the kernel's order.
pub(crate) fn neighbours(name: &str) -> Result<Vec<Neighbour>> {
    let call = format!("RTM_GETNEIGH {name}");
    let index = index(name)?;
    // Since Linux 5.0 whoever asks strictly may say which interface; any
    // kernel answers with all of them to who does not.
    let message =
        RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let entries =
        dump(message, &call)?.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(entry) => Some(entry),
            _ => None,
        });
    Ok(entries
        .filter(|entry| entry.header.ifindex == index)
        .filter_map(|entry| neighbour(&entry))
        .collect())
}

/// Sets an entry by hand, whatever was there before.
pub(crate) fn set_neighbour(
    name: &str,
    address: IpAddr,
    station: [u8; 6],
) -> Result<()> {
    let mut message = neighbour_message(name, address)?;
    message.header.state = State::Permanent;
    let station = NeighbourAttribute::LinkLayerAddress(station.to_vec());
    message.attributes.push(station);
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    let call = format!("RTM_NEWNEIGH {address} on {name}");
    request(RouteNetlinkMessage::NewNeighbour(message), flags, &call)?;
    Ok(())
}

/// Deletes an entry.
pub(crate) fn delete_neighbour(name: &str, address: IpAddr) -> Result<()> {
    let message = neighbour_message(name, address)?;
    let call = format!("RTM_DELNEIGH {address} on {name}");
    let message = RouteNetlinkMessage::DelNeighbour(message);
    request(message, NLM_F_REQUEST | NLM_F_ACK, &call)?;
    Ok(())
}

fn neighbour_message(name: &str, address: IpAddr) -> Result<NeighbourMessage> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index(name)?;
    let destination = NeighbourAddress::from(address);
    message.attributes.push(NeighbourAttribute::Destination(destination));
    Ok(message)
}

fn neighbour(entry: &NeighbourMessage) -> Option<Neighbour> {
    let state = match entry.header.state {
        State::Incomplete => NeighbourState::Incomplete,
        State::Reachable => NeighbourState::Reachable,
        State::Stale => NeighbourState::Stale,
        State::Delay => NeighbourState::Delay,
        State::Probe => NeighbourState::Probe,
        State::Failed => NeighbourState::Failed,
        State::Noarp => NeighbourState::NoArp,
        State::Permanent => NeighbourState::Permanent,
        _ => return None,
    };
    let attributes = entry.attributes.iter();
    let address = attributes.clone().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
            Some(IpAddr::V4(*v4))
        }
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
            Some(IpAddr::V6(*v6))
        }
        _ => None,
    });
    let station = attributes.clone().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            bytes.as_slice().try_into().ok()
        }
        _ => None,
    });
    Some(Neighbour { address: address?, station, state })
}

/// Counters of an interface since it exists.
pub(crate) fn counters(name: &str) -> Result<Stats64> {
    let call = format!("RTM_GETLINK {name}");
    let message = RouteNetlinkMessage::GetLink(link(name)?);
    let answer = request(message, NLM_F_REQUEST, &call)?;
    let Some(RouteNetlinkMessage::NewLink(link)) = answer else {
        return Err(Error::new(format!("{call}: no link in the answer")));
    };
    let stats = link.attributes.into_iter().find_map(|attribute| {
        if let LinkAttribute::Stats64(stats) = attribute {
            Some(stats)
        } else {
            None
        }
    });
    stats.ok_or_else(|| Error::new(format!("{call}: no counters")))
}

/// Some interfaces of one network namespace: that of the thread that opened
/// it, wherever it is used from later.
pub(crate) struct Links {
    socket: Socket,
    indices: Vec<u32>,
}

impl Links {
    pub(crate) fn open(names: &[String]) -> Result<Links> {
        let indices = names.iter().map(|name| index(name));
        Ok(Links {
            indices: indices.collect::<Result<_>>()?,
            socket: open_route()?,
        })
    }

    /// Waits until the kernel has noticed that each has a carrier, or has none
    /// (IFF_RUNNING), and has acted on it; `false`: not within `limit`.
    ///
    /// That is the work of a thread of the kernel's, some time later. Until it
    /// is done a device may drop what it is given, in silence.
    pub(crate) fn wait_for_carrier(
        &self,
        on: bool,
        limit: Duration,
    ) -> Result<bool> {
        let deadline = Instant::now() + limit;
        for index in &self.indices {
            while self.is_running(*index)? != on {
                if Instant::now() > deadline {
                    return Ok(false);
                }
                // There is no event for it that costs less than asking again.
                std::thread::sleep(Duration::from_micros(100));
            }
            // One more call that takes the kernel's lock (RTNL): the carrier's
            // work, which holds it, is then done.
            self.set_nothing(*index)?;
        }
        Ok(true)
    }

    fn is_running(&self, index: u32) -> Result<bool> {
        let call = format!("RTM_GETLINK {index}");
        let mut link = LinkMessage::default();
        link.header.index = index;
        let message = RouteNetlinkMessage::GetLink(link);
        match request_on(&self.socket, message, NLM_F_REQUEST, &call)? {
            Some(RouteNetlinkMessage::NewLink(link)) => {
                Ok(link.header.flags.contains(LinkFlags::Running))
            }
            _ => Err(Error::new(format!("{call}: no link in the answer"))),
        }
    }

    fn set_nothing(&self, index: u32) -> Result<()> {
        let call = format!("RTM_NEWLINK {index}");
        let mut link = LinkMessage::default();
        link.header.index = index;
        let message = RouteNetlinkMessage::SetLink(link);
        request_on(&self.socket, message, NLM_F_REQUEST | NLM_F_ACK, &call)?;
        Ok(())
    }
}

/// The IPv6 link-local address that the kernel forms from a station address
/// (RFC 4291, appendix A).
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let pair = |x: u8, y: u8| u16::from_be_bytes([x, y]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        pair(a ^ 2, b),
        pair(c, 0xff),
        pair(0xfe, d),
        pair(e, f),
    )
}

pub(crate) fn family(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn link(name: &str) -> Result<LinkMessage> {
    let mut link = LinkMessage::default();
    link.header.index = index(name)?;
    Ok(link)
}

fn set_link(link: LinkMessage, call: String) -> Result<()> {
    let message = RouteNetlinkMessage::SetLink(link);
    request(message, NLM_F_REQUEST | NLM_F_ACK, &call)?;
    Ok(())
}

fn create(message: RouteNetlinkMessage, call: String) -> Result<()> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request(message, flags, &call)?;
    Ok(())
}

/// Sends one request and reads one answer: an acknowledgement, an error, or
/// the object that was asked for.
pub(crate) fn request(
    message: RouteNetlinkMessage,
    flags: u16,
    call: &str,
) -> Result<Option<RouteNetlinkMessage>> {
    request_on(&open_route()?, message, flags, call)
}

pub(crate) fn open_route() -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE).call("socket NETLINK_ROUTE")?;
    socket.bind_auto().call("bind NETLINK_ROUTE")?;
    Ok(socket)
}

pub(crate) fn request_on(
    socket: &Socket,
    message: RouteNetlinkMessage,
    flags: u16,
    call: &str,
) -> Result<Option<RouteNetlinkMessage>> {
    send(socket, message, flags, call)?;
    let (answer, _from) = socket.recv_from_full().call(call)?;
    match decode(&answer, call)?.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => {
            Err(Error::from_call(call, error.to_io()))
        }
        NetlinkPayload::InnerMessage(inner) => Ok(Some(inner)),
        _ => Ok(None),
    }
}

/// Asks for every object of a kind: as many messages as there are objects, in
/// as many datagrams as the kernel likes.
pub(crate) fn dump(
    message: RouteNetlinkMessage,
    call: &str,
) -> Result<Vec<RouteNetlinkMessage>> {
    let socket = open_route()?;
    send(&socket, message, NLM_F_REQUEST | NLM_F_DUMP, call)?;
    let mut found = Vec::new();
    loop {
        let (answer, _from) = socket.recv_from_full().call(call)?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = decode(rest, call)?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => {
                    return Err(Error::from_call(call, error.to_io()));
                }
                NetlinkPayload::InnerMessage(inner) => found.push(inner),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn send(
    socket: &Socket,
    message: RouteNetlinkMessage,
    flags: u16,
    call: &str,
) -> Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).call(call)?;
    Ok(())
}

fn decode(
    bytes: &[u8],
    call: &str,
) -> Result<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(bytes)
        .map_err(|err| Error::new(format!("{call}: decode: {err}")))
}

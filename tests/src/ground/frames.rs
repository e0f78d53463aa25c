//! Frames: those a probe sends as they are, and those that were on the wire.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use testbed::trace::{SegmentView, View};
use testbed::{Matcher, TcpState};

use super::{Call, Ground, ROUTER, SOON, bytes};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;

/// A TCP segment that was on the wire.
pub(crate) struct Seen {
    /// Milliseconds since the network is up.
    pub(crate) at: f64,
    pub(crate) segment: SegmentView,
    /// The frame.
    pub(crate) bytes: Vec<u8>,
    /// The states of the connection once it had arrived: the client's host's
    /// and the server's host's.
    pub(crate) states: [Option<TcpState>; 2],
}

impl Ground<'_> {
    /// A packet socket on a host's first interface.
    pub(crate) fn packets(&self, host: &str) -> Result<Socket, Halt> {
        self.packets_of(host, "eth0")
    }

    pub(crate) fn packets_of(
        &self,
        host: &str,
        interface: &str,
    ) -> Result<Socket, Halt> {
        let socket = self
            .at(host, "socket AF_PACKET", || sys::packet_socket(interface))?;
        socket.set_read_timeout(Some(SOON)).call("setsockopt")?;
        Ok(socket)
    }

    /// Puts a frame on the wire as it is.
    pub(crate) fn throw(&self, host: &str, frame: &[u8]) -> Result<(), Halt> {
        self.packets(host)?.send(frame).call("send")?;
        Ok(())
    }

    /// Waits until so many such frames have been on the wire.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        count: usize,
    ) -> Result<(), Halt> {
        self.stage.frames(what, count)
    }

    /// Have so many such frames been on the wire, or will they be by then?
    pub(crate) fn seen(
        &self,
        what: &str,
        count: usize,
        millis: u64,
    ) -> Result<bool, Halt> {
        let limit = Duration::from_millis(millis) * self.stage.slack;
        Ok(self.stage.net.wait_frames(what, count, limit)?)
    }

    /// The frames of a kind so far: when, by whom, and the bytes.
    pub(crate) fn frames(
        &self,
        what: &str,
    ) -> Result<Vec<(f64, String, Vec<u8>)>, Halt> {
        let matcher: Matcher = what.parse()?;
        let trace = self.stage.net.trace()?;
        let frames = trace.frames().filter(|(event, frame)| {
            matcher.matches(&event.host, &frame.packet())
        });
        let frames = frames.map(|(event, frame)| {
            (millis(event.t_ns), event.host.clone(), frame.bytes.clone())
        });
        Ok(frames.collect())
    }

    /// The TCP segments so far.
    pub(crate) fn segments(&self) -> Result<Vec<Seen>, Halt> {
        let trace = self.stage.net.trace()?;
        let mut view = View::new();
        let segments = trace.frames().filter_map(|(event, frame)| {
            let segment = view.segment(&trace, frame)?;
            let (one, other) = match segment.by_client {
                true => (&segment.from, &segment.to),
                false => (&segment.to, &segment.from),
            };
            let state = |host: &String| frame.states.get(host).copied();
            Some(Seen {
                at: millis(event.t_ns),
                bytes: frame.bytes.clone(),
                states: [state(one), state(other)],
                segment,
            })
        });
        Ok(segments.collect())
    }

    /// An echo request; has the answer come within this time?
    pub(crate) fn ping(
        &self,
        from: &str,
        to: IpAddr,
        length: usize,
        limit: Duration,
    ) -> Result<bool, Halt> {
        let mut socket = self.at(from, "socket SOCK_RAW", || {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        })?;
        socket.set_read_timeout(Some(limit)).call("setsockopt")?;
        let echo = bytes::echo(length);
        let to = SocketAddr::new(to, 0).into();
        socket.send_to(&echo, &to).call("sendto")?;
        let mut answer = vec![0; 1 << 16];
        while let Ok(got) = socket.read(&mut answer) {
            let message = &answer[bytes::header_length(&answer)..got];
            if message[0] == 0 && message[4..] == echo[4..] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The addresses of two hosts.
    pub(crate) fn ends(
        &self,
        from: &str,
        to: &str,
    ) -> Result<(Ipv4Addr, Ipv4Addr), Halt> {
        Ok((bytes::v4(self.ip(from)?), bytes::v4(self.ip(to)?)))
    }

    /// The ICMP messages of a host so far, without their IP headers.
    pub(crate) fn icmp_from(&self, host: &str) -> Result<Vec<Vec<u8>>, Halt> {
        let frames = self.frames(&format!("icmp from {host}"))?;
        let messages =
            frames.iter().map(|frame| bytes::carried(&frame.2).to_vec());
        Ok(messages.collect())
    }

    /// Moves the laptop's default route to Kongming20, which has the router as
    /// its own.
    pub(crate) fn by_way_of_kongming(&self) -> Result<(), Halt> {
        // A redirect to a neighbour that is not known has no effect.
        self.ping(LAPTOP, self.ip(ROUTER)?, 8, SOON)?;
        let gateway = bytes::v4(self.ip(KONGMING)?);
        let route = format!("default via {gateway}");
        Ok(self.host(LAPTOP)?.replace_route(&route)?)
    }

    /// Whom the laptop would give a packet for this address.
    pub(crate) fn next_hop(&self, to: Ipv4Addr) -> Result<String, Halt> {
        let found = self.host(LAPTOP)?.routes_to(&[to.into()])?;
        let gateway = found.into_iter().flatten().find_map(|r| r.gateway);
        let trace = self.stage.net.blank_trace();
        Ok(gateway.map_or("nobody".into(), |ip| trace.name_of(ip)))
    }
}

fn millis(t_ns: u64) -> f64 {
    t_ns as f64 / 1e6
}

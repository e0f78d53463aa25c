//! What probes stand on: hosts to act on, sockets, the frames so far.

use std::io::{self, Read};
use std::net::{
    IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use testbed::trace::{SegmentView, View};
use testbed::{Host, Matcher, TcpSocket, TcpState};

use super::{Break, bytes};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::sys;

/// The router's name on the small internet.
pub(super) const ROUTER: &str = "router";
/// Its Web server's.
pub(super) const WWW: &str = "www.example.test";
/// What a call waits for at most; it is answered within milliseconds.
pub(super) const SOON: Duration = Duration::from_secs(4);

/// Options of setsockopt(2) that are an int: their level and name.
pub(super) type IntOption = (libc::c_int, libc::c_int);
pub(super) const QUICKACK: IntOption = (libc::IPPROTO_TCP, libc::TCP_QUICKACK);
pub(super) const MTU_DISCOVER: IntOption =
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
pub(super) const UDP_SEGMENT: IntOption = (libc::SOL_UDP, libc::UDP_SEGMENT);

/// A failed call in a probe is what came of it, and no failure of the testbed.
pub(super) trait Call<T> {
    fn call(self, name: &str) -> Result<T, Halt>;
}

impl<T> Call<T> for io::Result<T> {
    fn call(self, name: &str) -> Result<T, Halt> {
        self.map_err(|err| Halt::Missed(format!("called {name}: {err}")))
    }
}

/// Where a probe plays.
pub(super) struct Ground<'a> {
    pub(super) stage: &'a mut Stage,
    /// Is something to be done otherwise, so that the probe fails?
    pub(super) broken: bool,
    /// Is there time for minutes?
    pub(super) slow: bool,
}

/// A connection from the laptop to Kongming20.
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// A TCP segment that was on the wire.
pub(super) struct Seen {
    /// Milliseconds since the network is up.
    pub(super) at: f64,
    pub(super) segment: SegmentView,
    /// The frame.
    pub(super) bytes: Vec<u8>,
    /// The states of the connection once it had arrived: the client's host's
    /// and the server's host's.
    pub(super) states: [Option<TcpState>; 2],
}

impl<'a> Ground<'a> {
    /// A stage, with what must make the probe fail.
    pub(super) fn prepare(
        stage: &'a mut Stage,
        breaks: Option<&Break>,
        slow: bool,
    ) -> Result<Ground<'a>, Halt> {
        let mut broken = false;
        match breaks {
            None => {}
            Some(Break::Deed(_)) => broken = true,
            Some(Break::Wire(rule)) => {
                stage.net.wire().arm(rule)?; // To the end.
            }
            Some(Break::Sysctl(settings)) => {
                for setting in settings.split(' ') {
                    let (name, value) =
                        setting.split_once('=').unwrap_or_default();
                    for host in stage.net.hosts() {
                        host.set_sysctl(name, value)?;
                    }
                }
            }
        }
        Ok(Ground { stage, broken, slow })
    }

    pub(super) fn host(&self, name: &str) -> Result<&Host, Halt> {
        Ok(self.stage.net.host(name)?)
    }

    pub(super) fn ip(&self, name: &str) -> Result<IpAddr, Halt> {
        Ok(self.host(name)?.ip())
    }

    /// Runs something on a host.
    pub(super) fn at<T: Send>(
        &self,
        host: &str,
        call: &str,
        f: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, Halt> {
        self.host(host)?.at(f)?.call(call)
    }

    pub(super) fn arm(&self, rule: &str) -> Result<testbed::Armed, Halt> {
        Ok(self.stage.net.wire().arm(rule)?)
    }

    /// Changes a setting of both hosts.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<(), Halt> {
        for host in [LAPTOP, KONGMING] {
            self.set_on(host, name, value)?;
        }
        Ok(())
    }

    pub(super) fn set_on(
        &self,
        host: &str,
        name: &str,
        value: &str,
    ) -> Result<(), Halt> {
        Ok(self.host(host)?.set_sysctl(name, value)?)
    }

    /// A setting as a host has it.
    pub(super) fn setting(
        &self,
        host: &str,
        name: &str,
    ) -> Result<String, Halt> {
        Ok(self.host(host)?.sysctl(name)?)
    }

    /// What a host's kernel has counted, by a name of nstat(8).
    pub(super) fn counter(&self, host: &str, name: &str) -> Result<u64, Halt> {
        let counters = self.host(host)?.counters()?;
        let counted = counters.get(name).copied();
        let none = || testbed::Error::new(format!("no counter {name}"));
        Ok(counted.ok_or_else(none)?)
    }

    /// An address of a host, with a port that the run draws.
    pub(super) fn address(&mut self, host: &str) -> Result<SocketAddr, Halt> {
        self.stage.address(host)
    }

    /// A TCP socket of a host, with no option set.
    pub(super) fn socket(&self, host: &str) -> Result<Socket, Halt> {
        self.at(host, "socket", || {
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        })
    }

    /// A socket that listens on an address, with what was done to it before.
    pub(super) fn listener_with(
        &self,
        host: &str,
        address: SocketAddr,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<TcpListener, Halt> {
        let socket = self.socket(host)?;
        prepare(&socket).call("setsockopt")?;
        socket.bind(&address.into()).call(&format!("bind {address}"))?;
        socket.listen(5).call("listen")?;
        Ok(socket.into())
    }

    /// The same with no option set.
    pub(super) fn listener(
        &self,
        host: &str,
        address: SocketAddr,
    ) -> Result<TcpListener, Halt> {
        self.listener_with(host, address, |_| Ok(()))
    }

    /// A connection, with what is done to its sockets before it is made: to
    /// the client's and to the listener, whose options an accepted one has.
    pub(super) fn pair_with(
        &mut self,
        client: impl FnOnce(&Socket) -> io::Result<()>,
        listener: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<Pair, Halt> {
        let address = self.address(KONGMING)?;
        let listener = self.listener_with(KONGMING, address, listener)?;
        let socket = self.socket(LAPTOP)?;
        client(&socket).call("setsockopt")?;
        socket.connect(&address.into()).call(&format!("connect {address}"))?;
        let (server, _) = listener.accept().call("accept")?;
        let client = TcpStream::from(socket);
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(SOON)).call("setsockopt")?;
        }
        Ok(Pair { client, server, listener, address })
    }

    /// A connection without options.
    pub(super) fn pair(&mut self) -> Result<Pair, Halt> {
        self.pair_with(|_| Ok(()), |_| Ok(()))
    }

    /// A UDP socket of a host, on any port.
    pub(super) fn udp(&self, host: &str) -> Result<UdpSocket, Halt> {
        let ip = self.ip(host)?;
        let socket = self.at(host, "bind", || UdpSocket::bind((ip, 0)))?;
        socket.set_read_timeout(Some(SOON)).call("setsockopt")?;
        Ok(socket)
    }

    /// A UDP socket on the laptop that is connected to one on Kongming20.
    pub(super) fn udp_pair(&self) -> Result<(UdpSocket, UdpSocket), Halt> {
        let (client, server) = (self.udp(LAPTOP)?, self.udp(KONGMING)?);
        client
            .connect(server.local_addr().call("getsockname")?)
            .call("connect")?;
        Ok((client, server))
    }

    /// A datagram there and one back. What was sent before has been dealt with
    /// by both kernels then: the wire keeps the order.
    pub(super) fn round_trip(&self) -> Result<(), Halt> {
        let (client, server) = self.udp_pair()?;
        client.send(b"!").call("send")?;
        let (_, from) = server.recv_from(&mut [0]).call("recvfrom")?;
        server.send_to(b"!", from).call("sendto")?;
        client.recv(&mut [0]).call("recv")?;
        Ok(())
    }

    /// A packet socket on a host's first interface.
    pub(super) fn packets(&self, host: &str) -> Result<Socket, Halt> {
        self.packets_of(host, "eth0")
    }

    pub(super) fn packets_of(
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
    pub(super) fn throw(&self, host: &str, frame: &[u8]) -> Result<(), Halt> {
        self.packets(host)?.send(frame).call("send")?;
        Ok(())
    }

    /// Waits until so many such frames have been on the wire.
    pub(super) fn wait(
        &mut self,
        what: &str,
        count: usize,
    ) -> Result<(), Halt> {
        self.stage.frames(what, count)
    }

    /// Have so many such frames been on the wire, or will they be by then?
    pub(super) fn seen(
        &self,
        what: &str,
        count: usize,
        millis: u64,
    ) -> Result<bool, Halt> {
        let limit = Duration::from_millis(millis) * self.stage.slack;
        Ok(self.stage.net.wait_frames(what, count, limit)?)
    }

    /// Waits until a host's connection has so many bytes to be read.
    pub(super) fn queued(
        &mut self,
        host: &str,
        bytes: u32,
    ) -> Result<(), Halt> {
        let what = format!("{bytes} bytes in the receive queue");
        self.stage.sockets(host, &what, |sockets| {
            sockets.iter().any(|socket| {
                socket.state != TcpState::Listen
                    && socket.receive_queue >= bytes
            })
        })?;
        Ok(())
    }

    /// Waits until all that a host's connections have sent is acknowledged.
    pub(super) fn acknowledged(&mut self, host: &str) -> Result<(), Halt> {
        self.stage.sockets(host, "every acknowledgement", |sockets| {
            sockets.iter().all(|socket| {
                socket.state == TcpState::Listen || socket.send_queue == 0
            })
        })?;
        Ok(())
    }

    /// Waits until a host's sockets have all closed, but for listeners and
    /// TIME-WAIT.
    pub(super) fn settled(&mut self, host: &str) -> Result<(), Halt> {
        let rest = [TcpState::Listen, TcpState::TimeWait];
        self.stage.sockets(host, "the end of the connection", |sockets| {
            sockets.iter().all(|socket| rest.contains(&socket.state))
        })?;
        Ok(())
    }

    /// Cuts a host's cable, or mends it.
    pub(super) fn cable(&self, host: &str, whole: bool) -> Result<(), Halt> {
        let wire = self.stage.net.wire();
        let done = if whole { wire.plug(host) } else { wire.cut(host) };
        Ok(done?)
    }

    /// The socket of a host that has this state.
    pub(super) fn socket_in(
        &mut self,
        host: &str,
        state: TcpState,
    ) -> Result<TcpSocket, Halt> {
        let found = self.stage.sockets(host, state.name(), |sockets| {
            sockets.iter().any(|socket| socket.state == state)
        })?;
        let found = found.into_iter().find(|socket| socket.state == state);
        found.ok_or_else(|| Halt::Missed(format!("waited for {state}")))
    }

    /// The frames of a kind so far: when, by whom, and the bytes.
    pub(super) fn frames(
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
    pub(super) fn segments(&self) -> Result<Vec<Seen>, Halt> {
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
    pub(super) fn ping(
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
    pub(super) fn ends(
        &self,
        from: &str,
        to: &str,
    ) -> Result<(Ipv4Addr, Ipv4Addr), Halt> {
        Ok((bytes::v4(self.ip(from)?), bytes::v4(self.ip(to)?)))
    }

    /// The ICMP messages of a host so far, without their IP headers.
    pub(super) fn icmp_from(&self, host: &str) -> Result<Vec<Vec<u8>>, Halt> {
        let frames = self.frames(&format!("icmp from {host}"))?;
        let messages =
            frames.iter().map(|frame| bytes::carried(&frame.2).to_vec());
        Ok(messages.collect())
    }

    /// Moves the laptop's default route to Kongming20, which has the router as
    /// its own.
    pub(super) fn by_way_of_kongming(&self) -> Result<(), Halt> {
        // A redirect to a neighbour that is not known has no effect.
        self.ping(LAPTOP, self.ip(ROUTER)?, 8, SOON)?;
        let gateway = bytes::v4(self.ip(KONGMING)?);
        let route = format!("default via {gateway}");
        Ok(self.host(LAPTOP)?.replace_route(&route)?)
    }

    /// Whom the laptop would give a packet for this address.
    pub(super) fn next_hop(&self, to: Ipv4Addr) -> Result<String, Halt> {
        let found = self.host(LAPTOP)?.routes_to(&[to.into()])?;
        let gateway = found.into_iter().flatten().find_map(|r| r.gateway);
        let trace = self.stage.net.blank_trace();
        Ok(gateway.map_or("nobody".into(), |ip| trace.name_of(ip)))
    }
}

impl Pair {
    /// Closes one end, then the other: each FIN is acknowledged before the
    /// next is sent.
    pub(super) fn close(
        self,
        ground: &mut Ground<'_>,
        server_first: bool,
    ) -> Result<(SocketAddr, TcpListener), Halt> {
        let Pair { client, server, listener, address } = self;
        let (first, second, host) = match server_first {
            true => (server, client, LAPTOP),
            false => (client, server, KONGMING),
        };
        drop(first);
        ground.socket_in(host, TcpState::CloseWait)?;
        ground.acknowledged(if server_first { KONGMING } else { LAPTOP })?;
        drop(second);
        ground.settled(host)?;
        Ok((address, listener))
    }

    /// Sends it in one call.
    pub(super) fn say(&self, text: &[u8]) -> Result<(), Halt> {
        use std::io::Write;
        (&self.client).write_all(text).call("write")
    }

    /// The server's answer.
    pub(super) fn answer(&self, text: &[u8]) -> Result<(), Halt> {
        use std::io::Write;
        (&self.server).write_all(text).call("write")
    }
}

/// As it stands in a sentence.
pub(super) fn yes(so: bool) -> &'static str {
    if so { "yes" } else { "no" }
}

/// Separated by commas, as it stands in a sentence.
pub(super) fn list<T: ToString>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(T::to_string).collect();
    if all.is_empty() { "none".to_string() } else { all.join(", ") }
}

/// Seconds with two digits, separated by commas.
pub(super) fn seconds(times: &[f64]) -> String {
    let all = times.iter().map(|ms| format!("{:.2}", ms / 1000.0));
    all.collect::<Vec<_>>().join(", ")
}

/// Is a time of so many milliseconds, give or take a busy machine?
pub(super) fn about(millis: f64, expected: f64, slack: u32) -> bool {
    let late = expected * 0.25 + 30.0 * f64::from(slack);
    millis > expected * 0.8 && millis < expected + late
}

/// Reads until so much has come.
pub(super) fn read_exactly(
    mut stream: &TcpStream,
    length: usize,
) -> Result<Vec<u8>, Halt> {
    let mut read = vec![0; length];
    stream.read_exact(&mut read).call("read")?;
    Ok(read)
}

fn millis(t_ns: u64) -> f64 {
    t_ns as f64 / 1e6
}

/// What an errno is called, or "no error".
pub(super) fn outcome<T>(result: &io::Result<T>) -> String {
    match result {
        Ok(_) => "no error".to_string(),
        Err(err) => match err.raw_os_error() {
            Some(number) => nix::errno::Errno::from_raw(number)
                .to_string()
                .split(':')
                .next()
                .unwrap_or_default()
                .to_string(),
            None => err.to_string(),
        },
    }
}

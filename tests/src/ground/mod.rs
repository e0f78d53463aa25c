//! What probes stand on: hosts to act on, sockets, the frames so far.
//!
//! - `bytes`: frames made by hand, and read by hand
//! - `frames`: those that a probe sends as they are, those that were on the wire

pub(crate) mod bytes;
mod frames;

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde::de::DeserializeOwned;
use socket2::{Domain, Protocol, Socket, Type};
use testbed::{Host, TcpSocket, TcpState};

use crate::perform::{Request, perform};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};

/// The router's name on the small internet.
pub(crate) const ROUTER: &str = "router";
/// Its Web server's.
pub(crate) const WWW: &str = "www.example.test";
/// What a call waits for at most; it is answered within milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(4);

/// Options of setsockopt(2) that are an int: their level and name.
pub(crate) type IntOption = (libc::c_int, libc::c_int);
pub(crate) const QUICKACK: IntOption = (libc::IPPROTO_TCP, libc::TCP_QUICKACK);
pub(crate) const MTU_DISCOVER: IntOption =
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
pub(crate) const UDP_SEGMENT: IntOption = (libc::SOL_UDP, libc::UDP_SEGMENT);

/// A failed call in a probe is what came of it, and no failure of the testbed.
pub(crate) trait Call<T> {
    fn call(self, name: &str) -> Result<T, Halt>;
}

impl<T> Call<T> for io::Result<T> {
    fn call(self, name: &str) -> Result<T, Halt> {
        self.map_err(|err| Halt::Missed(format!("called {name}: {err}")))
    }
}

/// Where a probe plays.
pub(crate) struct Ground<'a> {
    pub(crate) stage: &'a mut Stage,
    /// Is something to be done otherwise, so that the probe fails?
    pub(crate) broken: bool,
    /// Is there time for minutes?
    pub(crate) slow: bool,
}

/// A connection from the laptop to Kongming20.
pub(crate) struct Pair {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Ground<'_> {
    pub(crate) fn host(&self, name: &str) -> Result<&Host, Halt> {
        Ok(self.stage.net.host(name)?)
    }

    pub(crate) fn ip(&self, name: &str) -> Result<IpAddr, Halt> {
        Ok(self.host(name)?.ip())
    }

    /// Runs something on a host.
    pub(crate) fn at<T: Send>(
        &self,
        host: &str,
        call: &str,
        f: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, Halt> {
        self.host(host)?.at(f)?.call(call)
    }

    pub(crate) fn arm(&self, rule: &str) -> Result<testbed::Armed, Halt> {
        Ok(self.stage.net.wire().arm(rule)?)
    }

    /// Changes a setting of both hosts.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), Halt> {
        for host in [LAPTOP, KONGMING] {
            self.set_on(host, name, value)?;
        }
        Ok(())
    }

    pub(crate) fn set_on(
        &self,
        host: &str,
        name: &str,
        value: &str,
    ) -> Result<(), Halt> {
        Ok(self.host(host)?.set_sysctl(name, value)?)
    }

    /// A setting as a host has it.
    pub(crate) fn setting(
        &self,
        host: &str,
        name: &str,
    ) -> Result<String, Halt> {
        Ok(self.host(host)?.sysctl(name)?)
    }

    /// What a host's kernel has counted, by a name of nstat(8).
    pub(crate) fn counter(&self, host: &str, name: &str) -> Result<u64, Halt> {
        let counters = self.host(host)?.counters()?;
        let counted = counters.get(name).copied();
        let none = || testbed::Error::new(format!("no counter {name}"));
        Ok(counted.ok_or_else(none)?)
    }

    /// An address of a host, with a port that the run draws.
    pub(crate) fn address(&mut self, host: &str) -> Result<SocketAddr, Halt> {
        self.stage.address(host)
    }

    /// A TCP socket of a host, with no option set.
    pub(crate) fn socket(&self, host: &str) -> Result<Socket, Halt> {
        self.at(host, "socket", || {
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        })
    }

    /// A socket that listens on an address, with what was done to it before.
    pub(crate) fn listener_with(
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
    pub(crate) fn listener(
        &self,
        host: &str,
        address: SocketAddr,
    ) -> Result<TcpListener, Halt> {
        self.listener_with(host, address, |_| Ok(()))
    }

    /// A connection, with what is done to its sockets before it is made: to
    /// the client's and to the listener, whose options an accepted one has.
    pub(crate) fn pair_with(
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
    pub(crate) fn pair(&mut self) -> Result<Pair, Halt> {
        self.pair_with(|_| Ok(()), |_| Ok(()))
    }

    /// A UDP socket of a host, on any port.
    pub(crate) fn udp(&self, host: &str) -> Result<UdpSocket, Halt> {
        let ip = self.ip(host)?;
        let socket = self.at(host, "bind", || UdpSocket::bind((ip, 0)))?;
        socket.set_read_timeout(Some(SOON)).call("setsockopt")?;
        Ok(socket)
    }

    /// A UDP socket on the laptop that is connected to one on Kongming20.
    pub(crate) fn udp_pair(&self) -> Result<(UdpSocket, UdpSocket), Halt> {
        let (client, server) = (self.udp(LAPTOP)?, self.udp(KONGMING)?);
        client
            .connect(server.local_addr().call("getsockname")?)
            .call("connect")?;
        Ok((client, server))
    }

    /// A datagram there and one back. What was sent before has been dealt with
    /// by both kernels then: the wire keeps the order.
    pub(crate) fn round_trip(&self) -> Result<(), Halt> {
        let (client, server) = self.udp_pair()?;
        client.send(b"!").call("send")?;
        let (_, from) = server.recv_from(&mut [0]).call("recvfrom")?;
        server.send_to(b"!", from).call("sendto")?;
        client.recv(&mut [0]).call("recv")?;
        Ok(())
    }

    /// Waits until a host's connection has so many bytes to be read.
    pub(crate) fn queued(
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
    pub(crate) fn acknowledged(&mut self, host: &str) -> Result<(), Halt> {
        self.stage.sockets(host, "every acknowledgement", |sockets| {
            sockets.iter().all(|socket| {
                socket.state == TcpState::Listen || socket.send_queue == 0
            })
        })?;
        Ok(())
    }

    /// Waits until a host's sockets have all closed, but for listeners and
    /// TIME-WAIT.
    pub(crate) fn settled(&mut self, host: &str) -> Result<(), Halt> {
        let rest = [TcpState::Listen, TcpState::TimeWait];
        self.stage.sockets(host, "the end of the connection", |sockets| {
            sockets.iter().all(|socket| rest.contains(&socket.state))
        })?;
        Ok(())
    }

    /// Cuts a host's cable, or mends it.
    pub(crate) fn cable(&self, host: &str, whole: bool) -> Result<(), Halt> {
        let wire = self.stage.net.wire();
        let done = if whole { wire.plug(host) } else { wire.cut(host) };
        Ok(done?)
    }

    /// The socket of a host that has this state.
    pub(crate) fn socket_in(
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
}

impl Pair {
    /// Closes one end, then the other: each FIN is acknowledged before the
    /// next is sent.
    pub(crate) fn close(
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
    pub(crate) fn say(&self, text: &[u8]) -> Result<(), Halt> {
        use std::io::Write;
        (&self.client).write_all(text).call("write")
    }

    /// The server's answer.
    pub(crate) fn answer(&self, text: &[u8]) -> Result<(), Halt> {
        use std::io::Write;
        (&self.server).write_all(text).call("write")
    }
}

/// As it stands in a sentence.
pub(crate) fn yes(so: bool) -> &'static str {
    if so { "yes" } else { "no" }
}

/// Separated by commas, as it stands in a sentence.
pub(crate) fn list<T: ToString>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(T::to_string).collect();
    if all.is_empty() { "none".to_string() } else { all.join(", ") }
}

/// Seconds with two digits, separated by commas.
pub(crate) fn seconds(times: &[f64]) -> String {
    let all = times.iter().map(|ms| format!("{:.2}", ms / 1000.0));
    all.collect::<Vec<_>>().join(", ")
}

/// Is a time of so many milliseconds, give or take a busy machine?
pub(crate) fn about(millis: f64, expected: f64, slack: u32) -> bool {
    let late = expected * 0.25 + 30.0 * f64::from(slack);
    millis > expected * 0.8 && millis < expected + late
}

/// Reads until so much has come.
pub(crate) fn read_exactly(
    mut stream: &TcpStream,
    length: usize,
) -> Result<Vec<u8>, Halt> {
    let mut read = vec![0; length];
    stream.read_exact(&mut read).call("read")?;
    Ok(read)
}

/// What an errno is called, or "no error".
pub(crate) fn outcome<T>(result: &io::Result<T>) -> String {
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

/// The fact that a probe's scenario puts down: what it saw.
pub(crate) const SEEN: &str = "seen";

/// Has a probe play, in a process and a network of its own: what it saw, or why
/// it saw nothing.
pub(crate) fn play<T: DeserializeOwned>(
    request: &Request,
) -> anyhow::Result<Result<T, String>> {
    let mut performance = perform(request, |_, _| {})?;
    if let Some(missed) = performance.missed {
        return Ok(Err(format!("it {missed}, in vain")));
    }
    if performance.trace.is_void() {
        let losses = performance.trace.losses.join("; ");
        return Ok(Err(format!("void: {losses}")));
    }
    let seen = performance.facts.remove(SEEN).unwrap_or_default();
    Ok(Ok(serde_json::from_value(seen)?))
}

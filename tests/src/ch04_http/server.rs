//! An HTTP server whose part the scenario plays itself, byte for byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use testbed::TcpState;

use crate::stage::{Halt, Role, Stage};

/// What ends a request's head; the requests of these labs have no bodies.
const END: &[u8] = b"\r\n\r\n";
/// An Ethernet frame's 1500 bytes without the headers and TCP's timestamps.
const FULL_SEGMENT: usize = 1448;
/// What is written is on the wire at once, unless the connection has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// A listener, and the connections that it has accepted so far.
pub struct Server {
    host: String,
    port: u16,
    listener: TcpListener,
    connections: Vec<Connection>,
    /// Data segments that it has put on the wire.
    pieces: usize,
}

struct Connection {
    stream: TcpStream,
    client: SocketAddr,
    input: Vec<u8>,
    /// Has the client closed?
    ended: bool,
}

/// A request's head as it came, line ends and all.
pub struct Request {
    /// Its connection, counted from 0 in the order of their beginning.
    pub connection: usize,
    /// The bytes up to the empty line.
    pub head: String,
    /// Was there more behind it already?
    pub more: bool,
}

impl Request {
    /// The path, or whatever stands in its place.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of the fields of this name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1);
        let fields = lines.filter_map(|line| line.split_once(':'));
        fields
            .filter(|field| field.0.eq_ignore_ascii_case(name))
            .map(|field| field.1.trim())
            .collect()
    }
}

impl Server {
    /// Listens on an address of a host.
    pub fn listen(
        stage: &Stage,
        host: &str,
        address: SocketAddr,
    ) -> Result<Server, Halt> {
        let listener =
            stage.net.host(host)?.at(|| TcpListener::bind(address))?;
        let listener = listener.map_err(|err| missed("bind", &err))?;
        let set = listener.set_nonblocking(true);
        set.map_err(|err| missed("fcntl", &err))?;
        Ok(Server {
            host: host.to_string(),
            port: address.port(),
            listener,
            connections: Vec::new(),
            pieces: 0,
        })
    }

    /// Waits for the next request; `None`: the program will send none.
    pub fn request(
        &mut self,
        stage: &mut Stage,
        client: Role,
    ) -> Result<Option<Request>, Halt> {
        let found = stage.patiently(|stage, glance| {
            // Who has gone can have sent something before.
            let gone = stage.program(client).has_closed_its_output();
            self.hear(if gone { Duration::ZERO } else { glance })?;
            match self.whole_request() {
                Some(request) => Ok(Some(Some(request))),
                None if gone => Ok(Some(None)),
                None => Ok(None),
            }
        })?;
        found.ok_or_else(|| Halt::Missed("waited for a request".into()))
    }

    /// Sends a piece of an answer, and waits until the client has read it: the
    /// next one comes in a segment of its own.
    pub fn say(
        &mut self,
        stage: &mut Stage,
        connection: usize,
        client_host: &str,
        piece: &[u8],
    ) -> Result<(), Halt> {
        let Connection { stream, client, .. } =
            &mut self.connections[connection];
        let client = *client;
        if stream.write_all(piece).is_err() {
            return Ok(()); // It has closed: what it got was enough.
        }
        self.pieces += piece.len().div_ceil(FULL_SEGMENT);
        let data = format!("data from {} port {}", self.host, self.port);
        if !stage.net.wait_frames(&data, self.pieces, PATIENCE)? {
            return Ok(()); // It has reset, and gets no more.
        }
        // Once the wire has answered it has delivered what it has taken.
        let _ =
            stage.net.wait_sockets(client_host, Duration::ZERO, |_| true)?;
        let open = [TcpState::Established, TcpState::CloseWait];
        stage.sockets_soon(client_host, |sockets| {
            !sockets.iter().any(|socket| {
                socket.local == client
                    && socket.receive_queue > 0
                    && socket.inode != 0
                    && open.contains(&socket.state)
            })
        })?;
        Ok(())
    }

    /// Closes its direction of a connection.
    pub fn finish(&mut self, connection: usize) {
        let stream = &self.connections[connection].stream;
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// Takes what has come, once there is something, or after `limit`.
    fn hear(&mut self, limit: Duration) -> Result<(), Halt> {
        let open = self.connections.iter().filter(|one| !one.ended);
        let mut fds = vec![self.listener.as_fd()];
        fds.extend(open.map(|one| one.stream.as_fd()));
        let mut fds: Vec<PollFd<'_>> = fds
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, limit); // Whoever was interrupted looks again.
        while let Ok((stream, client)) = self.listener.accept() {
            let set = stream
                .set_nonblocking(true)
                .and_then(|()| stream.set_nodelay(true));
            set.map_err(|err| missed("setsockopt", &err))?;
            let input = Vec::new();
            let one = Connection { stream, client, input, ended: false };
            self.connections.push(one);
        }
        self.connections.iter_mut().for_each(Connection::read);
        Ok(())
    }

    fn whole_request(&mut self) -> Option<Request> {
        let mut found = self.connections.iter_mut().enumerate();
        found.find_map(|(connection, one)| {
            let end = one.input.windows(END.len()).position(|w| w == END)?;
            let head: Vec<u8> = one.input.drain(..end + END.len()).collect();
            let head = String::from_utf8_lossy(&head).into_owned();
            let more = !one.input.is_empty();
            Some(Request { connection, head, more })
        })
    }
}

impl Connection {
    fn read(&mut self) {
        let mut buf = [0; 4096];
        while !self.ended {
            match self.stream.read(&mut buf) {
                Ok(0) => self.ended = true,
                Ok(count) => self.input.extend(&buf[..count]),
                Err(err) if err.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }
}

fn missed(call: &str, err: &std::io::Error) -> Halt {
    Halt::Missed(format!("{call}: {err}"))
}

//! TCP connections of the test's own on a host, wherever the host is.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::error::{Call, Result};
use crate::host::Host;
use crate::link::{Ask, Heard, Link};

/// One end of a connection. Dropping it closes it.
pub struct Connection {
    local: SocketAddr,
    place: Place<TcpStream>,
}

/// A listening socket. Dropping it closes it.
pub struct Listener {
    place: Place<TcpListener>,
}

enum Place<T> {
    Here(T),
    /// The agent's, by its number there.
    There(Arc<Link>, usize),
}

impl Host {
    /// Connects, from this port if one is given, and waits for the answer.
    ///
    /// # Errors
    ///
    /// What bind(2) or connect(2) said; [`crate::Error::errno`] has it, but for
    /// time that ran out, where there is none.
    pub fn connect(
        &self,
        port: Option<u16>,
        to: SocketAddr,
        limit: Duration,
    ) -> Result<Connection> {
        if let Some(link) = self.link() {
            let made = link.ask(&Ask::Connect(port, to, limit))?;
            return Ok(Connection::there(link, made));
        }
        let from = port.map(|port| SocketAddr::new(self.ip(), port));
        let connected = self.act(|| {
            let socket =
                Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            if let Some(from) = from {
                socket.bind(&from.into())?;
            }
            socket.connect_timeout(&to.into(), limit)?;
            io::Result::Ok(TcpStream::from(socket))
        })?;
        Connection::over(connected.call(format!("connect {to}"))?)
    }

    /// Begins to connect, and does not wait.
    ///
    /// # Errors
    ///
    /// What connect(2) said, if not EINPROGRESS.
    pub fn begin_connect(&self, to: SocketAddr) -> Result<Connection> {
        if let Some(link) = self.link() {
            let made = link.ask(&Ask::BeginConnect(to))?;
            return Ok(Connection::there(link, made));
        }
        let begun = self.act(|| {
            let socket =
                Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&to.into()) {
                Err(err) if err.raw_os_error() != Some(libc::EINPROGRESS) => {
                    Err(err)
                }
                _ => Ok(TcpStream::from(socket)),
            }
        })?;
        Connection::over(begun.call(format!("connect {to}"))?)
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// What bind(2) said.
    pub fn listen(&self, at: SocketAddr) -> Result<Listener> {
        if let Some(link) = self.link() {
            let number = link.ask(&Ask::Listen(at))?;
            return Ok(Listener { place: Place::There(link.clone(), number) });
        }
        let listening = self.act(|| {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            io::Result::Ok(listener)
        })?;
        let place = Place::Here(listening.call(format!("bind {at}"))?);
        Ok(Listener { place })
    }

    /// Could a TCP socket with SO_REUSEADDR be bound there now?
    pub fn can_bind(&self, at: SocketAddr) -> Result<bool> {
        if let Some(link) = self.link() {
            return link.ask(&Ask::CanBind(at));
        }
        let bound = self.act(|| {
            let socket =
                Socket::new(Domain::for_address(at), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&at.into())
        })?;
        Ok(bound.is_ok())
    }
}

impl Listener {
    /// The next connection, if one waits.
    pub fn accept(&self) -> Result<Option<Connection>> {
        let listener = match &self.place {
            Place::Here(listener) => listener,
            Place::There(link, number) => {
                let made: Option<(usize, SocketAddr)> =
                    link.ask(&Ask::Accept(*number))?;
                return Ok(made.map(|made| Connection::there(link, made)));
            }
        };
        match listener.accept() {
            Ok((stream, _peer)) => {
                stream.set_nonblocking(false).call("fcntl F_SETFL")?;
                Connection::over(stream).map(Some)
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(err) => Err(err).call("accept"),
        }
    }
}

impl Connection {
    /// Over a socket that is there already, whoever has made it.
    ///
    /// # Errors
    ///
    /// What getsockname(2) said.
    pub fn over(stream: TcpStream) -> Result<Connection> {
        let local = stream.local_addr().call("getsockname")?;
        Ok(Connection { local, place: Place::Here(stream) })
    }

    fn there(
        link: &Arc<Link>,
        (number, local): (usize, SocketAddr),
    ) -> Connection {
        Connection { local, place: Place::There(link.clone(), number) }
    }

    /// Its own address and port, which the other end sees.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends bytes.
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        match &self.place {
            Place::Here(stream) => {
                let mut stream = stream;
                stream.write_all(bytes).call("send")
            }
            Place::There(link, number) => {
                link.ask(&Ask::Send(*number, bytes.to_vec()))
            }
        }
    }

    /// Sends them as urgent data: the last is the urgent byte (tcp(7)).
    pub fn send_urgent(&self, bytes: &[u8]) -> Result<()> {
        match &self.place {
            Place::Here(stream) => {
                let sent = SockRef::from(stream).send_out_of_band(bytes);
                sent.map(drop).call("send MSG_OOB")
            }
            Place::There(link, number) => {
                link.ask(&Ask::SendUrgent(*number, bytes.to_vec()))
            }
        }
    }

    /// Reads once, and waits so long for something to read.
    pub fn read(&self, limit: Duration) -> Result<Heard> {
        let stream = match &self.place {
            Place::Here(stream) => stream,
            Place::There(link, number) => {
                return link.ask(&Ask::Read(*number, limit));
            }
        };
        let limit = limit.max(Duration::from_millis(1));
        stream.set_read_timeout(Some(limit)).call("setsockopt SO_RCVTIMEO")?;
        let mut buf = [0; 4096];
        let mut stream = stream;
        Ok(match stream.read(&mut buf) {
            Ok(0) => Heard::End,
            Ok(count) => Heard::Bytes(buf[..count].to_vec()),
            Err(err) if err.kind() == ErrorKind::WouldBlock => Heard::Nothing,
            Err(_) => Heard::Reset,
        })
    }

    /// Has each piece leave at once, whatever is still unacknowledged
    /// (TCP_NODELAY).
    pub fn without_delay(&self) -> Result<()> {
        match &self.place {
            Place::Here(stream) => {
                stream.set_nodelay(true).call("setsockopt TCP_NODELAY")
            }
            Place::There(link, number) => link.ask(&Ask::WithoutDelay(*number)),
        }
    }

    /// Sends its FIN; what comes from the other end can still be read.
    pub fn finish(&self) -> Result<()> {
        match &self.place {
            Place::Here(stream) => {
                stream.shutdown(Shutdown::Write).call("shutdown SHUT_WR")
            }
            Place::There(link, number) => link.ask(&Ask::Finish(*number)),
        }
    }

    /// Resets the connection: SO_LINGER with a time of 0, and close.
    pub fn abort(self) -> Result<()> {
        match &self.place {
            Place::Here(stream) => {
                let linger = Some(Duration::ZERO);
                let set = SockRef::from(stream).set_linger(linger);
                set.call("setsockopt SO_LINGER")
            }
            Place::There(link, number) => link.ask(&Ask::Abort(*number)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Place::There(link, number) = &self.place {
            let _ = link.ask::<bool>(&Ask::Close(*number)); // It may be gone.
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::There(link, number) = &self.place {
            let _ = link.ask::<bool>(&Ask::CloseListener(*number));
        }
    }
}

//! A TCP peer whose part the scenario plays itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef, Socket, Type};

use crate::stage::{Halt, Stage};

/// A listener that has room answers at once.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// One end of a connection.
pub struct Peer {
    stream: TcpStream,
    /// Its own address, which the other end sees.
    pub name: SocketAddr,
}

/// What has come from the other end, and what stopped it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The bytes, which are letters in these scenarios.
    pub text: String,
    /// How it went on.
    pub then: Then,
}

/// What follows the bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Nothing yet: the connection is open.
    Open,
    /// The other end's FIN.
    Fin,
    /// The other end's RST.
    Rst,
}

impl Peer {
    /// Connects from a host, and from this port of it.
    pub fn connect(
        stage: &Stage,
        host: &str,
        port: u16,
        to: SocketAddr,
    ) -> Result<Peer, Halt> {
        let host = stage.net.host(host)?;
        let name = SocketAddr::new(host.ip(), port);
        let connected = host.at(|| {
            let domain = Domain::for_address(to);
            let socket = Socket::new(domain, Type::STREAM, None)?;
            socket.bind(&name.into())?;
            socket.connect_timeout(&to.into(), CONNECT_PATIENCE)?;
            Ok(socket.into())
        })?;
        Peer::over(connected.map_err(|err| missed("connect", &err))?)
    }

    /// Plays one end of a connection that is there already.
    pub fn over(stream: TcpStream) -> Result<Peer, Halt> {
        let name = stream.local_addr();
        let name = name.map_err(|err| missed("getsockname", &err))?;
        Ok(Peer { stream, name })
    }

    /// Has each piece leave at once, whatever is still unacknowledged
    /// (TCP_NODELAY).
    pub fn without_delay(self) -> Result<Peer, Halt> {
        let set = self.stream.set_nodelay(true);
        set.map_err(|err| missed("setsockopt TCP_NODELAY", &err))?;
        Ok(self)
    }

    /// Sends bytes. Where the other end has gone, what comes back shows it.
    pub fn send(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// Sends them as urgent data: the last is the urgent byte.
    pub fn send_urgent(&mut self, text: &str) {
        let _ = SockRef::from(&self.stream).send_out_of_band(text.as_bytes());
    }

    /// Waits until so many bytes have come, or the end.
    pub fn hear(
        &mut self,
        stage: &mut Stage,
        count: usize,
    ) -> Result<Heard, Halt> {
        let mut bytes = Vec::new();
        let then = stage.patiently(|_, glance| {
            if bytes.len() >= count {
                return Ok(Some(Then::Open));
            }
            self.read(&mut bytes, glance)
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Heard { text, then: then.unwrap_or(Then::Open) })
    }

    /// Reads once, for as long as a glance takes; `None`: there is no end yet.
    fn read(
        &mut self,
        bytes: &mut Vec<u8>,
        glance: Duration,
    ) -> Result<Option<Then>, Halt> {
        let glance = glance.max(Duration::from_millis(1));
        let set = self.stream.set_read_timeout(Some(glance));
        set.map_err(|err| missed("setsockopt SO_RCVTIMEO", &err))?;
        let mut buf = [0; 4096];
        match self.stream.read(&mut buf) {
            Ok(0) => Ok(Some(Then::Fin)),
            Ok(more) => {
                bytes.extend_from_slice(&buf[..more]);
                Ok(None)
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => Ok(Some(Then::Rst)),
        }
    }

    /// Sends its FIN; what comes from the other end can still be heard.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Resets the connection: SO_LINGER with a time of 0, and close.
    pub fn abort(self) {
        let linger = Some(Duration::ZERO);
        let _ = SockRef::from(&self.stream).set_linger(linger);
    }
}

fn missed(call: &str, err: &std::io::Error) -> Halt {
    Halt::Missed(format!("{call}: {err}"))
}

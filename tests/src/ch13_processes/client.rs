//! A client on ernest-laptop that says something and hears its echo.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::stage::{Halt, LAPTOP, Stage};

/// A connection whose port is drawn, so that a run's lines can be replayed.
pub(super) struct Client {
    /// Clients are counted from 1.
    pub(super) number: usize,
    /// Its own end.
    pub(super) address: SocketAddr,
    /// Has the server closed?
    pub(super) ended: bool,
    stream: TcpStream,
    said: Vec<u8>,
    heard: Vec<u8>,
}

/// What came back of what was said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Echo {
    /// The client's number.
    pub(super) client: usize,
    /// The part of the story.
    pub(super) when: String,
    pub(super) said: String,
    pub(super) heard: String,
    /// Did the connection end before all was heard?
    pub(super) ended: bool,
}

impl Echo {
    pub(super) fn is_right(&self) -> bool {
        self.said == self.heard
    }

    /// Is it right as far as it goes?
    pub(super) fn is_a_beginning(&self) -> bool {
        self.said.starts_with(&self.heard)
    }
}

impl Client {
    pub(super) fn connect(
        stage: &mut Stage,
        number: usize,
        server: SocketAddr,
    ) -> Result<Client, Halt> {
        stage.step(LAPTOP, format!("client {number} connects"))?;
        let host = stage.net.host(LAPTOP)?;
        let (ip, limit) = (host.ip(), stage.left());
        loop {
            let address = SocketAddr::new(ip, stage.draw.port());
            let host = stage.net.host(LAPTOP)?;
            let opened = host.at(|| open(address, server, limit))?;
            match opened {
                Ok(stream) => {
                    let (said, heard) = (Vec::new(), Vec::new());
                    let ended = false;
                    return Ok(Client {
                        number,
                        address,
                        ended,
                        stream,
                        said,
                        heard,
                    });
                }
                // Drawn before in this run.
                Err(err) if err.kind() == ErrorKind::AddrInUse => {}
                Err(err) => {
                    return Err(Halt::Missed(format!(
                        "client {number}: connect {server}: {err}"
                    )));
                }
            }
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        self.said.extend_from_slice(text.as_bytes());
        // A server that has closed shows in what is heard.
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// Waits until all that was said has come back, or nothing more will.
    pub(super) fn hear(
        &mut self,
        stage: &mut Stage,
        when: &str,
    ) -> Result<Echo, Halt> {
        stage.patiently(|_, glance| {
            self.listen(glance);
            let done = self.ended || self.heard.len() >= self.said.len();
            Ok(done.then_some(()))
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Echo {
            client: self.number,
            when: when.to_string(),
            said: text(&self.said),
            heard: text(&self.heard),
            ended: self.ended,
        })
    }

    /// Hears what comes within a time; a reset is an end too.
    pub(super) fn listen(&mut self, limit: Duration) {
        let limit = limit.max(Duration::from_millis(1));
        let mut bytes = [0; 4096];
        let read = self.stream.set_read_timeout(Some(limit));
        match read.and_then(|()| self.stream.read(&mut bytes)) {
            Ok(0) => self.ended = true,
            Ok(n) => self.heard.extend_from_slice(&bytes[..n]),
            Err(err) if err.kind() == ErrorKind::WouldBlock => {}
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.ended = true,
        }
    }

    /// Sends the FIN, and goes on listening.
    pub(super) fn finish(&self) {
        // A server that has gone already needs none.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn open(
    from: SocketAddr,
    to: SocketAddr,
    limit: Duration,
) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), limit.max(Duration::from_millis(1)))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

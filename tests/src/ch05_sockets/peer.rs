//! A TCP peer whose part the scenario plays itself.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testbed::machine::Heard as Came;
use testbed::{Connection, Listener};

use crate::stage::{Halt, Stage};

/// A listener that has room answers at once.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// One end of a connection.
pub struct Peer {
    connection: Connection,
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
        Peer::from(stage, host, Some(port), to)
    }

    /// Connects from a host, and from whichever port it takes.
    pub fn connect_from_any(
        stage: &Stage,
        host: &str,
        to: SocketAddr,
    ) -> Result<Peer, Halt> {
        Peer::from(stage, host, None, to)
    }

    fn from(
        stage: &Stage,
        host: &str,
        port: Option<u16>,
        to: SocketAddr,
    ) -> Result<Peer, Halt> {
        let host = stage.net.host(host)?;
        let connected = host.connect(port, to, CONNECT_PATIENCE);
        connected.map(Peer::of).map_err(refused)
    }

    /// Plays the server's end of the next connection.
    pub fn accept(
        stage: &mut Stage,
        listener: &Listener,
    ) -> Result<Peer, Halt> {
        let accepted =
            stage.look_each_ms(|_, _| listener.accept().map_err(refused))?;
        let missed = || Halt::Missed("waited for a connection".into());
        accepted.map(Peer::of).ok_or_else(missed)
    }

    /// Plays one end of a connection that is there already.
    pub fn over(stream: TcpStream) -> Result<Peer, Halt> {
        Connection::over(stream).map(Peer::of).map_err(refused)
    }

    fn of(connection: Connection) -> Peer {
        Peer { name: connection.local(), connection }
    }

    /// Has each piece leave at once, whatever is still unacknowledged
    /// (TCP_NODELAY).
    pub fn without_delay(self) -> Result<Peer, Halt> {
        self.connection.without_delay().map_err(refused)?;
        Ok(self)
    }

    /// Sends bytes. Where the other end has gone, what comes back shows it.
    pub fn send(&mut self, text: &str) {
        let _ = self.connection.send(text.as_bytes());
    }

    /// The same; `false`: the other end has gone.
    pub fn sent(&mut self, text: &str) -> bool {
        self.connection.send(text.as_bytes()).is_ok()
    }

    /// Sends them as urgent data: the last is the urgent byte.
    pub fn send_urgent(&mut self, text: &str) {
        let _ = self.connection.send_urgent(text.as_bytes());
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
            Ok(match self.connection.read(glance)? {
                Came::Bytes(more) => {
                    bytes.extend(more);
                    None
                }
                Came::Nothing => None,
                Came::End => Some(Then::Fin),
                Came::Reset => Some(Then::Rst),
            })
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Heard { text, then: then.unwrap_or(Then::Open) })
    }

    /// Sends its FIN; what comes from the other end can still be heard.
    pub fn finish(&mut self) {
        let _ = self.connection.finish();
    }

    /// Resets the connection: SO_LINGER with a time of 0, and close.
    pub fn abort(self) {
        let _ = self.connection.abort();
    }

    /// Keeps the connection open to the end of the run, and hears of nothing.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

/// Listens at an address of a host, for [`Peer::accept`].
pub fn listen(
    stage: &Stage,
    host: &str,
    at: SocketAddr,
) -> Result<Listener, Halt> {
    stage.net.host(host)?.listen(at).map_err(refused)
}

/// What a call was refused is the program's doing, and evidence; that a machine
/// cannot be asked is not.
pub fn refused(err: testbed::Error) -> Halt {
    match err.is_of_a_call() {
        true => Halt::Missed(err.what()),
        false => Halt::Failed(err),
    }
}

//! The clients of the lab `accept`, and what the server does about each.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use testbed::{Descriptor, TcpSocket, TcpState};

use super::super::peer::{Heard, Peer, Then};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

/// The shortest queue that is long enough for the clients before Enter.
pub const ROOM: u32 = 8;

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is in the queue in front of `accept`.
    Waits,
    /// A descriptor leads to it.
    Accepted,
    /// The server has closed it, and had not been asked to.
    TurnedAway,
}

/// A client, as the judge gets to know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// Its address.
    pub name: SocketAddr,
    /// What it has sent.
    pub sent: String,
    /// What has come back, and what then.
    pub heard: Heard,
    /// What became of it when it had come; `None`: nobody looked.
    pub fate: Option<Fate>,
}

/// The server, and all who have come to it.
pub struct Party {
    server: Role,
    address: SocketAddr,
    clients: Vec<Client>,
    first_port: u16,
}

impl Party {
    /// Waits until the program listens.
    pub fn open(
        stage: &mut Stage,
        server: Role,
        address: SocketAddr,
    ) -> Result<Party, Halt> {
        stage.line(server, "listening on ")?;
        let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
        stage.fact("listening", &sockets);
        let found = listener(&sockets).filter(|found| found.local == address);
        if found.is_none_or(|found| found.send_queue < ROOM) {
            let what = format!("a listener with room for {ROOM}");
            return Err(Halt::Missed(format!("waited for {what}")));
        }
        let first_port = stage.draw.port();
        Ok(Party { server, address, clients: Vec::new(), first_port })
    }

    /// One more client connects.
    pub fn comes(&mut self, stage: &mut Stage) -> Result<Peer, Halt> {
        let number = self.clients.len();
        // In the take `full` not everybody becomes a client of the server's.
        let who = if stage.take == "full" { "visitor" } else { "client" };
        stage.step(LAPTOP, format!("{who} {} connects", number + 1))?;
        let port = self.first_port + number as u16;
        let peer = Peer::connect(stage, LAPTOP, port, self.address)?;
        self.clients.push(Client {
            name: peer.name,
            sent: String::new(),
            heard: Heard { text: String::new(), then: Then::Open },
            fate: None,
        });
        self.tell(stage);
        Ok(peer)
    }

    /// One more connects and waits in the queue, with all before it.
    pub fn queues(&mut self, stage: &mut Stage) -> Result<Peer, Halt> {
        let peer = self.comes(stage)?;
        let expected = self.clients.len() as u32;
        let queue = self.queue_soon(stage, |queue| queue == expected)?;
        stage.fact("queue", (expected, queue));
        match queue == expected {
            true => Ok(peer),
            false => Err(Halt::Missed(format!(
                "waited for {expected} clients in the queue, had {queue}"
            ))),
        }
    }

    /// Waits until the queue is empty: all have been accepted.
    pub fn all_are_taken(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let queue = self.queue_soon(stage, |queue| queue == 0)?;
        self.settle(stage)?;
        stage.fact("queue_after", queue);
        match queue {
            0 => Ok(()),
            left => Err(Halt::Missed(format!(
                "waited for an empty queue, {left} are still in it"
            ))),
        }
    }

    fn queue_soon(
        &self,
        stage: &mut Stage,
        right: impl Fn(u32) -> bool,
    ) -> Result<u32, Halt> {
        let queue = |sockets: &[TcpSocket]| {
            listener(sockets).map_or(0, |found| found.receive_queue)
        };
        let sockets = stage.sockets_soon(KONGMING, |sockets| {
            right(queue(sockets)) || listener(sockets).is_none()
        })?;
        Ok(queue(&sockets))
    }

    /// Waits until the server has done what it does, and is still there.
    pub fn settle(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        stage.idle(self.server)?;
        let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
        match listener(&sockets) {
            Some(_) => Ok(()),
            None => Err(Halt::Missed("waited for it to serve on".into())),
        }
    }

    /// Watches that it sleeps while there is nothing to do.
    pub fn rests(&self, stage: &mut Stage) -> Result<(), Halt> {
        match stage.story {
            true => Ok(()),
            false => stage.rests(self.server),
        }
    }

    /// Waits until a host's end of a client's connection is in this state.
    pub fn until(
        &self,
        stage: &mut Stage,
        host: &str,
        client: &Peer,
        state: TcpState,
    ) -> Result<(), Halt> {
        stage.sockets(host, state.name(), |sockets| {
            sockets.iter().any(|end| {
                (end.local == client.name || end.peer == client.name)
                    && end.state == state
            })
        })?;
        Ok(())
    }

    /// A client resets its connection, and the server's kernel knows.
    pub fn resets(&self, stage: &mut Stage, client: Peer) -> Result<(), Halt> {
        let name = client.name;
        client.abort();
        stage.sockets(KONGMING, "the end of a connection", |sockets| {
            sockets.iter().all(|one| one.peer != name)
        })?;
        Ok(())
    }

    /// A client sends some letters.
    pub fn says(&mut self, stage: &mut Stage, client: &mut Peer) -> usize {
        let count = stage.draw.count(3..=9) as usize;
        let text = stage.draw.letters(count);
        client.send(&text);
        self.client(client).sent.push_str(&text);
        count
    }

    /// A client hears so many bytes, or the end.
    pub fn hears(
        &mut self,
        stage: &mut Stage,
        client: &mut Peer,
        count: usize,
    ) -> Result<Then, Halt> {
        let Heard { text, then } = client.hear(stage, count)?;
        let heard = &mut self.client(client).heard;
        heard.text.push_str(&text);
        heard.then = then;
        self.tell(stage);
        Ok(then)
    }

    /// A client says something, and gets it back.
    pub fn talks(
        &mut self,
        stage: &mut Stage,
        client: &mut Peer,
    ) -> Result<(), Halt> {
        let count = self.says(stage, client);
        self.hears(stage, client, count)?;
        let Client { sent, heard, .. } = self.client(client);
        match *sent == heard.text {
            true => Ok(()),
            false => Err(Halt::Missed("waited for an answer".into())),
        }
    }

    /// A client sends its FIN, and waits for the server's.
    pub fn leaves(
        &mut self,
        stage: &mut Stage,
        client: &mut Peer,
    ) -> Result<(), Halt> {
        client.finish();
        match self.hears(stage, client, 1)? {
            Then::Open => Err(Halt::Missed("waited for the FIN".into())),
            Then::Fin | Then::Rst => Ok(()),
        }
    }

    /// One more comes; what becomes of it. Whoever is accepted is served.
    pub fn visit(&mut self, stage: &mut Stage) -> Result<(Peer, Fate), Halt> {
        let mut peer = self.comes(stage)?;
        let name = peer.name;
        let fate = |sockets: &[TcpSocket]| {
            let end = sockets.iter().find(|one| one.peer == name);
            match end.map(|end| (end.state, end.inode)) {
                Some((TcpState::SynRecv | TcpState::Established, 0)) => {
                    Fate::Waits
                }
                Some((TcpState::Established, _)) => Fate::Accepted,
                _ => Fate::TurnedAway,
            }
        };
        stage.sockets_soon(KONGMING, |s| fate(s) != Fate::Waits)?;
        // One too many is accepted for a moment, and then closed.
        self.settle(stage)?;
        let fate = fate(&stage.net.host(KONGMING)?.tcp_sockets()?);
        self.client(&peer).fate = Some(fate);
        self.tell(stage);
        match fate {
            Fate::Accepted => self.talks(stage, &mut peer)?,
            Fate::TurnedAway => {
                self.hears(stage, &mut peer, 1)?;
            }
            Fate::Waits => {
                return Err(Halt::Missed("waited for it to be taken".into()));
            }
        }
        Ok((peer, fate))
    }

    /// The descriptors that the server has open.
    pub fn descriptors(&self, stage: &Stage) -> Result<Vec<Descriptor>, Halt> {
        let program = stage.program(self.server);
        Ok(stage.net.host(KONGMING)?.descriptors(program)?)
    }

    /// Puts down what is left, ends the server's input and waits for its end.
    pub fn stop(self, stage: &mut Stage) -> Result<(), Halt> {
        stage.fact("at_end", self.descriptors(stage)?);
        stage.fact("sockets", stage.net.host(KONGMING)?.tcp_sockets()?);
        stage.step(KONGMING, "end of the program's input")?;
        stage.close_stdin(self.server);
        stage.end(self.server)
    }

    fn client(&mut self, peer: &Peer) -> &mut Client {
        // Ports are given out in the order of the clients.
        &mut self.clients[usize::from(peer.name.port() - self.first_port)]
    }

    fn tell(&self, stage: &mut Stage) {
        stage.fact("clients", &self.clients);
    }
}

/// The listening socket, if there is one.
pub fn listener(sockets: &[TcpSocket]) -> Option<&TcpSocket> {
    sockets.iter().find(|socket| socket.state == TcpState::Listen)
}

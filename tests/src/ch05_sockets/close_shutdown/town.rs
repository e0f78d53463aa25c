//! The server of the lab `close_shutdown`, its children, and their clients.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use testbed::{ProcessInfo, TcpSocket, TcpState};

use super::super::peer::{Heard, Peer, Then};
use super::end_of;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// A process of the program, and the sockets that it has open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// 0 for the parent, or which client's child it is.
    pub child: usize,
    /// The numbers of the clients whose connections it has.
    pub clients: Vec<usize>,
    /// Has it the listener?
    pub listens: bool,
}

/// What the judge is told of a client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Visit {
    /// Its address.
    pub name: String,
    /// What it has sent.
    pub sent: String,
    /// What has come back.
    pub heard: String,
}

/// The server, and all who have come to it.
pub struct Town {
    pub server: Role,
    address: SocketAddr,
    first_port: u16,
    /// The child of each client that has come.
    children: Vec<i32>,
    visits: Vec<Visit>,
}

/// A client, and its number.
pub struct Client {
    pub peer: Peer,
    number: usize,
    last: String,
}

impl Town {
    pub fn new(stage: &mut Stage, server: Role, address: SocketAddr) -> Town {
        let first_port = stage.draw.port();
        let (children, visits) = (Vec::new(), Vec::new());
        Town { server, address, first_port, children, visits }
    }

    /// One more client connects, has a child, says something and hears it.
    pub fn comes(&mut self, stage: &mut Stage) -> Result<Peer, Halt> {
        let number = self.visits.len() + 1;
        stage.step(LAPTOP, format!("client {number} connects"))?;
        let port = self.first_port + number as u16;
        let peer = Peer::connect(stage, LAPTOP, port, self.address)?;
        let name = peer.name.to_string();
        self.visits.push(Visit { name, ..Visit::default() });
        stage.fact("visits", &self.visits);
        let known = self.children.clone();
        let own = stage.program(self.server).pid() as i32;
        let fresh =
            |one: &ProcessInfo| one.parent == own && !known.contains(&one.pid);
        let what = format!("a child for client {number}");
        let found = stage.processes(self.server, &what, |processes| {
            processes.iter().any(&fresh)
        })?;
        let child = found.iter().find(|one| fresh(one));
        self.children.push(child.map_or(0, |child| child.pid));
        let mut client = self.client(peer);
        let text = client.says(stage, self);
        client.hears(stage, self, text.len())?;
        match client.last == text {
            true => Ok(client.peer),
            false => Err(Halt::Missed(format!(
                "waited for what client {number} has sent to come back"
            ))),
        }
    }

    pub fn client(&self, peer: Peer) -> Client {
        let number = usize::from(peer.name.port() - self.first_port);
        Client { peer, number, last: String::new() }
    }

    /// Types a command for the parent, and waits until it has obeyed.
    pub fn types(
        &self,
        stage: &mut Stage,
        word: &str,
        number: usize,
    ) -> Result<(), Halt> {
        let before = stage.program(self.server).lines_printed();
        stage.step(KONGMING, format!("the parent is told: {word} {number}"))?;
        stage.send(self.server, &format!("{word} {number}"));
        // Which line it is, the output tells.
        match stage.lines_or_quiet(self.server, before + 1)? {
            true => Ok(()),
            false => Err(Halt::Missed(format!(
                "waited for an answer to `{word} {number}`"
            ))),
        }
    }

    /// Waits until all that a client has sent is acknowledged; its own end,
    /// or `None`: there was a reset.
    pub fn is_acknowledged(
        &self,
        stage: &mut Stage,
        name: SocketAddr,
    ) -> Result<Option<TcpSocket>, Halt> {
        let sockets =
            stage.sockets(LAPTOP, "acknowledged data", |sockets| {
                end_of(sockets, name).is_none_or(|end| end.send_queue == 0)
            })?;
        Ok(end_of(&sockets, name).cloned())
    }

    /// The parent says that it has closed a client's connection.
    pub fn is_closed(
        &self,
        stage: &mut Stage,
        number: usize,
    ) -> Result<(), Halt> {
        let line = format!("client {number}: closed");
        stage.line(self.server, &line)?;
        Ok(())
    }

    pub fn stops_child(
        &self,
        stage: &mut Stage,
        number: usize,
    ) -> Result<(), Halt> {
        stage.step(KONGMING, format!("SIGSTOP for child {number}"))?;
        self.signals_child(stage, number, SIGSTOP)?;
        let child = self.children[number - 1];
        stage.processes(self.server, "the child to stop", |processes| {
            let mut own = processes.iter().filter(|one| one.pid == child);
            own.all(|one| one.state == 'T' || one.is_zombie())
        })?;
        Ok(())
    }

    pub fn continues_child(
        &self,
        stage: &mut Stage,
        number: usize,
    ) -> Result<(), Halt> {
        stage.step(KONGMING, format!("SIGCONT for child {number}"))?;
        self.signals_child(stage, number, SIGCONT)
    }

    /// Who has ended already is not there to be told.
    pub fn signals_child(
        &self,
        stage: &mut Stage,
        number: usize,
        signal: i32,
    ) -> Result<(), Halt> {
        if self.has_child(stage, number)? {
            let child = self.children[number - 1];
            stage.net.host(KONGMING)?.signal(child, signal)?;
        }
        Ok(())
    }

    /// Does a client's child live?
    pub fn has_child(
        &self,
        stage: &Stage,
        number: usize,
    ) -> Result<bool, Halt> {
        let child = self.children[number - 1];
        let processes = stage.program(self.server).processes()?;
        Ok(processes.iter().any(|one| one.pid == child && !one.is_zombie()))
    }

    /// Which process has which sockets.
    pub fn holders(&self, stage: &Stage) -> Result<Vec<Holder>, Halt> {
        let host = stage.net.host(KONGMING)?;
        let mut holders = Vec::new();
        for process in stage.program(self.server).processes()? {
            let Ok(descriptors) = host.descriptors_of(process.pid) else {
                continue; // It has ended just now.
            };
            let sockets = descriptors.iter().filter_map(|it| it.tcp.as_ref());
            let sockets: Vec<&TcpSocket> = sockets.collect();
            let named = |name: &str| {
                sockets.iter().any(|one| one.peer.to_string() == name)
            };
            let clients = (1..).zip(&self.visits);
            let clients = clients.filter(|(_, visit)| named(&visit.name));
            let at = self.children.iter().position(|pid| *pid == process.pid);
            holders.push(Holder {
                child: at.map_or(0, |at| at + 1),
                clients: clients.map(|(number, _)| number).collect(),
                listens: sockets
                    .iter()
                    .any(|socket| socket.state == TcpState::Listen),
            });
        }
        Ok(holders)
    }
}

impl Client {
    pub fn name(&self) -> SocketAddr {
        self.peer.name
    }

    /// Sends some letters; which.
    pub fn says(&mut self, stage: &mut Stage, town: &mut Town) -> String {
        let count = stage.draw.count(3..=9) as usize;
        let text = stage.draw.letters(count);
        self.peer.send(&text);
        town.visits[self.number - 1].sent.push_str(&text);
        stage.fact("visits", &town.visits);
        text
    }

    /// Hears so many bytes, or to the end.
    pub fn hears(
        &mut self,
        stage: &mut Stage,
        town: &mut Town,
        count: usize,
    ) -> Result<Then, Halt> {
        let Heard { text, then } = self.peer.hear(stage, count)?;
        town.visits[self.number - 1].heard.push_str(&text);
        stage.fact("visits", &town.visits);
        self.last = text;
        Ok(then)
    }

    /// What came when it listened last.
    pub fn last_heard(&self) -> &str {
        &self.last
    }
}

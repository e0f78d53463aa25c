//! A client on ernest-laptop that says something and hears its echo.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ch05_sockets::peer::{Peer, Then};
use crate::stage::{Halt, LAPTOP, Stage};

/// A peer that remembers what it has said.
pub(super) struct Client {
    /// Clients are counted from 1.
    pub(super) number: usize,
    /// Its own end.
    pub(super) address: SocketAddr,
    peer: Peer,
    said: String,
    heard: String,
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
    /// From a port that is drawn, so that a run's lines can be replayed.
    pub(super) fn connect(
        stage: &mut Stage,
        number: usize,
        port: u16,
        server: SocketAddr,
    ) -> Result<Client, Halt> {
        stage.step(LAPTOP, format!("client {number} connects"))?;
        let peer = Peer::connect(stage, LAPTOP, port, server)?;
        let address = peer.name;
        let (said, heard) = (String::new(), String::new());
        Ok(Client { number, address, peer, said, heard })
    }

    pub(super) fn say(&mut self, text: &str) {
        self.said.push_str(text);
        self.peer.send(text);
    }

    /// Waits until all that was said has come back, or nothing more will.
    pub(super) fn hear(
        &mut self,
        stage: &mut Stage,
        when: &str,
    ) -> Result<Echo, Halt> {
        let more = self.said.len().saturating_sub(self.heard.len());
        let heard = self.peer.hear(stage, more)?;
        self.heard.push_str(&heard.text);
        Ok(Echo {
            client: self.number,
            when: when.to_string(),
            said: self.said.clone(),
            heard: self.heard.clone(),
            ended: heard.then != Then::Open,
        })
    }

    /// Sends its FIN.
    pub(super) fn finish(&mut self) {
        self.peer.finish();
    }

    /// Waits for the other end's FIN.
    pub(super) fn hears_the_end(
        &mut self,
        stage: &mut Stage,
    ) -> Result<bool, Halt> {
        Ok(self.peer.hear(stage, 1)?.then == Then::Fin)
    }
}

//! An HTTP client whose part the scenario plays itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::ch05_sockets::peer::{Heard, Peer, Then};
use crate::stage::{Halt, Stage};

/// A connection to a proxy or a server.
pub struct Browser {
    /// The connection, for what is not HTTP any more.
    pub peer: Peer,
    input: String,
}

/// A request, and what came back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// What it tests.
    pub kind: String,
    /// The request as it was sent.
    pub asked: String,
    /// The answer as it came: all of it, or what came before the silence.
    pub heard: String,
}

impl Exchange {
    /// The status; empty: there is none.
    pub fn status(&self) -> &str {
        self.heard.split(' ').nth(1).unwrap_or_default()
    }

    /// What stands behind the head.
    pub fn body(&self) -> &str {
        self.heard.split_once("\r\n\r\n").map_or("", |parts| parts.1)
    }

    /// The values of the answer's fields of this name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        fields(&self.heard, name)
    }
}

/// The values of a head's fields of this name.
pub fn fields<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").skip(1);
    let fields = lines.filter_map(|line| line.split_once(':'));
    fields
        .filter(|field| field.0.eq_ignore_ascii_case(name))
        .map(|field| field.1.trim())
        .collect()
}

impl Browser {
    /// Connects from a host, and from a port that is drawn.
    pub fn connect(
        stage: &mut Stage,
        host: &str,
        to: SocketAddr,
    ) -> Result<Browser, Halt> {
        let port = stage.draw.port();
        let peer = Peer::connect(stage, host, port, to)?;
        Ok(Browser { peer, input: String::new() })
    }

    /// Waits for an answer to its end, for the connection's, or as long as it
    /// can be of use.
    pub fn answer(&mut self, stage: &mut Stage) -> Result<String, Halt> {
        loop {
            if let Some(end) = end_of(&self.input) {
                let rest = self.input.split_off(end);
                return Ok(std::mem::replace(&mut self.input, rest));
            }
            let heard = hear(stage, &mut self.peer, 1)?;
            self.input.push_str(&heard.text);
            if heard.then != Then::Open || heard.text.is_empty() {
                return Ok(std::mem::take(&mut self.input));
            }
        }
    }
}

/// Waits until so many bytes have come, or the end: longer on a slow machine,
/// where a proxy's two hops may take their time.
pub fn hear(
    stage: &mut Stage,
    peer: &mut Peer,
    count: usize,
) -> Result<Heard, Halt> {
    let mut text = String::new();
    let mut then = Then::Open;
    for _ in 0..stage.slack {
        let heard = peer.hear(stage, count.saturating_sub(text.len()))?;
        text.push_str(&heard.text);
        then = heard.then;
        if then != Then::Open || text.len() >= count {
            break;
        }
    }
    Ok(Heard { text, then })
}

/// Where an answer ends, if it is there as a whole. The lengths are right:
/// those who made it are ours, and who changed it is judged by the bytes.
fn end_of(text: &str) -> Option<usize> {
    let body = text.find("\r\n\r\n")? + 4;
    if !fields(text, "transfer-encoding").is_empty() {
        let last = "\r\n0\r\n\r\n";
        return text[body - 2..]
            .find(last)
            .map(|at| at + body + last.len() - 2);
    }
    let length = fields(text, "content-length").first()?.parse::<usize>();
    let end = body + length.ok()?;
    (text.len() >= end).then_some(end)
}

//! The messages of the lab `sendmsg`.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// What a line of evidence has room for.
const SHOWN: usize = 40;

/// A message: header, body and trailer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub kind: String,
    pub body: String,
}

impl Message {
    pub fn new(stage: &mut Stage, body: String) -> Message {
        Message { kind: stage.draw.letters(4), body }
    }

    pub fn draw(stage: &mut Stage, length: RangeInclusive<u64>) -> Message {
        let length = stage.draw.count(length) as usize;
        let body = stage.draw.letters(length);
        Message::new(stage, body)
    }

    /// What is typed for the sender.
    pub fn line(&self) -> String {
        format!("{} {}", self.kind, self.body)
    }

    /// The same, not longer than a line.
    pub fn shown(&self) -> String {
        match self.body.len() > SHOWN {
            true => format!("{}, {} bytes", self.kind, self.body.len()),
            false => self.line(),
        }
    }

    /// As it is sent: kind, length, body, and the sum of the body's bytes.
    pub fn text(&self) -> String {
        let Message { kind, body } = self;
        let sum: u32 = body.bytes().map(u32::from).sum();
        format!("{kind}{:08x}{body}{sum:08x}", body.len())
    }
}

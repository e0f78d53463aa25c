//! DNS messages for graders: built, read, and made wrong on purpose (RFC 1035,
//! section 4).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::corpus::{self, Taken};
use crate::stage::{Halt, LAPTOP, Stage};

const HEADER: usize = 12;
const LONGEST_NAME: usize = 255;
/// The small internet answers in microseconds.
const SOON: Duration = Duration::from_secs(5);

/// A name as labels.
pub(super) fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A query for addresses.
pub(super) fn query(id: [u8; 2], name: &str) -> Vec<u8> {
    let header = [id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], &labels(name), &[0, 1, 0, 1]].concat()
}

/// The answer to a query: its question's name has this address.
pub(super) fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut message = query.to_vec();
    if message.len() > HEADER {
        message[2] |= 0x80; // QR: a response
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        message.extend(address);
    }
    message
}

/// The same with another id.
pub(super) fn with_other_id(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message.iter_mut().take(2).for_each(|byte| *byte ^= 0x55);
    message
}

/// The same query, but for the name's first letter.
pub(super) fn other_question(query: &[u8]) -> Vec<u8> {
    let mut query = query.to_vec();
    if let Some(letter) = query.get_mut(HEADER + 1) {
        *letter = if *letter == b'x' { b'y' } else { b'x' };
    }
    query
}

/// What a server and a client of the grader's say to one another.
pub(super) fn exchanged(
    stage: &mut Stage,
    server: &str,
    names: &[&str],
) -> Result<Vec<Taken>, Halt> {
    let failed = |err| Halt::Missed(format!("ask {server}: {err}"));
    let server: SocketAddr =
        server.parse().map_err(|_| Halt::Missed("an address".into()))?;
    let client = stage.net.host(LAPTOP)?.at(|| UdpSocket::bind("0.0.0.0:0"))?;
    let client = client.map_err(failed)?;
    client.set_read_timeout(Some(SOON)).map_err(failed)?;
    for name in names {
        let [_, _, a, b] = stage.draw.word().to_be_bytes();
        let query = query([a, b], name);
        client.send_to(&query, server).map_err(failed)?;
        client.recv_from(&mut [0; 512]).map_err(failed)?;
    }
    let trace = stage.net.trace()?;
    let messages = trace.frames().filter(|(event, frame)| {
        let udp = frame.packet().protocol() == "udp";
        udp && (event.host == LAPTOP || event.host == "router")
    });
    let mut messages: Vec<Taken> = messages
        .map(|(event, frame)| Taken {
            name: corpus::name(event.t_ns),
            bytes: frame.packet().data().to_vec(),
        })
        .collect();
    // Each crosses two wires.
    let mut seen = std::collections::HashSet::new();
    messages.retain(|message| seen.insert(message.bytes.clone()));
    Ok(messages)
}

/// Messages that no server sends by mistake: what each is about, and its bytes.
pub(super) fn by_hand() -> Vec<(&'static str, Vec<u8>)> {
    let made = |about, name: &[u8], kind: u8, data: &[u8]| {
        // A response with one answer and nothing else.
        let mut message = vec![0, 0, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 0];
        message.extend(name);
        message.extend([0, kind, 0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
        message.extend(data);
        (about, message)
    };
    let long = [[63; 64]; 3].concat();
    let longest = [&long[..], &[61; 62], &[0]].concat();
    let too_long = [&long[..], &[62; 63], &[0]].concat();
    let chain = [1, b'a', 0xc0, 12]; // to itself, a label further on each time
    vec![
        made("other-types", &[0], 16, b"\x06any te"),
        made("other-types", b"\x03a b\0", 28, &[0x20; 16]),
        made("pointer-loop", &[0xc0, 12], 1, &[10, 0, 0, 1]),
        made("pointer-loop", &chain, 1, &[10, 0, 0, 1]),
        made("pointer-loop", &[0xc0, 200], 1, &[10, 0, 0, 1]),
        made("malformed", &longest, 1, &[10, 0, 0, 1]),
        made("malformed", &too_long, 1, &[10, 0, 0, 1]),
        made("malformed", &[0x41, b'a', 0], 1, &[10, 0, 0, 1]),
        made("malformed", &[0], 1, &[10, 0, 0]),
        made("malformed", &[0], 1, &[10, 0, 0, 0, 1]),
    ]
}

/// What is in a message, as the program is to say it; `None`: it is no message.
pub(super) fn decode(message: &[u8]) -> Option<String> {
    if message.len() < HEADER {
        return None;
    }
    let mut rest = Reader { message, at: HEADER };
    let counts = [message[4], message[5], message[6], message[7]];
    let [questions, answers] =
        [0, 2].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
    for _ in 0..questions {
        rest.name()?;
        rest.take(4)?;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        let name = rest.name()?;
        let fixed = rest.take(10)?;
        let (from, length) = (rest.at, usize::from(fixed[8]) << 8);
        let length = length + usize::from(fixed[9]);
        let data = rest.take(length)?;
        let said = match (fixed[0], fixed[1]) {
            (0, 1) => {
                let address: [u8; 4] = data.try_into().ok()?;
                format!("A {}", Ipv4Addr::from(address))
            }
            (0, 28) => {
                let address: [u8; 16] = data.try_into().ok()?;
                format!("AAAA {}", Ipv6Addr::from(address))
            }
            (0, 5) => {
                let mut inside = Reader { message, at: from };
                let alias = inside.name()?;
                if inside.at != rest.at {
                    return None;
                }
                format!("CNAME {alias}")
            }
            (high, low) => {
                let kind = u16::from_be_bytes([high, low]);
                format!("type {kind} {length} bytes")
            }
        };
        records.push(format!("{name} {said}"));
    }
    let text = format!("code {} {}", message[3] % 16, records.join("; "));
    Some(text.trim_end().to_string())
}

/// A place in a message.
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(bytes)
    }

    fn name(&mut self) -> Option<String> {
        let labels = self.labels(self.at, 1)?;
        match labels.is_empty() {
            true => Some(".".to_string()),
            false => Some(labels.join(".")),
        }
    }

    /// The labels from here on; a pointer must lead to before `piece`, where
    /// this piece of the name began. `used` of its bytes are counted already.
    fn labels(&mut self, piece: usize, mut used: usize) -> Option<Vec<String>> {
        let mut labels = Vec::new();
        loop {
            let length = usize::from(self.take(1)?[0]);
            if length == 0 {
                return Some(labels);
            }
            if length >= 0xc0 {
                let place =
                    ((length & 0x3f) << 8) + usize::from(self.take(1)?[0]);
                if place >= piece {
                    return None;
                }
                let mut there = Reader { message: self.message, at: place };
                labels.extend(there.labels(place, used)?);
                return Some(labels);
            }
            if length > 63 {
                return None;
            }
            used += 1 + length;
            if used > LONGEST_NAME {
                return None;
            }
            labels.push(self.take(length)?.escape_ascii().to_string());
        }
    }
}

//! The DNS server: one small zone, answered by the rules of RFC 1035.
//!
//! Left out: TCP (no answer here is longer than 512 bytes), EDNS, and the SOA
//! record that lets a resolver remember a name's absence (RFC 2308).

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use super::Stop;

const HEADER: usize = 12;
const TTL_SECONDS: u32 = 300;
/// The most that a query is read of: any that fits into one Ethernet frame.
const LONGEST_QUERY: usize = 1500;

// QTYPE and QCLASS, sections 3.2.2 to 3.2.5; AAAA is RFC 3596's.
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const IN: u16 = 1;

// RCODE, section 4.1.1.
const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const NAME_ERROR: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;

enum Data {
    Address(Ipv4Addr),
    Address6(Ipv6Addr),
    Alias(&'static str),
}

use Data::{Address, Address6, Alias};

/// The zone, as the table in [`super`] has it.
const ZONE: &[(&str, Data)] = &[
    ("ns.example.test", Address(Ipv4Addr::new(203, 0, 113, 53))),
    ("ns.example.test", Address6(internet6(0x53))),
    ("www.example.test", Alias("web.example.test")),
    ("web.example.test", Address(Ipv4Addr::new(203, 0, 113, 80))),
    ("web.example.test", Address(Ipv4Addr::new(203, 0, 113, 81))),
    ("web.example.test", Address6(internet6(0x80))),
    ("www.lab4.test", Alias("web.example.test")),
];

const fn internet6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, host)
}

/// Answers what comes to any of the sockets.
pub(super) fn serve(sockets: &[UdpSocket], stop: &Stop) {
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut query = [0; LONGEST_QUERY];
    while let Some(ready) = stop.wait(&fds, Duration::MAX) {
        let socket = &sockets[ready];
        // An error is an earlier answer's: its receiver has gone (ICMP).
        let Ok((length, peer)) = socket.recv_from(&mut query) else { continue };
        if let Some(answer) = answer(&query[..length]) {
            let _ = socket.send_to(&answer, peer);
        }
    }
}

/// The answer to a query; `None` to what must not be answered: less than a
/// header, and answers, lest two servers talk to each other for ever.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let header = query.get(..HEADER)?;
    let is_answer = header[2] & 0x80 != 0;
    if is_answer {
        return None;
    }
    let opcode = (header[2] >> 3) & 0xf;
    if opcode != 0 {
        return Some(refusal(header, NOT_IMPLEMENTED));
    }
    let Some(question) = Question::parse(query) else {
        return Some(refusal(header, FORMAT_ERROR));
    };
    if question.class != IN && question.class != ANY {
        return Some(refusal(header, REFUSED));
    }
    Some(question.answer(query))
}

/// A header alone: the query's number, and why there is no answer.
fn refusal(header: &[u8], code: u8) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[..2].copy_from_slice(&header[..2]);
    message[2] = header[2] & 0x79 | 0x80; // QR; the opcode and RD stay.
    message[3] = code;
    message
}

/// A name's labels in lower case (RFC 4343). A label may hold any byte, a dot
/// too, so a name is not a string.
type Name = Vec<Vec<u8>>;

fn name(text: &str) -> Name {
    text.split('.').map(|label| label.as_bytes().to_vec()).collect()
}

struct Question {
    name: Name,
    kind: u16,
    class: u16,
    /// Where it ends in the message.
    end: usize,
}

impl Question {
    /// The one question of a query (section 4.1.2).
    fn parse(query: &[u8]) -> Option<Question> {
        if query.get(4..6)? != [0, 1] {
            return None;
        }
        let mut at = HEADER;
        let mut name = Name::new();
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            match length {
                0 => break,
                // 63 is the longest label. Above are the pointers, and there
                // is nothing before the first name to which one could point.
                64.. => return None,
                _ => {
                    name.push(query.get(at..at + length)?.to_ascii_lowercase())
                }
            }
            at += length;
        }
        const LONGEST_NAME: usize = 255; // section 2.3.4, lengths included
        if at - HEADER > LONGEST_NAME {
            return None;
        }
        let word = |at: usize| -> Option<u16> {
            Some(u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?))
        };
        Some(Question {
            name,
            kind: word(at)?,
            class: word(at + 2)?,
            end: at + 4,
        })
    }

    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let mut message = Message::reply_to(query, self);
        let mut owner = self.name.clone();
        // An alias leads to the name that has the data (section 3.6.2); no
        // alias of this zone leads to another alias.
        if self.kind != CNAME && self.kind != ANY {
            for (alias, data) in ZONE {
                if let (Alias(target), true) = (data, name(alias) == owner) {
                    message.add(&owner, data);
                    owner = name(target);
                    break;
                }
            }
        }
        for (_, data) in ZONE.iter().filter(|row| name(row.0) == owner) {
            if self.kind == data.kind() || self.kind == ANY {
                message.add(&owner, data);
            }
        }
        // `example.test` has no data, and exists: there are names below it
        // (RFC 8020).
        let exists = ZONE.iter().any(|row| name(row.0).ends_with(&self.name));
        message.finish(if exists { NO_ERROR } else { NAME_ERROR })
    }
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Address(_) => A,
            Address6(_) => AAAA,
            Alias(_) => CNAME,
        }
    }
}

/// An answer under construction.
struct Message {
    bytes: Vec<u8>,
    answers: u16,
    /// Names that stand in the message already, and where.
    known: Vec<(Name, u16)>,
}

impl Message {
    /// A header and the question, letter by letter as it was asked.
    fn reply_to(query: &[u8], question: &Question) -> Message {
        let mut bytes = query[..question.end].to_vec();
        bytes[6..HEADER].fill(0); // No other records yet.
        let mut message = Message { bytes, answers: 0, known: Vec::new() };
        message.remember(&question.name, HEADER);
        message
    }

    /// One resource record (section 4.1.3).
    fn add(&mut self, owner: &[Vec<u8>], data: &Data) {
        self.put_name(owner);
        self.bytes.extend(data.kind().to_be_bytes());
        self.bytes.extend(IN.to_be_bytes());
        self.bytes.extend(TTL_SECONDS.to_be_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend([0, 0]);
        match data {
            Address(v4) => self.bytes.extend(v4.octets()),
            Address6(v6) => self.bytes.extend(v6.octets()),
            Alias(target) => self.put_name(&name(target)),
        }
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.bytes[length_at..length_at + 2]
            .copy_from_slice(&length.to_be_bytes());
        self.answers += 1;
    }

    /// A name; its longest ending that the message has already is replaced by
    /// a pointer to it (section 4.1.4).
    fn put_name(&mut self, name: &[Vec<u8>]) {
        let start = self.bytes.len();
        for (at, label) in name.iter().enumerate() {
            let known = self.known.iter().find(|known| known.0 == name[at..]);
            if let Some((_, offset)) = known {
                self.bytes.extend((0xc000 | offset).to_be_bytes());
                self.remember(name, start);
                return;
            }
            self.bytes.push(label.len() as u8);
            self.bytes.extend(label);
        }
        self.bytes.push(0);
        self.remember(name, start);
    }

    /// Notes where a name and each of its endings begin.
    fn remember(&mut self, name: &[Vec<u8>], start: usize) {
        let mut offset = start;
        for (at, label) in name.iter().enumerate() {
            if self.known.iter().any(|known| known.0 == name[at..]) {
                return;
            }
            self.known.push((name[at..].to_vec(), offset as u16));
            offset += 1 + label.len();
        }
    }

    fn finish(mut self, code: u8) -> Vec<u8> {
        // QR, the query's RD, and AA: every name there is belongs to this
        // zone. RA too: who asks need not ask anybody else.
        self.bytes[2] = self.bytes[2] & 0x01 | 0x84;
        self.bytes[3] = 0x80 | code;
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in text.split('.').filter(|label| !label.is_empty()) {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend(IN.to_be_bytes());
        query
    }

    /// RCODE and the number of answers.
    fn outcome(query: &[u8]) -> (u8, u8) {
        let answer = answer(query).unwrap();
        assert_eq!(answer[..2], query[..2]);
        (answer[3] & 0xf, answer[7])
    }

    #[test]
    fn an_alias_comes_with_what_it_stands_for() {
        assert_eq!(outcome(&query("www.example.test", A)), (NO_ERROR, 3));
        assert_eq!(outcome(&query("WWW.Example.TEST", AAAA)), (NO_ERROR, 2));
        assert_eq!(outcome(&query("www.example.test", CNAME)), (NO_ERROR, 1));
        assert_eq!(outcome(&query("www.example.test", ANY)), (NO_ERROR, 1));
    }

    #[test]
    fn a_name_without_the_data_is_not_an_absent_name() {
        const MX: u16 = 15;
        assert_eq!(outcome(&query("ns.example.test", MX)), (NO_ERROR, 0));
        assert_eq!(outcome(&query("example.test", A)), (NO_ERROR, 0));
        assert_eq!(outcome(&query("", A)), (NO_ERROR, 0));
        assert_eq!(outcome(&query("ample.test", A)), (NAME_ERROR, 0));
        assert_eq!(outcome(&query("a.ns.example.test", A)), (NAME_ERROR, 0));
    }

    #[test]
    fn a_dot_in_a_label_does_not_end_it() {
        let mut odd = query("ns example.test", A);
        odd[HEADER + 3] = b'.';
        assert_eq!(outcome(&odd), (NAME_ERROR, 0));
    }

    #[test]
    fn names_are_compressed_against_the_question() {
        let answer = answer(&query("www.lab4.test", A)).unwrap();
        let first = &answer[31..];
        assert_eq!(first[..2], [0xc0, HEADER as u8]); // the whole name asked
        let test = (HEADER + "www.lab4.".len()) as u8;
        assert_eq!(first[12..26], *b"\x03web\x07example\xc0\x15");
        assert_eq!(test, 0x15);
        assert_eq!(first[26..28], [0xc0, 31 + 12]); // web.example.test
    }

    #[test]
    fn nonsense_is_refused_or_ignored() {
        let good = query("ns.example.test", A);
        assert_eq!(answer(&good[..HEADER - 1]), None);
        for length in HEADER..good.len() {
            assert_eq!(outcome(&good[..length]), (FORMAT_ERROR, 0));
        }
        let changed = |at: usize, to: u8| {
            let mut query = good.clone();
            query[at] = to;
            query
        };
        assert_eq!(answer(&changed(2, 0x80)), None, "an answer");
        assert_eq!(outcome(&changed(2, 0x28)), (NOT_IMPLEMENTED, 0));
        assert_eq!(outcome(&changed(5, 2)), (FORMAT_ERROR, 0));
        assert_eq!(outcome(&changed(HEADER, 0xc0)), (FORMAT_ERROR, 0));
        assert_eq!(outcome(&changed(good.len() - 1, 3)), (REFUSED, 0));
    }

    #[test]
    fn a_name_ends_at_255_bytes() {
        let long = vec!["x".repeat(63); 4].join(".");
        assert_eq!(outcome(&query(&long, A)), (FORMAT_ERROR, 0));
        assert_eq!(outcome(&query(&long[..253], A)), (NAME_ERROR, 0));
    }
}

//! DNS, as the C library's resolver speaks it.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::claims::Seen;
use crate::claims::bytes::{carried, word};
use crate::claims::ground::{Ground, WWW, list};
use crate::stage::{Halt, LAPTOP};
use crate::sys;

/// A name of 13 characters, as www.baidu.com has.
const THIRTEEN: &str = "www.lab4.test";
const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const INTERNET: u16 = 1;
/// "No such name": the response code in the flags.
const NXDOMAIN: u16 = 3;

/// What was said: the question, and the answer to it.
struct Talk {
    queries: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

/// 1.6-3
pub(super) fn types(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let name = if ground.broken { "Kongming20" } else { THIRTEEN };
    let talk = look_up(ground, name)?;
    let asked: Vec<(u16, u16)> =
        talk.queries.iter().map(|query| question(query)).collect();
    let answer = talk.answers.iter().find(|m| question(m).0 == A);
    let found = answer.map(|answer| record_types(answer)).unwrap_or_default();
    let reverse = look_back(ground)?;
    let both = |asked: &[(u16, u16)]| {
        let told = asked.iter().map(|(kind, class)| format!("{kind}/{class}"));
        list(&told.collect::<Vec<_>>())
    };
    let evidence = format!(
        "types and classes that are asked for: by a name {}, by an address {}; \
         types of the records that came: {}",
        both(&asked),
        both(&reverse),
        list(&found)
    );
    let so = asked.contains(&(A, INTERNET))
        && found == [CNAME, A, A]
        && reverse.contains(&(PTR, INTERNET));
    Ok(Seen::so(so, evidence))
}

/// 1.6-4
pub(super) fn name_field(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let talk = look_up(ground, THIRTEEN)?;
    let answer = talk.answers.iter().find(|m| question(m).0 == A);
    let Some(answer) = answer else {
        return Err(Halt::Missed("waited for an answer".into()));
    };
    let record = after_name(answer, 12) + 4;
    let field = word(answer, record);
    let kind = word(answer, after_name(answer, record));
    let evidence = format!(
        "the resolver understood a record whose name field is {field:#06x}, 16 \
         bits, followed by type {kind}"
    );
    Ok(Seen::other(false, field == 0xc00c && kind == CNAME, evidence))
}

/// 1.6-5
pub(super) fn length(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let name = if ground.broken { WWW } else { THIRTEEN };
    let talk = look_up(ground, name)?;
    let query = talk.queries.iter().find(|query| question(query).0 == A);
    let length = query.map_or(0, Vec::len);
    let evidence = format!(
        "the query for the {} characters of {name} has {length} bytes",
        name.len()
    );
    Ok(Seen::so(length == 31, evidence))
}

/// 1.6-6
pub(super) fn by_address(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let address = SocketAddr::new(ground.ip(WWW)?, 80);
    let _ = ground.host(LAPTOP)?.at(|| sys::name_of(address))?;
    let queries = messages(ground, "udp from ernest-laptop port 53")?;
    let Some(query) = queries.first() else {
        return Err(Halt::Missed("waited for a query".into()));
    };
    let opcode = query[2] >> 3 & 15;
    let labels = name(query);
    let kind = question(query).0;
    let evidence = format!(
        "getnameinfo asks with opcode {opcode} for type {kind} of {labels}"
    );
    let right = opcode == 0 && kind == PTR && labels.ends_with("in-addr.arpa");
    Ok(Seen::other(opcode == 1, right, evidence))
}

/// 1.6-7
pub(super) fn counts(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let talk = look_up(ground, "nosuch.example.test")?;
    let (Some(query), Some(answer)) =
        (talk.queries.first(), talk.answers.first())
    else {
        return Err(Halt::Missed("waited for an answer".into()));
    };
    let counts = |message: &[u8]| [4, 6, 8, 10].map(|at| word(message, at));
    let (asked, came) = (counts(query), counts(answer));
    let code = word(answer, 2) & 15;
    let evidence = format!(
        "a query counts {}; the reply for a name that does not exist {}, with \
         code {code}",
        list(&asked),
        list(&came)
    );
    let right = asked == [1, 0, 0, 0] && came[1] == 0 && code == NXDOMAIN;
    Ok(Seen::other(came[1] > 0, right, evidence))
}

/// What the laptop asks, and is answered, for a name.
fn look_up(ground: &Ground<'_>, name: &str) -> Result<Talk, Halt> {
    let _ = ground
        .host(LAPTOP)?
        .at(|| (name, 80).to_socket_addrs().map(Iterator::count))?;
    Ok(Talk {
        queries: messages(ground, "udp from ernest-laptop port 53")?,
        answers: messages(ground, "udp from router port 53")?
            .into_iter()
            .filter(|message| message[2] & 0x80 != 0)
            .collect(),
    })
}

/// The types and classes that are asked for an address.
fn look_back(ground: &Ground<'_>) -> Result<Vec<(u16, u16)>, Halt> {
    let address = SocketAddr::new(ground.ip(WWW)?, 80);
    let before = messages(ground, "udp from ernest-laptop port 53")?.len();
    let _ = ground.host(LAPTOP)?.at(|| sys::name_of(address))?;
    let queries = messages(ground, "udp from ernest-laptop port 53")?;
    Ok(queries[before..].iter().map(|query| question(query)).collect())
}

fn messages(ground: &Ground<'_>, what: &str) -> Result<Vec<Vec<u8>>, Halt> {
    let frames = ground.frames(what)?;
    let datagrams = frames.iter().map(|frame| carried(&frame.2)[8..].to_vec());
    Ok(datagrams.collect())
}

/// The type and the class of the question.
fn question(message: &[u8]) -> (u16, u16) {
    let after = after_name(message, 12);
    (word(message, after), word(message, after + 2))
}

/// The name of the question.
fn name(message: &[u8]) -> String {
    let mut labels: Vec<String> = Vec::new();
    let mut at = 12;
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(message[at + 1..end].escape_ascii().to_string());
        at = end;
    }
    labels.join(".")
}

/// Where a name ends: behind its root label or its pointer.
fn after_name(message: &[u8], mut at: usize) -> usize {
    loop {
        match message[at] {
            0 => return at + 1,
            pointer if pointer >= 0xc0 => return at + 2,
            length => at += 1 + usize::from(length),
        }
    }
}

fn record_types(message: &[u8]) -> Vec<u16> {
    let mut at = after_name(message, 12) + 4;
    let mut types = Vec::new();
    for _ in 0..word(message, 6) {
        at = after_name(message, at);
        types.push(word(message, at));
        at += 10 + usize::from(word(message, at + 8));
    }
    types
}

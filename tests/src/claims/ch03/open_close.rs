//! How a connection begins and ends.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use testbed::TcpState;

use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, Pair, outcome, read_exactly};
use crate::stage::{Halt, KONGMING, LAPTOP};

/// 3.3-1
pub(super) fn three_and_four(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    pair.close(ground, false)?;
    ground.round_trip()?;
    let flags = all_flags(ground)?;
    let evidence = flags.join(", ");
    let expected =
        ["SYN", "SYN ACK", "ACK", "FIN ACK", "ACK", "FIN ACK", "ACK"];
    Ok(Seen::so(flags == expected, evidence))
}

/// 3.3-2
pub(super) fn without_the_bare_ack(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    close_at_once(ground)?;
    let flags = all_flags(ground)?;
    let from = flags.iter().position(|flags| flags == "FIN ACK").unwrap_or(0);
    let flags = &flags[from..];
    let evidence = format!("the end was {}", flags.join(", "));
    Ok(Seen::so(flags == ["FIN ACK", "FIN ACK", "ACK"], evidence))
}

/// A connection that has carried data, so that its ACKs are delayed by 40 ms,
/// and whose server closes as soon as it has read the end.
pub(super) fn close_at_once(ground: &mut Ground<'_>) -> Result<(), Halt> {
    let mut pair = ground.pair()?;
    pair.say(b"hello")?;
    read_exactly(&pair.server, 5)?;
    pair.answer(b"hello")?;
    read_exactly(&pair.client, 5)?;
    ground.acknowledged(KONGMING)?;
    drop(pair.client);
    pair.server.read(&mut [0]).call("read")?;
    if ground.broken {
        // The delayed ACK of the FIN has come.
        ground.socket_in(LAPTOP, TcpState::FinWait2)?;
    }
    drop(pair.server);
    ground.settled(KONGMING)?;
    ground.round_trip()
}

/// 3.3-3
pub(super) fn one_number_each(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    if ground.broken {
        // With more to come nothing is sent yet; the FIN takes it along.
        SockRef::from(&pair.client)
            .send_with_flags(b"hello", libc::MSG_MORE)
            .call("send")?;
    }
    pair.client.shutdown(Shutdown::Write).call("shutdown")?;
    ground.wait("fin from ernest-laptop", 1)?;
    ground.wait("ack from Kongming20", 1)?;
    let segments = ground.segments()?;
    let fin = segments.iter().find(|seen| seen.segment.flags.fin);
    let fin = fin.map_or(0, |seen| seen.segment.seq);
    let ack = |at: usize| segments[at].segment.ack.unwrap_or(0);
    let after = ack(segments.len() - 1).wrapping_sub(fin);
    let evidence = format!(
        "the SYN is acknowledged by its number and {}, the FIN by its number \
         and {after}",
        ack(1)
    );
    Ok(Seen::so(ack(1) == 1 && after == 1, evidence))
}

/// 3.3-4
pub(super) fn half_closed(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let Pair { client, mut server, .. } = ground.pair()?;
    let client = match ground.broken {
        true => {
            drop(client);
            None
        }
        false => {
            client.shutdown(Shutdown::Write).call("shutdown")?;
            Some(client)
        }
    };
    let read = server.read(&mut [0]).call("read")?;
    server.write_all(b"late").call("write")?;
    let (came, rest) = match client {
        Some(client) => {
            let came = read_exactly(&client, 4)?;
            (String::from_utf8_lossy(&came).into_owned(), "no RST")
        }
        None => {
            ground.wait("rst from ernest-laptop", 1)?;
            (String::new(), "a RST")
        }
    };
    let evidence = format!(
        "after the FIN read returned {read}; `late`, sent the other way, was \
         received as `{came}`, with {rest}"
    );
    Ok(Seen::so(read == 0 && came == "late", evidence))
}

/// 3.5-1
pub(super) fn closed_port(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let address = ground.address(KONGMING)?;
    let _listener = match ground.broken {
        true => Some(ground.listener(KONGMING, address)?),
        false => None,
    };
    let socket = ground.socket(LAPTOP)?;
    let result = socket.connect(&address.into());
    let segments = ground.segments()?;
    let answer = &segments[1].segment;
    let flags = answer.flags.to_string();
    let (window, ack) = (answer.window, answer.ack.unwrap_or(0));
    let evidence = format!(
        "answered by {flags} with window {window} and ack {ack}; connect: {}",
        outcome(&result)
    );
    Ok(Seen::so(flags == "RST ACK" && window == 0 && ack == 1, evidence))
}

/// 3.5-2
pub(super) fn linger(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let Pair { client, mut server, .. } = ground.pair()?;
    let lost = ground.arm("drop every data from ernest-laptop")?;
    (&client).write_all(b"hello").call("write")?;
    if !ground.broken {
        let none = Some(Duration::ZERO);
        SockRef::from(&client).set_linger(none).call("setsockopt")?;
    }
    drop(client);
    ground.round_trip()?;
    ground.stage.net.wire().disarm(lost)?;
    let mut came = Vec::new();
    let end = server.read_to_end(&mut came);
    let resets = ground.frames("rst from ernest-laptop")?.len();
    let evidence = format!(
        "close with 5 bytes not yet acknowledged: {resets} RST; the peer read \
         {} bytes, then {}",
        came.len(),
        match end {
            Ok(_) => "the end".to_string(),
            Err(_) => outcome(&end),
        }
    );
    Ok(Seen::so(resets > 0 && came.is_empty() && end.is_err(), evidence))
}

/// 3.5-3
pub(super) fn half_open(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let Pair { client, server, listener, address } = ground.pair()?;
    ground.cable(KONGMING, false)?;
    let server = match ground.broken {
        true => Some((server, listener)),
        false => {
            // It goes without a word that arrives, and begins anew.
            let none = Some(Duration::ZERO);
            SockRef::from(&server).set_linger(none).call("setsockopt")?;
            drop((server, listener));
            ground.wait("rst from Kongming20", 1)?;
            None
        }
    };
    let _again = match server {
        None => Some(ground.listener(KONGMING, address)?),
        Some(_) => None,
    };
    ground.cable(KONGMING, true)?;
    let before = ground.frames("rst")?.len();
    (&client).write_all(b"hello").call("write")?;
    ground.acknowledged(LAPTOP)?;
    let resets = ground.frames("rst from Kongming20")?.len() - before;
    let read = (&client).read(&mut [0; 8]);
    let evidence = match resets {
        0 => "the write was acknowledged".to_string(),
        _ => format!(
            "the write was answered by {resets} RST; then read: {}",
            outcome(&read)
        ),
    };
    Ok(Seen::so(resets == 1, evidence))
}

fn all_flags(ground: &Ground<'_>) -> Result<Vec<String>, Halt> {
    let segments = ground.segments()?;
    let flags = segments.iter().map(|seen| seen.segment.flags.to_string());
    Ok(flags.collect())
}

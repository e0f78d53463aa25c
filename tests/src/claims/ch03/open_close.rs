//! How a connection begins and ends.

use std::net::Shutdown;

use socket2::SockRef;

use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, outcome};
use crate::stage::{Halt, KONGMING, LAPTOP};

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
    let fin = segments.iter().find(|seen| seen.segment.flags.fin).unwrap();
    let syn_ack = &segments[1].segment;
    let last = segments.last().unwrap();
    let after = last.segment.ack.unwrap_or(0) - fin.segment.seq;
    let evidence = format!(
        "the SYN ACK acknowledges {} more than the SYN's number, the last ACK \
         {after} more than the FIN's",
        syn_ack.ack.unwrap_or(0)
    );
    Ok(Seen::so(syn_ack.ack == Some(1) && after == 1, evidence))
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
        "answer {flags} with window {window}, ack {ack}; connect: {}",
        outcome(&result)
    );
    Ok(Seen::so(flags == "RST ACK" && window == 0 && ack == 1, evidence))
}

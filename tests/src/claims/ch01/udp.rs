//! UDP.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, outcome, read_exactly};
use crate::stage::{Halt, KONGMING};

/// Longer than TCP takes to send again.
const LONG: Duration = Duration::from_millis(400);

/// 1.1-4
pub(super) fn cut_off(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (client, server) = ground.udp_pair()?;
    client.send(b"ten bytes.").call("send")?;
    let mut four = [0; 4];
    let first = match ground.broken {
        true => server.peek(&mut four).call("recv")?,
        false => server.recv(&mut four).call("recv")?,
    };
    let rest = at_once(&server)?;
    let evidence = format!(
        "of ten bytes the first recv took {first}, the second {}",
        rest.map_or("nothing".to_string(), |rest| rest.to_string())
    );
    Ok(Seen::so(first == 4 && rest.is_none(), evidence))
}

/// 1.1-5
pub(super) fn tells_the_sender(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (client, server) = ground.udp_pair()?;
    ground.arm("corrupt udp from ernest-laptop")?;
    ground.arm("drop #2 udp from ernest-laptop")?;
    let limit = Some(Duration::from_millis(300));
    client.set_read_timeout(limit).call("setsockopt")?;
    for _ in 0..2 {
        client.send(b"hello").call("send")?;
    }
    let told = client.recv(&mut [0]);
    ground.round_trip()?;
    let came = at_once(&server)?;
    let errors = ground.counter(KONGMING, "UdpInCsumErrors")?;
    let evidence = format!(
        "one datagram was damaged, one lost: {} came (InCsumErrors {errors}); \
         the sender's next call waits: {}",
        usize::from(came.is_some()),
        outcome(&told)
    );
    let waits = told.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    let silent = waits && came.is_none() && errors == 1;
    Ok(Seen::other(!waits, silent, evidence))
}

/// 1.1-6
pub(super) fn keeps_no_copy(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    if ground.broken {
        let pair = ground.pair()?;
        ground.arm("drop data from ernest-laptop")?;
        pair.say(b"hello")?;
        read_exactly(&pair.server, 5)?;
        let sent = ground.frames("data from ernest-laptop")?.len();
        let evidence = format!("one write was sent {sent} times");
        return Ok(Seen::so(sent == 1, evidence));
    }
    let (client, server) = ground.udp_pair()?;
    ground.arm("drop udp from ernest-laptop")?;
    client.send(b"hello").call("send")?;
    std::thread::sleep(LONG);
    let sent = ground.frames("udp from ernest-laptop")?.len();
    let came = at_once(&server)?;
    client.send(b"hello").call("send")?;
    server.set_nonblocking(false).call("ioctl")?;
    let again = server.recv(&mut [0; 8]).call("recv")?;
    let evidence = format!(
        "a datagram that was lost was on the wire {sent} time within 0.4 s; \
         sent again by the program, {again} bytes came"
    );
    Ok(Seen::so(sent == 1 && came.is_none() && again == 5, evidence))
}

/// What can be received without waiting.
fn at_once(socket: &UdpSocket) -> Result<Option<usize>, Halt> {
    socket.set_nonblocking(true).call("ioctl")?;
    match socket.recv(&mut [0; 64]) {
        Ok(length) => Ok(Some(length)),
        Err(err) if err.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(err) => Err(err).call("recv"),
    }
}

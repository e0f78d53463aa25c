//! Urgent data.

use std::io::Read;

use socket2::SockRef;

use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, Pair};
use crate::stage::Halt;

/// 3.8-1
pub(super) fn last_byte(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    urgent(&pair, b"abc")?;
    ground.wait("urg", 1)?;
    ground.round_trip()?;
    let segments = ground.segments()?;
    let sent = segments.iter().find_map(|seen| seen.segment.urgent);
    let (oob, stream) = (out_of_band(&pair), stream(&pair)?);
    let evidence = format!(
        "urgent pointer {} on a segment of 3 bytes; out-of-band `{oob}`, in the \
         stream `{stream}`",
        sent.unwrap_or(0)
    );
    Ok(Seen::so(sent == Some(3) && oob == "c" && stream == "ab", evidence))
}

/// 3.8-2
pub(super) fn each_segment(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    ground.arm("hold every ack from Kongming20")?;
    urgent(&pair, b"abc")?;
    pair.say(b"def")?;
    ground.wait("data from ernest-laptop", 2)?;
    let segments = ground.segments()?;
    let sent: Vec<bool> = segments
        .iter()
        .filter(|seen| seen.segment.data > 0)
        .map(|seen| seen.segment.flags.urg)
        .take(2)
        .collect();
    let word = |urg: bool| if urg { "URG" } else { "no URG" };
    let evidence = format!(
        "with its acknowledgement held back, the urgent segment has {}, and the \
         one after it {}",
        word(sent[0]),
        word(sent[1])
    );
    Ok(Seen::other(sent == [true, true], sent == [true, false], evidence))
}

/// 3.8-3
pub(super) fn overwritten(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let mut after_two = |first: &[u8]| {
        let pair = ground.pair()?;
        urgent(&pair, first)?;
        ground.round_trip()?;
        urgent(&pair, b"b")?;
        ground.round_trip()?;
        Ok::<_, Halt>((out_of_band(&pair), stream(&pair)?))
    };
    let (oob, in_stream) = after_two(b"xa")?;
    let (_, at_the_mark) = after_two(b"a")?;
    let evidence = format!(
        "urgent `a`, then urgent `b`: out-of-band `{oob}`; with `x` unread \
         before `a` the stream is `{in_stream}`, with nothing before it \
         `{at_the_mark}`"
    );
    let right = oob == "b" && in_stream == "xa" && at_the_mark.is_empty();
    Ok(Seen::other(in_stream == "x", right, evidence))
}

/// 3.8-4
pub(super) fn inline(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    let inline = !ground.broken;
    SockRef::from(&pair.server)
        .set_out_of_band_inline(inline)
        .call("setsockopt")?;
    urgent(&pair, b"abc")?;
    ground.round_trip()?;
    let stream = stream_twice(&pair)?;
    Ok(Seen::so(stream == "abc", format!("the stream is `{stream}`")))
}

fn urgent(pair: &Pair, bytes: &[u8]) -> Result<(), Halt> {
    let socket = SockRef::from(&pair.client);
    socket.send_out_of_band(bytes).call("send MSG_OOB")?;
    Ok(())
}

/// What recv(2) returns with MSG_OOB; nothing for an error.
fn out_of_band(pair: &Pair) -> String {
    use nix::sys::socket::{MsgFlags, recv};
    use std::os::fd::AsRawFd;
    let mut byte = [0];
    let fd = pair.server.as_raw_fd();
    match recv(fd, &mut byte, MsgFlags::MSG_OOB | MsgFlags::MSG_DONTWAIT) {
        Ok(1) => byte.escape_ascii().to_string(),
        _ => String::new(),
    }
}

/// What there is to read, without waiting. A read ends at the mark.
fn stream(pair: &Pair) -> Result<String, Halt> {
    let mut server = &pair.server;
    server.set_nonblocking(true).call("ioctl")?;
    let mut bytes = [0; 16];
    let length = server.read(&mut bytes).unwrap_or(0);
    Ok(bytes[..length].escape_ascii().to_string())
}

fn stream_twice(pair: &Pair) -> Result<String, Halt> {
    Ok(stream(pair)? + &stream(pair)?)
}

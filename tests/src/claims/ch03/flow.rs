//! Small segments and many of them.

use std::io::Write;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{SockRef, Socket};
use testbed::{TcpSocket, TimerKind};

use crate::claims::Seen;
use crate::claims::bytes::{carried, long, tcp_options, word};
use crate::claims::ground::{Call, Ground, Pair, QUICKACK, list, read_exactly};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;

/// What one segment carries beside timestamps.
const FULL: usize = 1448;
/// The option's kind.
const WSCALE: u8 = 3;

/// 3.6-1
pub(super) fn typing(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    // Both kernels have seen by then that it is a dialogue.
    for _ in 0..3 {
        key(ground, &pair, Duration::ZERO)?;
    }
    let before = ground.segments()?.len();
    let late = if ground.broken { 300 } else { 0 };
    for _ in 0..2 {
        key(ground, &pair, Duration::from_millis(late))?;
    }
    let segments = ground.segments()?;
    let told: Vec<String> = segments[before..]
        .iter()
        .map(|seen| {
            let segment = &seen.segment;
            let who = if segment.by_client { "client" } else { "server" };
            match segment.data {
                0 => format!("{who} {}", segment.flags),
                bytes => format!("{who} {bytes} byte"),
            }
        })
        .collect();
    let one = ["client 1 byte", "server 1 byte", "client ACK"];
    let so = told == [one, one].concat();
    Ok(Seen::so(so, format!("two keys: {}", told.join(", "))))
}

/// A key, its echo, and the ACK of that.
fn key(
    ground: &mut Ground<'_>,
    pair: &Pair,
    late: Duration,
) -> Result<(), Halt> {
    pair.say(b"l")?;
    read_exactly(&pair.server, 1)?;
    std::thread::sleep(late); // The deed: longer than the ACK is delayed.
    pair.answer(b"l")?;
    read_exactly(&pair.client, 1)?;
    ground.acknowledged(KONGMING)?;
    Ok(())
}

/// 3.6-2
pub(super) fn nagle(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.arm("hold every ack from Kongming20")?;
    let pair = ground.pair()?;
    pair.say(&[b'.'; 4 * FULL])?;
    ground.wait("data from ernest-laptop", 4)?;
    let full = ground.frames("data from ernest-laptop")?.len();

    let pair = ground.pair()?;
    pair.say(b"a")?;
    ground.wait("data from ernest-laptop", full + 1)?;
    pair.say(b"b")?;
    ground.round_trip()?;
    let which = format!("data from ernest-laptop port {}", pair.address.port());
    let frames = ground.frames(&which)?;
    let small = frames.len();
    let evidence = format!(
        "with every acknowledgement held back, {full} full segments left, and \
         of two small ones {small}"
    );
    Ok(Seen::other(full <= 1, full >= 4 && small == 1, evidence))
}

/// 3.7-1
pub(super) fn one_ack_for_many(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    const COUNT: usize = 200;
    let pair = ground.pair()?;
    // At its beginning a connection acknowledges each; this one is past that.
    sys::set_option(&pair.server, QUICKACK, 0).call("setsockopt")?;
    let server = &pair.server;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_exactly(server, COUNT * FULL));
        if ground.broken {
            for _ in 0..COUNT {
                pair.say(&[b'.'; FULL])?;
                ground.acknowledged(LAPTOP)?;
            }
        } else {
            pair.say(&[b'.'; COUNT * FULL])?;
        }
        reading.join().unwrap_or_else(|_| Ok(Vec::new()))
    })?;
    ground.acknowledged(LAPTOP)?;
    let which = |kind: &str, host: &str| {
        format!("{kind} from {host} port {}", pair.address.port())
    };
    let sent = ground.frames(&which("data", LAPTOP))?.len();
    let acks = ground.frames(&which("ack", KONGMING))?.len();

    let (most, window) = flight_to_who_does_not_read(ground)?;
    let evidence = format!(
        "{acks} ACKs for {sent} segments; to a program that does not read, \
         {most} bytes in flight at most, with a window of {window}"
    );
    Ok(Seen::so(acks < sent && most <= window, evidence))
}

/// Bytes that were sent beyond the last acknowledgement, at most, and the
/// window that was offered at the beginning.
fn flight_to_who_does_not_read(
    ground: &mut Ground<'_>,
) -> Result<(u32, u32), Halt> {
    let small = |socket: &Socket| socket.set_recv_buffer_size(8192);
    let pair = ground.pair_with(|_| Ok(()), small)?;
    pair.client.set_nonblocking(true).call("ioctl")?;
    let _ = (&pair.client).write(&[b'.'; 60_000]).call("write")?;
    let full = |socket: &TcpSocket| {
        socket.timer.is_some_and(|timer| timer.kind == TimerKind::ZeroWindow)
    };
    ground.stage.sockets(LAPTOP, "a window that is full", |sockets| {
        sockets.iter().any(full)
    })?;
    let which = format!("tcp port {}", pair.address.port());
    let (mut scale, mut window, mut acked, mut most) = (0, 0, 0, 0);
    for (_, host, frame) in ground.frames(&which)? {
        let segment = carried(&frame);
        if host == KONGMING {
            let options = tcp_options(segment);
            let found = options.iter().find(|(kind, _)| *kind == WSCALE);
            scale = found.map_or(scale, |(_, shift)| shift[0]);
            acked = long(segment, 8);
            let syn = segment[13] & 2 != 0;
            let offered = u32::from(word(segment, 14));
            let offered = if syn { offered } else { offered << scale };
            window = window.max(offered);
        } else if acked != 0 {
            let length = segment.len() - usize::from(segment[12] >> 4) * 4;
            let end = long(segment, 4).wrapping_add(length as u32);
            most = most.max(end.wrapping_sub(acked));
        }
    }
    Ok((most, window))
}

/// 3.7-2
pub(super) fn push(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    const COUNT: usize = 40;
    let pair = ground.pair()?;
    pair.say(&[b'.'; COUNT * FULL])?;
    read_exactly(&pair.server, COUNT * FULL)?;
    let segments = ground.segments()?;
    let sent = segments.iter().filter(|seen| seen.segment.data > 0);
    let pushed: Vec<usize> = sent
        .clone()
        .enumerate()
        .filter(|(_, seen)| seen.segment.flags.psh)
        .map(|(at, _)| at + 1)
        .collect();
    let count = sent.count();
    let evidence = format!(
        "of {count} segments of one write, PSH on {pushed}",
        pushed = list(&pushed),
    );
    let fourth: Vec<usize> = (1..=count / 4).map(|at| at * 4).collect();
    let last = pushed.last() == Some(&count);
    Ok(Seen::other(pushed == fourth, last && pushed.len() < count, evidence))
}

/// 3.7-3
pub(super) fn small_buffers(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    // The kernel doubles what it is asked for.
    let small = |socket: &Socket| {
        socket.set_recv_buffer_size(2048)?;
        socket.set_send_buffer_size(2048)
    };
    let pair = ground.pair_with(small, small)?;
    let buffer = SockRef::from(&pair.server).recv_buffer_size();
    let buffer = buffer.call("getsockopt")?;
    pair.client.set_nonblocking(true).call("ioctl")?;
    let _ = (&pair.client).write(&[b'.'; 8000]).call("write")?;
    ground.wait("data from ernest-laptop", 1)?;
    ground.round_trip()?;
    let segments = ground.segments()?;
    let answer = &segments[1];
    let options = tcp_options(carried(&answer.bytes));
    let scale = options.iter().find(|(kind, _)| *kind == WSCALE);
    let scale = scale.map_or(0, |(_, shift)| shift[0]);
    let window = answer.segment.window;
    let sizes: Vec<usize> = segments
        .iter()
        .map(|seen| seen.segment.data)
        .filter(|data| *data > 0)
        .collect();
    let evidence = format!(
        "with buffers of {buffer} bytes: window {window}, scale {scale}, \
         segments of {sizes} bytes",
        sizes = list(&sizes),
    );
    let claimed = window == 3072 && sizes.first() == Some(&1536);
    let instead = window < 3072 && scale == 0 && sizes[0] <= FULL;
    Ok(Seen::other(claimed, instead, evidence))
}

/// 3.10-1
pub(super) fn congestion_control(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let Pair { client, server: _server, .. } = ground.pair()?;
    let setting = ground.setting(LAPTOP, "net.ipv4.tcp_congestion_control")?;
    if ground.broken {
        let name = "net.ipv4.tcp_allowed_congestion_control";
        let allowed = ground.setting(LAPTOP, name)?;
        let mut others = allowed.split(' ').filter(|name| *name != setting);
        let other = others.next().unwrap_or_default();
        setsockopt(&client, sockopt::TcpCongestion, &other.into())
            .map_err(Into::into)
            .call("setsockopt TCP_CONGESTION")?;
    }
    let name = getsockopt(&client, sockopt::TcpCongestion)
        .map_err(Into::into)
        .call("getsockopt TCP_CONGESTION")?;
    let name = name.to_string_lossy();
    let name = name.trim_end_matches('\0');
    let evidence =
        format!("tcp_congestion_control is {setting}; a connection has {name}");
    Ok(Seen::so(setting == name, evidence))
}

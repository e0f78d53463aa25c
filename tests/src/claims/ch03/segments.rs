//! What a segment is: its header, its options, its numbers.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};

use socket2::SockRef;

use crate::claims::Seen;
use crate::claims::bytes::{
    self, Datagram, TCP, carried, long, tcp_options, word,
};
use crate::claims::ground::{
    Call, Ground, QUICKACK, UDP_SEGMENT, list, read_exactly,
};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;

/// MSS, SACK permitted, timestamps, no-operation, window scale: their kinds.
const SYN_OPTIONS: [u8; 5] = [2, 4, 8, 1, 3];
const SACK: u8 = 5;

/// 3.1-1
pub(super) fn writes_and_reads(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let mut pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    for _ in 0..3 {
        pair.say(b"hello")?;
    }
    ground.queued(KONGMING, 15)?;
    let read = pair.server.read(&mut [0; 100]).call("read")?;
    pair.say(&[b'.'; 4000])?;
    ground.queued(KONGMING, 4000)?;
    let sizes: Vec<usize> =
        data(ground)?.iter().map(|segment| segment.1).collect();

    let (client, server) = ground.udp_pair()?;
    let sends = if ground.broken { 1 } else { 3 };
    if ground.broken {
        sys::set_option(&client, UDP_SEGMENT, 5).call("setsockopt")?;
        client.send(b"hellohellohello").call("send")?;
    } else {
        for _ in 0..sends {
            client.send(b"hello").call("send")?;
        }
    }
    ground.round_trip()?;
    server.set_nonblocking(true).call("ioctl")?;
    let mut receives = 0;
    loop {
        match server.recv(&mut [0; 100]) {
            Ok(_) => receives += 1,
            Err(err) if err.kind() == ErrorKind::WouldBlock => break,
            Err(err) => return Err(err).call("recv"),
        }
    }
    let evidence = format!(
        "TCP: 3 writes of 5 bytes were read as {read} bytes at once, and one \
         write of 4000 left as segments of {} bytes; UDP: {sends} sends, \
         {receives} receives",
        list(sizes.get(3..).unwrap_or_default())
    );
    Ok(Seen::so(read == 15 && sizes.len() > 4 && sends == receives, evidence))
}

/// 3.1-2
pub(super) fn an_ack_each(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    // At its beginning a connection acknowledges each; this one is past that.
    sys::set_option(&pair.server, QUICKACK, 0).call("setsockopt")?;
    pair.say(&[b'.'; 14_000])?;
    read_exactly(&pair.server, 14_000)?;
    ground.acknowledged(LAPTOP)?;
    let segments = data(ground)?.len();
    let bare = |from: &str| Ok::<_, Halt>(ground.frames(from)?.len());
    let acks = bare("ack from Kongming20")?;
    let of_acks = bare("ack from ernest-laptop")? - 1; // The handshake's.
    let evidence = format!(
        "{acks} ACKs for {segments} segments, and {of_acks} for these ACKs"
    );
    Ok(Seen::other(acks >= segments, acks < segments && of_acks == 0, evidence))
}

/// 3.2-1
pub(super) fn plus_one(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    pair.say(b"ten bytes.")?;
    ground.acknowledged(LAPTOP)?;
    let segments = ground.segments()?;
    let sent = segments.iter().find(|seen| seen.segment.data > 0);
    let (Some(sent), Some(last)) = (sent, segments.last()) else {
        return Err(Halt::Missed("looked for a segment with data".into()));
    };
    let seq = sent.segment.seq;
    let ack = last.segment.ack.unwrap_or(0);
    let evidence =
        format!("a segment of 10 bytes with number {seq} got ack {ack}");
    Ok(Seen::other(ack == seq + 1, ack == seq + 10, evidence))
}

/// 3.2-2
pub(super) fn header_lengths(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let address = ground.address(KONGMING)?;
    let _listener = ground.listener(KONGMING, address)?;
    // Four words are 16 bytes, and a header has at least five.
    let short = if ground.broken { 5 } else { 4 };
    let long = throw_syn(ground, address, 2001, &[1; 40], 15)?;
    let short = throw_syn(ground, address, 2002, &[], short)?;
    let word = |answered| if answered { "answered" } else { "dropped" };
    let evidence = format!(
        "a SYN with a header of 60 bytes is {}, one that says it has less than \
         20 is {}",
        word(long),
        word(short)
    );
    Ok(Seen::so(long && !short, evidence))
}

/// 3.2-3
pub(super) fn six_flags(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.set("net.ipv4.tcp_ecn", "1")?;
    let pair = ground.pair()?;
    SockRef::from(&pair.server)
        .set_linger(Some(Default::default()))
        .call("setsockopt")?;
    drop(pair.server);
    ground.wait("rst from Kongming20", 1)?;
    ground.round_trip()?;
    let syns = ground.frames("syn")?.len();
    let segments = ground.segments()?;
    let flags = segments[0].segment.flags;
    let evidence = format!(
        "with tcp_ecn 1 the SYN has the flags {flags}; after the RST there was \
         no other SYN"
    );
    let both = flags.ece && flags.cwr;
    Ok(Seen::other(!flags.ece && !flags.cwr, both && syns == 1, evidence))
}

/// 3.2-4
pub(super) fn numbers_from_the_first(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    let first = if ground.broken { 1025 } else { 1024 };
    pair.say(&vec![b'.'; first])?;
    pair.say(&[b'.'; 1024])?;
    read_exactly(&pair.server, first + 1024)?;
    let numbers: Vec<u32> = data(ground)?.iter().map(|one| one.0).collect();
    let evidence = format!(
        "after {first} bytes the next 1024 have the number ISN+{}",
        numbers.last().copied().unwrap_or(0)
    );
    Ok(Seen::so(numbers == [1, 1025], evidence))
}

/// 3.2-5
pub(super) fn checksum(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    pair.say(b"hello")?;
    read_exactly(&pair.server, 5)?;
    let frames = ground.frames("data from ernest-laptop")?;
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let segment = carried(&frames[0].2);
    let sum = bytes::transport_checksum(ends, TCP, segment);

    // The window of 65535 and the urgent pointer of 0 change places.
    let answered = |ground: &mut Ground<'_>, port, change: fn(&mut Vec<u8>)| {
        let mut syn = bytes::syn(ends, (port, pair.address.port()), &[], 5);
        change(&mut syn);
        throw_segment(ground, &syn)?;
        Ok::<bool, Halt>(answers_to(ground, port)? > 0)
    };
    let swapped = answered(ground, 2001, |syn| {
        let (one, other) = ([syn[14], syn[15]], [syn[18], syn[19]]);
        syn[14..16].copy_from_slice(&other);
        syn[18..20].copy_from_slice(&one);
    })?;
    let flipped = answered(ground, 2002, |syn| syn[15] ^= 1)?;
    let errors = ground.counter(KONGMING, "TcpInCsumErrors")?;
    let evidence = format!(
        "the sum of RFC 1071 over a segment of the kernel's leaves {sum}; with \
         two words of 16 bits exchanged a segment passes ({}), with one bit \
         changed it does not (InCsumErrors {errors})",
        if swapped { "SYN ACK" } else { "no answer" },
    );
    let right = sum == 0 && swapped && !flipped && errors == 1;
    Ok(Seen::other(!swapped, right, evidence))
}

/// 3.2-6
pub(super) fn mss(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let _pair = ground.pair()?;
    let on_ethernet = mss_of(&ground.frames("syn")?[0].2);

    let mtu = ground.setting(KONGMING, "net.ipv6.conf.lo.mtu")?;
    let mut packets = ground.packets_of(KONGMING, "lo")?;
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 2000);
    let _listener = ground.listener(KONGMING, address)?;
    let socket = ground.socket(KONGMING)?;
    socket.connect(&address.into()).call("connect")?;
    let mut frame = vec![0; 1 << 17];
    let length = packets.read(&mut frame).call("recv")?;
    let on_loopback = mss_of(&frame[..length]);
    let evidence = format!(
        "MSS {on_ethernet} on Ethernet; {on_loopback} on a loopback of MTU {mtu}"
    );
    let right = on_ethernet == 1460 && on_loopback == 65_495 && mtu == "65536";
    Ok(Seen::other(on_loopback == 16_396, right, evidence))
}

/// 3.2-7
pub(super) fn window_scale(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    // A buffer that would need more than 14.
    ground.set("net.ipv4.tcp_rmem", "4096 131072 1073741824")?;
    let pair = ground.pair()?;
    pair.say(b"hello")?;
    read_exactly(&pair.server, 5)?;
    let segments = ground.segments()?;
    let mut scales = Vec::new();
    let mut later = 0;
    for seen in &segments {
        for (kind, contents) in tcp_options(carried(&seen.bytes)) {
            if kind == 3 {
                scales.extend(contents);
                later += usize::from(!seen.segment.flags.syn);
            }
        }
    }
    let (syn, ack) = (segments[0].segment.window, segments[2].segment.window);
    let evidence = format!(
        "with 1 GiB allowed for the buffers, scales {scales}, {later} of them \
         after the SYNs; the SYN's window is {syn} as it stands, that of the \
         next segment {ack} before scaling",
        scales = list(&scales),
    );
    // 64240 scaled by 14 would be 1 GB; as it stands it is the next window.
    let as_it_stands = (u32::from(ack) << 14).abs_diff(syn.into()) <= 1 << 14;
    Ok(Seen::so(scales == [14, 14] && later == 0 && as_it_stands, evidence))
}

/// 3.2-8
pub(super) fn without_sack(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.set("net.ipv4.tcp_sack", "0")?;
    let pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    ground.arm("drop #3 data from ernest-laptop")?;
    for _ in 0..10 {
        pair.say(&[b'.'; 1000])?;
    }
    read_exactly(&pair.server, 10_000)?;
    ground.acknowledged(LAPTOP)?;
    let segments = ground.segments()?;
    let again = segments.iter().filter(|seen| seen.segment.again);
    let again = again.filter(|seen| seen.segment.data > 0).count();
    let evidence = format!(
        "without SACK the third of ten segments was lost, and {again} was sent \
         again"
    );
    Ok(Seen::other(again >= 8, again == 1, evidence))
}

/// 3.2-9
pub(super) fn sack_blocks(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (most_with, received) = blocks_of_a_lossy_run(ground)?;
    ground.set("net.ipv4.tcp_timestamps", "0")?;
    let (most_without, _) = blocks_of_a_lossy_run(ground)?;
    let evidence = format!(
        "the block encloses {}; at most {most_with} blocks beside timestamps, \
         {most_without} without",
        if received { "the segment after the gap" } else { "something else" }
    );
    let right = received && most_with == 3 && most_without == 4;
    Ok(Seen::other(!received, right, evidence))
}

/// Every second of ten segments is lost. The most blocks that one ACK has, and
/// whether the first of all blocks is the third segment's.
fn blocks_of_a_lossy_run(
    ground: &mut Ground<'_>,
) -> Result<(usize, bool), Halt> {
    let pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    let port = pair.address.port();
    let rules = [2, 4, 6, 8].map(|number| {
        format!("drop #{number} data from ernest-laptop port {port}")
    });
    for rule in &rules {
        ground.arm(rule)?;
    }
    for _ in 0..10 {
        pair.say(&[b'.'; 1000])?;
    }
    read_exactly(&pair.server, 10_000)?;
    let sent =
        ground.frames(&format!("data from ernest-laptop port {port}"))?;
    let third = carried(&sent[2].2);
    let edges = (long(third, 4), long(third, 4).wrapping_add(1000));
    let acks = ground.frames(&format!("ack from Kongming20 port {port}"))?;
    let mut most = 0;
    let mut first = None;
    for (_, _, frame) in &acks {
        let options = tcp_options(carried(frame));
        let sack = options.iter().find(|(kind, _)| *kind == SACK);
        if let Some((_, blocks)) = sack {
            most = most.max(blocks.len() / 8);
            first.get_or_insert((long(blocks, 0), long(blocks, 4)));
        }
    }
    Ok((most, first == Some(edges)))
}

/// 3.2-10
pub(super) fn switches(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let _with = ground.pair()?;
    let host = if ground.broken { KONGMING } else { LAPTOP };
    for name in ["tcp_window_scaling", "tcp_sack", "tcp_timestamps"] {
        ground.set_on(host, &format!("net.ipv4.{name}"), "0")?;
    }
    let _without = ground.pair()?;
    let syns = ground.frames("syn from ernest-laptop")?;
    let [with, without] = [0, 1].map(|at: usize| kinds(&syns[at].2));
    let evidence = format!(
        "options of a SYN, by kind: {with}, and {without} with the three \
         switches off",
        with = list(&with),
        without = list(&without),
    );
    Ok(Seen::so(with == SYN_OPTIONS && without == [2], evidence))
}

/// 3.2-11
pub(super) fn options_of_a_syn(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let _pair = ground.pair()?;
    let syn = &ground.frames("syn from ernest-laptop")?[0].2;
    let kinds = kinds(syn);
    let options = tcp_options(carried(syn));
    let times = options.iter().find(|(kind, _)| *kind == 8);
    let echo = times.map(|(_, times)| long(times, 4));
    let told = echo.map_or("none".to_string(), |echo| echo.to_string());
    let evidence = format!(
        "options by kind: {kinds}; echo reply {told}",
        kinds = list(&kinds),
    );
    Ok(Seen::so(kinds == SYN_OPTIONS && echo == Some(0), evidence))
}

/// Each segment with new data of the laptop's: its number and its length.
fn data(ground: &Ground<'_>) -> Result<Vec<(u32, usize)>, Halt> {
    let segments = ground.segments()?;
    let sent = segments.iter().map(|seen| &seen.segment);
    let sent = sent.filter(|one| one.by_client && one.data > 0 && !one.again);
    Ok(sent.map(|segment| (segment.seq, segment.data)).collect())
}

fn kinds(frame: &[u8]) -> Vec<u8> {
    tcp_options(carried(frame)).into_iter().map(|(kind, _)| kind).collect()
}

fn mss_of(frame: &[u8]) -> u16 {
    let options = tcp_options(carried(frame));
    let mss = options.iter().find(|(kind, _)| *kind == 2);
    mss.map_or(0, |(_, size)| word(size, 0))
}

fn throw_segment(ground: &Ground<'_>, segment: &[u8]) -> Result<(), Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let frame = Datagram::new(ends, TCP, segment).frame(ends.1);
    ground.throw(LAPTOP, &frame)
}

/// Has a SYN that was made by hand been answered by SYN ACK?
fn throw_syn(
    ground: &mut Ground<'_>,
    to: SocketAddr,
    port: u16,
    options: &[u8],
    words: u8,
) -> Result<bool, Halt> {
    let syn = bytes::syn(
        ground.ends(LAPTOP, KONGMING)?,
        (port, to.port()),
        options,
        words,
    );
    throw_segment(ground, &syn)?;
    Ok(answers_to(ground, port)? > 0)
}

/// How often Kongming20 has answered this port with SYN ACK, once it had time.
fn answers_to(ground: &Ground<'_>, port: u16) -> Result<usize, Halt> {
    ground.round_trip()?;
    Ok(ground.frames(&format!("synack port {port}"))?.len())
}

//! What is sent and received: flags, addresses, the urgent byte.

use std::io::{self, IoSlice, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrIn, recv, sendmsg};
use socket2::SockRef;

use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, Pair, outcome, yes};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys::classics;

/// A connection on which `123`, urgent `abc` and `123` have arrived.
fn urgent_within(ground: &mut Ground<'_>) -> Result<Pair, Halt> {
    let pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    pair.say(b"123")?;
    let socket = SockRef::from(&pair.client);
    socket.send_out_of_band(b"abc").call("send MSG_OOB")?;
    pair.say(b"123")?;
    ground.wait("data from ernest-laptop", 3)?;
    ground.round_trip()?;
    Ok(pair)
}

/// What one read returns.
fn read(pair: &Pair) -> Result<String, Halt> {
    let mut bytes = [0; 16];
    let length = (&pair.server).read(&mut bytes).call("read")?;
    Ok(bytes[..length].escape_ascii().to_string())
}

/// What recv(2) returns with these flags.
fn recv_with(pair: &Pair, flags: MsgFlags) -> io::Result<String> {
    let mut bytes = [0; 16];
    let flags = flags | MsgFlags::MSG_DONTWAIT;
    let length = recv(pair.server.as_raw_fd(), &mut bytes, flags)?;
    Ok(bytes[..length].escape_ascii().to_string())
}

/// 5.8-1
pub(super) fn urgent(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = urgent_within(ground)?;
    SockRef::from(&pair.server)
        .set_out_of_band_inline(ground.broken)
        .call("setsockopt")?;
    let first = read(&pair)?;
    let oob = recv_with(&pair, MsgFlags::MSG_OOB);
    let second = read(&pair)?;
    let told = match &oob {
        Ok(byte) => format!("`{byte}`"),
        err => outcome(err),
    };
    let evidence = format!(
        "one read returned `{first}`, recv with MSG_OOB {told}, the next read \
         `{second}`"
    );
    let so = first == "123ab"
        && oob.is_ok_and(|byte| byte == "c")
        && second == "123";
    Ok(Seen::so(so, evidence))
}

/// 5.8-2
pub(super) fn urgent_segment(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let _pair = match ground.broken {
        true => {
            let pair = ground.pair()?;
            pair.say(b"ab")?;
            let socket = SockRef::from(&pair.client);
            socket.send_out_of_band(b"c").call("send MSG_OOB")?;
            ground.wait("urg", 1)?;
            pair
        }
        false => urgent_within(ground)?,
    };
    let segments = ground.segments()?;
    let segment = segments.iter().map(|seen| &seen.segment);
    let mut urgent = segment.filter(|segment| segment.flags.urg);
    let none = || Halt::Missed("waited for a segment with URG".to_string());
    let urgent = urgent.next().ok_or_else(none)?;
    // tcpdump's letters, in its order.
    let letters = [
        (urgent.flags.psh, 'P'),
        (urgent.flags.ack, '.'),
        (urgent.flags.urg, 'U'),
    ];
    let letters = letters.iter().filter(|(set, _)| *set);
    let flags: String = letters.map(|(_, letter)| letter).collect();
    let (pointer, length) = (urgent.urgent.unwrap_or(0), urgent.data);
    let evidence = format!("[{flags}], urg {pointer}, length {length}");
    Ok(Seen::so(evidence == "[P.U], urg 3, length 3", evidence))
}

/// 5.8-3
pub(super) fn one_call(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    let socket = SockRef::from(&pair.client);
    socket.send_out_of_band(b"a").call("send MSG_OOB")?;
    match ground.broken {
        true => socket.send_out_of_band(b"b").call("send MSG_OOB")?,
        false => socket.send(b"b").call("send")?,
    };
    ground.wait("data from ernest-laptop", 2)?;
    ground.round_trip()?;
    let segments = ground.segments()?;
    let data = segments.iter().map(|seen| &seen.segment);
    let data = data.filter(|segment| segment.data > 0 && !segment.again);
    let urgent: Vec<bool> = data.map(|segment| segment.flags.urg).collect();

    let pair = ground.pair()?;
    pair.say(b"hello")?;
    ground.queued(KONGMING, 5)?;
    let later = match ground.broken {
        true => MsgFlags::MSG_PEEK,
        false => MsgFlags::empty(),
    };
    let all = [MsgFlags::MSG_PEEK, later, later];
    let [first, second, third] = all.map(|flags| recv_with(&pair, flags));
    let told = |came: &io::Result<String>| match came {
        Ok(text) => format!("`{text}`"),
        err => outcome(err),
    };
    let evidence = format!(
        "send with MSG_OOB: URG {}; send after it: URG {}; recv with MSG_PEEK: \
         {}; recv after it: {}, {}",
        yes(urgent[0]),
        yes(urgent[1]),
        told(&first),
        told(&second),
        told(&third),
    );
    let hello = |came: &io::Result<String>| told(came) == "`hello`";
    let received = hello(&first) && hello(&second) && third.is_err();
    Ok(Seen::so(urgent == [true, false] && received, evidence))
}

/// 5.8-4
pub(super) fn null_address(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = ground.pair()?;
    let alone = ground.socket(LAPTOP)?;
    let sent = match ground.broken {
        true => classics::sendto_nobody(&alone, b"hello"),
        false => classics::sendto_nobody(&pair.client, b"hello"),
    };
    let mut received = Vec::new();
    let mut room = 128;
    if sent.is_ok() {
        pair.say(b"hello")?;
        ground.queued(KONGMING, 10)?;
        let mut bytes = [0; 5];
        for with_address in [false, true] {
            let came =
                classics::recvfrom(&pair.server, &mut bytes, with_address);
            let (length, name) = came.call("recvfrom")?;
            received.push(bytes[..length].escape_ascii().to_string());
            room = name;
        }
    }
    let told = match &sent {
        Ok(count) => count.to_string(),
        err => outcome(err),
    };
    let evidence = format!(
        "sendto with a null address: {told}; recvfrom without and with room for \
         one: {}, and an address of {room} bytes",
        received.join(", ")
    );
    Ok(Seen::so(received == ["hello", "hello"], evidence))
}

/// 5.8-5
pub(super) fn recvmsg(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (client, server) = ground.udp_pair()?;
    client.send(b"ten bytes.").call("send")?;
    let cut = classics::recvmsg(&server, &mut [0; 4]).call("recvmsg")?;
    let truncated = cut.flags & libc::MSG_TRUNC != 0;

    let pair = ground.pair()?;
    // Nobody listens there: if the name counted, nothing would arrive.
    let other = match ground.address(LAPTOP)? {
        SocketAddr::V4(address) => SockaddrIn::from(address),
        SocketAddr::V6(_) => unreachable!("a host's first is IPv4"),
    };
    let (fd, vectors) = (pair.client.as_raw_fd(), [IoSlice::new(b"hello")]);
    let flags = MsgFlags::empty();
    let sent = sendmsg(fd, &vectors, &[], flags, Some(&other));
    let sent = sent.map_err(io::Error::from);
    let came = classics::recvmsg(&pair.server, &mut [0; 16]);
    let came = came.call("recvmsg")?;
    let evidence = format!(
        "of a datagram that was cut, recvmsg has MSG_TRUNC in msg_flags: {}, and \
         {} bytes of address; on TCP sendmsg with another address in msg_name: \
         {}; recvmsg with room for one: {} bytes, {} of address",
        yes(truncated),
        cut.name,
        outcome(&sent),
        came.length,
        came.name,
    );
    let flags = truncated && cut.name == 16;
    let ignored = sent.is_ok() && came.length == 5 && came.name == 0;
    Ok(Seen::other(flags && !ignored, flags && ignored, evidence))
}

/// 5.9-1
pub(super) fn at_mark(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let pair = urgent_within(ground)?;
    let inline = !ground.broken;
    SockRef::from(&pair.server)
        .set_out_of_band_inline(inline)
        .call("setsockopt")?;
    let mark = || classics::at_mark(&pair.server).call("sockatmark");
    let before = mark()?;
    let first = read(&pair)?;
    if ground.broken {
        recv_with(&pair, MsgFlags::MSG_OOB).call("recv MSG_OOB")?;
    }
    let at = mark()?;
    let mut next = [0];
    (&pair.server).read(&mut next).call("read")?;
    let after = mark()?;
    let next = next.escape_ascii();
    let evidence = format!(
        "at the beginning {}; when `{first}` had been read {}, and the next byte \
         was `{next}`; after that {}",
        yes(before),
        yes(at),
        yes(after)
    );
    let so = !before && at && next.to_string() == "c" && !after;
    Ok(Seen::so(so, evidence))
}

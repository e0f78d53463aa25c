//! The IP header, field by field.

use std::io::{ErrorKind, Read};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::claims::Seen;
use crate::claims::bytes::{
    self, Datagram, ICMP, IP, TCP, UDP, checksum, long, word,
};
use crate::claims::ground::{Call, Ground, MTU_DISCOVER, list, outcome, yes};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;

/// What was captured in 2013: an IPv4 header and a TCP SYN.
const CAPTURED: [u8; 60] = [
    0x45, 0x10, 0x00, 0x3c, 0xa5, 0xda, 0x40, 0x00, 0x40, 0x06, 0x96, 0xcf,
    0x7f, 0x00, 0x00, 0x01, 0x7f, 0x00, 0x00, 0x01, 0xa2, 0x95, 0x00, 0x17,
    0xd0, 0x99, 0xe1, 0x03, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02, 0x80, 0x18,
    0xfe, 0x30, 0x00, 0x00, 0x02, 0x04, 0x40, 0x0c, 0x04, 0x02, 0x08, 0x0a,
    0x02, 0x6e, 0x44, 0xd9, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x06,
];
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const PARAMETER_PROBLEM: u8 = 12;

/// 2.1-1
pub(super) fn stateless(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (kind, came) = match ground.broken {
        true => ("data", in_a_stream(ground)?),
        false => ("udp", in_datagrams(ground)?),
    };
    let evidence = format!(
        "the first {kind} doubled and the next two exchanged: sent 1, 2, 3; \
         received {came}"
    );
    Ok(Seen::so(came == "1, 1, 3, 2", evidence))
}

fn in_datagrams(ground: &mut Ground<'_>) -> Result<String, Halt> {
    let (client, server) = ground.udp_pair()?;
    ground.arm("duplicate udp from ernest-laptop")?;
    ground.arm("reorder #2 udp from ernest-laptop")?;
    for text in ["1", "2", "3"] {
        client.send(text.as_bytes()).call("send")?;
    }
    let mut came = Vec::new();
    for _ in 0..4 {
        let mut byte = [0];
        server.recv(&mut byte).call("recv")?;
        came.push(byte.escape_ascii().to_string());
    }
    Ok(came.join(", "))
}

fn in_a_stream(ground: &mut Ground<'_>) -> Result<String, Halt> {
    let mut pair = ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    ground.arm("duplicate data from ernest-laptop")?;
    ground.arm("reorder #2 data from ernest-laptop")?;
    for text in ["1", "2", "3"] {
        pair.say(text.as_bytes())?;
    }
    drop(pair.client);
    let mut all = String::new();
    pair.server.read_to_string(&mut all).call("read")?;
    let came: Vec<String> = all.chars().map(String::from).collect();
    Ok(came.join(", "))
}

/// 2.1-2
pub(super) fn bad_checksum(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    throw_echo(ground, |_| {})?;
    throw_echo(ground, |frame| frame[IP + 10] ^= 1)?;
    let said = ground.icmp_from(KONGMING)?;
    let replies = said.iter().filter(|m| m[0] == ECHO_REPLY).count();
    let problems = said.iter().filter(|m| m[0] == PARAMETER_PROBLEM).count();
    let errors = ground.counter(KONGMING, "IpExtInCsumErrors")?;
    let evidence = format!(
        "of two echo requests, one with a wrong header checksum, {replies} was \
         answered; ICMP errors: {problems}; InCsumErrors {errors}"
    );
    let silent = replies == 1 && said.len() == 1 && errors == 1;
    Ok(Seen::other(problems > 0, silent, evidence))
}

/// 2.1-3
pub(super) fn tells_the_upper_layer(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let nowhere: SocketAddr = ([198, 51, 100, 1], 9).into();
    let unrouted = ground.udp(LAPTOP)?.connect(nowhere);

    let closed = ground.address(KONGMING)?;
    let socket = ground.udp(LAPTOP)?;
    socket.connect(closed).call("connect")?;
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).call("setsockopt")?;
    socket.send(b"hello").call("send")?;
    let refused = socket.recv(&mut [0]);
    let which = format!("udp from ernest-laptop port {}", closed.port());
    let sent = ground.frames(&which)?.len();
    let evidence = format!(
        "without a route: {}; where nobody listens: {}, and the datagram was \
         sent {sent} time(s)",
        outcome(&unrouted),
        outcome(&refused)
    );
    let refused = refused.map_err(|err| err.kind()).err();
    let told = refused == Some(ErrorKind::ConnectionRefused);
    Ok(Seen::so(unrouted.is_err() && told && sent == 1, evidence))
}

/// 2.2-1
pub(super) fn lengths(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let echo = bytes::echo(8);
    let mut datagram = Datagram::new(ends, ICMP, &echo);
    datagram.options = &[1; 40];
    ground.throw(LAPTOP, &datagram.frame(ends.1))?;
    ground.round_trip()?;
    let long = ground.icmp_from(KONGMING)?.len();
    let words = if ground.broken { 0x45 } else { 0x44 };
    throw_echo(ground, |frame| frame[IP] = words)?;
    let short = ground.icmp_from(KONGMING)?.len() - long;
    let evidence = format!(
        "echo requests with 15 words of header, and with {} said: {long} and \
         {short} answered",
        words & 15
    );
    Ok(Seen::so(long == 1 && short == 0, evidence))
}

/// 2.2-2
pub(super) fn type_of_service(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    // Expedited forwarding, and congestion experienced.
    const ASKED: u8 = 0xbb;
    let (client, server) = ground.udp_pair()?;
    SockRef::from(&client)
        .set_tos_v4(ASKED.into())
        .call("setsockopt IP_TOS")?;
    client.send(b"hello").call("send")?;
    let came = server.recv(&mut [0; 8]).is_ok();
    let tos = ground.frames("udp from ernest-laptop")?[0].2[IP + 1];
    let evidence = format!(
        "IP_TOS {ASKED:#x} left as {tos:#x}, with two of the four bits and the \
         last one set; it arrived: {came}",
        came = yes(came)
    );
    Ok(Seen::other(!came || tos & 1 == 0, came && tos == ASKED, evidence))
}

/// 2.2-3
pub(super) fn asked_for(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let _plain = ground.pair()?;
    let _asked = ground.pair_with(|s| s.set_tos_v4(0x10), |_| Ok(()))?;
    let syns = ground.frames("syn from ernest-laptop")?;
    let [plain, asked] = [0, 1].map(|at: usize| syns[at].2[IP + 1]);
    let evidence = format!(
        "a SYN has TOS {plain:#04x}, and {asked:#04x} where the program has \
         asked for that by IP_TOS"
    );
    Ok(Seen::other(plain == 0x10, plain == 0 && asked == 0x10, evidence))
}

/// 2.2-4
pub(super) fn identification(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (one, other) = (ground.pair()?, ground.pair()?);
    for _ in 0..3 {
        for pair in [&one, &other] {
            pair.say(b"hello")?;
            ground.acknowledged(LAPTOP)?;
        }
    }
    let (client, server) = ground.udp_pair()?;
    sys::set_option(&client, MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
        .call("setsockopt")?;
    for _ in 0..3 {
        client.send(b"hello").call("send")?;
        server.recv(&mut [0; 8]).call("recv")?;
    }
    let id = |frame: &(f64, String, Vec<u8>)| word(&frame.2, IP + 4);
    let tcp: Vec<u16> =
        ground.frames("data from ernest-laptop")?.iter().map(id).collect();
    let udp: Vec<u16> =
        ground.frames("udp from ernest-laptop")?.iter().map(id).collect();
    let syn_acks: Vec<u16> = ground.frames("synack")?.iter().map(id).collect();
    let evidence = format!(
        "two connections in turn: {tcp}; their SYN ACKs: {syn_acks}; \
         datagrams without DF: {udp}",
        tcp = list(&tcp),
        syn_acks = list(&syn_acks),
        udp = list(&udp),
    );
    let by_one = |ids: &[u16]| {
        ids.windows(2).all(|two| two[1] == two[0].wrapping_add(1))
    };
    let turns = |from: usize| -> Vec<u16> {
        tcp.iter().skip(from).step_by(2).copied().collect()
    };
    let each = by_one(&turns(0)) && by_one(&turns(1)) && !by_one(&tcp);
    let zero = syn_acks.iter().all(|id| *id == 0);
    Ok(Seen::other(by_one(&tcp), each && zero, evidence))
}

/// 2.2-8
pub(super) fn checksum_of_words(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let echo = bytes::echo(8);
    let mut datagram = Datagram::new(ends, ICMP, &echo);
    // No operation, no operation; no operation, end of the list.
    datagram.options = &[1, 1, 1, 0];
    let mut frame = datagram.frame(ends.1);
    let options = IP + 20;
    frame[options..options + 4].copy_from_slice(&[1, 0, 1, 1]);
    ground.throw(LAPTOP, &frame)?;
    ground.round_trip()?;
    let exchanged = ground.icmp_from(KONGMING)?.len();
    frame[options] = 0;
    ground.throw(LAPTOP, &frame)?;
    ground.round_trip()?;
    let changed = ground.icmp_from(KONGMING)?.len() - exchanged;
    let evidence = format!(
        "echo requests with two words of the header exchanged, and with one bit \
         changed: {exchanged} and {changed} answered"
    );
    Ok(Seen::other(exchanged == 0, exchanged == 1 && changed == 0, evidence))
}

/// 2.2-9
pub(super) fn protocols(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let icmp = if ground.broken { 2 } else { ICMP };
    let (echo, syn) = (bytes::echo(8), bytes::syn(ends, (2001, 2002), &[], 5));
    let udp = bytes::udp(ends, (2001, 2002), b"hello");
    for (number, data) in [(icmp, &echo), (TCP, &syn), (UDP, &udp)] {
        let frame = Datagram::new(ends, number, data).frame(ends.1);
        ground.throw(LAPTOP, &frame)?;
    }
    ground.round_trip()?;
    let said = ground.icmp_from(KONGMING)?;
    let (replies, ports) = (
        said.iter().filter(|m| m[0] == ECHO_REPLY).count(),
        said.iter().filter(|m| m[..2] == [UNREACHABLE, 3]).count(),
    );
    let resets = ground.frames("rst from Kongming20")?.len();
    let evidence = format!(
        "made by hand, an echo request as protocol {icmp}, a SYN as 6 and a \
         datagram as 17: {replies} echo reply, {resets} RST, {ports} port \
         unreachable"
    );
    Ok(Seen::so((replies, resets, ports) == (1, 1, 1), evidence))
}

/// 2.2-11
pub(super) fn captured(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    // Else what says that it comes from 127.0.0.1 is a lie for this kernel.
    for name in ["route_localnet", "accept_local"] {
        ground.set_on(KONGMING, &format!("net.ipv4.conf.lo.{name}"), "1")?;
    }
    let mut ip = CAPTURED;
    if ground.broken {
        ip[8] ^= 1;
    }
    let sum = checksum(&ip[..20]);
    let frame = bytes::ethernet([0; 6], [0; 6], 0x0800, &ip);
    let lo = ground.packets_of(KONGMING, "lo")?;
    let count = |ground: &Ground<'_>| {
        let ip = ground.counter(KONGMING, "IpExtInCsumErrors")?;
        let tcp = ground.counter(KONGMING, "TcpInCsumErrors")?;
        Ok::<_, Halt>((ip, tcp))
    };
    let before = count(ground)?;
    lo.send(&frame).call("send")?;
    ground.round_trip()?;
    let after = count(ground)?;
    let (by_ip, by_tcp) = (after.0 - before.0, after.1 - before.1);
    let (df, ttl) = (ip[6] & 0x40 != 0, ip[8]);
    let syn = ip[9] == TCP && ip[33] == 2;
    let evidence = format!(
        "the header's sum leaves {sum}; DF: {df}; TTL {ttl}; TCP SYN: {syn}; put \
         on a loopback, {by_ip} refused by IP, {by_tcp} by TCP for its sum",
        df = yes(df),
        syn = yes(syn),
    );
    let so = sum == 0 && df && ttl == 64 && syn && (by_ip, by_tcp) == (0, 1);
    Ok(Seen::so(so, evidence))
}

/// 2.7-1
pub(super) fn version_6(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let server = ground.host(KONGMING)?;
    let ip = match (ground.broken, server.ip6()) {
        (false, Some(ip)) => ip,
        _ => server.ip(),
    };
    let address = SocketAddr::new(ip, 2000);
    let _listener =
        ground.at(KONGMING, "bind", || TcpListener::bind(address))?;
    ground.at(LAPTOP, "connect", || TcpStream::connect(address))?;
    let frame = &ground.frames("syn")?[0].2;
    let (kind, header) = (word(frame, 12), &frame[IP..]);
    let payload = usize::from(word(header, 4));
    let evidence = format!(
        "EtherType {kind:#06x}, version {}, flow label {:#x}, payload length \
         {payload} of {} bytes after 40, next header {}, hop limit {}",
        header[0] >> 4,
        long(header, 0) & 0xf_ffff,
        header.len() - 40,
        header[6],
        header[7]
    );
    let addressed = match ip {
        std::net::IpAddr::V6(v6) => header[24..40] == v6.octets(),
        std::net::IpAddr::V4(_) => false,
    };
    let so = kind == 0x86dd
        && header[0] >> 4 == 6
        && payload == header.len() - 40
        && header[6] == TCP
        && addressed;
    Ok(Seen::so(so, evidence))
}

/// 2.7-2
pub(super) fn short_text(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let long = "FE80:0000:0000:0000:1234:5678:0000:0012";
    let short = match ground.broken {
        true => "FE80::1234:5678::0012",
        false => "FE80::1234:5678:0000:0012",
    };
    let parse = |text: &str| text.parse::<Ipv6Addr>().ok();
    let same = parse(long).is_some() && parse(long) == parse(short);
    let twice = parse("FE80::1234::12").is_some();
    let written = parse(long).map_or(String::new(), |ip| ip.to_string());
    let evidence = format!(
        "`{short}` is the same address: {same}; `::` twice is accepted: \
         {twice}; the address is written back as {written}",
        same = yes(same),
        twice = yes(twice),
    );
    Ok(Seen::so(same && !twice, evidence))
}

/// Puts an echo request on the wire with something changed, and waits until
/// Kongming20 has had time to answer.
fn throw_echo(
    ground: &Ground<'_>,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<(), Halt> {
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let echo = bytes::echo(8);
    let mut frame = Datagram::new(ends, ICMP, &echo).frame(ends.1);
    change(&mut frame);
    ground.throw(LAPTOP, &frame)?;
    ground.round_trip()
}

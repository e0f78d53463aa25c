//! Fragments.

use std::net::SocketAddr;

use crate::claims::Seen;
use crate::claims::bytes::{
    self, Datagram, IP, UDP, carried, header_length, word,
};
use crate::claims::ground::{
    Call, Ground, MTU_DISCOVER, ROUTER, SOON, WWW, list, yes,
};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// 2.2-5
pub(super) fn do_not(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.host(ROUTER)?.set_mtu("eth1", 1400)?;
    let www = ground.ip(WWW)?;
    let socket = ground.udp(LAPTOP)?;
    if ground.broken {
        sys::set_option(&socket, MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
            .call("setsockopt")?;
    }
    socket.connect(SocketAddr::new(www, 9)).call("connect")?;
    socket.send(&[b'.'; 1450]).call("send")?;
    // ICMP from the router, or from the Web server, where nobody listens.
    ground.wait("icmp from router", 1)?;
    let behind = ground.frames("ip from router")?;
    let www = bytes::v4(www).octets();
    let passed = behind.iter().filter(|f| f.2[IP + 16..IP + 20] == www).count();
    let said = &ground.icmp_from(ROUTER)?[0];
    let (kind, mtu) = ((said[0], said[1]), word(said, 6));
    let evidence = format!(
        "1478 bytes for a link of 1400: {passed} packets passed; ICMP type {} \
         code {}, MTU {mtu}",
        kind.0, kind.1
    );
    Ok(Seen::so(passed == 0 && kind == (3, 4) && mtu == 1400, evidence))
}

/// 2.2-6
pub(super) fn units_of_eight(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.host(LAPTOP)?.set_mtu("eth0", 1499)?;
    let (client, server) = ground.udp_pair()?;
    client.send(&[b'.'; 4000]).call("send")?;
    server.recv(&mut [0; 5000]).call("recv")?;
    let sizes: Vec<usize> = ground
        .frames("fragment from ernest-laptop")?
        .iter()
        .map(|frame| carried(&frame.2).len())
        .collect();
    let eights = sizes.iter().rev().skip(1).all(|size| size.is_multiple_of(8));

    // The same by hand; what is cut at 13 the second cannot continue.
    let first = if ground.broken { 13 } else { 16 };
    let ends = ground.ends(LAPTOP, KONGMING)?;
    let port = |socket: &std::net::UdpSocket| {
        socket.local_addr().map(|address| address.port()).call("getsockname")
    };
    let ports = (port(&client)?, port(&server)?);
    let udp = bytes::udp(ends, ports, b"twenty-one bytes here");
    for (from, to, flags) in [(0, first, MORE), (first, udp.len(), 0)] {
        let mut datagram = Datagram::new(ends, UDP, &udp[from..to]);
        datagram.fragment = flags | (from as u16 / 8);
        ground.throw(LAPTOP, &datagram.frame(ends.1))?;
    }
    ground.round_trip()?;
    server.set_nonblocking(true).call("ioctl")?;
    let whole = matches!(server.recv(&mut [0; 64]), Ok(21));
    let evidence = format!(
        "with an MTU of 1499 the fragments carry {sizes}; one cut at {first} \
         by hand was put together again: {whole}",
        sizes = list(&sizes),
        whole = yes(whole),
    );
    Ok(Seen::so(eights && sizes.len() == 3 && whole, evidence))
}

/// 2.3-1
pub(super) fn of_an_echo(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let length = if ground.broken { 1472 } else { 1473 };
    let answered = ground.ping(LAPTOP, ground.ip(KONGMING)?, length, SOON)?;
    let frames = ground.frames("ip from ernest-laptop")?;
    let packets: Vec<&[u8]> =
        frames.iter().map(|frame| &frame.2[IP..]).collect();
    let lengths: Vec<u16> = packets.iter().map(|ip| word(ip, 2)).collect();
    let places: Vec<u16> =
        packets.iter().map(|ip| (word(ip, 6) & OFFSET) * 8).collect();
    let more: Vec<&str> =
        packets.iter().map(|ip| yes(word(ip, 6) & MORE != 0)).collect();
    let same = packets.iter().all(|ip| word(ip, 4) == word(packets[0], 4));
    let header = packets.iter().filter(|ip| {
        let data = &ip[header_length(ip)..];
        data.len() > 8 && data[..2] == [8, 0]
    });
    let headers = header.count();
    let evidence = format!(
        "packets of {lengths} bytes at {places}; MF: {more}; one \
         identification: {same}; ICMP headers: {headers}; answered: {answered}",
        lengths = list(&lengths),
        more = list(&more),
        places = list(&places),
        same = yes(same),
        answered = yes(answered),
    );
    let so = lengths == [1500, 21]
        && places == [0, 1480]
        && more == ["yes", "no"]
        && same
        && headers == 1;
    Ok(Seen::so(so && answered, evidence))
}

/// 2.3-2
pub(super) fn again(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    if !ground.broken {
        for (host, interface) in [(ROUTER, "eth1"), (WWW, "eth0")] {
            ground.host(host)?.set_mtu(interface, 1300)?;
        }
    }
    let www = ground.ip(WWW)?;
    let answered = ground.ping(LAPTOP, www, 1473, SOON)?;
    let to_www = bytes::v4(www).octets();
    let lengths = |host: &str| {
        let frames = ground.frames(&format!("ip from {host}"))?;
        let frames = frames.iter().filter(|f| f.2[IP + 16..IP + 20] == to_www);
        let lengths = frames.map(|frame| word(&frame.2, IP + 2));
        Ok::<Vec<u16>, Halt>(lengths.collect())
    };
    let (before, behind) = (lengths(LAPTOP)?, lengths(ROUTER)?);
    let evidence = format!(
        "packets of {before} bytes before the router, {behind} behind it; \
         put together by the destination: {answered}",
        before = list(&before),
        behind = list(&behind),
        answered = yes(answered),
    );
    let so = before.len() == 2 && behind.len() == 3 && answered;
    Ok(Seen::so(so, evidence))
}

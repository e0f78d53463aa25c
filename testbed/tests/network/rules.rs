//! The wire does to the frame that a rule names what the rule says.

use std::io::{ErrorKind, Read};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use testbed::{Backend, Trace};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, SOON, carry, notes, receive, segments};

pub const TESTS: &[Test] = tests![
    drop_takes_the_frame_it_counts,
    duplicate_delivers_twice,
    delay_delivers_later_and_is_overtaken,
    hold_keeps_until_release_and_disarm,
    held_frames_go_one_by_one,
    reorder_swaps_two_neighbours,
    reorder_waits_in_vain_for_a_while,
    corrupt_is_noticed_by_udp,
    corrupt_is_repaired_by_tcp,
    rate_takes_its_time,
    rate_drops_what_does_not_fit,
    port_and_sender_narrow_a_rule,
    the_first_rule_that_acts_decides,
    a_rule_is_armed_before_the_next_frame,
    an_unknown_host_is_refused,
    a_bad_rule_is_refused,
];

/// The laptop sends each of these.
fn send(socket: &UdpSocket, datagrams: &[&str]) {
    for datagram in datagrams {
        socket.send(datagram.as_bytes()).unwrap();
    }
}

/// They are the next to be received, in this order.
#[track_caller]
fn expect(socket: &UdpSocket, datagrams: &[&str]) {
    for datagram in datagrams {
        let got = receive(socket);
        assert_eq!(String::from_utf8_lossy(&got), *datagram);
    }
}

/// Nothing waits to be received, though so many datagrams of the laptop's have
/// passed: a frame is in the trace after it has been delivered.
#[track_caller]
fn expect_nothing(lan: &Lan, socket: &UdpSocket, passed: usize) {
    let what = "udp from ernest-laptop";
    assert!(lan.net.wait_frames(what, passed, SOON).unwrap());
    socket.set_nonblocking(true).unwrap();
    let got = socket.recv(&mut [0; 100]);
    socket.set_nonblocking(false).unwrap();
    assert_eq!(got.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// What each datagram of the laptop's cost: from the wire's first sight of it
/// to its delivery.
fn times_in_the_wire(trace: &Trace) -> Vec<Option<Duration>> {
    let selected = trace.select("udp from ernest-laptop").unwrap();
    let times = selected.frames().map(|(event, frame)| {
        let nanos = frame.delivered_ns? - event.t_ns;
        Some(Duration::from_nanos(nanos))
    });
    times.collect()
}

fn drop_takes_the_frame_it_counts(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().arm("drop #2-3 udp from ernest-laptop")?;
    send(&laptop, &["one", "two", "three", "four"]);
    expect(&server, &["one", "four"]);
    let trace = lan.net.trace()?;
    let by = "dropped by rule `drop #2-3 udp from ernest-laptop`, match";
    assert_eq!(notes(&trace, "udp"), [format!("{by} 2"), format!("{by} 3")]);
    let times = times_in_the_wire(&trace);
    let delivered: Vec<bool> = times.iter().map(Option::is_some).collect();
    assert_eq!(delivered, [true, true, false, false, true]);
    assert!(!trace.is_void(), "asked for, so no loss: {:?}", trace.losses);
    Ok(())
}

fn duplicate_delivers_twice(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().arm("duplicate udp")?;
    send(&laptop, &["one", "two"]);
    expect(&server, &["one", "one", "two"]);
    Ok(())
}

fn delay_delivers_later_and_is_overtaken(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    let delay = Duration::from_millis(200);
    lan.net.wire().arm("delay 200ms udp from ernest-laptop")?;
    let start = Instant::now();
    send(&laptop, &["late", "early"]);
    expect(&server, &["early", "late"]);
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    let trace = lan.net.trace()?;
    let times = times_in_the_wire(&trace);
    let late = times[1].unwrap();
    assert!((delay..delay * 3).contains(&late), "{late:?}");
    assert!(times[2].unwrap() < delay, "{times:?}");
    Ok(())
}

fn hold_keeps_until_release_and_disarm(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    let held = lan.net.wire().arm("hold every udp from ernest-laptop")?;
    send(&laptop, &["one", "two"]);
    expect_nothing(&lan, &server, 3);
    lan.net.wire().release(&held)?;
    expect(&server, &["one", "two"]);

    send(&laptop, &["three"]);
    expect_nothing(&lan, &server, 4);
    lan.net.wire().disarm(held)?;
    expect(&server, &["three"]);
    send(&laptop, &["four"]);
    expect(&server, &["four"]);
    let times = times_in_the_wire(&lan.net.trace()?);
    assert_eq!(times.len(), 5);
    assert!(times.iter().all(Option::is_some), "{times:?}");
    Ok(())
}

fn held_frames_go_one_by_one(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    let wire = lan.net.wire();
    let held = wire.arm("hold every udp from ernest-laptop")?;
    send(&laptop, &["one", "two", "three"]);
    expect_nothing(&lan, &server, 4);
    assert!(wire.release_next(&held)?);
    expect(&server, &["one"]);
    assert!(wire.lose_next(&held)?);
    assert!(wire.release_next(&held)?);
    expect(&server, &["three"]);
    assert!(!wire.release_next(&held)? && !wire.lose_next(&held)?);
    let times = times_in_the_wire(&lan.net.trace()?);
    let arrived: Vec<bool> = times.iter().map(Option::is_some).collect();
    assert_eq!(arrived, [true, true, false, true]);
    Ok(())
}

fn reorder_swaps_two_neighbours(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().arm("reorder #2 udp from ernest-laptop")?;
    send(&laptop, &["one", "two", "three", "four"]);
    expect(&server, &["one", "three", "two", "four"]);
    Ok(())
}

fn reorder_waits_in_vain_for_a_while(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().arm("reorder udp from ernest-laptop")?;
    send(&laptop, &["alone"]);
    expect(&server, &["alone"]);
    let waited = times_in_the_wire(&lan.net.trace()?)[1].unwrap();
    let patience = Duration::from_millis(200);
    assert!((patience..patience * 3).contains(&waited), "{waited:?}");
    Ok(())
}

fn corrupt_is_noticed_by_udp(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().arm("corrupt udp from ernest-laptop")?;
    send(&laptop, &["spoilt", "sound"]);
    expect(&server, &["sound"]);

    let trace = lan.net.trace()?;
    let note = &notes(&trace, "udp")[0];
    // 14 bytes Ethernet, 20 IPv4, 8 UDP, 6 data: the last is number 47.
    assert!(note.starts_with("byte 47 corrupted by rule `corrupt"), "{note}");
    let sent = trace.select("udp from ernest-laptop")?;
    let spoilt = sent.frames().nth(1).unwrap().1;
    assert_eq!(spoilt.packet().data(), b"spoilt", "recorded as it was sent");
    assert_eq!(lan.server().counters()?["UdpInCsumErrors"], 1);
    Ok(())
}

fn corrupt_is_repaired_by_tcp(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (mut client, mut server) = lan.connection(80);
    lan.net.wire().arm("corrupt data from ernest-laptop")?;
    carry(&mut client, &mut server, b"all of it, and unharmed");
    let trace = lan.net.trace()?.select("data from ernest-laptop")?;
    let sent = segments(&trace);
    assert!(sent.len() >= 2, "{sent:?}");
    assert!(sent.iter().all(|(_, segment)| segment.seq == sent[0].1.seq));
    assert!(trace.to_text().contains("23 bytes, again"));
    Ok(())
}

fn rate_takes_its_time(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (mut client, mut server) = lan.connection(80);
    lan.net.wire().arm("rate 1mbit every any from ernest-laptop")?;
    let bytes = vec![b'x'; 60_000];
    let at_least = Duration::from_micros(bytes.len() as u64 * 8);
    let start = Instant::now();
    carry(&mut client, &mut server, &bytes);
    let took = start.elapsed();
    assert!((at_least..at_least * 3).contains(&took), "{took:?}");
    Ok(())
}

/// 600 kbit for a line of 200 kbit a second whose queue holds one second's.
fn rate_drops_what_does_not_fit(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, _server) = lan.acquainted();
    lan.net.wire().arm("rate 200kbit every udp from ernest-laptop")?;
    for _ in 0..75 {
        laptop.send(&[0; 958])?; // 1000 bytes on the wire: 40 ms
    }
    assert!(lan.net.wait_frames("udp from ernest-laptop", 76, SOON)?);
    let trace = lan.net.trace()?;
    let notes = notes(&trace, "udp from ernest-laptop");
    let dropped = notes.iter().filter(|n| n.contains("its queue is full"));
    let dropped = dropped.count();
    assert!((40..=49).contains(&dropped), "{dropped} of 75: {notes:?}");
    assert!(!trace.is_void(), "{:?}", trace.losses);
    Ok(())
}

fn port_and_sender_narrow_a_rule(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    let port = server.local_addr()?.port();
    let other = if port == 9 { 10 } else { 9 };
    lan.net.wire().arm(&format!("drop every udp port {other}"))?;
    lan.net.wire().arm(&format!("drop udp from Kongming20 port {port}"))?;
    send(&laptop, &["passes"]);
    expect(&server, &["passes"]);
    send(&server, &["lost", "arrives"]);
    expect(&laptop, &["arrives"]);
    Ok(())
}

fn the_first_rule_that_acts_decides(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().arm("drop #1 udp from ernest-laptop")?;
    // Counts the frame that the first rule takes, but acts on the next one.
    lan.net.wire().arm("duplicate #1-2 udp from ernest-laptop")?;
    send(&laptop, &["one", "two", "three"]);
    expect(&server, &["two", "two", "three"]);
    Ok(())
}

/// Each time the very next SYN is the one that is dropped.
fn a_rule_is_armed_before_the_next_frame(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    lan.acquainted(); // no ARP between the rule and the SYN
    let _listener = lan.listen(80);
    let address = lan.address(80);
    let moment = Duration::from_millis(30);
    for round in 1..=20 {
        lan.net.wire().arm("drop syn from ernest-laptop")?;
        let connect = || TcpStream::connect_timeout(&address, moment);
        let err = lan.laptop().at(connect)?.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::TimedOut, "round {round}");
    }
    let trace = lan.net.trace()?;
    let syns = trace.select("syn")?;
    assert_eq!(syns.frames().count(), 20);
    assert!(syns.frames().all(|(_, syn)| syn.delivered_ns.is_none()));
    assert_eq!(trace.select("synack")?.frames().count(), 0);
    Ok(())
}

fn an_unknown_host_is_refused(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let wire = lan.net.wire();
    for err in [
        wire.arm("drop syn from nobody").unwrap_err(),
        wire.cut("nobody").unwrap_err(),
        wire.plug("nobody").unwrap_err(),
        wire.carrier("nobody", false).unwrap_err(),
    ] {
        assert_eq!(err.what(), "no host `nobody` is on the wire");
        let cure = err.exact_cure().unwrap();
        assert_eq!(cure, "there are ernest-laptop, Kongming20");
    }
    Ok(())
}

fn a_bad_rule_is_refused(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let err = lan.net.wire().arm("lose syn").unwrap_err();
    assert!(err.what().contains("`lose` is not an action"), "{err}");
    let err = lan.net.wait_frames("sin", 1, SOON).unwrap_err();
    assert!(err.what().contains("`sin` is not a kind of frame"), "{err}");
    // Nothing of it stays: the SYN passes.
    let (_client, mut server) = lan.connection(80);
    server.set_nonblocking(true)?;
    let nothing = server.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    Ok(())
}

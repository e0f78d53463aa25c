//! The neighbour table: filled by the kernel, emptied and set by hand.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Instant;

use testbed::trace::Frame;
use testbed::{Backend, Host, Neighbour, NeighbourState, Trace};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    the_table_is_empty_filled_and_emptied,
    an_entry_set_by_hand_is_believed,
    a_silent_neighbour_is_asked_three_times,
    a_frame_is_sent_as_it_is,
];

const STATION: [u8; 6] = [0x52, 0x54, 192, 168, 1, 109];

fn entry(host: &Host, address: IpAddr) -> Option<Neighbour> {
    let all = host.neighbours("eth0").unwrap();
    all.into_iter().find(|neighbour| neighbour.address == address)
}

/// The ARP requests that the laptop sent.
fn requests(trace: &Trace) -> usize {
    let frames = trace.frames().filter(|(event, frame)| {
        let text = frame.packet().describe(&|address| address.to_string());
        event.host == "ernest-laptop" && text.starts_with("ARP who has")
    });
    frames.count()
}

fn the_table_is_empty_filled_and_emptied(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, address) = (lan.laptop(), lan.server().ip());
    assert_eq!(entry(laptop, address), None);
    lan.acquainted();
    let found = entry(laptop, address).unwrap();
    assert_eq!(found.station, Some(STATION));
    assert_eq!(found.state, NeighbourState::Reachable);

    laptop.forget_neighbour("eth0", address)?;
    assert_eq!(entry(laptop, address), None);
    let error = laptop.forget_neighbour("eth0", address).unwrap_err();
    let said = error.what();
    assert!(said.contains("RTM_DELNEIGH 192.168.1.109 on eth0"), "{said}");
    Ok(())
}

fn an_entry_set_by_hand_is_believed(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, address) = (lan.laptop(), lan.server().ip());
    laptop.set_neighbour("eth0", address, [2; 6])?;
    laptop.set_neighbour("eth0", address, STATION)?;
    let found = entry(laptop, address).unwrap();
    assert_eq!(found.state, NeighbourState::Permanent);
    assert_eq!(found.station, Some(STATION));
    // The server asks for the laptop; nobody asks for the server.
    lan.acquainted();
    assert_eq!(requests(&lan.net.trace()?), 0);
    Ok(())
}

fn a_silent_neighbour_is_asked_three_times(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, address) = (lan.laptop(), lan.server().ip());
    laptop.set_sysctl("net/ipv4/neigh/eth0/retrans_time_ms", "50")?;
    lan.net.wire().arm("drop every arp from Kongming20")?;
    let _listener = lan.server().at(|| TcpListener::bind((address, 80)))?;
    let start = Instant::now();
    let refused = laptop.at(|| TcpStream::connect((address, 80)))?;
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EHOSTUNREACH));
    assert!(start.elapsed() < SOON);
    assert_eq!(entry(laptop, address).unwrap().state, NeighbourState::Failed);
    assert_eq!(requests(&lan.net.trace()?), 3);
    Ok(())
}

/// A reply that nobody asked for, cut short: the kernel makes nothing of it.
fn a_frame_is_sent_as_it_is(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut frame = vec![0xff; 6];
    frame.extend(STATION);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    lan.server().send_frame("eth0", &frame)?;
    assert!(lan.net.wait_frames("any from Kongming20", 1, SOON)?);
    let trace = lan.net.trace()?;
    let sent = |(_, one): (&_, &Frame)| one.bytes == frame;
    assert!(trace.frames().any(sent));
    assert_eq!(entry(lan.laptop(), lan.server().ip()), None);
    let error = lan.server().send_frame("eth7", &frame).unwrap_err();
    assert!(error.what().contains("eth7"), "{}", error.what());
    Ok(())
}

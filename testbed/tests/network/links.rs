//! A cable that is cut, and a link that goes down: the difference is whether
//! the kernel notices.

use std::time::Duration;

use nix::net::if_::InterfaceFlags;
use testbed::{Backend, Host};

use crate::harness::{Done, Test, tests};
use crate::traffic::{
    Lan, SOON, assert_text, carry, notes, nothing_before_a_marker, receive,
};

pub const TESTS: &[Test] = tests![
    a_cut_cable_is_silent,
    a_cut_cable_stops_what_the_wire_still_has,
    tcp_survives_a_cut,
    a_link_goes_down_and_the_kernel_knows,
    a_link_is_usable_as_soon_as_it_is_up,
    one_link_down_leaves_the_others,
];

/// Does the host's kernel say that its link works?
fn runs(host: &Host) -> bool {
    host.at(|| {
        let mut all = nix::ifaddrs::getifaddrs().unwrap();
        let eth0 = all.find(|one| one.interface_name == "eth0").unwrap();
        eth0.flags.contains(InterfaceFlags::IFF_RUNNING)
    })
    .unwrap()
}

fn a_cut_cable_is_silent(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    lan.net.wire().cut("Kongming20")?;
    laptop.send(b"there")?;
    server.send(b"back")?;
    assert!(lan.net.wait_frames("udp", 4, SOON)?);
    assert!(runs(lan.server()) && runs(lan.laptop()));
    lan.net.wire().plug("Kongming20")?;
    nothing_before_a_marker(&laptop, &server);
    nothing_before_a_marker(&server, &laptop);

    let trace = lan.net.trace()?;
    assert_eq!(
        notes(&trace, "udp from ernest-laptop"),
        ["lost: cable of Kongming20 cut"]
    );
    assert_eq!(notes(&trace, "udp from Kongming20"), ["lost: cable cut"]);
    assert!(!trace.is_void(), "{:?}", trace.losses);
    let text = trace.to_text();
    let steps: Vec<&str> =
        text.lines().filter(|line| line.starts_with('[')).collect();
    assert_text(
        &steps.join("\n"),
        "[wire: cable of Kongming20 cut]\n\
         [wire: cable of Kongming20 plugged in]",
    );
    Ok(())
}

/// A frame that is on its way when the cable is cut does not arrive.
fn a_cut_cable_stops_what_the_wire_still_has(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    let held = lan.net.wire().arm("hold udp from ernest-laptop")?;
    laptop.send(b"held")?;
    assert!(lan.net.wait_frames("udp from ernest-laptop", 2, SOON)?);
    lan.net.wire().cut("Kongming20")?;
    lan.net.wire().disarm(held)?;
    lan.net.wire().plug("Kongming20")?;
    nothing_before_a_marker(&laptop, &server);
    let notes = notes(&lan.net.trace()?, "udp from ernest-laptop");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(notes[1], "lost: cable of Kongming20 cut");
    Ok(())
}

fn tcp_survives_a_cut(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (mut client, mut server) = lan.connection(80);
    lan.net.wire().cut("ernest-laptop")?;
    let writer = lan.laptop().thread(move || {
        use std::io::Write;
        client.write_all(b"patience").unwrap();
        client
    })?;
    let mut client = writer.join();
    assert!(lan.net.wait_frames("data from ernest-laptop", 2, SOON)?);
    lan.net.wire().plug("ernest-laptop")?;
    carry(&mut client, &mut server, b"");
    let mut got = [0; 8];
    server.set_read_timeout(Some(SOON))?;
    std::io::Read::read_exact(&mut server, &mut got)?;
    assert_eq!(&got, b"patience");
    Ok(())
}

fn a_link_goes_down_and_the_kernel_knows(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    assert!(runs(lan.server()));
    lan.net.wire().carrier("Kongming20", false)?;
    assert!(!runs(lan.server()), "its own link");
    assert!(runs(lan.laptop()), "the other's");
    laptop.send(b"there")?;
    assert!(lan.net.wait_frames("udp from ernest-laptop", 2, SOON)?);

    lan.net.wire().carrier("Kongming20", true)?;
    assert!(runs(lan.server()));
    nothing_before_a_marker(&laptop, &server);
    let trace = lan.net.trace()?;
    assert_eq!(
        notes(&trace, "udp from ernest-laptop"),
        ["lost: link of Kongming20 down"]
    );
    assert!(!trace.is_void(), "{:?}", trace.losses);
    Ok(())
}

/// In either direction: the first frame is not lost.
fn a_link_is_usable_as_soon_as_it_is_up(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let (laptop, server) = lan.acquainted();
    for round in 0..10 {
        lan.net.wire().carrier("Kongming20", false)?;
        lan.net.wire().carrier("Kongming20", true)?;
        let there = format!("there {round}");
        laptop.send(there.as_bytes())?;
        assert_eq!(receive(&server), there.as_bytes());
        lan.net.wire().carrier("Kongming20", false)?;
        lan.net.wire().carrier("Kongming20", true)?;
        let back = format!("back {round}");
        server.send(back.as_bytes())?;
        assert_eq!(receive(&laptop), back.as_bytes());
    }
    Ok(())
}

/// The router has two links, and both are its own.
fn one_link_down_leaves_the_others(backend: Backend) -> Done {
    let net = testbed::Network::internet().backend(backend).up()?;
    net.wire().carrier("router", false)?;
    let router_runs = net.host("router")?.at(|| {
        let all = nix::ifaddrs::getifaddrs().unwrap();
        all.filter(|one| one.interface_name.starts_with("eth"))
            .any(|one| one.flags.contains(InterfaceFlags::IFF_RUNNING))
    })?;
    assert!(!router_runs, "both links of the router are down");
    assert!(runs(net.host("ernest-laptop")?));
    assert!(runs(net.host("www.example.test")?));
    let seen = net.wait_frames("tcp", 1, Duration::ZERO)?;
    assert!(!seen, "nobody has sent anything");
    Ok(())
}

//! Nothing that is sent in a network leaves it.

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};

use nix::net::if_::InterfaceFlags;
use testbed::{Backend, Host, Network};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    a_lan_has_no_way_out,
    the_internet_ends_at_its_router,
    a_host_has_only_its_own_interfaces,
    the_run_itself_is_on_no_network,
];

/// TEST-NET-2 (RFC 5737): nobody's address.
const OUTSIDE: &str = "198.51.100.7:9";

fn a_lan_has_no_way_out(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let errors = lan.laptop().at(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        [
            socket.send_to(b"out", OUTSIDE).unwrap_err(),
            TcpStream::connect(OUTSIDE).unwrap_err(),
            UdpSocket::bind("[::]:0")
                .unwrap()
                .send_to(b"out", "[2001:db8:ffff::7]:9")
                .unwrap_err(),
        ]
    })?;
    for err in errors {
        assert_eq!(err.kind(), ErrorKind::NetworkUnreachable);
    }
    let ip = lan.net.wait_frames("ip", 1, std::time::Duration::ZERO)?;
    assert!(!ip, "not even on the wire");
    Ok(())
}

/// The router has no default route: it says so by ICMP, to whoever asked.
fn the_internet_ends_at_its_router(backend: Backend) -> Done {
    let net = Network::internet().backend(backend).up()?;
    let laptop = net.host("ernest-laptop")?;
    let err = laptop.at(|| {
        // UDP is not told of what may be temporary, unless by IP_RECVERR.
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        udp.send_to(b"out", OUTSIDE).unwrap();
        TcpStream::connect_timeout(&OUTSIDE.parse().unwrap(), SOON).unwrap_err()
    })?;
    assert_eq!(err.kind(), ErrorKind::NetworkUnreachable, "{err}");

    let trace = net.trace()?;
    let count = |what: &str| trace.select(what).unwrap().frames().count();
    assert_eq!(count("syn from ernest-laptop"), 1);
    assert_eq!(count("udp from ernest-laptop"), 1);
    assert_eq!(count("icmp from router"), 2);
    assert_eq!(count("syn from router") + count("udp from router"), 0);
    assert!(trace.to_text().contains("ICMP network unreachable"));
    assert!(!trace.is_void(), "{:?}", trace.losses);
    Ok(())
}

/// The interfaces that are up.
fn interfaces() -> Vec<String> {
    let all = nix::ifaddrs::getifaddrs().unwrap();
    let up = all.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP));
    let mut names: Vec<String> = up.map(|one| one.interface_name).collect();
    names.sort();
    names.dedup();
    names
}

fn a_host_has_only_its_own_interfaces(backend: Backend) -> Done {
    let net = Network::internet().backend(backend).up()?;
    let has = |host: &Host| host.at(interfaces).unwrap();
    assert_eq!(has(net.host("ernest-laptop")?), ["eth0", "lo"]);
    assert_eq!(has(net.host("www.example.test")?), ["eth0", "lo"]);
    assert_eq!(has(net.host("router")?), ["eth0", "eth1", "lo"]);
    Ok(())
}

/// Code of a test that forgets to go to a host reaches nobody.
fn the_run_itself_is_on_no_network(backend: Backend) -> Done {
    let _lan = Lan::up(backend)?;
    for address in [OUTSIDE, "192.168.1.109:80", "127.0.0.1:80"] {
        let err = TcpStream::connect(address).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::NetworkUnreachable, "{address}");
    }
    let far_ends = interfaces();
    let own = |name: &String| name.starts_with('w');
    assert!(far_ends.iter().all(own), "{far_ends:?}");
    assert_eq!(far_ends.len(), if backend == Backend::Pkt { 2 } else { 0 });
    Ok(())
}

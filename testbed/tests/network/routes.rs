//! A host's routes, changed and asked for; frames that no kernel made.

use std::net::{IpAddr, UdpSocket};

use testbed::{Backend, Host, Network, Route};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    a_host_has_the_routes_of_its_plan,
    a_route_is_added_replaced_and_deleted,
    the_longest_prefix_answers,
    a_redirect_is_in_the_answer_and_not_in_the_table,
    a_host_can_have_more_addresses,
    a_frame_is_sent_as_it_stands,
    no_packet_is_longer_than_its_interface_takes,
];

const WWW: &str = "203.0.113.80";

/// What the kernel would do with a packet to this address.
fn ask(host: &Host, to: &str) -> Option<Route> {
    let to: IpAddr = to.parse().unwrap();
    host.routes_to(&[to]).unwrap().remove(0)
}

fn gateway(host: &Host, to: &str) -> Option<String> {
    ask(host, to)?.gateway.map(|gateway| gateway.to_string())
}

fn table(host: &Host) -> Vec<String> {
    let routes = host.routes().unwrap().into_iter();
    let v4 = routes.filter(|route| route.destination.is_ipv4());
    v4.map(|route| route.to_string()).collect()
}

fn a_host_has_the_routes_of_its_plan(backend: Backend) -> Done {
    let net = Network::internet().backend(backend).up()?;
    let laptop = net.host("ernest-laptop")?;
    let plan = [
        "default via 192.168.1.1 dev eth0",
        "192.168.1.0/24 dev eth0 src 192.168.1.108",
    ];
    assert_eq!(table(laptop), plan);
    assert!(laptop.routes()?.iter().any(|route| {
        route.destination.is_ipv6() && route.to_string().contains("default via")
    }));
    Ok(())
}

fn a_route_is_added_replaced_and_deleted(backend: Backend) -> Done {
    let net = Network::internet().backend(backend).up()?;
    let laptop = net.host("ernest-laptop")?;
    laptop.add_route("198.51.100.0/24 via 192.168.1.109")?;
    assert_eq!(gateway(laptop, "198.51.100.9").unwrap(), "192.168.1.109");
    let again = laptop.add_route("198.51.100.0/24 via 192.168.1.1");
    assert_eq!(again.unwrap_err().errno(), Some(libc::EEXIST));
    laptop.replace_route("198.51.100.0/24 via 192.168.1.1")?;
    assert_eq!(gateway(laptop, "198.51.100.9").unwrap(), "192.168.1.1");
    laptop.delete_route("198.51.100.0/24")?;
    let gone = laptop.delete_route("198.51.100.0/24").unwrap_err();
    assert_eq!(gone.errno(), Some(libc::ESRCH));
    let far = laptop.add_route("198.51.100.0/24 via 203.0.113.1");
    assert_eq!(far.unwrap_err().errno(), Some(libc::ENETUNREACH));

    laptop.replace_route("default via 192.168.1.109")?;
    assert_eq!(gateway(laptop, WWW).unwrap(), "192.168.1.109");
    laptop.delete_route("default")?;
    assert_eq!(ask(laptop, WWW), None);
    laptop.delete_route("192.168.1.0/24")?; // the kernel's own
    Ok(())
}

fn the_longest_prefix_answers(backend: Backend) -> Done {
    let net = Network::internet().backend(backend).up()?;
    let laptop = net.host("ernest-laptop")?;
    laptop.add_route("198.51.100.0/24 via 192.168.1.109")?;
    laptop.add_route("198.51.100.128/25 via 192.168.1.1 metric 7")?;
    laptop.add_route("198.51.100.129 dev eth0")?;
    laptop.add_route("blackhole 198.51.100.64/26")?;
    assert_eq!(gateway(laptop, "198.51.100.9").unwrap(), "192.168.1.109");
    assert_eq!(gateway(laptop, "198.51.100.200").unwrap(), "192.168.1.1");
    let near = ask(laptop, "198.51.100.129").unwrap();
    assert_eq!((near.gateway, near.interface.as_deref()), (None, Some("eth0")));
    assert_eq!(ask(laptop, "198.51.100.64"), None);
    assert_eq!(ask(laptop, "127.0.0.1").unwrap().kind, "local");
    let listed = table(laptop);
    let heavy = "198.51.100.128/25 via 192.168.1.1 dev eth0 metric 7";
    assert!(listed.iter().any(|route| route == heavy), "{listed:?}");
    assert!(listed.iter().any(|r| r == "blackhole 198.51.100.64/26"));
    Ok(())
}

fn a_redirect_is_in_the_answer_and_not_in_the_table(backend: Backend) -> Done {
    let net = Network::internet().backend(backend).up()?;
    let laptop = net.host("ernest-laptop")?;
    net.host("Kongming20")?.set_sysctl("net.ipv4.ip_forward", "1")?;
    laptop.replace_route("default via 192.168.1.109")?;
    let before = table(laptop);
    // The kernel does not take a gateway whose station address it lacks.
    let hello =
        || UdpSocket::bind("192.168.1.1:0")?.send_to(b"", "192.168.1.108:9");
    net.host("router")?.at(hello)??;
    assert!(net.wait_frames("icmp from ernest-laptop", 1, SOON)?);

    let socket = laptop.at(|| UdpSocket::bind("0.0.0.0:0"))??;
    socket.send_to(b"hello", (WWW, 9))?;
    assert!(net.wait_frames("icmp from Kongming20", 1, SOON)?);
    // What comes next on the same way has found the redirect done.
    let hello =
        || UdpSocket::bind("192.168.1.109:0")?.send_to(b"", "192.168.1.108:9");
    net.host("Kongming20")?.at(hello)??;
    assert!(net.wait_frames("icmp from ernest-laptop", 2, SOON)?);
    let route = ask(laptop, WWW).unwrap();
    assert!(route.redirected, "{route}");
    assert_eq!(route.gateway, Some("192.168.1.1".parse()?));
    assert_eq!(gateway(laptop, "203.0.113.53").unwrap(), "192.168.1.109");
    assert_eq!(table(laptop), before);
    let learned = laptop.learned_routes()?;
    assert_eq!(learned.len(), 1, "{learned:?}");
    assert_eq!(learned[0].destination.to_string(), WWW);
    assert!(learned[0].redirected);
    Ok(())
}

fn a_host_can_have_more_addresses(backend: Backend) -> Done {
    let net = Network::lan().backend(backend).up()?;
    let (laptop, kongming) =
        (net.host("ernest-laptop")?, net.host("Kongming20")?);
    let first = laptop.ip();
    laptop.add_address("eth0", "192.168.1.200".parse()?, 32)?;
    kongming.add_address("eth0", "198.51.100.7".parse()?, 32)?;
    assert_eq!(laptop.ip(), first);
    laptop.add_route("198.51.100.7 via 192.168.1.109 src 192.168.1.200")?;
    let hears = kongming.at(|| UdpSocket::bind("198.51.100.7:9"))??;
    hears.set_read_timeout(Some(SOON))?;
    let says = laptop.at(|| UdpSocket::bind("0.0.0.0:0"))??;
    says.send_to(b"hello", "198.51.100.7:9")?;
    let (_, from) = hears.recv_from(&mut [0; 8])?;
    assert_eq!(from.ip().to_string(), "192.168.1.200");
    assert!(net.wait_frames("udp from ernest-laptop", 1, SOON)?);
    assert_eq!(net.trace()?.name_of("198.51.100.7".parse()?), "Kongming20");
    let again = laptop.add_address("eth0", "192.168.1.200".parse()?, 32);
    let err = again.unwrap_err().to_string();
    assert!(err.contains("RTM_NEWADDR 192.168.1.200/32 on eth0"), "{err}");
    Ok(())
}

fn a_frame_is_sent_as_it_stands(backend: Backend) -> Done {
    let net = Network::lan().backend(backend).up()?;
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 7]); // a station that does not exist
    frame.extend([0x88, 0xb5]); // IEEE Std 802: for experiments
    frame.extend(b"a frame that no kernel would send, padded to 60 bytes");
    net.host("ernest-laptop")?.send_frame("eth0", &frame)?;
    assert!(net.wait_frames("any from ernest-laptop", 1, SOON)?);
    let trace = net.trace()?;
    let (_, seen) = trace.frames().next().unwrap();
    assert_eq!(seen.bytes, frame);
    assert!(seen.delivered_ns.is_some());
    Ok(())
}

fn no_packet_is_longer_than_its_interface_takes(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    lan.laptop().set_mtu("eth0", 1300)?;
    let (says, hears) = lan.datagrams();
    says.send(&[0; 1400])?;
    assert_eq!(hears.recv(&mut [0; 2000])?, 1400);
    let trace = lan.net.trace()?;
    let lengths = trace.frames().map(|(_, frame)| frame.length);
    let lengths: Vec<usize> = lengths.filter(|length| *length > 100).collect();
    // Data in steps of 8 bytes: 1280 and the rest of 1408 with UDP's header.
    assert_eq!(lengths, [14 + 20 + 1280, 14 + 20 + 128]);
    Ok(())
}

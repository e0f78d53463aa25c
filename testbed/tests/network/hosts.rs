//! What a host has of its own.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use testbed::{Backend, Launch};

use crate::harness::{Done, Test, tests};
use crate::roles::role;
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    threads_see_their_own_host_name,
    programs_see_their_own_host,
    a_host_has_a_few_processes,
    names_are_resolved_by_its_own_file,
    services_are_looked_up_in_its_own_file,
    loopback_is_up_and_is_its_own,
    udp_goes_there_and_back,
    tcp_over_ipv6_connects,
    a_neighbour_answers_from_the_start,
    a_thread_is_never_off_its_host,
    an_unknown_host_is_refused_by_name,
    settings_are_read_and_written,
    the_tables_of_a_network_are_its_own,
];

fn threads_see_their_own_host_name(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let name = || nix::unistd::gethostname().unwrap();
    assert_eq!(lan.laptop().at(name)?, "ernest-laptop");
    assert_eq!(lan.server().thread(name)?.join(), "Kongming20");
    assert_ne!(name(), "Kongming20", "this process is on no host");
    Ok(())
}

fn programs_see_their_own_host(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let mut program = lan.server().start_program(role("world"))?;
    let exit = program.wait(SOON)?.unwrap();
    let trace = lan.net.trace()?;
    let world = trace.stdout("world");
    assert!(exit.is_success(), "{exit}: {:?}", trace.stderr("world"));
    assert_eq!(world[0], "hostname Kongming20");
    let pid: u32 = world[1].strip_prefix("pid ").unwrap().parse()?;
    assert!((2..10).contains(&pid), "{pid}");
    let own = std::env::current_exe()?;
    let own = format!("{:.15}", own.file_name().unwrap().to_string_lossy());
    let mut commands: Vec<&str> = world[2].split(' ').skip(1).collect();
    commands.retain(|command| *command != own);
    assert_eq!(commands, ["init"], "nobody else's: {}", world[2]);
    assert_eq!(world[3], "resolv.conf # This network has no DNS server.");
    Ok(())
}

/// A shell's own number is small: it is among the first of its host.
fn a_host_has_a_few_processes(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for _ in 0..3 {
        let shell = Launch::new("sh", "/bin/sh").args(["-c", "echo $$"]);
        let program = lan.laptop().start_program(shell)?;
        let pid: u32 = program.wait_line("", SOON).unwrap().parse()?;
        assert!((2..10).contains(&pid), "{pid}");
    }
    Ok(())
}

fn services_are_looked_up_in_its_own_file(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let laptop = lan.laptop();
    assert!(laptop.write_own("/etc/passwd", "").is_err(), "the machine's");
    let path = "/etc/services";
    if !laptop.owns(path) {
        return Ok(()); // This machine has none that could be covered.
    }
    let outside = std::fs::read_to_string(path)?;
    laptop.write_own(path, "daytime 4321/tcp\n")?;
    let launch = Launch::new("getent", "getent").args(["services", "daytime"]);
    let mut program = laptop.start_program(launch)?;
    program.wait(SOON)?;
    let trace = lan.net.trace()?;
    let said = trace.stdout("getent");
    assert!(said[0].ends_with(" 4321/tcp"), "{said:?}");
    assert_eq!(std::fs::read_to_string(path)?, outside);
    Ok(())
}

fn names_are_resolved_by_its_own_file(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    for (name, answer) in [
        ("Kongming20", vec!["192.168.1.109", "2001:db8:1::109"]),
        ("ernest-laptop", vec!["192.168.1.108", "2001:db8:1::108"]),
        ("localhost", vec!["127.0.0.1", "::1"]),
    ] {
        let launch = role("resolve").arg(name);
        let mut program = lan.laptop().start_program(launch)?;
        assert!(program.wait(SOON)?.unwrap().is_success());
        let trace = lan.net.trace()?;
        let mut found = trace.stdout("resolve");
        let mut found = found.split_off(found.len().saturating_sub(2));
        found.sort();
        assert_eq!(found, answer);
    }
    assert!(lan.laptop().etc_hosts().contains("192.168.1.109 Kongming20"));
    Ok(())
}

fn loopback_is_up_and_is_its_own(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let bind = || TcpListener::bind("127.0.0.1:7000");
    let listener = lan.server().at(bind)??;
    lan.server().at(|| TcpStream::connect("127.0.0.1:7000"))??;
    listener.accept()?;
    let refused = lan.laptop().at(|| TcpStream::connect("127.0.0.1:7000"))?;
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ECONNREFUSED));
    assert_eq!(lan.net.wire().frames(), 0, "loopback is not on the wire");
    Ok(())
}

fn udp_goes_there_and_back(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    lan.acquainted();
    let trace = lan.net.trace()?;
    let datagrams = trace.select("udp")?;
    assert_eq!(datagrams.frames().count(), 2);
    assert!(!trace.is_void(), "{:?}", trace.losses);
    Ok(())
}

fn tcp_over_ipv6_connects(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    assert_eq!(lan.server().ip6().unwrap().to_string(), "2001:db8:1::109");
    let address = "[2001:db8:1::109]:80";
    let listener = lan.server().at(|| TcpListener::bind(address))??;
    let client = lan.laptop().at(|| TcpStream::connect(address))??;
    let (_, peer) = listener.accept()?;
    assert_eq!(peer, client.local_addr()?);
    assert_eq!(
        lan.net.trace()?.select("syn from ernest-laptop")?.frames().count(),
        1
    );
    Ok(())
}

/// The first frames of a network that has just come up: no request for a
/// station address is lost, which would cost a second.
fn a_neighbour_answers_from_the_start(backend: Backend) -> Done {
    for _ in 0..10 {
        let lan = Lan::up(backend)?;
        for address in ["[2001:db8:1::109]:80", "192.168.1.109:80"] {
            let start = Instant::now();
            let refused = lan.laptop().at(|| TcpStream::connect(address))?;
            let refused = refused.unwrap_err().raw_os_error();
            assert_eq!(refused, Some(libc::ECONNREFUSED));
            let soon = start.elapsed() < Duration::from_millis(900);
            assert!(soon, "{address}:\n{}", lan.net.trace()?.to_timeline());
        }
    }
    Ok(())
}

/// Not even when many start at once: each reports the network that it is in.
fn a_thread_is_never_off_its_host(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let outside = std::fs::read_link("/proc/self/ns/net")?;
    let ports: Vec<_> = (0..16)
        .map(|_| {
            lan.server().thread(|| {
                let bound = TcpListener::bind("192.168.1.109:0").is_ok();
                (bound, nix::unistd::gethostname().unwrap())
            })
        })
        .collect::<Result<_, _>>()?;
    for thread in ports {
        assert_eq!(thread.join(), (true, "Kongming20".into()));
    }
    assert_eq!(here(), outside, "this thread has stayed outside");
    Ok(())
}

fn an_unknown_host_is_refused_by_name(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let err = lan.net.host("kongming20").err().unwrap();
    assert_eq!(err.what(), "no host `kongming20` is on this network");
    let cure = err.exact_cure().unwrap();
    assert_eq!(cure, "there are ernest-laptop, Kongming20");
    Ok(())
}

fn settings_are_read_and_written(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let name = "net.ipv4.tcp_fin_timeout";
    let before = lan.laptop().sysctl(name)?;
    lan.server().set_sysctl(name, "7")?;
    assert_eq!(lan.server().sysctl(name)?, "7");
    assert_eq!(lan.laptop().sysctl(name)?, before);
    let err = lan.server().set_sysctl("net.ipv4.no_such", "1").unwrap_err();
    assert!(err.what().contains("/proc/sys/net/ipv4/no_such"), "{err}");
    Ok(())
}

fn the_tables_of_a_network_are_its_own(backend: Backend) -> Done {
    let lan = Lan::up(backend)?;
    let arp = || lan.laptop().net_table("arp");
    assert!(!arp()?.contains("192.168.1.109"), "{}", arp()?);
    let listener =
        lan.server().at(|| TcpListener::bind("192.168.1.109:80"))??;
    lan.laptop().at(|| TcpStream::connect("192.168.1.109:80"))??;
    assert!(arp()?.contains("192.168.1.109"), "{}", arp()?);
    assert!(lan.server().net_table("snmp")?.contains("PassiveOpens"));
    let missing = lan.server().net_table("no_such_table").unwrap_err();
    assert!(missing.what().contains("no_such_table"), "{missing}");
    drop(listener);
    Ok(())
}

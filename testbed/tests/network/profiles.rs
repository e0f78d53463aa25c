//! Two ways for a kernel to behave, each for the hosts alone.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use testbed::{Backend, Network, Profile};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, SOON};

pub const TESTS: &[Test] = tests![
    book_sets_what_the_kernel_has,
    modern_leaves_the_kernel_its_defaults,
    the_machine_keeps_its_settings,
    book_sends_syns_after_1_and_2_seconds,
    modern_sends_syns_every_second,
];

fn up(backend: Backend, profile: Profile) -> testbed::Result<Lan> {
    let plan = Network::lan().backend(backend).profile(profile);
    Ok(Lan { net: plan.up()? })
}

/// A setting of this process' own network, which is not a host's.
fn outside(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    text.ok().map(|text| text.trim().to_string())
}

fn book_sets_what_the_kernel_has(backend: Backend) -> Done {
    let lan = up(backend, Profile::Book)?;
    for (name, value) in [
        ("tcp_syn_linear_timeouts", "0"),
        ("tcp_early_retrans", "0"),
        ("tcp_recovery", "0"),
        ("tcp_congestion_control", "reno"),
    ] {
        if outside(name).is_none() {
            continue; // Younger than this kernel, and so is what it undoes.
        }
        for host in lan.net.hosts() {
            let set = host.sysctl(&format!("net.ipv4.{name}"))?;
            assert_eq!(set, value, "{name} of {}", host.name());
        }
    }
    assert_eq!(lan.net.trace()?.profile, "book");
    Ok(())
}

fn modern_leaves_the_kernel_its_defaults(backend: Backend) -> Done {
    let lan = up(backend, Profile::Modern)?;
    for name in ["tcp_syn_linear_timeouts", "tcp_early_retrans"] {
        let Some(default) = outside(name) else { continue };
        let set = lan.server().sysctl(&format!("net.ipv4.{name}"))?;
        assert_eq!(set, default, "{name}");
    }
    // Linux's own default, where the administrator lets it be chosen.
    let cubic = outside("tcp_allowed_congestion_control")
        .is_some_and(|allowed| allowed.split(' ').any(|name| name == "cubic"));
    let default = match cubic {
        true => "cubic",
        false => "reno",
    };
    let set = lan.server().sysctl("net.ipv4.tcp_congestion_control")?;
    assert_eq!(set, default);
    Ok(())
}

fn the_machine_keeps_its_settings(backend: Backend) -> Done {
    let all = || {
        let own = ["tcp_congestion_control", "tcp_recovery", "ip_forward"];
        let own = own.map(outside);
        let pid_max = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
        (own, pid_max, nix::unistd::gethostname().unwrap())
    };
    let before = all();
    let lan = up(backend, Profile::Book)?;
    lan.server().set_sysctl("net.ipv4.ip_forward", "1")?;
    assert_eq!(all(), before);
    assert_eq!(lan.laptop().sysctl("net.ipv4.ip_forward")?, "0");
    Ok(())
}

/// Seconds between the first three SYNs of a connection that nobody answers.
fn syn_gaps(lan: &Lan) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    lan.net.wire().arm("drop every syn")?;
    let address = lan.address(80);
    let _listener = lan.listen(80);
    let client = lan.laptop().thread(move || {
        TcpStream::connect_timeout(&address, Duration::from_secs(5))
    })?;
    assert!(lan.net.wait_frames("syn", 3, SOON)?);
    let trace = lan.net.trace()?.select("syn")?;
    let times: Vec<f64> =
        trace.frames().map(|(event, _)| event.t_ns as f64 / 1e9).collect();
    drop(client);
    Ok([times[1] - times[0], times[2] - times[1]])
}

/// The kernel may be late by a timer's granularity, and a busy machine by more.
fn assert_about(gaps: [f64; 2], expected: [f64; 2]) {
    for (gap, about) in gaps.iter().zip(expected) {
        assert!((about * 0.95..about * 1.9).contains(gap), "{gaps:?}");
    }
}

fn book_sends_syns_after_1_and_2_seconds(backend: Backend) -> Done {
    assert_about(syn_gaps(&up(backend, Profile::Book)?)?, [1.0, 2.0]);
    Ok(())
}

/// Since Linux 6.5; before, as in the book.
fn modern_sends_syns_every_second(backend: Backend) -> Done {
    let second = match outside("tcp_syn_linear_timeouts") {
        Some(_) => 1.0,
        None => 2.0,
    };
    assert_about(syn_gaps(&up(backend, Profile::Modern)?)?, [1.0, second]);
    Ok(())
}

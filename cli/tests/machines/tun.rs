//! /dev/net/tun absent, closed, and open.

use crate::support::not_run;
use crate::support::world::{World, opens};
use crate::{capability, errno_once, runs_on};

const TUN: &str = "/dev/net/tun";

/// `pkt` serves, and what is wrong with `tap` is said wherever it matters.
#[track_caller]
fn tap_cannot_be_had(world: &World, call: &str, cause: &str, cure: &str) {
    runs_on(world, "pkt");
    let report = world.lab(&["doctor", "--json"]).exits(0).json();
    let (state, detail, exact) = capability(&report, "wire: tap");
    assert_eq!(state, "reduced", "{report:#}");
    assert!(detail.contains(call) && detail.contains(cause), "{detail}");
    assert!(detail.contains("the other backend serves"), "{detail}");
    assert_eq!(exact, cure);
    let (state, ..) = capability(&report, "namespaces");
    assert_eq!(state, "works", "{report:#}");

    let run = ["run", "handshake", "--solution"];
    world.lab(&run).exits(0).says(&["backend  pkt", call, cure]);
    world.lab(&[]).exits(0).says(&["pkt backend", call]);
    let run = [&run[..], &["--on", "tap"]].concat();
    let said = world.lab(&run).exits(2);
    errno_once(&said);
    let [cause, cure] =
        [format!("likely cause: {cause}"), format!("cure: {cure}")];
    said.says(&[call, &cause, &cure]);
    let solution = crate::support::solution("handshake");
    let check = ["check", "handshake", "--on", "tap", "--file", &solution];
    world.lab(&check).exits(1).says(&["cannot run", call, &cause, &cure]);
}

#[test]
fn without_the_device_pkt_serves() {
    tap_cannot_be_had(
        &World::ordinary().empty("/dev/net"),
        "open /dev/net/tun: No such file or directory (os error 2)",
        "there is no such device: the tun module has not made one",
        "sudo sh -c 'modprobe tun; mkdir -p /dev/net; \
         [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200; \
         chmod 0666 /dev/net/tun'",
    );
}

#[test]
fn with_a_closed_device_pkt_serves() {
    let world = World::ordinary();
    // Root can make such a device; others have files that they cannot open.
    let world = match nix::unistd::geteuid().is_root() {
        true => world.tun(0o600),
        false => world.instead(TUN, closed_file()),
    };
    tap_cannot_be_had(
        &world,
        "open /dev/net/tun: Permission denied (os error 13)",
        "the device is not open to every user (no udev rule set its mode)",
        "sudo chmod 0666 /dev/net/tun",
    );
}

/// A file that is there, and that this user may not open.
fn closed_file() -> &'static str {
    let files = [TUN, "/etc/shadow", "/etc/gshadow", "/dev/mem"];
    let refused = |path: &&str| {
        let err = opens(path).err();
        err.is_some_and(|err| err.raw_os_error() == Some(libc::EACCES))
    };
    files.into_iter().find(refused).expect("a file that is closed to this user")
}

/// Where the file is no device at all, the driver says so.
#[test]
fn with_something_else_in_its_place_pkt_serves() {
    let world = World::ordinary()
        .empty("/dev/net")
        .file(TUN, "")
        .filter(Default::default());
    runs_or_says_why(&world);
}

#[track_caller]
fn runs_or_says_why(world: &World) {
    let said = world.lab(&["run", "handshake", "--solution"]);
    assert_ne!(said.code, Some(0), "{said}");
    said.says(&["TUNSETIFF"]);
}

#[test]
fn with_an_open_device_tap_is_used() {
    let user = World::ordinary();
    if nix::unistd::geteuid().is_root() {
        runs_on(&user.tun(0o666), "tap");
    } else if opens(TUN).is_ok() {
        runs_on(&user, "tap");
    } else {
        // Nobody but root can open it; the other half holds here.
        not_run(
            "LAB_NEEDS_TAP",
            "tap, since /dev/net/tun is closed to this user (sudo chmod 0666 \
             /dev/net/tun)",
        );
        runs_on(&user, "pkt");
    }
}

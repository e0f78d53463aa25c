//! Machines where programs can be kept from writing, and where they cannot.

use libc::{EINVAL, ENOSYS};

use crate::support::seccomp::Filter;
use crate::support::world::World;
use crate::{capability, runs_on};

const NAME: &str = "read-only mounts";
const CURE: &str = "Linux 5.12 or newer, outside of any chroot";

#[test]
fn here_a_write_is_refused() {
    for world in [World::mine(), World::ordinary()] {
        let report = world.lab(&["doctor", "--json"]).exits(0).json();
        let (state, detail, cure) = capability(&report, NAME);
        assert_eq!((state.as_str(), cure.as_str()), ("works", ""), "{detail}");
    }
}

/// Before Linux 5.12 there is no such call; in a chroot, it does nothing.
#[test]
fn without_them_labs_run_and_doctor_says_what_is_open() {
    for errno in [ENOSYS, EINVAL] {
        let call = libc::SYS_mount_setattr;
        let filter = Filter::new().refuse(call, errno);
        let world = World::mine().filter(filter);
        let report = world.lab(&["doctor", "--json"]).exits(0).json();
        let (state, detail, cure) = capability(&report, NAME);
        assert_eq!((state.as_str(), cure.as_str()), ("reduced", CURE));
        assert!(detail.contains("wrote to /proc/self/comm"), "{detail}");
        world.lab(&["doctor"]).exits(0).says(&["reduced", NAME, CURE]);
        runs_on(&world, report["backend"].as_str().unwrap());
    }
}

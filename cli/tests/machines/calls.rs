//! Machines where no system call can be watched.

use libc::{EBUSY, EPERM};

use crate::capability;
use crate::support::seccomp::Filter;
use crate::support::world::World;
use crate::support::{lab, run, solution};

/// SECCOMP_FILTER_FLAG_NEW_LISTENER (seccomp(2)).
const NEW_LISTENER: i32 = 1 << 3;
const CURE: &str = "work outside it, or start the container with \
                    --security-opt seccomp=unconfined";

/// As in a sandbox that watches its programs itself.
#[test]
fn a_listener_is_there_already() {
    for name in ["handshake", "mutex"] {
        lab(&["check", name, "--file", &solution(name)]).exits(0);
    }
    let busy = || {
        let call = libc::SYS_seccomp;
        let filter = Filter::new().refuse_bits(call, 1, NEW_LISTENER, EBUSY);
        World::mine().filter(filter)
    };
    let report = busy().lab(&["doctor", "--json"]).exits(0).json();
    let (state, detail, cure) = capability(&report, "system calls watched");
    assert_eq!((state.as_str(), cure.as_str()), ("missing", CURE));
    assert!(detail.contains("a listener is in force already"), "{detail}");

    let check =
        |name: &str| busy().lab(&["check", name, "--file", &solution(name)]);
    check("handshake").exits(0).says(&["handshake pass"]);
    check("mutex").exits(1).says(&["mutex cannot run", CURE]);
}

/// As in a container whose runtime lets nobody trace.
#[test]
fn nobody_may_trace() {
    let filter = Filter::new().refuse(libc::SYS_ptrace, EPERM);
    let world = || World::mine().filter(filter.clone());
    let order = ["run", "byteorder", "--solution", "--text"];
    world().lab(&order).exits(0);
    let traced = [&order[..], &["--syscalls"]].concat();
    world().lab(&traced).exits(2).says(&[
        "ptrace PTRACE_SEIZE: Operation not permitted",
        "likely cause: a seccomp filter",
        "cure: start the container with --security-opt seccomp=unconfined",
    ]);
    // The order by which tests have every program traced.
    let check = ["check", "byteorder", "--file", &solution("byteorder")];
    world().lab(&check).exits(0);
    let mut traced = world().command(&check);
    traced.env("LAB_SYSCALLS", "1");
    run(traced).exits(1).says(&["byteorder cannot run", "ptrace PTRACE_SEIZE"]);
}

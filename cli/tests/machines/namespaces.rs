//! Machines that refuse namespaces.

use libc::{EACCES, ENOSYS, EPERM};

use crate::support::seccomp::Filter;
use crate::support::world::World;
use crate::{Refusal, cannot_run, runs_on};

/// Every kind of namespace but the user's (clone(2)).
const OTHERS: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWPID;
const USER: i32 = libc::CLONE_NEWUSER;

const CONTAINER_CAUSE: &str =
    "a seccomp filter refuses it, as container runtimes set";
const CONTAINER_CURE: &str = "start the container with --security-opt seccomp=unconfined \
     --security-opt apparmor=unconfined --security-opt \
     systempaths=unconfined, or work outside it";

/// Docker's default profile, for a container without CAP_SYS_ADMIN.
fn docker() -> Filter {
    Filter::new()
        .refuse(libc::SYS_unshare, EPERM)
        .refuse(libc::SYS_setns, EPERM)
        .refuse(libc::SYS_mount, EPERM)
        .refuse(libc::SYS_umount2, EPERM)
        .refuse(libc::SYS_clone3, ENOSYS)
        .refuse_bits(libc::SYS_clone, 0, OTHERS | USER, EPERM)
}

#[test]
fn the_imitation_itself_is_harmless() {
    runs_on(&World::ordinary().filter(Filter::new()), backend_here());
}

fn backend_here() -> &'static str {
    // What the ordinary user has, who root is not.
    let report = World::ordinary().lab(&["doctor", "--json"]).json();
    match report["backend"].as_str() {
        Some("tap") => "tap",
        _ => "pkt",
    }
}

#[test]
fn user_namespaces_refused_by_a_filter() {
    let filter = Filter::new()
        .refuse_bits(libc::SYS_unshare, 0, USER, EPERM)
        .refuse_bits(libc::SYS_clone, 0, USER, EPERM);
    let refusal = Refusal {
        call: "unshare CLONE_NEWUSER: Operation not permitted (os error 1)",
        cause: CONTAINER_CAUSE,
        cure: CONTAINER_CURE,
    };
    cannot_run(&World::ordinary().filter(filter), &refusal);
}

#[test]
fn a_container_of_dockers() {
    let refusal = Refusal {
        call: "unshare CLONE_NEWUSER: Operation not permitted (os error 1)",
        cause: CONTAINER_CAUSE,
        cure: CONTAINER_CURE,
    };
    cannot_run(&World::ordinary().filter(docker()), &refusal);
}

#[test]
fn a_container_of_dockers_for_whoever_runs_this() {
    let kind = match nix::unistd::geteuid().is_root() {
        true => "CLONE_NEWNS",
        false => "CLONE_NEWUSER",
    };
    let refusal = Refusal {
        call: &format!("unshare {kind}: Operation not permitted (os error 1)"),
        cause: CONTAINER_CAUSE,
        cure: CONTAINER_CURE,
    };
    cannot_run(&World::mine().filter(docker()), &refusal);
}

/// Debian's own setting, which Arch and others have taken over.
#[test]
fn a_machine_where_only_root_may_create_user_namespaces() {
    let world = World::ordinary()
        .empty("/proc/sys/kernel")
        .file("/proc/sys/kernel/unprivileged_userns_clone", "0\n")
        .filter(Filter::new().refuse_bits(libc::SYS_unshare, 0, USER, EPERM));
    let refusal = Refusal {
        call: "unshare CLONE_NEWUSER: Operation not permitted (os error 1)",
        cause: "kernel.unprivileged_userns_clone is 0",
        cure: "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    };
    cannot_run(&world, &refusal);
}

fn ubuntu(filter: Filter) -> World {
    World::ordinary()
        .empty("/proc/sys/kernel")
        .file("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
        .filter(filter)
}

/// The command that gives the programs beside this one a profile.
fn apparmor_cure() -> String {
    let dir = crate::support::target_dir();
    let dir = dir.canonicalize().unwrap();
    let binary = crate::support::binary().canonicalize().unwrap();
    // A target directory of another name is not known for one.
    let dir = match dir.ends_with("target") {
        true => dir.as_path(),
        false => binary.parent().unwrap(),
    };
    format!(
        "sudo sh -c 'printf \"%s\\n\" \"abi <abi/4.0>,\" \
         \"include <tunables/global>\" \
         \"profile testbed \\\"{}/**\\\" flags=(unconfined) {{ userns, }}\" \
         > /etc/apparmor.d/testbed && \
         apparmor_parser -r /etc/apparmor.d/testbed'",
        dir.display()
    )
}

/// AppArmor lets the user namespace be, and takes the capabilities in it away.
#[test]
fn ubuntu_refuses_what_is_done_in_a_user_namespace() {
    let filter = Filter::new().refuse_bits(libc::SYS_unshare, 0, OTHERS, EPERM);
    let refusal = Refusal {
        call: "unshare CLONE_NEWNS: Operation not permitted (os error 1)",
        cause: "AppArmor restricts user namespaces",
        cure: &apparmor_cure(),
    };
    cannot_run(&ubuntu(filter), &refusal);
}

/// What it refuses first: without capabilities setgroups(7) cannot be opened
/// for writing (proc_setgroups_open in fs/proc/base.c).
#[test]
fn ubuntu_refuses_the_maps_of_a_user_namespace() {
    let writes =
        libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
    let filter =
        Filter::new().refuse_value(libc::SYS_openat, 2, writes, EACCES);
    let refusal = Refusal {
        call: "write /proc/self/setgroups: Permission denied (os error 13)",
        cause: "AppArmor restricts user namespaces",
        cure: &apparmor_cure(),
    };
    cannot_run(&ubuntu(filter), &refusal);
}

/// A profile may refuse the user namespace itself.
#[test]
fn ubuntu_refuses_the_user_namespace() {
    let filter = Filter::new().refuse_bits(libc::SYS_unshare, 0, USER, EACCES);
    let refusal = Refusal {
        call: "unshare CLONE_NEWUSER: Permission denied (os error 13)",
        cause: "AppArmor restricts user namespaces",
        cure: &apparmor_cure(),
    };
    cannot_run(&ubuntu(filter), &refusal);
}

fn limited(world: World, kind: &str) -> World {
    // Of the user namespace that the world is in, and so of all below it.
    world.file(&format!("/proc/sys/user/max_{kind}_namespaces"), "0\n")
}

#[test]
fn a_limit_of_no_user_namespaces() {
    let refusal = Refusal {
        call: "unshare CLONE_NEWUSER: No space left on device (os error 28)",
        cause: "the limit user.max_user_namespaces is 0",
        cure: "sudo sysctl -w user.max_user_namespaces=15000",
    };
    cannot_run(&limited(World::ordinary(), "user"), &refusal);
}

#[test]
fn a_limit_of_no_network_namespaces() {
    let refusal = Refusal {
        call: "unshare CLONE_NEWNET: No space left on device (os error 28)",
        cause: "the limit user.max_net_namespaces is 0",
        cure: "sudo sysctl -w user.max_net_namespaces=15000",
    };
    cannot_run(&limited(World::ordinary(), "net"), &refusal);
    cannot_run(&limited(World::mine(), "net"), &refusal);
}

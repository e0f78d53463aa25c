//! Why a call failed on this machine, from what the machine itself says.
//!
//! Each answer rests on a setting that can be read (a sysctl, a mode, a seccomp
//! flag); where none explains the error there is no answer, rather than a guess.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// A likely cause and the exact cure: a command, or an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// One sentence without a full stop.
    pub cause: String,
    /// A command to paste, or what to change.
    pub cure: String,
}

/// The sysctl that bounds each kind of namespace (namespaces(7)).
const LIMITS: &[&str] = &[
    "max_user_namespaces",
    "max_net_namespaces",
    "max_pid_namespaces",
    "max_mnt_namespaces",
    "max_uts_namespaces",
    "max_ipc_namespaces",
];

const APPARMOR: &str = "kernel/apparmor_restrict_unprivileged_userns";

/// Explains the failure of `call` (its name and operand) with `error`.
pub fn explain(call: &str, error: &io::Error) -> Option<Diagnosis> {
    let errno = error.raw_os_error()?;
    if call.contains("/dev/net/tun") {
        return tun(errno);
    }
    if call.starts_with("seccomp") {
        return seccomp(errno);
    }
    if call.starts_with("ptrace") {
        return ptrace(errno);
    }
    // AppArmor lets a user namespace be made and takes away what it is good
    // for: the first that then fails is the write of its maps.
    let calls = ["unshare", "mount", "setns", "clone", "write /proc/self/"];
    if !calls.iter().any(|begin| call.starts_with(begin)) {
        return None;
    }
    match errno {
        libc::ENOSPC => limit(),
        libc::EINVAL if call.contains("CLONE_NEW") => Some(Diagnosis {
            cause: "this kernel was built without that kind of namespace"
                .into(),
            cure: "boot a kernel with CONFIG_USER_NS, CONFIG_NET_NS, \
                   CONFIG_PID_NS, CONFIG_UTS_NS and CONFIG_IPC_NS"
                .into(),
        }),
        libc::EPERM | libc::EACCES => refused(),
        _ => None,
    }
}

/// The limits as they were outside. A fresh user namespace shows limits of its
/// own, which are none, and those above it hold all the same.
static OUTSIDE: OnceLock<Vec<(&str, i64)>> = OnceLock::new();

/// Reads the limits, before a user namespace is entered.
pub(crate) fn look_at_the_limits() {
    OUTSIDE.get_or_init(limits);
}

fn limits() -> Vec<(&'static str, i64)> {
    let limit = |name: &&'static str| (*name, number(&format!("user/{name}")));
    LIMITS.iter().map(limit).collect()
}

/// A namespace limit of 0 (or one that is used up).
fn limit() -> Option<Diagnosis> {
    let limits = OUTSIDE.get_or_init(limits);
    Some(match limits.iter().find(|(_, limit)| *limit < 16) {
        Some((name, limit)) => Diagnosis {
            cause: format!("the limit user.{name} is {limit}"),
            cure: format!("sudo sysctl -w user.{name}=15000"),
        },
        None => Diagnosis {
            cause: "a namespace limit is used up; /proc/sys/user lists them"
                .into(),
            cure: "sudo sysctl -w user.max_user_namespaces=15000 \
                   user.max_net_namespaces=15000"
                .into(),
        },
    })
}

/// EPERM: a sysctl, AppArmor or a seccomp filter.
fn refused() -> Option<Diagnosis> {
    if number("kernel/unprivileged_userns_clone") == 0 {
        return Some(Diagnosis {
            cause: "kernel.unprivileged_userns_clone is 0: only root may \
                    create user namespaces"
                .into(),
            cure: "sudo sysctl -w kernel.unprivileged_userns_clone=1".into(),
        });
    }
    if number(APPARMOR) == 1 {
        return Some(Diagnosis {
            cause: "AppArmor restricts user namespaces to programs with a \
                    profile (kernel.apparmor_restrict_unprivileged_userns is \
                    1, as on Ubuntu since 24.04)"
                .into(),
            cure: apparmor_cure(),
        });
    }
    if status_field("Seccomp:") == Some("2".into()) {
        return Some(Diagnosis {
            cause: "a seccomp filter refuses it, as container runtimes set"
                .into(),
            cure: "start the container with --security-opt \
                   seccomp=unconfined --security-opt apparmor=unconfined \
                   --security-opt systempaths=unconfined, or work outside it"
                .into(),
        });
    }
    None
}

/// One command that gives the programs beside this one, and no others, the
/// right to create user namespaces (apparmor.d(5), rule `userns`).
fn apparmor_cure() -> String {
    let exe = std::env::current_exe().unwrap_or_default();
    // target/debug/lab, target/debug/deps/graders-…: one profile for both.
    let dir = exe
        .ancestors()
        .find(|dir| dir.ends_with("target"))
        .or_else(|| exe.parent())
        .unwrap_or(Path::new("/usr/local"));
    format!(
        "sudo sh -c 'printf \"%s\\n\" \"abi <abi/4.0>,\" \
         \"include <tunables/global>\" \
         \"profile testbed \\\"{}/**\\\" flags=(unconfined) {{ userns, }}\" \
         > /etc/apparmor.d/testbed && \
         apparmor_parser -r /etc/apparmor.d/testbed'",
        dir.display()
    )
}

fn tun(errno: i32) -> Option<Diagnosis> {
    let (cause, cure) = match errno {
        libc::EACCES => (
            "the device is not open to every user (no udev rule set its mode)",
            "sudo chmod 0666 /dev/net/tun",
        ),
        libc::ENOENT => (
            "there is no such device: the tun module has not made one",
            "sudo sh -c 'modprobe tun; mkdir -p /dev/net; \
             [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200; \
             chmod 0666 /dev/net/tun'",
        ),
        libc::ENODEV | libc::ENXIO => (
            "the kernel has no tun driver behind the device",
            "sudo modprobe tun",
        ),
        libc::EPERM => (
            "a device control group or a security module refuses the device",
            "start the container with --device /dev/net/tun",
        ),
        _ => return None,
    };
    Some(Diagnosis { cause: cause.into(), cure: cure.into() })
}

/// A filter that is to notify a supervisor (seccomp(2), ERRORS).
fn seccomp(errno: i32) -> Option<Diagnosis> {
    let (cause, cure) = match errno {
        libc::EBUSY => (
            "a seccomp filter with a listener is in force already, and a \
             process can have one only (a container runtime or a sandbox that \
             watches its programs)",
            "work outside it, or start the container with --security-opt \
             seccomp=unconfined",
        ),
        libc::EINVAL | libc::ENOSYS => (
            "this kernel has no seccomp notification that lets a call go on: \
             it is older than Linux 5.5, or built without it",
            "boot Linux 5.9 or later with CONFIG_SECCOMP_FILTER",
        ),
        libc::EPERM | libc::EACCES => (
            "a seccomp filter or a security module refuses it",
            "start the container with --security-opt seccomp=unconfined, or \
             work outside it",
        ),
        _ => return None,
    };
    Some(Diagnosis { cause: cause.into(), cure: cure.into() })
}

/// A tracer is refused; the programs are its own user's, and the tracer has
/// CAP_SYS_PTRACE over them, so that Yama's scopes 1 and 2 let it.
fn ptrace(errno: i32) -> Option<Diagnosis> {
    let (cause, cure) = match errno {
        libc::EIO | libc::ENOSYS | libc::EINVAL => (
            "this kernel does not tell a tracer what a call is given \
             (PTRACE_GET_SYSCALL_INFO): it is older than Linux 5.3, or not \
             Linux",
            "boot Linux 5.3 or later",
        ),
        libc::EPERM | libc::EACCES => {
            match number("kernel/yama/ptrace_scope") {
                3 => (
                    "kernel.yama.ptrace_scope is 3: nobody may trace, until the \
                 next boot",
                    "boot with kernel.yama.ptrace_scope at 2 or less",
                ),
                _ if status_field("TracerPid:")
                    .is_some_and(|pid| pid != "0") =>
                {
                    (
                        "a debugger or strace traces this run already, and a process \
                 can have one tracer only",
                        "run it without the debugger",
                    )
                }
                _ => (
                    "a seccomp filter or a security module refuses ptrace, as \
                 container runtimes set",
                    "start the container with --security-opt seccomp=unconfined \
                 --cap-add SYS_PTRACE, or work outside it",
                ),
            }
        }
        _ => return None,
    };
    Some(Diagnosis { cause: cause.into(), cure: cure.into() })
}

/// A number under /proc/sys; where it is absent, one that explains nothing.
fn number(path: &str) -> i64 {
    let text = fs::read_to_string(Path::new("/proc/sys").join(path));
    // Absent must not look like 0 nor like a low limit.
    let absent = if path.starts_with("user/") { i64::MAX } else { -1 };
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(absent)
}

/// A field of /proc/self/status.
fn status_field(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line[name.len()..].trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(call: &str, errno: i32) -> Option<Diagnosis> {
        explain(call, &io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_closed_tun_device_has_a_cure() {
        let found = explained("open /dev/net/tun", libc::EACCES).unwrap();
        assert_eq!(found.cure, "sudo chmod 0666 /dev/net/tun");
    }

    #[test]
    fn a_second_listener_has_a_cure() {
        let call = "seccomp SECCOMP_FILTER_FLAG_NEW_LISTENER";
        let busy = explained(call, libc::EBUSY).unwrap();
        assert!(busy.cause.contains("listener"), "{}", busy.cause);
        let old = explained(call, libc::EINVAL).unwrap();
        assert!(old.cure.contains("5.9"), "{}", old.cure);
    }

    #[test]
    fn an_unrelated_error_is_not_guessed_at() {
        assert_eq!(explained("connect 192.0.2.1:80", libc::EPERM), None);
    }
}

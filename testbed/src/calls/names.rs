//! Names and numbers of system calls (syscalls(2)).
//!
//! A call has another number on each architecture, and the older calls have
//! none where the kernel came later: `open` is `openat` on aarch64.

/// The number by which this machine's kernel knows a call; `None`: no such
/// name is known here, or the call does not exist on this architecture.
pub(crate) fn number(name: &str) -> Option<i64> {
    let found = all().find(|call| call.0 == name);
    found.map(|call| call.1)
}

/// The name of a call that has this number.
pub(crate) fn name(number: i64) -> Option<&'static str> {
    let found = all().find(|call| call.1 == number);
    found.map(|call| call.0)
}

/// Is it the name of a call that no program makes on this architecture?
pub(crate) fn is_from_elsewhere(name: &str) -> bool {
    OLDER.contains(&name) && number(name).is_none()
}

fn all() -> impl Iterator<Item = &'static (&'static str, i64)> {
    EVERYWHERE.iter().chain(OLDER_NUMBERS)
}

/// The calls that server programs make, and those that their libraries make
/// for them, on every architecture.
#[rustfmt::skip]
const EVERYWHERE: &[(&str, i64)] = &[
    // Files and descriptors.
    ("read", libc::SYS_read),
    ("write", libc::SYS_write),
    ("readv", libc::SYS_readv),
    ("writev", libc::SYS_writev),
    ("pread64", libc::SYS_pread64),
    ("pwrite64", libc::SYS_pwrite64),
    ("preadv", libc::SYS_preadv),
    ("pwritev", libc::SYS_pwritev),
    ("preadv2", libc::SYS_preadv2),
    ("pwritev2", libc::SYS_pwritev2),
    ("openat", libc::SYS_openat),
    ("openat2", libc::SYS_openat2),
    ("close", libc::SYS_close),
    ("close_range", libc::SYS_close_range),
    ("lseek", libc::SYS_lseek),
    ("fstat", libc::SYS_fstat),
    ("newfstatat", libc::SYS_newfstatat),
    ("statx", libc::SYS_statx),
    ("faccessat", libc::SYS_faccessat),
    ("faccessat2", libc::SYS_faccessat2),
    ("readlinkat", libc::SYS_readlinkat),
    ("getdents64", libc::SYS_getdents64),
    ("getcwd", libc::SYS_getcwd),
    ("chdir", libc::SYS_chdir),
    ("fchdir", libc::SYS_fchdir),
    ("mkdirat", libc::SYS_mkdirat),
    ("unlinkat", libc::SYS_unlinkat),
    ("renameat2", libc::SYS_renameat2),
    ("linkat", libc::SYS_linkat),
    ("symlinkat", libc::SYS_symlinkat),
    ("fchmod", libc::SYS_fchmod),
    ("fchmodat", libc::SYS_fchmodat),
    ("fchown", libc::SYS_fchown),
    ("fchownat", libc::SYS_fchownat),
    ("umask", libc::SYS_umask),
    ("truncate", libc::SYS_truncate),
    ("ftruncate", libc::SYS_ftruncate),
    ("fallocate", libc::SYS_fallocate),
    ("fsync", libc::SYS_fsync),
    ("fdatasync", libc::SYS_fdatasync),
    ("sync", libc::SYS_sync),
    ("flock", libc::SYS_flock),
    ("fcntl", libc::SYS_fcntl),
    ("ioctl", libc::SYS_ioctl),
    ("dup", libc::SYS_dup),
    ("dup3", libc::SYS_dup3),
    ("pipe2", libc::SYS_pipe2),
    ("sendfile", libc::SYS_sendfile),
    ("splice", libc::SYS_splice),
    ("tee", libc::SYS_tee),
    ("vmsplice", libc::SYS_vmsplice),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("chroot", libc::SYS_chroot),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("inotify_init1", libc::SYS_inotify_init1),
    ("inotify_add_watch", libc::SYS_inotify_add_watch),
    ("inotify_rm_watch", libc::SYS_inotify_rm_watch),
    ("memfd_create", libc::SYS_memfd_create),
    // Sockets.
    ("socket", libc::SYS_socket),
    ("socketpair", libc::SYS_socketpair),
    ("bind", libc::SYS_bind),
    ("listen", libc::SYS_listen),
    ("accept", libc::SYS_accept),
    ("accept4", libc::SYS_accept4),
    ("connect", libc::SYS_connect),
    ("shutdown", libc::SYS_shutdown),
    ("getsockname", libc::SYS_getsockname),
    ("getpeername", libc::SYS_getpeername),
    ("getsockopt", libc::SYS_getsockopt),
    ("setsockopt", libc::SYS_setsockopt),
    ("sendto", libc::SYS_sendto),
    ("recvfrom", libc::SYS_recvfrom),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvmsg", libc::SYS_recvmsg),
    ("sendmmsg", libc::SYS_sendmmsg),
    ("recvmmsg", libc::SYS_recvmmsg),
    // Waiting for many descriptors.
    ("ppoll", libc::SYS_ppoll),
    ("pselect6", libc::SYS_pselect6),
    ("epoll_create1", libc::SYS_epoll_create1),
    ("epoll_ctl", libc::SYS_epoll_ctl),
    ("epoll_pwait", libc::SYS_epoll_pwait),
    ("epoll_pwait2", libc::SYS_epoll_pwait2),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("io_setup", libc::SYS_io_setup),
    ("io_submit", libc::SYS_io_submit),
    ("io_getevents", libc::SYS_io_getevents),
    ("io_destroy", libc::SYS_io_destroy),
    ("eventfd2", libc::SYS_eventfd2),
    ("signalfd4", libc::SYS_signalfd4),
    ("timerfd_create", libc::SYS_timerfd_create),
    ("timerfd_settime", libc::SYS_timerfd_settime),
    ("timerfd_gettime", libc::SYS_timerfd_gettime),
    // Processes and threads.
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("exit", libc::SYS_exit),
    ("exit_group", libc::SYS_exit_group),
    ("wait4", libc::SYS_wait4),
    ("waitid", libc::SYS_waitid),
    ("getpid", libc::SYS_getpid),
    ("getppid", libc::SYS_getppid),
    ("gettid", libc::SYS_gettid),
    ("getpgid", libc::SYS_getpgid),
    ("setpgid", libc::SYS_setpgid),
    ("getsid", libc::SYS_getsid),
    ("setsid", libc::SYS_setsid),
    ("set_tid_address", libc::SYS_set_tid_address),
    ("kill", libc::SYS_kill),
    ("tkill", libc::SYS_tkill),
    ("tgkill", libc::SYS_tgkill),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("ptrace", libc::SYS_ptrace),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("prctl", libc::SYS_prctl),
    ("seccomp", libc::SYS_seccomp),
    ("capget", libc::SYS_capget),
    ("capset", libc::SYS_capset),
    ("setuid", libc::SYS_setuid),
    ("setgid", libc::SYS_setgid),
    ("setreuid", libc::SYS_setreuid),
    ("setregid", libc::SYS_setregid),
    ("setresuid", libc::SYS_setresuid),
    ("setresgid", libc::SYS_setresgid),
    ("setgroups", libc::SYS_setgroups),
    ("getuid", libc::SYS_getuid),
    ("geteuid", libc::SYS_geteuid),
    ("getgid", libc::SYS_getgid),
    ("getegid", libc::SYS_getegid),
    ("getresuid", libc::SYS_getresuid),
    ("getresgid", libc::SYS_getresgid),
    ("getgroups", libc::SYS_getgroups),
    ("getpriority", libc::SYS_getpriority),
    ("setpriority", libc::SYS_setpriority),
    ("prlimit64", libc::SYS_prlimit64),
    ("getrusage", libc::SYS_getrusage),
    // Scheduling, locks, memory.
    ("sched_yield", libc::SYS_sched_yield),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("sched_getaffinity", libc::SYS_sched_getaffinity),
    ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("sched_getscheduler", libc::SYS_sched_getscheduler),
    ("futex", libc::SYS_futex),
    ("futex_waitv", libc::SYS_futex_waitv),
    ("set_robust_list", libc::SYS_set_robust_list),
    ("membarrier", libc::SYS_membarrier),
    ("rseq", libc::SYS_rseq),
    ("brk", libc::SYS_brk),
    ("mmap", libc::SYS_mmap),
    ("munmap", libc::SYS_munmap),
    ("mprotect", libc::SYS_mprotect),
    ("mremap", libc::SYS_mremap),
    ("madvise", libc::SYS_madvise),
    ("msync", libc::SYS_msync),
    ("mlock", libc::SYS_mlock),
    ("mlock2", libc::SYS_mlock2),
    ("munlock", libc::SYS_munlock),
    ("mlockall", libc::SYS_mlockall),
    // Signals.
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("rt_sigpending", libc::SYS_rt_sigpending),
    ("rt_sigsuspend", libc::SYS_rt_sigsuspend),
    ("rt_sigtimedwait", libc::SYS_rt_sigtimedwait),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
    ("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo),
    ("rt_sigreturn", libc::SYS_rt_sigreturn),
    ("sigaltstack", libc::SYS_sigaltstack),
    // Time.
    ("nanosleep", libc::SYS_nanosleep),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("clock_settime", libc::SYS_clock_settime),
    ("clock_getres", libc::SYS_clock_getres),
    ("gettimeofday", libc::SYS_gettimeofday),
    ("times", libc::SYS_times),
    ("timer_create", libc::SYS_timer_create),
    ("timer_settime", libc::SYS_timer_settime),
    ("timer_gettime", libc::SYS_timer_gettime),
    ("timer_getoverrun", libc::SYS_timer_getoverrun),
    ("timer_delete", libc::SYS_timer_delete),
    ("getitimer", libc::SYS_getitimer),
    ("setitimer", libc::SYS_setitimer),
    // System V and POSIX interprocess communication.
    ("shmget", libc::SYS_shmget),
    ("shmat", libc::SYS_shmat),
    ("shmdt", libc::SYS_shmdt),
    ("shmctl", libc::SYS_shmctl),
    ("semget", libc::SYS_semget),
    ("semop", libc::SYS_semop),
    ("semtimedop", libc::SYS_semtimedop),
    ("semctl", libc::SYS_semctl),
    ("msgget", libc::SYS_msgget),
    ("msgsnd", libc::SYS_msgsnd),
    ("msgrcv", libc::SYS_msgrcv),
    ("msgctl", libc::SYS_msgctl),
    ("mq_open", libc::SYS_mq_open),
    ("mq_unlink", libc::SYS_mq_unlink),
    ("mq_timedsend", libc::SYS_mq_timedsend),
    ("mq_timedreceive", libc::SYS_mq_timedreceive),
    ("mq_notify", libc::SYS_mq_notify),
    // The machine.
    ("uname", libc::SYS_uname),
    ("sysinfo", libc::SYS_sysinfo),
    ("sethostname", libc::SYS_sethostname),
    ("getrandom", libc::SYS_getrandom),
    ("syslog", libc::SYS_syslog),
    ("restart_syscall", libc::SYS_restart_syscall),
];

/// Calls that newer architectures have only in a newer form.
#[rustfmt::skip]
const OLDER: &[&str] = &[
    "open", "creat", "stat", "lstat", "access", "readlink",
    "getdents", "mkdir", "rmdir", "unlink", "rename", "link",
    "symlink", "chmod", "chown", "lchown", "dup2", "pipe",
    "poll", "select", "epoll_create", "epoll_wait", "eventfd", "signalfd",
    "inotify_init", "fork", "vfork", "getpgrp", "pause", "alarm",
    "time", "utime", "renameat", "getrlimit", "setrlimit", "arch_prctl",
];

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER_NUMBERS: &[(&str, i64)] = &[
    ("open", libc::SYS_open),
    ("creat", libc::SYS_creat),
    ("stat", libc::SYS_stat),
    ("lstat", libc::SYS_lstat),
    ("access", libc::SYS_access),
    ("readlink", libc::SYS_readlink),
    ("getdents", libc::SYS_getdents),
    ("mkdir", libc::SYS_mkdir),
    ("rmdir", libc::SYS_rmdir),
    ("unlink", libc::SYS_unlink),
    ("rename", libc::SYS_rename),
    ("link", libc::SYS_link),
    ("symlink", libc::SYS_symlink),
    ("chmod", libc::SYS_chmod),
    ("chown", libc::SYS_chown),
    ("lchown", libc::SYS_lchown),
    ("dup2", libc::SYS_dup2),
    ("pipe", libc::SYS_pipe),
    ("poll", libc::SYS_poll),
    ("select", libc::SYS_select),
    ("epoll_create", libc::SYS_epoll_create),
    ("epoll_wait", libc::SYS_epoll_wait),
    ("eventfd", libc::SYS_eventfd),
    ("signalfd", libc::SYS_signalfd),
    ("inotify_init", libc::SYS_inotify_init),
    ("fork", libc::SYS_fork),
    ("vfork", libc::SYS_vfork),
    ("getpgrp", libc::SYS_getpgrp),
    ("pause", libc::SYS_pause),
    ("alarm", libc::SYS_alarm),
    ("time", libc::SYS_time),
    ("utime", libc::SYS_utime),
    ("renameat", libc::SYS_renameat),
    ("getrlimit", libc::SYS_getrlimit),
    ("setrlimit", libc::SYS_setrlimit),
    ("arch_prctl", libc::SYS_arch_prctl),
];

// From <asm-generic/unistd.h>; the libc crate leaves them out.
#[cfg(not(target_arch = "x86_64"))]
const OLDER_NUMBERS: &[(&str, i64)] =
    &[("renameat", 38), ("getrlimit", 163), ("setrlimit", 164)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_number_of_its_own() {
        for (call, number_of_it) in all() {
            assert_eq!(number(call), Some(*number_of_it), "{call}");
            assert_eq!(name(*number_of_it), Some(*call));
        }
        assert!(all().count() >= 150, "{}", all().count());
    }

    #[test]
    fn what_is_no_call_has_no_number() {
        assert_eq!(number("acept"), None);
        assert_eq!(name(-1), None);
        assert!(!is_from_elsewhere("acept"));
        assert!(!is_from_elsewhere("read"));
    }

    #[test]
    fn older_calls_are_known_everywhere() {
        let known =
            |name: &&str| number(name).is_some() != is_from_elsewhere(name);
        assert!(OLDER.iter().all(known));
        assert!(OLDER_NUMBERS.iter().all(|call| OLDER.contains(&call.0)));
    }
}

//! The names of what calls are given: families, options, flags, signals.

use nix::errno::Errno;
use nix::sys::signal::Signal;

/// Errors that the kernel keeps to itself: a signal has come, and the call
/// begins again, or fails with EINTR after a handler (<linux/errno.h>).
const RESTARTS: &[(i64, &str)] = &[
    (512, "ERESTARTSYS"),
    (513, "ERESTARTNOINTR"),
    (514, "ERESTARTNOHAND"),
    (516, "ERESTART_RESTARTBLOCK"),
];

/// `-1 EAGAIN`, or `? ERESTARTSYS`.
pub(super) fn error(errno: i64) -> String {
    match RESTARTS.iter().find(|(number, _)| *number == errno) {
        Some((_, name)) => format!("? {name}"),
        None => format!("-1 {:?}", Errno::from_raw(errno as i32)),
    }
}

/// `SIGCHLD`; of a real-time signal the number.
pub(super) fn signal(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_string(),
        Err(_) => number.to_string(),
    }
}

/// The signals of a set, the first has bit 0.
pub(super) fn signals(set: u64) -> String {
    if set == u64::MAX || set.count_ones() > 32 {
        return "[all]".to_string();
    }
    let numbers = (1..=64).filter(|number| set & (1 << (number - 1)) != 0);
    let names: Vec<String> = numbers.map(signal).collect();
    format!("[{}]", names.join(" "))
}

/// One of several names, or the number.
pub(super) fn one(value: i64, names: &[(i64, &str)]) -> String {
    let found = names.iter().find(|(number, _)| *number == value);
    found.map_or_else(|| value.to_string(), |(_, name)| name.to_string())
}

/// Names for the bits, joined by `|`, and what is left in hexadecimal.
pub(super) fn bits(value: u64, names: &[(i64, &str)]) -> String {
    let mut left = value;
    let mut words = Vec::new();
    for (bit, name) in names {
        let bit = *bit as u64;
        if bit != 0 && left & bit == bit {
            words.push(name.to_string());
            left &= !bit;
        }
    }
    if left != 0 || words.is_empty() {
        words.push(if left == 0 { "0".into() } else { format!("{left:#x}") });
    }
    words.join("|")
}

/// `O_RDWR|O_CREAT`: the lowest two bits are a number (open(2)).
pub(super) fn open_flags(value: u64) -> String {
    let value = value & 0xffff_ffff;
    let mode = one((value & 3) as i64, MODES);
    match value & !3 & !LARGE_FILE {
        0 => mode,
        rest => format!("{mode}|{}", bits(rest, OPEN)),
    }
}

/// `SOCK_STREAM|SOCK_CLOEXEC` (socket(2)).
pub(super) fn socket_type(value: u64) -> String {
    let value = value & 0xffff_ffff;
    let kind = one((value & 0xf) as i64, SOCKETS);
    match value & !0xf {
        0 => kind,
        rest => format!("{kind}|{}", bits(rest, SOCKET_FLAGS)),
    }
}

/// The names of an option's level and of the option.
pub(super) fn option(level: i32, option: i32) -> (String, String) {
    let names = match level {
        libc::SOL_SOCKET => SOCKET_OPTIONS,
        libc::IPPROTO_TCP => TCP_OPTIONS,
        libc::IPPROTO_IP => IP_OPTIONS,
        libc::IPPROTO_IPV6 => IPV6_OPTIONS,
        _ => &[],
    };
    let level = one(level.into(), LEVELS);
    (level, one(option.into(), names))
}

/// O_LARGEFILE is on in every 64-bit program's files, and says nothing.
const LARGE_FILE: u64 = 0o100_000;

/// `names!["", A, B]` is `&[(libc::A as i64, "A"), …]`.
macro_rules! names {
    ($($name:ident),* $(,)?) => {
        &[$((libc::$name as i64, stringify!($name))),*]
    };
}

type Names = &'static [(i64, &'static str)];

const MODES: Names = names![O_RDONLY, O_WRONLY, O_RDWR];
// O_SYNC and O_TMPFILE have several bits and come first.
const OPEN: Names = names![
    O_SYNC,
    O_TMPFILE,
    O_CREAT,
    O_EXCL,
    O_NOCTTY,
    O_TRUNC,
    O_APPEND,
    O_NONBLOCK,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_CLOEXEC,
    O_DIRECT,
    O_PATH,
];
pub(super) const PIPE: Names = names![O_NONBLOCK, O_CLOEXEC, O_DIRECT];
pub(super) const FAMILIES: Names =
    names![AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET,];
const SOCKETS: Names =
    names![SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET,];
const SOCKET_FLAGS: Names = names![SOCK_NONBLOCK, SOCK_CLOEXEC];
pub(super) const PROTOCOLS: Names =
    names![IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6,];
pub(super) const ACCEPT: Names = names![SOCK_NONBLOCK, SOCK_CLOEXEC];
pub(super) const MESSAGES: Names = names![
    MSG_OOB,
    MSG_PEEK,
    MSG_DONTROUTE,
    MSG_CTRUNC,
    MSG_TRUNC,
    MSG_DONTWAIT,
    MSG_EOR,
    MSG_WAITALL,
    MSG_CONFIRM,
    MSG_ERRQUEUE,
    MSG_NOSIGNAL,
    MSG_MORE,
    MSG_CMSG_CLOEXEC,
];
pub(super) const HOWS: Names = names![SHUT_RD, SHUT_WR, SHUT_RDWR];
const LEVELS: Names =
    names![SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6,];
const SOCKET_OPTIONS: Names = names![
    SO_DEBUG,
    SO_REUSEADDR,
    SO_TYPE,
    SO_ERROR,
    SO_DONTROUTE,
    SO_BROADCAST,
    SO_SNDBUF,
    SO_RCVBUF,
    SO_KEEPALIVE,
    SO_OOBINLINE,
    SO_LINGER,
    SO_REUSEPORT,
    SO_PASSCRED,
    SO_PEERCRED,
    SO_RCVLOWAT,
    SO_SNDLOWAT,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SO_ACCEPTCONN,
    SO_SNDBUFFORCE,
    SO_RCVBUFFORCE,
    SO_PROTOCOL,
    SO_DOMAIN,
    SO_BINDTODEVICE,
    SO_TIMESTAMP,
    SO_PRIORITY,
    SO_MARK,
    SO_BUSY_POLL,
    SO_INCOMING_CPU,
    SO_ZEROCOPY,
];
const TCP_OPTIONS: Names = names![
    TCP_NODELAY,
    TCP_MAXSEG,
    TCP_CORK,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_KEEPCNT,
    TCP_SYNCNT,
    TCP_LINGER2,
    TCP_DEFER_ACCEPT,
    TCP_WINDOW_CLAMP,
    TCP_INFO,
    TCP_QUICKACK,
    TCP_CONGESTION,
    TCP_USER_TIMEOUT,
    TCP_FASTOPEN,
    TCP_NOTSENT_LOWAT,
    TCP_REPAIR,
    TCP_ULP,
];
const IP_OPTIONS: Names = names![
    IP_TOS,
    IP_TTL,
    IP_HDRINCL,
    IP_RECVERR,
    IP_MTU_DISCOVER,
    IP_PKTINFO,
    IP_MULTICAST_IF,
    IP_MULTICAST_TTL,
    IP_MULTICAST_LOOP,
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
];
const IPV6_OPTIONS: Names =
    names![IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_MULTICAST_HOPS, IPV6_RECVERR,];
pub(super) const FCNTLS: Names = names![
    F_DUPFD,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_SETOWN,
    F_GETOWN,
    F_DUPFD_CLOEXEC,
    F_SETPIPE_SZ,
    F_GETPIPE_SZ,
    F_ADD_SEALS,
    F_GET_SEALS,
    F_OFD_SETLK,
    F_OFD_SETLKW,
];
pub(super) const LOCKS: Names = names![F_RDLCK, F_WRLCK, F_UNLCK];
pub(super) const POLLS: Names =
    names![POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL, POLLRDHUP,];
pub(super) const EPOLLS: Names = names![
    EPOLLIN,
    EPOLLPRI,
    EPOLLOUT,
    EPOLLERR,
    EPOLLHUP,
    EPOLLRDHUP,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
    EPOLLET,
];
pub(super) const EPOLL_OPS: Names =
    names![EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD,];
pub(super) const EPOLL_FLAGS: Names = names![EPOLL_CLOEXEC];
pub(super) const EVENTFD: Names =
    names![EFD_SEMAPHORE, EFD_CLOEXEC, EFD_NONBLOCK,];
pub(super) const FUTEXES: Names = names![
    FUTEX_WAIT,
    FUTEX_WAKE,
    FUTEX_REQUEUE,
    FUTEX_CMP_REQUEUE,
    FUTEX_WAKE_OP,
    FUTEX_LOCK_PI,
    FUTEX_UNLOCK_PI,
    FUTEX_TRYLOCK_PI,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE_BITSET,
];
pub(super) const CLONES: Names = names![
    CLONE_VM,
    CLONE_FS,
    CLONE_FILES,
    CLONE_SIGHAND,
    CLONE_VFORK,
    CLONE_PARENT,
    CLONE_THREAD,
    CLONE_NEWNS,
    CLONE_SYSVSEM,
    CLONE_SETTLS,
    CLONE_PARENT_SETTID,
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
    CLONE_PIDFD,
];
pub(super) const WAITS: Names =
    names![WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT, __WALL,];
pub(super) const WHOSE: Names = names![P_ALL, P_PID, P_PGID, P_PIDFD];
pub(super) const MASKS: Names = names![SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK];
pub(super) const ACTIONS: Names = names![
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SA_SIGINFO,
    SA_ONSTACK,
    SA_RESTART,
    SA_NODEFER,
    SA_RESETHAND,
];
/// SA_RESTORER: set by the C library on x86-64, and nobody's choice.
pub(super) const SA_RESTORER: u64 = 0x0400_0000;
pub(super) const IPC_FLAGS: Names = names![IPC_CREAT, IPC_EXCL, IPC_NOWAIT,];
pub(super) const SEM_FLAGS: Names = names![IPC_NOWAIT, SEM_UNDO];
pub(super) const MSG_FLAGS: Names =
    names![IPC_NOWAIT, MSG_NOERROR, MSG_EXCEPT,];
pub(super) const MAPS: Names = names![MAP_SHARED, MAP_PRIVATE];
pub(super) const ACCESS: Names = names![R_OK, W_OK, X_OK];
pub(super) const SEMCTLS: Names = names![
    IPC_RMID, IPC_SET, IPC_STAT, GETPID, GETVAL, GETALL, GETNCNT, GETZCNT,
    SETVAL, SETALL,
];
pub(super) const IPCCTLS: Names = names![IPC_RMID, IPC_SET, IPC_STAT];

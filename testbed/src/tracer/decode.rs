//! A system call as one would write it down: at its entry what it is given,
//! at its return what came of it.
//!
//! `connect(3, 192.168.1.109:80)`, `= 0`; `read(4)`, `= 5 bytes "hello"`. What
//! a call only has filled in is not among its arguments; it is in its result.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::memory::Memory;
use super::words::{self, bits, one, option};

/// Bytes of a text that are told; what is longer ends in `…`.
const MOST_BYTES: usize = 32;
/// Parts of a list, of which calls may be given a thousand.
const MOST_PARTS: usize = 8;
/// The largest `sockaddr` that has a family known here.
const LONGEST_ADDRESS: usize = 110;

/// A call of a number that has no name here.
pub(super) fn nameless(number: u64) -> String {
    format!("syscall_{number}")
}

/// The call as it is entered.
pub(super) fn entry(name: &str, args: &[u64; 6], memory: Memory) -> String {
    let call = Entered { name, args: *args, memory };
    let arguments = call.arguments().unwrap_or_else(|| call.in_hex(6));
    format!("{name}({})", arguments.join(", "))
}

/// What it returned: `= 0`, `= -1 EAGAIN`, and what it has filled in.
pub(super) fn exit(
    name: &str,
    args: &[u64; 6],
    result: i64,
    memory: Memory,
) -> String {
    if (-4095..0).contains(&result) {
        return format!("= {}", words::error(-result));
    }
    let call = Entered { name, args: *args, memory };
    match call.filled_in(result) {
        Some(more) => format!("= {more}"),
        None => format!("= {result}"),
    }
}

struct Entered<'a> {
    name: &'a str,
    args: [u64; 6],
    memory: Memory,
}

impl Entered<'_> {
    /// What it is given; `None`: nothing is known of it.
    fn arguments(&self) -> Option<Vec<String>> {
        let [a, b, c, d, e, f] = self.args;
        let (fd, int) = (|| self.int(0), |at| self.int(at));
        Some(match self.name {
            "socket" | "socketpair" => vec![
                one(a as i64, words::FAMILIES),
                words::socket_type(b),
                one(c as i64, words::PROTOCOLS).replace("IPPROTO_IP", "0"),
            ],
            "bind" | "connect" => vec![fd(), self.address(b, c as usize)],
            "listen" => vec![fd(), int(1)],
            "accept" | "getsockname" | "getpeername" => vec![fd()],
            "accept4" => with_flags(vec![fd()], d, words::ACCEPT),
            "shutdown" => vec![fd(), one(b as i64, words::HOWS)],
            "setsockopt" => {
                let (level, name) = option(b as i32, c as i32);
                vec![fd(), level, name, self.option_value(c, d, e)]
            }
            "getsockopt" => {
                let (level, name) = option(b as i32, c as i32);
                vec![fd(), level, name]
            }
            "read" | "readv" | "close" | "dup" | "fstat" | "fsync"
            | "fdatasync" | "fchdir" | "mq_getsetattr" => vec![fd()],
            "write" => vec![fd(), self.quoted(b, c), c.to_string()],
            "writev" => vec![fd(), self.gathered(b, c)],
            "pread64" => vec![fd(), format!("offset {d}")],
            "pwrite64" => vec![
                fd(),
                self.quoted(b, c),
                c.to_string(),
                format!("offset {d}"),
            ],
            "preadv" | "preadv2" => vec![fd(), format!("offset {d}")],
            "pwritev" | "pwritev2" => {
                vec![fd(), self.gathered(b, c), format!("offset {d}")]
            }
            "recvfrom" => with_flags(vec![fd()], d, words::MESSAGES),
            "sendto" => {
                let given = vec![fd(), self.quoted(b, c), c.to_string()];
                let mut given = with_flags(given, d, words::MESSAGES);
                if e != 0 {
                    given.push(self.address(e, f as usize));
                }
                given
            }
            "recvmsg" => with_flags(vec![fd()], c, words::MESSAGES),
            "sendmsg" => {
                let mut given = vec![fd()];
                given.extend(self.message(b, None));
                with_flags(given, c, words::MESSAGES)
            }
            "dup2" => vec![fd(), int(1)],
            "dup3" => with_flags(vec![fd(), int(1)], c, words::PIPE),
            "pipe" => vec![],
            "pipe2" => with_flags(vec![], b, words::PIPE),
            "open" => vec![self.path(a), words::open_flags(b)],
            "openat" => {
                vec![self.directory(), self.path(b), words::open_flags(c)]
            }
            "unlink" | "rmdir" | "chdir" | "readlink" | "stat" | "lstat"
            | "mq_unlink" => vec![self.path(a)],
            "newfstatat" if self.path(b) == "\"\"" => vec![fd()],
            "unlinkat" | "readlinkat" | "newfstatat" | "faccessat"
            | "faccessat2" | "mkdirat" | "statx" => {
                vec![self.directory(), self.path(b)]
            }
            "access" => vec![self.path(a), bits(b, words::ACCESS)],
            "mkdir" | "chmod" => vec![self.path(a), octal(b)],
            "ftruncate" => vec![fd(), c_long(b)],
            "lseek" => vec![fd(), c_long(b), c.to_string()],
            "fcntl" => self.fcntl(),
            "ioctl" => vec![fd(), format!("{b:#x}")],
            "poll" => vec![self.polled(a, b, false), timeout_ms(c)],
            "ppoll" => vec![self.polled(a, b, false), self.timespec(c)],
            "select" | "pselect6" => {
                let sets = [("in", b), ("out", c), ("except", d)];
                let sets = sets.iter().filter(|(_, set)| *set != 0);
                let mut given = vec![int(0)];
                given.extend(sets.map(|(name, set)| {
                    format!("{name} {}", self.descriptors(*set))
                }));
                given.push(match self.name {
                    "select" => self.timeval(e),
                    _ => self.timespec(e),
                });
                given
            }
            "epoll_create" => vec![int(0)],
            "epoll_create1" => with_flags(vec![], a, words::EPOLL_FLAGS),
            "epoll_ctl" => {
                let op = one(b as i64, words::EPOLL_OPS);
                let mut given = vec![fd(), op, int(2)];
                if let Some(events) = self.memory.int(d) {
                    given.push(bits(events as u32 as u64, words::EPOLLS));
                }
                given
            }
            "epoll_wait" | "epoll_pwait" => {
                vec![fd(), format!("most {c}"), timeout_ms(d)]
            }
            "epoll_pwait2" => {
                vec![fd(), format!("most {c}"), self.timespec(d)]
            }
            "eventfd2" => with_flags(vec![int(0)], b, words::EVENTFD),
            "futex" => self.futex(),
            "clone" => vec![self.clone_flags(a & !0xff, a & 0xff)],
            "clone3" => {
                let words = self.memory.words(a, 5).unwrap_or_default();
                let word = |at: usize| words.get(at).copied().unwrap_or(0);
                vec![self.clone_flags(word(0), word(4))]
            }
            "execve" => vec![self.path(a), self.strings(b)],
            "exit" | "exit_group" | "fchmod" | "umask" | "getpgid"
            | "getsid" | "setuid" | "setgid" | "epoll_close" | "alarm" => {
                vec![int(0)]
            }
            "wait4" => with_flags(vec![int(0)], c, words::WAITS),
            "waitid" => {
                let whose = one(a as i64, words::WHOSE);
                with_flags(vec![whose, int(1)], d, words::WAITS)
            }
            "kill" | "tkill" => vec![int(0), words::signal(b as i32)],
            "tgkill" => vec![int(0), int(1), words::signal(c as i32)],
            "pidfd_open" => vec![int(0)],
            "pidfd_send_signal" => vec![fd(), words::signal(b as i32)],
            "setpgid" => vec![int(0), int(1)],
            "rt_sigaction" => {
                let mut given = vec![words::signal(a as i32)];
                given.extend(self.action(b));
                given
            }
            "rt_sigprocmask" => match self.memory.word(b) {
                None => vec![],
                Some(set) => {
                    vec![one(a as i64, words::MASKS), words::signals(set)]
                }
            },
            "rt_sigsuspend" | "rt_sigtimedwait" => match self.memory.word(a) {
                Some(set) => vec![words::signals(set)],
                None => vec![],
            },
            "signalfd4" => {
                let set = self.memory.word(b).unwrap_or(0);
                vec![fd(), words::signals(set)]
            }
            // Where memory lies differs from run to run and tells nobody.
            "mmap" if d as i32 & libc::MAP_ANONYMOUS == 0 => {
                let shared = bits(d & 3, words::MAPS);
                vec![b.to_string(), shared, int(4), format!("offset {f}")]
            }
            "brk" | "mmap" | "munmap" | "mprotect" | "mremap" | "madvise"
            | "msync" | "mlock" | "munlock" => vec!["…".to_string()],
            "semget" => with_ipc(vec![key(a), int(1)], c),
            "shmget" => with_ipc(vec![key(a), b.to_string()], c),
            "msgget" => with_ipc(vec![key(a)], b),
            "semop" | "semtimedop" => vec![int(0), self.semops(b, c)],
            "semctl" => {
                let mut given =
                    vec![int(0), int(1), one(c as i64, words::SEMCTLS)];
                if c as i32 == libc::SETVAL {
                    given.push((d as i32).to_string());
                }
                given
            }
            "shmat" => vec![int(0)],
            "shmdt" => vec!["…".to_string()],
            "shmctl" | "msgctl" => {
                vec![int(0), one(b as i64, words::IPCCTLS)]
            }
            "msgsnd" => {
                let kind = self.memory.word(b).unwrap_or(0) as i64;
                let text = self.quoted(b.wrapping_add(8), c);
                let given =
                    vec![int(0), format!("type {kind} {text}"), c.to_string()];
                with_flags(given, d, words::MSG_FLAGS)
            }
            "msgrcv" => {
                let given = vec![int(0), format!("type {}", d as i64)];
                with_flags(given, e, words::MSG_FLAGS)
            }
            "mq_open" => vec![self.path(a), words::open_flags(b)],
            "mq_timedsend" => vec![
                fd(),
                self.quoted(b, c),
                c.to_string(),
                format!("priority {d}"),
            ],
            "mq_timedreceive" => vec![fd()],
            "mq_notify" => vec![fd(), self.notification(b)],
            "nanosleep" => vec![self.timespec(a)],
            "clock_nanosleep" => vec![self.timespec(c)],
            "getpid" | "getppid" | "gettid" | "getuid" | "geteuid"
            | "getgid" | "getegid" | "getpgrp" | "setsid" | "sched_yield"
            | "fork" | "vfork" | "pause" | "rt_sigreturn" | "sync"
            | "restart_syscall" => vec![],
            name => self.in_hex(how_many(name)?),
        })
    }

    /// What came of it, beyond a number; `None`: nothing.
    fn filled_in(&self, result: i64) -> Option<String> {
        let [a, b, c, _, e, f] = self.args;
        let with = |more: String| Some(format!("{result}, {more}"));
        let got = || u64::try_from(result).ok().filter(|count| *count > 0);
        match self.name {
            "accept" | "accept4" | "getsockname" | "getpeername" if b != 0 => {
                with(self.address(b, self.memory.int(c)? as usize))
            }
            "read" | "pread64" => Some(bytes(got()?, &self.quoted(b, got()?))),
            "readv" | "preadv" | "preadv2" => {
                Some(bytes(got()?, &self.scattered(b, c, got()?)))
            }
            "recvfrom" => {
                let text = match got() {
                    Some(count) => bytes(count, &self.quoted(b, count)),
                    None => "0".to_string(),
                };
                let length = if e == 0 { 0 } else { self.memory.int(f)? };
                match length {
                    0 => Some(text),
                    length => {
                        let from = self.address(e, length as usize);
                        Some(format!("{text}, {from}"))
                    }
                }
            }
            "recvmsg" => {
                let parts = self.message(b, Some(result as u64));
                let text = match got() {
                    Some(count) => bytes(count, &parts[0]),
                    None => "0".to_string(),
                };
                let more = parts.iter().skip(1).cloned();
                let all: Vec<String> = [text].into_iter().chain(more).collect();
                Some(all.join(", "))
            }
            "mq_timedreceive" => Some(bytes(got()?, &self.quoted(b, got()?))),
            "msgrcv" => {
                let kind = self.memory.word(b)? as i64;
                let text = self.quoted(b.wrapping_add(8), result as u64);
                Some(format!("{result}, type {kind} {text}"))
            }
            "pipe" | "pipe2" => with(self.two(a)?),
            "socketpair" => with(self.two(self.args[3])?),
            "getsockopt" => {
                let length = self.memory.int(e)? as u64;
                let value = self.option_value(c, self.args[3], length);
                with(value)
            }
            "poll" | "ppoll" if result > 0 => with(self.polled(a, b, true)),
            "select" | "pselect6" if result > 0 => {
                let sets = [("in", b), ("out", c), ("except", self.args[3])];
                let sets = sets.iter().filter(|(_, set)| *set != 0);
                let sets: Vec<String> = sets
                    .map(|(name, set)| (name, self.descriptors(*set)))
                    .filter(|(_, set)| set != "[]")
                    .map(|(name, set)| format!("{name} {set}"))
                    .collect();
                with(sets.join(", "))
            }
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" if result > 0 => {
                with(self.epoll_events(b, result as usize)?)
            }
            "wait4" if result > 0 && b != 0 => with(ended(self.memory.int(b)?)),
            "waitid" if c != 0 => with(self.siginfo(c)?),
            "brk" | "mmap" | "mremap" | "shmat" => Some(format!("{result:#x}")),
            _ => None,
        }
    }

    fn in_hex(&self, count: usize) -> Vec<String> {
        let args = self.args.iter().take(count);
        args.map(|arg| format!("{arg:#x}")).collect()
    }

    fn int(&self, at: usize) -> String {
        (self.args[at] as i32).to_string()
    }

    fn two(&self, address: u64) -> Option<String> {
        let (one, other) = (
            self.memory.int(address)?,
            self.memory.int(address.wrapping_add(4))?,
        );
        Some(format!("[{one}, {other}]"))
    }

    fn directory(&self) -> String {
        match self.args[0] as i32 {
            libc::AT_FDCWD => "AT_FDCWD".to_string(),
            fd => fd.to_string(),
        }
    }

    fn path(&self, address: u64) -> String {
        match self.memory.text(address) {
            Some(text) => format!("\"{}\"", text.escape_debug()),
            None => format!("{address:#x}"),
        }
    }

    /// The arguments of a program.
    fn strings(&self, address: u64) -> String {
        let mut texts = Vec::new();
        for at in 0..MOST_PARTS as u64 {
            match self.memory.word(address.wrapping_add(at * 8)) {
                None | Some(0) => return format!("[{}]", texts.join(", ")),
                Some(text) => {
                    let text = self.memory.text(text).unwrap_or_default();
                    texts.push(quote(text.as_bytes(), text.len()));
                }
            }
        }
        format!("[{}, …]", texts.join(", "))
    }

    fn quoted(&self, address: u64, length: u64) -> String {
        let length = length as usize;
        match self.memory.bytes(address, length.min(MOST_BYTES)) {
            Some(bytes) => quote(&bytes, length),
            None => format!("{address:#x}"),
        }
    }

    /// What `writev` gathers, part by part.
    fn gathered(&self, parts: u64, count: u64) -> String {
        let known = (count as usize).min(MOST_PARTS);
        let words = self.memory.words(parts, known * 2).unwrap_or_default();
        let mut texts: Vec<String> = words
            .chunks_exact(2)
            .map(|part| self.quoted(part[0], part[1]))
            .collect();
        if count as usize > known {
            texts.push("…".to_string());
        }
        format!("[{}]", texts.join(", "))
    }

    /// What `readv` has scattered, in one piece.
    fn scattered(&self, parts: u64, count: u64, got: u64) -> String {
        let known = (count as usize).min(MOST_PARTS);
        let words = self.memory.words(parts, known * 2).unwrap_or_default();
        let mut bytes = Vec::new();
        for part in words.chunks_exact(2) {
            let left =
                (got as usize).min(MOST_BYTES).saturating_sub(bytes.len());
            let part = self.memory.bytes(part[0], left.min(part[1] as usize));
            bytes.extend(part.unwrap_or_default());
        }
        quote(&bytes, got as usize)
    }

    /// A `msghdr`: its bytes, its address if it has one, and the descriptors
    /// that go with it. `got`: how many bytes it has been filled with.
    fn message(&self, header: u64, got: Option<u64>) -> Vec<String> {
        let Some(words) = self.memory.words(header, 6) else {
            return vec![format!("{header:#x}")];
        };
        let [name, length, parts, count, control, control_length] =
            words.try_into().unwrap_or_default();
        let text = match got {
            Some(got) => self.scattered(parts, count, got),
            None => self.gathered(parts, count),
        };
        let mut told = vec![text];
        let length = length as u32 as usize;
        if name != 0 && length > 0 {
            told.push(self.address(name, length));
        }
        told.extend(self.rights(control, control_length));
        told
    }

    /// `SCM_RIGHTS [4]` (unix(7)).
    fn rights(&self, control: u64, length: u64) -> Option<String> {
        let bytes = self.memory.bytes(control, (length as usize).min(256))?;
        let word = |at: usize| -> Option<i32> {
            Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let (size, level, kind) = (word(0)?, word(8)?, word(12)?);
        if (level, kind) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            return None;
        }
        let end = (size as usize).min(bytes.len());
        let fds = (16..end).step_by(4).filter_map(word);
        let fds: Vec<String> = fds.map(|fd| fd.to_string()).collect();
        Some(format!("SCM_RIGHTS [{}]", fds.join(" ")))
    }

    fn address(&self, address: u64, length: usize) -> String {
        let length = length.min(LONGEST_ADDRESS);
        match self.memory.bytes(address, length) {
            Some(bytes) => socket_address(&bytes),
            None => format!("{address:#x}"),
        }
    }

    fn option_value(&self, name: u64, address: u64, length: u64) -> String {
        let int = |at: u64| self.memory.int(address.wrapping_add(at));
        let level = self.args[1] as i32;
        let told = match (level, name as i32, length) {
            (libc::SOL_SOCKET, libc::SO_LINGER, 8) => {
                int(0).zip(int(4)).map(|(on, time)| {
                    if on == 0 { "off".into() } else { format!("{time} s") }
                })
            }
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO, 16) => {
                Some(self.timeval(address))
            }
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION, _) => {
                let text = self.memory.bytes(address, length as usize);
                text.map(|text| {
                    let end = text.iter().position(|byte| *byte == 0);
                    let end = end.unwrap_or(text.len());
                    quote(&text[..end], end)
                })
            }
            (_, _, 4) => int(0).map(|value| value.to_string()),
            (_, _, 1) => {
                let byte = self.memory.exactly::<1>(address);
                byte.map(|[byte]| byte.to_string())
            }
            _ => Some(format!("{length} bytes")),
        };
        told.unwrap_or_else(|| format!("{address:#x}"))
    }

    fn fcntl(&self) -> Vec<String> {
        let [_, command, argument, ..] = self.args;
        let mut given = vec![self.int(0), one(command as i64, words::FCNTLS)];
        given.extend(match command as i32 {
            libc::F_GETFD | libc::F_GETFL => None,
            libc::F_SETFL => Some(words::open_flags(argument)),
            libc::F_SETFD if argument == 1 => Some("FD_CLOEXEC".to_string()),
            libc::F_SETLK
            | libc::F_SETLKW
            | libc::F_GETLK
            | libc::F_OFD_SETLK
            | libc::F_OFD_SETLKW => {
                let kind = self.memory.exactly::<2>(argument);
                kind.map(|kind| {
                    let kind = i16::from_ne_bytes(kind);
                    one(kind.into(), words::LOCKS)
                })
            }
            _ => Some((argument as i32).to_string()),
        });
        given
    }

    /// The descriptors of `poll`, with what is waited for or what has come.
    fn polled(&self, address: u64, count: u64, back: bool) -> String {
        let known = (count as usize).min(MOST_PARTS);
        let bytes = self.memory.bytes(address, known * 8).unwrap_or_default();
        let mut told: Vec<String> = bytes
            .chunks_exact(8)
            .filter_map(|one| {
                let fd = i32::from_ne_bytes(one[..4].try_into().ok()?);
                let at = if back { 6 } else { 4 };
                let events =
                    u16::from_ne_bytes(one[at..at + 2].try_into().ok()?);
                let events = bits(events.into(), words::POLLS);
                (!back || events != "0").then(|| format!("{fd} {events}"))
            })
            .collect();
        if count as usize > known {
            told.push("…".to_string());
        }
        format!("[{}]", told.join(", "))
    }

    /// The members of an `fd_set`.
    fn descriptors(&self, set: u64) -> String {
        let most = (self.args[0] as i32).clamp(0, libc::FD_SETSIZE as i32);
        let words = (most as usize).div_ceil(64);
        let words = self.memory.words(set, words).unwrap_or_default();
        let has = |fd: &i32| {
            let word = words.get(*fd as usize / 64).copied().unwrap_or(0);
            word & (1 << (fd % 64)) != 0
        };
        let mut fds: Vec<String> = (0..most)
            .filter(has)
            .take(MOST_BYTES + 1)
            .map(|fd| fd.to_string())
            .collect();
        if fds.len() > MOST_BYTES {
            fds[MOST_BYTES] = "…".to_string();
        }
        format!("[{}]", fds.join(" "))
    }

    fn epoll_events(&self, address: u64, count: usize) -> Option<String> {
        // Packed on x86-64 and nowhere else (<linux/eventpoll.h>).
        let (size, data) =
            if cfg!(target_arch = "x86_64") { (12, 4) } else { (16, 8) };
        let known = count.min(MOST_PARTS);
        let bytes = self.memory.bytes(address, known * size)?;
        let mut told: Vec<String> = bytes
            .chunks_exact(size)
            .filter_map(|one| {
                let events = u32::from_ne_bytes(one[..4].try_into().ok()?);
                let data = one[data..data + 8].try_into().ok()?;
                let data = u64::from_ne_bytes(data);
                let events = bits(events.into(), words::EPOLLS);
                Some(format!("{data} {events}"))
            })
            .collect();
        if count > known {
            told.push("…".to_string());
        }
        Some(format!("[{}]", told.join(", ")))
    }

    fn futex(&self) -> Vec<String> {
        let [word, operation, value, ..] = self.args;
        let private = libc::FUTEX_PRIVATE_FLAG as u64;
        let clock = libc::FUTEX_CLOCK_REALTIME as u64;
        let plain = (operation & !private & !clock) as i64;
        let suffix = if operation & private != 0 { "_PRIVATE" } else { "" };
        let name = one(plain, words::FUTEXES);
        vec![
            format!("{word:#x}"),
            format!("{name}{suffix}"),
            (value as u32).to_string(),
        ]
    }

    fn clone_flags(&self, flags: u64, signal: u64) -> String {
        let flags_told = bits(flags, words::CLONES);
        match (flags, signal as i32) {
            (0, signal) => words::signal(signal),
            (_, 0) => flags_told,
            (_, signal) => format!("{flags_told}|{}", words::signal(signal)),
        }
    }

    /// Who only asks has no new action.
    fn action(&self, address: u64) -> Option<String> {
        let words = self.memory.words(address, 2)?;
        let handler = match *words.first()? as usize {
            libc::SIG_DFL => "SIG_DFL",
            libc::SIG_IGN => "SIG_IGN",
            _ => "handler",
        };
        let flags = words.get(1)? & !words::SA_RESTORER & 0xffff_ffff;
        Some(match flags {
            0 => handler.to_string(),
            flags => format!("{handler}, {}", bits(flags, words::ACTIONS)),
        })
    }

    fn semops(&self, address: u64, count: u64) -> String {
        let known = (count as usize).min(MOST_PARTS);
        let bytes = self.memory.bytes(address, known * 6).unwrap_or_default();
        let told = bytes.chunks_exact(6).map(|one| {
            let half = |at: usize| i16::from_ne_bytes([one[at], one[at + 1]]);
            let flags = match half(4) {
                0 => String::new(),
                flags => format!(" {}", bits(flags as u64, words::SEM_FLAGS)),
            };
            format!("{}: {:+}{flags}", half(0), half(2))
        });
        format!("[{}]", told.collect::<Vec<_>>().join(", "))
    }

    fn notification(&self, address: u64) -> String {
        // sigev_value, sigev_signo, sigev_notify of sigevent(3type).
        match (
            self.memory.int(address.wrapping_add(8)),
            self.memory.int(address.wrapping_add(12)),
        ) {
            _ if address == 0 => "none".to_string(),
            (Some(signal), Some(libc::SIGEV_SIGNAL)) => words::signal(signal),
            (_, Some(libc::SIGEV_THREAD)) => "SIGEV_THREAD".to_string(),
            _ => "SIGEV_NONE".to_string(),
        }
    }

    /// What `waitid` tells: si_code at 8, si_pid at 12, si_status at 20.
    fn siginfo(&self, address: u64) -> Option<String> {
        let int = |at: u64| self.memory.int(address.wrapping_add(at));
        let (pid, status) = (int(12)?, int(20)?);
        Some(match int(8)? {
            _ if pid == 0 => "nobody".to_string(),
            libc::CLD_EXITED => format!("{pid} exited {status}"),
            libc::CLD_STOPPED => {
                format!("{pid} stopped by {}", words::signal(status))
            }
            libc::CLD_CONTINUED => format!("{pid} continued"),
            _ => format!("{pid} killed by {}", words::signal(status)),
        })
    }

    fn timespec(&self, address: u64) -> String {
        self.time(address, 1e9)
    }

    fn timeval(&self, address: u64) -> String {
        self.time(address, 1e6)
    }

    fn time(&self, address: u64, parts: f64) -> String {
        match self.memory.words(address, 2).as_deref() {
            Some([seconds, part]) => {
                let part = *part as i64 as f64 / parts;
                format!("{} s", *seconds as i64 as f64 + part)
            }
            _ => "for ever".to_string(),
        }
    }
}

fn with_flags(
    mut given: Vec<String>,
    flags: u64,
    names: &[(i64, &str)],
) -> Vec<String> {
    if flags as u32 != 0 {
        given.push(bits(u64::from(flags as u32), names));
    }
    given
}

/// `IPC_CREAT|IPC_EXCL|0600`.
fn with_ipc(mut given: Vec<String>, flags: u64) -> Vec<String> {
    let (mode, flags) = (flags & 0o777, flags & 0xffff_ffff & !0o777);
    let mode = octal(mode);
    given.push(match flags {
        0 => mode,
        flags => format!("{}|{mode}", bits(flags, words::IPC_FLAGS)),
    });
    given
}

/// As in C: `0600`.
fn octal(mode: u64) -> String {
    format!("0{mode:o}")
}

fn key(key: u64) -> String {
    match key as i32 {
        libc::IPC_PRIVATE => "IPC_PRIVATE".to_string(),
        key => format!("{key:#x}"),
    }
}

fn c_long(value: u64) -> String {
    (value as i64).to_string()
}

fn timeout_ms(timeout: u64) -> String {
    match timeout as i32 {
        ..0 => "for ever".to_string(),
        ms => format!("{ms} ms"),
    }
}

fn bytes(count: u64, text: &str) -> String {
    let plural = if count == 1 { "byte" } else { "bytes" };
    format!("{count} {plural} {text}")
}

fn quote(bytes: &[u8], length: usize) -> String {
    let shown = &bytes[..bytes.len().min(MOST_BYTES)];
    let more = if length > shown.len() { "…" } else { "" };
    format!("\"{}\"{more}", shown.escape_ascii())
}

/// The status that `wait4` fills in (wait(2)).
fn ended(status: i32) -> String {
    if libc::WIFEXITED(status) {
        format!("exited {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        format!("killed by {}", words::signal(libc::WTERMSIG(status)))
    } else if libc::WIFSTOPPED(status) {
        format!("stopped by {}", words::signal(libc::WSTOPSIG(status)))
    } else {
        "continued".to_string()
    }
}

fn socket_address(bytes: &[u8]) -> String {
    let short = |at: usize| -> Option<[u8; 2]> {
        bytes.get(at..at + 2)?.try_into().ok()
    };
    let family = short(0).map_or(0, u16::from_ne_bytes);
    let port = short(2).map_or(0, u16::from_be_bytes);
    let known = match i32::from(family) {
        libc::AF_INET => bytes.get(4..8).and_then(|ip| {
            let ip: [u8; 4] = ip.try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(ip), port)).to_string())
        }),
        libc::AF_INET6 => bytes.get(8..24).and_then(|ip| {
            let ip: [u8; 16] = ip.try_into().ok()?;
            Some(SocketAddr::from((Ipv6Addr::from(ip), port)).to_string())
        }),
        libc::AF_UNIX => Some(unix_address(&bytes[2..])),
        _ => None,
    };
    known.unwrap_or_else(|| one(family.into(), words::FAMILIES))
}

/// A path, `@name` of the abstract ones, `unnamed` (unix(7)).
fn unix_address(path: &[u8]) -> String {
    match path {
        [] => "unnamed".to_string(),
        [0, name @ ..] => format!("\"@{}\"", name.escape_ascii()),
        path => {
            let end = path.iter().position(|byte| *byte == 0);
            let path = &path[..end.unwrap_or(path.len())];
            format!("\"{}\"", path.escape_ascii())
        }
    }
}

/// How many arguments a call has that is told in numbers alone.
fn how_many(name: &str) -> Option<usize> {
    Some(match name {
        "getcwd" | "setpriority" | "truncate" | "flock" | "getgroups"
        | "setgroups" | "uname" | "sysinfo" | "times" | "getrusage"
        | "clock_gettime" | "gettimeofday" | "sigaltstack" | "getrlimit"
        | "set_robust_list" | "inotify_rm_watch" | "timerfd_gettime"
        | "getpriority" | "arch_prctl" => 2,
        "set_tid_address" | "inotify_init1" | "timer_delete" | "time" => 1,
        "getdents64" | "getrandom" | "sched_getaffinity" | "setresuid"
        | "sched_setaffinity" | "setresgid" | "inotify_add_watch"
        | "close_range" | "memfd_create" => 3,
        "prlimit64" | "rseq" | "sendfile" | "timerfd_settime" | "fallocate"
        | "tee" | "sendmmsg" => 4,
        "prctl" | "recvmmsg" | "mount" => 5,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process reads its own memory.
    fn here() -> Memory {
        Memory(std::process::id() as i32)
    }

    fn address(bytes: &[u8]) -> u64 {
        bytes.as_ptr() as u64
    }

    #[test]
    fn texts_are_cut() {
        let text = b"0123456789012345678901234567890123456789";
        let args = [1, address(text), 40, 0, 0, 0];
        assert_eq!(
            entry("write", &args, here()),
            "write(1, \"01234567890123456789012345678901\"…, 40)"
        );
        let args = [1, address(b"closed\n"), 7, 0, 0, 0];
        assert_eq!(entry("write", &args, here()), r#"write(1, "closed\n", 7)"#);
        assert_eq!(exit("write", &args, 7, here()), "= 7");
    }

    #[test]
    fn results_have_what_was_filled_in() {
        let args = [4, address(b"hello"), 100, 0, 0, 0];
        assert_eq!(exit("read", &args, 5, here()), "= 5 bytes \"hello\"");
        assert_eq!(exit("read", &args, 1, here()), "= 1 byte \"h\"");
        assert_eq!(exit("read", &args, 0, here()), "= 0");
        assert_eq!(exit("read", &args, -11, here()), "= -1 EAGAIN");
        assert_eq!(exit("read", &args, -512, here()), "= ? ERESTARTSYS");
    }

    #[test]
    fn addresses_are_read() {
        let v4 = [2, 0, 0x5b, 0x80, 192, 168, 1, 109, 0, 0, 0, 0, 0, 0, 0, 0];
        let args = [3, address(&v4), 16, 0, 0, 0];
        assert_eq!(
            entry("connect", &args, here()),
            "connect(3, 192.168.1.109:23424)"
        );
        assert_eq!(socket_address(b"\x01\0/run/x\0"), "\"/run/x\"");
        assert_eq!(socket_address(b"\x01\0\0name"), "\"@name\"");
        assert_eq!(socket_address(b"\x01\0"), "unnamed");
        assert_eq!(socket_address(b"\x01"), "AF_UNSPEC");
        assert_eq!(socket_address(b"\x02\0\0"), "AF_INET");
    }

    /// A program may give a call anything.
    #[test]
    fn nothing_that_a_call_is_given_harms() {
        let page = vec![0xffu8; 4096];
        let (start, end) = (address(&page), address(&page) + 4090);
        let all = u64::MAX;
        let given = [
            [0; 6],
            [all; 6],
            [all - 3; 6],
            [1 << 63; 6],
            [3, 0x1234, 16, 0x1234, 0x1234, 0x1234],
            [start; 6],
            [end; 6],
            [6, start, start, start, start, start],
            [0, start, all, end, start, end],
            [1, 6, 13, start, all, all],
        ];
        let numbers = 0..600;
        for name in numbers.filter_map(crate::calls::names::name) {
            for args in &given {
                let text = entry(name, args, here());
                assert!(text.starts_with(&format!("{name}(")), "{text}");
                assert!(text.len() < 4000, "{text}");
                for result in [0, 1, 3, 4096, i64::MAX, i64::MIN, -11, -512] {
                    let text = exit(name, args, result, here());
                    assert!(text.starts_with("= "), "{text}");
                    assert!(text.len() < 4000, "{text}");
                }
            }
        }
        let args = [3, 0x1234, 16, 0, 0, 0];
        assert_eq!(entry("connect", &args, here()), "connect(3, 0x1234)");
    }

    #[test]
    fn flags_have_names() {
        let args = [2, 1 | 0o2_000_000, 0, 0, 0, 0];
        assert_eq!(
            entry("socket", &args, here()),
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0)"
        );
        let on = 1i32.to_ne_bytes();
        let args = [3, 1, 2, address(&on), 4, 0];
        assert_eq!(
            entry("setsockopt", &args, here()),
            "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, 1)"
        );
        let args = [-1i32 as u32 as u64, 0, 1, 0, 0, 0];
        assert_eq!(entry("wait4", &args, here()), "wait4(-1, WNOHANG)");
        let ops = [0u8, 0, 0xff, 0xff, 0, 0x10];
        let args = [0, address(&ops), 1, 0, 0, 0];
        assert_eq!(entry("semop", &args, here()), "semop(0, [0: -1 SEM_UNDO])");
    }
}

//! What a call is given, by its name.

use super::super::words::{self, bits, one, option};
use super::{
    Entered, c_long, how_many, key, octal, timeout_ms, with_flags, with_ipc,
};

impl Entered<'_> {
    /// What it is given; `None`: nothing is known of it.
    pub(super) fn arguments(&self) -> Option<Vec<String>> {
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
            | "getsid" | "setuid" | "setgid" | "alarm" => {
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
}

//! A system call as one would write it down: at its entry what it is given,
//! at its return what came of it.
//!
//! `connect(3, 192.168.1.109:80)`, `= 0`; `read(4)`, `= 5 bytes "hello"`. What
//! a call only has filled in is not among its arguments; it is in its result.

mod given;
mod parts;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::memory::Memory;
use super::words::{self, bits, one};

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

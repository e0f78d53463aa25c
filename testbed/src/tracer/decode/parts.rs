//! The parts of calls: texts, addresses, lists and structures in memory.

use super::super::words::{self, bits, one};
use super::{
    Entered, LONGEST_ADDRESS, MOST_BYTES, MOST_PARTS, quote, socket_address,
};

impl Entered<'_> {
    pub(super) fn in_hex(&self, count: usize) -> Vec<String> {
        let args = self.args.iter().take(count);
        args.map(|arg| format!("{arg:#x}")).collect()
    }

    pub(super) fn int(&self, at: usize) -> String {
        (self.args[at] as i32).to_string()
    }

    pub(super) fn two(&self, address: u64) -> Option<String> {
        let (one, other) = (
            self.memory.int(address)?,
            self.memory.int(address.wrapping_add(4))?,
        );
        Some(format!("[{one}, {other}]"))
    }

    pub(super) fn directory(&self) -> String {
        match self.args[0] as i32 {
            libc::AT_FDCWD => "AT_FDCWD".to_string(),
            fd => fd.to_string(),
        }
    }

    pub(super) fn path(&self, address: u64) -> String {
        match self.memory.text(address) {
            Some(text) => format!("\"{}\"", text.escape_debug()),
            None => format!("{address:#x}"),
        }
    }

    /// The arguments of a program.
    pub(super) fn strings(&self, address: u64) -> String {
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

    pub(super) fn quoted(&self, address: u64, length: u64) -> String {
        let length = length as usize;
        match self.memory.bytes(address, length.min(MOST_BYTES)) {
            Some(bytes) => quote(&bytes, length),
            None => format!("{address:#x}"),
        }
    }

    /// What `writev` gathers, part by part.
    pub(super) fn gathered(&self, parts: u64, count: u64) -> String {
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
    pub(super) fn scattered(&self, parts: u64, count: u64, got: u64) -> String {
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
    pub(super) fn message(&self, header: u64, got: Option<u64>) -> Vec<String> {
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
    pub(super) fn rights(&self, control: u64, length: u64) -> Option<String> {
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

    pub(super) fn address(&self, address: u64, length: usize) -> String {
        let length = length.min(LONGEST_ADDRESS);
        match self.memory.bytes(address, length) {
            Some(bytes) => socket_address(&bytes),
            None => format!("{address:#x}"),
        }
    }

    pub(super) fn option_value(
        &self,
        name: u64,
        address: u64,
        length: u64,
    ) -> String {
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

    pub(super) fn fcntl(&self) -> Vec<String> {
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
    pub(super) fn polled(
        &self,
        address: u64,
        count: u64,
        back: bool,
    ) -> String {
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
    pub(super) fn descriptors(&self, set: u64) -> String {
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

    pub(super) fn epoll_events(
        &self,
        address: u64,
        count: usize,
    ) -> Option<String> {
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

    pub(super) fn futex(&self) -> Vec<String> {
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

    pub(super) fn clone_flags(&self, flags: u64, signal: u64) -> String {
        let flags_told = bits(flags, words::CLONES);
        match (flags, signal as i32) {
            (0, signal) => words::signal(signal),
            (_, 0) => flags_told,
            (_, signal) => format!("{flags_told}|{}", words::signal(signal)),
        }
    }

    /// Who only asks has no new action.
    pub(super) fn action(&self, address: u64) -> Option<String> {
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

    pub(super) fn semops(&self, address: u64, count: u64) -> String {
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

    pub(super) fn notification(&self, address: u64) -> String {
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
    pub(super) fn siginfo(&self, address: u64) -> Option<String> {
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

    pub(super) fn timespec(&self, address: u64) -> String {
        self.time(address, 1e9)
    }

    pub(super) fn timeval(&self, address: u64) -> String {
        self.time(address, 1e6)
    }

    pub(super) fn time(&self, address: u64, parts: f64) -> String {
        match self.memory.words(address, 2).as_deref() {
            Some([seconds, part]) => {
                let part = *part as i64 as f64 / parts;
                format!("{} s", *seconds as i64 as f64 + part)
            }
            _ => "for ever".to_string(),
        }
    }
}

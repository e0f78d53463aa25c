//! A sentence for each call that a thread can sit in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::scene::{Holder, Scene};
use super::whereabouts;
use crate::descriptors::{Descriptor, DescriptorKind};
use crate::ipc::{IpcKind, IpcObject};
use crate::sockets::{TcpSocket, TcpState};

impl Scene<'_> {
    /// What the thread waits for.
    pub(super) fn sentence(&self) -> String {
        match self.call.name.as_str() {
            "accept" | "accept4" => self.accepts(),
            "connect" => self.connects(),
            "read" | "readv" | "pread64" | "recvfrom" | "recvmsg"
            | "recvmmsg" => self.reads(self.int(0)),
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg"
            | "sendfile" => self.writes(self.int(0)),
            "splice" => self.splices(),
            "poll" | "ppoll" => self.polls(),
            "select" | "pselect6" => self.selects(),
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => self.epolls(),
            "nanosleep" => self.sleeps(self.call.arguments[0]),
            "clock_nanosleep" => self.sleeps(self.call.arguments[2]),
            "restart_syscall" => {
                "goes on with a sleep that a signal has interrupted".into()
            }
            "futex" => self.futex(),
            "wait4" | "waitid" => self.waits_for_a_child(),
            "pause" | "rt_sigsuspend" | "rt_sigtimedwait" => {
                "waits for a signal".into()
            }
            "semop" | "semtimedop" => self.semaphore(),
            "msgrcv" => self.receives_message(),
            "msgsnd" => self.sends_message(),
            "mq_timedreceive" => self.posix_queue("for a message from"),
            "mq_timedsend" => self.posix_queue("for room in"),
            "fcntl" | "flock" => self.locks(),
            "open" | "openat" => {
                "waits in open: a fifo opens once its other end does".into()
            }
            name => format!("waits in {name}{}", self.on_descriptor()),
        }
    }

    fn on_descriptor(&self) -> String {
        match self.descriptor(self.int(0)) {
            Some(found) if found.number > 2 => format!(" on {}", found.text),
            _ => String::new(),
        }
    }

    fn text(&self, number: i32) -> String {
        match self.descriptor(number) {
            Some(found) => found.text.clone(),
            None => format!("descriptor {number}, which is not open any more"),
        }
    }

    // ---- sockets

    fn accepts(&self) -> String {
        let tcp = self.descriptor(self.int(0)).and_then(|one| one.tcp.as_ref());
        let Some(listener) = tcp else {
            return format!("waits in accept on {}", self.text(self.int(0)));
        };
        let local = listener.local;
        match listener.receive_queue {
            0 => format!(
                "waits in accept on {local}, whose queue is empty{}",
                self.who_has_tried(local)
            ),
            1 => format!(
                "waits in accept on {local}, though a connection is in its \
                 queue"
            ),
            count => format!(
                "waits in accept on {local}, though {count} connections are \
                 in its queue"
            ),
        }
    }

    /// What the frames say about connections to a listener. Loopback has none.
    fn who_has_tried(&self, local: SocketAddr) -> String {
        if self.world.trace.is_none() || local.ip().is_loopback() {
            return String::new();
        }
        let tries = self.tries(local);
        let of = |fate: Fate| {
            let tries = tries.iter().filter(|(_, found)| **found == fate);
            let names: Vec<String> =
                tries.map(|((peer, _), _)| self.peer(*peer)).collect();
            names.join(" and ")
        };
        let parts: Vec<String> = [
            (Fate::Answered, "", " has connected"),
            (
                Fate::Refused,
                "the SYN of ",
                " was answered with RST before it listened",
            ),
            (Fate::Arrived, "the SYN of ", " had no answer"),
            (Fate::Lost, "the SYN of ", " has never arrived"),
        ]
        .into_iter()
        .filter_map(|(fate, before, after)| {
            let names = of(fate);
            let some = !names.is_empty();
            some.then(|| format!("{before}{names}{after}"))
        })
        .collect();
        match parts.as_slice() {
            [] => ": nobody has connected".to_string(),
            parts => format!(": {}", parts.join("; ")),
        }
    }

    /// The SYNs to this address, by who sent them, and what became of each.
    fn tries(&self, local: SocketAddr) -> BTreeMap<(SocketAddr, u32), Fate> {
        let is_local = |address: SocketAddr| {
            address.port() == local.port()
                && (address.ip() == local.ip()
                    || local.ip().is_unspecified()
                        && self.world.addresses.contains(&address.ip()))
        };
        let mut tries = BTreeMap::new();
        let frames = self.world.trace.iter().flat_map(|trace| trace.frames());
        for (_, frame) in frames {
            let Some(segment) = frame.packet().segment() else { continue };
            let flags = segment.flags;
            if flags.syn && !flags.ack && is_local(segment.destination) {
                let fate = tries
                    .entry((segment.source, segment.seq))
                    .or_insert(Fate::Lost);
                if frame.delivered_ns.is_some() && *fate == Fate::Lost {
                    *fate = Fate::Arrived;
                }
            } else if is_local(segment.source) && (flags.rst || flags.syn) {
                let about = (segment.destination, segment.ack.wrapping_sub(1));
                if let Some(fate) = tries.get_mut(&about) {
                    *fate = match flags.syn {
                        true => Fate::Answered,
                        false => Fate::Refused,
                    };
                }
            }
        }
        tries
    }

    fn connects(&self) -> String {
        let found = self.descriptor(self.int(0));
        match found.and_then(|one| one.tcp.as_ref()) {
            Some(tcp) if tcp.state == TcpState::SynSent => {
                let times = match tcp.retransmits {
                    0 => "once".to_string(),
                    1 => "twice".to_string(),
                    more => format!("{} times", u32::from(more) + 1),
                };
                format!(
                    "waits in connect for {}, which answers nothing: it has \
                     sent its SYN {times}",
                    self.peer(tcp.peer)
                )
            }
            _ => format!("waits in connect on {}", self.text(self.int(0))),
        }
    }

    fn receives(&self, tcp: &TcpSocket) -> String {
        let peer = self.peer(tcp.peer);
        let mut text = match tcp.receive_queue {
            0 => format!(
                "waits to receive from {peer} in {}: nothing is in its \
                 receive queue",
                tcp.state
            ),
            count => format!(
                "receives from {peer} in {}, and wants more than the {count} \
                 bytes in its receive queue",
                tcp.state
            ),
        };
        match self.other_end(tcp) {
            Some(Some(end)) if end.receive_queue > 0 => {
                text.push_str(&format!(
                    "; the other end has {} bytes unread",
                    end.receive_queue
                ))
            }
            Some(Some(_)) if tcp.send_queue > 0 => text.push_str(&format!(
                "; {} bytes that it has sent are not acknowledged",
                tcp.send_queue
            )),
            Some(None) => text.push_str("; the other end is gone"),
            _ => {}
        }
        text
    }

    fn sends(&self, tcp: &TcpSocket) -> String {
        let mut text = format!(
            "waits to send to {} in {}: {} bytes fill its send queue",
            self.peer(tcp.peer),
            tcp.state,
            tcp.send_queue
        );
        match self.other_end(tcp) {
            Some(Some(end)) => text.push_str(&format!(
                ", and the other end has {} bytes unread",
                end.receive_queue
            )),
            Some(None) => text.push_str(", and the other end is gone"),
            None => {}
        }
        text
    }

    // ---- pipes and files

    fn reads(&self, number: i32) -> String {
        let Some(found) = self.descriptor(number) else {
            return format!("waits to read from {}", self.text(number));
        };
        match (&found.tcp, found.kind) {
            (Some(tcp), _) => self.receives(tcp),
            (_, DescriptorKind::Pipe) => self.reads_pipe(found),
            (_, DescriptorKind::Udp) => {
                format!("waits for a datagram on {}", found.text)
            }
            (_, DescriptorKind::Unix) => {
                format!("waits to receive on {}", found.text)
            }
            (_, DescriptorKind::EventFd) => {
                "waits for its eventfd, whose counter is 0".into()
            }
            (_, DescriptorKind::TimerFd) => "waits for its timer".into(),
            (_, DescriptorKind::SignalFd) => "waits for a signal".into(),
            _ => format!("waits to read from {}", found.text),
        }
    }

    /// End-of-file comes once nobody has the end to write to: the reader itself
    /// counts, and so does whoever has inherited it.
    fn reads_pipe(&self, pipe: &Descriptor) -> String {
        let holders = self.holders(pipe.inode, true);
        let is_scenario = |one: &Holder| matches!(one, Holder::Scenario);
        if holders.iter().any(is_scenario) {
            return "waits for a line on its standard input".into();
        }
        let own = holders.iter().find_map(|holder| match holder {
            Holder::Itself(fd) => Some(*fd),
            _ => None,
        });
        let others = others(&holders).join(" and ");
        let why = match (own, others.is_empty()) {
            (Some(fd), true) => format!(
                "; it has the end to write to open itself, as descriptor {fd}, \
                 and there is no end-of-file before it closes that"
            ),
            (Some(fd), false) => format!(
                "; there is no end-of-file before it closes its own end to \
                 write to, descriptor {fd}, and so does {others}"
            ),
            (None, false) => format!(
                "; there is no end-of-file before {others} closes the end to \
                 write to"
            ),
            (None, true) => String::new(),
        };
        let number = pipe.number;
        format!("waits to read from an empty pipe, descriptor {number}{why}")
    }

    fn writes(&self, number: i32) -> String {
        let Some(found) = self.descriptor(number) else {
            return format!("waits to write to {}", self.text(number));
        };
        match (&found.tcp, found.kind) {
            (Some(tcp), _) => self.sends(tcp),
            (_, DescriptorKind::Pipe) => self.writes_pipe(found),
            _ => format!("waits to write to {}", found.text),
        }
    }

    fn writes_pipe(&self, pipe: &Descriptor) -> String {
        let holders = self.holders(pipe.inode, false);
        if holders.iter().any(|one| matches!(one, Holder::Scenario)) {
            return "waits until its output is read".into();
        }
        let readers: Vec<String> = holders
            .iter()
            .map(|holder| match holder {
                Holder::Itself(fd) => format!("itself, as descriptor {fd}"),
                Holder::Other(name, fd) => {
                    format!("{name}, as descriptor {fd}")
                }
                Holder::Scenario => "the scenario".into(),
            })
            .collect();
        format!(
            "waits to write to a pipe, descriptor {}, that is full; who could \
             read from it is {}",
            pipe.number,
            readers.join(" and ")
        )
    }

    fn splices(&self) -> String {
        format!(
            "waits in splice from {} to {}",
            self.text(self.int(0)),
            self.text(self.int(2))
        )
    }

    fn locks(&self) -> String {
        let text = self.text(self.int(0));
        let holder = self.lock_holder(self.int(0));
        let holder = holder.as_deref().unwrap_or("somebody else");
        format!("waits for a lock on {text}, which {holder} has")
    }

    // ---- several at a time

    /// A descriptor that is watched, and what is there already: a program that
    /// is told of changes alone is not told of that again.
    fn watched(&self, number: i32) -> String {
        let Some(found) = self.descriptor(number) else {
            return format!("{number}, which is not open");
        };
        let queue = found.tcp.as_ref().map_or(0, |tcp| tcp.receive_queue);
        let listens =
            found.tcp.as_ref().is_some_and(|tcp| tcp.state == TcpState::Listen);
        let mut text = format!("{number} ({}", found.text);
        match (queue, listens) {
            (0, _) => {}
            (count, true) => text += &format!(", {count} in its queue"),
            (count, false) => text += &format!(", {count} bytes unread"),
        }
        text + ")"
    }

    fn waits_on(&self, fds: &[i32], limit: &str) -> String {
        let call = &self.call.name;
        if fds.is_empty() {
            return format!("waits in {call} on no descriptor{limit}");
        }
        let fds: Vec<String> = fds.iter().map(|fd| self.watched(*fd)).collect();
        format!("waits in {call}{limit} on {}", fds.join(" and "))
    }

    fn polls(&self) -> String {
        const SIZE: usize = 8; // struct pollfd: int fd, short events, revents
        let count = (self.call.arguments[1] as usize).min(1024);
        let table = self.memory(self.call.arguments[0], count * SIZE);
        let fds: Vec<i32> = table
            .iter()
            .flat_map(|table| table.chunks_exact(SIZE))
            .filter_map(|row| {
                Some(i32::from_ne_bytes(row[..4].try_into().ok()?))
            })
            .filter(|fd| *fd >= 0)
            .collect();
        let limit = match self.call.name.as_str() {
            "poll" => milliseconds(self.int(2)),
            _ => self.limit(self.call.arguments[2], 1_000_000_000),
        };
        self.waits_on(&fds, &limit)
    }

    fn selects(&self) -> String {
        let count = self.int(0).clamp(0, 1024);
        let sets: Vec<Vec<u8>> = self.call.arguments[1..4]
            .iter()
            .filter_map(|set| self.memory(*set, (count as usize).div_ceil(8)))
            .collect();
        let is_in = |fd: &i32, set: &Vec<u8>| {
            set[*fd as usize / 8] & (1 << (fd % 8)) != 0
        };
        let fds: Vec<i32> = (0..count)
            .filter(|fd| sets.iter().any(|set| is_in(fd, set)))
            .collect();
        // select(2) takes microseconds, pselect(2) nanoseconds.
        let parts = match self.call.name.as_str() {
            "select" => 1_000_000,
            _ => 1_000_000_000,
        };
        let limit = self.limit(self.call.arguments[4], parts);
        self.waits_on(&fds, &limit)
    }

    fn epolls(&self) -> String {
        let limit = match self.call.name.as_str() {
            "epoll_pwait2" => self.limit(self.call.arguments[3], 1_000_000_000),
            _ => milliseconds(self.int(3)),
        };
        let epoll = self.descriptor(self.int(0));
        let fds = epoll.map_or(&[][..], |epoll| &epoll.watches);
        self.waits_on(fds, &limit)
    }

    // ---- time, threads and processes

    /// A struct timespec or timeval in the program's memory.
    fn time(&self, address: u64, parts: u64) -> Option<Duration> {
        let bytes = self.memory(address, 16)?;
        let word = |at: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes[at..at + 8].try_into().ok()?))
        };
        let nanoseconds = word(8)?.checked_mul(1_000_000_000 / parts)?;
        let nanoseconds = Duration::from_nanos(nanoseconds);
        Duration::from_secs(word(0)?).checked_add(nanoseconds)
    }

    fn limit(&self, address: u64, parts: u64) -> String {
        match (address, self.time(address, parts)) {
            (0, _) => " without a limit".to_string(),
            (_, Some(time)) => format!(" for {time:?} at most"),
            _ => String::new(),
        }
    }

    fn sleeps(&self, request: u64) -> String {
        const TIMER_ABSTIME: u64 = 1;
        let absolute = self.call.name == "clock_nanosleep"
            && self.call.arguments[1] & TIMER_ABSTIME != 0;
        match self.time(request, 1_000_000_000) {
            Some(time) if !absolute => format!("sleeps for {time:?}"),
            _ => "sleeps until a time that it has set".into(),
        }
    }

    fn futex(&self) -> String {
        const LOCK_PI: u64 = 6;
        let arguments = self.call.arguments;
        let expected = arguments[2] as i32;
        // pthread_join(3) waits for the word in which the kernel clears the
        // number of a thread that ends (set_tid_address(2)).
        let own_pid = self.process.own_pid;
        let joins = expected > own_pid
            && expected != self.own_tid
            && self.is_thread(expected);
        let limit = match arguments[3] {
            0 => "",
            _ => ", with a time limit",
        };
        match (joins, arguments[1] & 0x7f) {
            (true, _) => {
                format!("waits for its thread {expected} to end{limit}")
            }
            (_, LOCK_PI) => format!("waits for a lock{limit}"),
            _ => format!("waits for a lock or a condition{limit}"),
        }
    }

    fn is_thread(&self, own_tid: i32) -> bool {
        let directory = format!("/proc/{}/task", self.process.pid);
        crate::processes::numbers(std::path::Path::new(&directory)).any(|tid| {
            let status =
                std::fs::read_to_string(format!("{directory}/{tid}/status"));
            let status = status.unwrap_or_default();
            let numbers = crate::processes::field(&status, "NSpid:");
            numbers.and_then(|all| all.split_whitespace().last()?.parse().ok())
                == Some(own_tid)
        })
    }

    fn waits_for_a_child(&self) -> String {
        // wait4(pid, ...), waitid(kind, pid, ...)
        let wanted = match (self.call.name.as_str(), self.int(0)) {
            ("wait4", pid) => pid,
            (_, kind) if kind == libc::P_PID as i32 => self.int(1),
            _ => -1,
        };
        let children = self.world.processes.iter().filter(|child| {
            child.parent == self.process.pid
                && (wanted <= 0 || child.own_pid == wanted)
        });
        let children: Vec<String> = children
            .map(|child| {
                let place = whereabouts(child);
                format!("{} {}, which {place}", child.name, child.own_pid)
            })
            .collect();
        match children.as_slice() {
            [] => "waits for a child that cannot be seen".into(),
            [one] => format!("waits for its child {one}, to end"),
            many => format!("waits for a child to end: {}", many.join("; ")),
        }
    }

    // ---- System V and POSIX

    fn object(&self, kind: IpcKind) -> Option<&IpcObject> {
        let id = self.int(0);
        let mut objects = self.world.objects.iter();
        objects.find(|object| object.kind == kind && object.id == id)
    }

    fn semaphore(&self) -> String {
        let id = self.int(0);
        let Some(set) = self.object(IpcKind::SemaphoreSet) else {
            return format!("waits in semop on set {id}, which is gone");
        };
        // struct sembuf: unsigned short number, short operation, short flags
        let count = (self.call.arguments[2] as usize).min(64);
        let operations = self.memory(self.call.arguments[1], count * 6);
        let operations: Vec<String> = operations
            .iter()
            .flat_map(|bytes| bytes.chunks_exact(6))
            .filter_map(|one| {
                let number = u16::from_ne_bytes([one[0], one[1]]);
                let change = i16::from_ne_bytes([one[2], one[3]]);
                let value = set.values.get(usize::from(number))?;
                let wish = match change {
                    0 => "wait until it is 0".to_string(),
                    1.. => format!("add {change}"),
                    _ => format!("take {}", -i32::from(change)),
                };
                Some(format!(
                    "semaphore {number} is {value}, and it wants to {wish}"
                ))
            })
            .collect();
        format!(
            "waits in semop on set {id} (key {}): {}",
            set.name,
            operations.join("; ")
        )
    }

    fn receives_message(&self) -> String {
        let id = self.int(0);
        let Some(queue) = self.object(IpcKind::MessageQueue) else {
            return format!("waits in msgrcv on queue {id}, which is gone");
        };
        let wanted = match self.call.arguments[3] as i64 {
            0 => "any".to_string(),
            kind @ 1.. => format!("one of type {kind}"),
            kind => format!("one of type {} or less", -kind),
        };
        format!(
            "waits for a message in queue {id} (key {}), which has {}: it \
             wants {wanted}",
            queue.name, queue.messages
        )
    }

    fn sends_message(&self) -> String {
        let id = self.int(0);
        match self.object(IpcKind::MessageQueue) {
            Some(queue) => format!(
                "waits for room in queue {id} (key {}), which has {} messages \
                 of {} bytes in all",
                queue.name, queue.messages, queue.bytes
            ),
            None => format!("waits in msgsnd on queue {id}, which is gone"),
        }
    }

    fn posix_queue(&self, what: &str) -> String {
        let text = self.text(self.int(0));
        let name = text.strip_prefix("message queue ");
        let queue = self.world.objects.iter().find(|object| {
            object.kind == IpcKind::PosixMessageQueue
                && Some(object.name.as_str()) == name
        });
        match queue {
            Some(queue) => format!(
                "waits {what} {text}, which holds {} of {}",
                queue.messages, queue.most_messages
            ),
            None => format!("waits {what} {text}"),
        }
    }
}

/// What has become of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Arrived,
    Refused,
    Answered,
}

fn milliseconds(limit: i32) -> String {
    match limit {
        ..0 => " without a limit".to_string(),
        limit => {
            format!(" for {:?} at most", Duration::from_millis(limit as u64))
        }
    }
}

fn others(holders: &[Holder]) -> Vec<String> {
    let others = holders.iter().filter_map(|holder| match holder {
        Holder::Other(name, fd) => Some(format!("{name} (descriptor {fd})")),
        _ => None,
    });
    others.collect()
}

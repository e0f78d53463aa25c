//! Who waits at a pipe, a file, or several descriptors at a time.

use std::time::Duration;

use super::scene::{Holder, Scene};
use crate::descriptors::{Descriptor, DescriptorKind};
use crate::sockets::TcpState;

impl Scene<'_> {
    pub(super) fn reads(&self, number: i32) -> String {
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

    pub(super) fn writes(&self, number: i32) -> String {
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

    pub(super) fn splices(&self) -> String {
        format!(
            "waits in splice from {} to {}",
            self.text(self.int(0)),
            self.text(self.int(2))
        )
    }

    pub(super) fn locks(&self) -> String {
        let text = self.text(self.int(0));
        let holder = self.lock_holder(self.int(0));
        let holder = holder.as_deref().unwrap_or("somebody else");
        format!("waits for a lock on {text}, which {holder} has")
    }

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

    pub(super) fn polls(&self) -> String {
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

    pub(super) fn selects(&self) -> String {
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

    pub(super) fn epolls(&self) -> String {
        let limit = match self.call.name.as_str() {
            "epoll_pwait2" => self.limit(self.call.arguments[3], 1_000_000_000),
            _ => milliseconds(self.int(3)),
        };
        let epoll = self.descriptor(self.int(0));
        let fds = epoll.map_or(&[][..], |epoll| &epoll.watches);
        self.waits_on(fds, &limit)
    }
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

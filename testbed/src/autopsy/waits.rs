//! Who waits for a time, a thread, a child, or an IPC object.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::scene::Scene;
use super::whereabouts;
use crate::ipc::{IpcKind, IpcObject};
use crate::processes::{field, numbers};

impl Scene<'_> {
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

    pub(super) fn limit(&self, address: u64, parts: u64) -> String {
        match (address, self.time(address, parts)) {
            (0, _) => " without a limit".to_string(),
            (_, Some(time)) => format!(" for {time:?} at most"),
            _ => String::new(),
        }
    }

    pub(super) fn sleeps(&self, request: u64) -> String {
        const TIMER_ABSTIME: u64 = 1;
        let absolute = self.call.name == "clock_nanosleep"
            && self.call.arguments[1] & TIMER_ABSTIME != 0;
        match self.time(request, 1_000_000_000) {
            Some(time) if !absolute => format!("sleeps for {time:?}"),
            _ => "sleeps until a time that it has set".into(),
        }
    }

    pub(super) fn futex(&self) -> String {
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
        numbers(Path::new(&directory)).any(|tid| {
            let status =
                fs::read_to_string(format!("{directory}/{tid}/status"));
            let status = status.unwrap_or_default();
            let numbers = field(&status, "NSpid:");
            numbers.and_then(|all| all.split_whitespace().last()?.parse().ok())
                == Some(own_tid)
        })
    }

    pub(super) fn waits_for_a_child(&self) -> String {
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

    fn object(&self, kind: IpcKind) -> Option<&IpcObject> {
        let id = self.int(0);
        let mut objects = self.world.objects.iter();
        objects.find(|object| object.kind == kind && object.id == id)
    }

    pub(super) fn semaphore(&self) -> String {
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

    pub(super) fn receives_message(&self) -> String {
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

    pub(super) fn sends_message(&self) -> String {
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

    pub(super) fn posix_queue(&self, what: &str) -> String {
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

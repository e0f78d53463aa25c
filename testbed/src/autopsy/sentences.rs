//! A sentence for each call that a thread can sit in.

use super::scene::Scene;

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

    pub(super) fn text(&self, number: i32) -> String {
        match self.descriptor(number) {
            Some(found) => found.text.clone(),
            None => format!("descriptor {number}, which is not open any more"),
        }
    }
}

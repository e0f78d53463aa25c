//! The tracer of one program: a process that waits for its threads to stand at
//! a system call, tells of it, and lets them go on.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg,
};

use super::memory::Memory;
use super::startup::{Private, Startup};
use super::{MOST_KEPT, Message, decode, monotonic_ns};
use crate::calls::names;
use crate::sys::ptrace::{self, Change, Syscall};
use crate::sys::seccomp::AUDIT_ARCH;
use crate::trace::{CallEvent, ReturnEvent};

/// So many calls that are not kept are told of at a time.
const COUNTED_AT_ONCE: u64 = 100;
/// What the kernel has a call return that begins again after a signal, unless
/// a handler runs: then it fails with EINTR (signal(7)).
const ERESTARTNOHAND: i64 = -514;

/// The tracer's life: until no thread of the program is left.
pub(super) fn trace(channel: OwnedFd, tell: OwnedFd) {
    let channel = UnixStream::from(channel);
    let Some(pid) = receive_pid(&channel) else { return };
    let mut tracer = Tracer {
        tell: File::from(tell),
        threads: HashMap::new(),
        early: BTreeSet::new(),
        numbered: 0,
        kept: 0,
        counted: 0,
        private: Private::default(),
    };
    let errno = match ptrace::seize(pid) {
        Ok(()) => 0,
        Err(err) => err.raw_os_error().unwrap_or(libc::EIO),
    };
    tracer.say(&Message::Seized(errno));
    let said = (&channel).write_all(&errno.to_ne_bytes());
    drop(channel);
    if errno == 0 && said.is_ok() {
        tracer.adopt(pid, Startup::default());
        while let Some((tid, change)) = ptrace::wait() {
            tracer.changed(tid, change);
        }
    }
    tracer.tell_the_count();
}

/// The number of whoever speaks first, as this process counts.
fn receive_pid(channel: &UnixStream) -> Option<i32> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::empty();
    let fd = channel.as_raw_fd();
    let message = recvmsg::<()>(fd, &mut parts, Some(&mut space), flags);
    let message = message.ok().filter(|message| message.bytes == 1)?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmCredentials(who) => Some(who.pid()),
        _ => None,
    })
}

struct Tracer {
    tell: File,
    threads: HashMap<i32, Thread>,
    /// New ones of which nobody has told yet; they stand still.
    early: BTreeSet<i32>,
    numbered: u32,
    kept: u64,
    counted: u64,
    private: Private,
}

struct Thread {
    number: u32,
    startup: Startup,
    stopped: bool,
    call: Option<Pending>,
    /// A look at a descriptor, told once it is clear whose it is.
    looked: Vec<Message>,
}

/// A call that has not returned.
struct Pending {
    name: String,
    args: [u64; 6],
    entered: u64,
    startup: bool,
    kept: bool,
}

impl Tracer {
    fn changed(&mut self, tid: i32, change: Change) {
        let is_group_stop = change == Change::GroupStop;
        self.note_stop(tid, is_group_stop);
        let mut signal = 0;
        match change {
            Change::Gone => {
                self.tell_the_look(tid, false);
                self.threads.remove(&tid);
                self.release_the_early();
                return;
            }
            Change::GroupStop => return ptrace::listen(tid),
            Change::Syscall => self.at_syscall(tid),
            Change::Made(new) => self.made(tid, new),
            Change::Executed(former) => self.executed(tid, former),
            Change::Signal(number) => signal = number,
            // It stands still before its maker tells of it, and waits for that.
            Change::Trap if !self.threads.contains_key(&tid) => {
                self.early.insert(tid);
                return;
            }
            Change::Trap => {}
        }
        ptrace::go_on(tid, signal);
    }

    fn adopt(&mut self, tid: i32, startup: Startup) {
        self.numbered += 1;
        let number = self.numbered;
        let thread = Thread {
            number,
            startup,
            stopped: false,
            call: None,
            looked: Vec::new(),
        };
        self.threads.insert(tid, thread);
    }

    fn made(&mut self, by: i32, new: i32) {
        let startup = match self.threads.get(&by) {
            Some(maker) if maker.makes_a_thread(Memory(by)) => {
                Startup::of_thread()
            }
            // After vfork(2) it is as far as its parent.
            Some(_) | None => Startup::over(),
        };
        match self.threads.get_mut(&new) {
            Some(thread) => thread.startup = startup,
            None => self.adopt(new, startup),
        }
        if self.early.remove(&new) {
            ptrace::go_on(new, 0);
        }
    }

    /// Whoever has ended may have made one of them, and tells no more of it.
    fn release_the_early(&mut self) {
        for tid in std::mem::take(&mut self.early) {
            self.adopt(tid, Startup::over());
            ptrace::go_on(tid, 0);
        }
    }

    /// The other threads of the process have gone, and the one that made the
    /// call has the first one's number now.
    fn executed(&mut self, tid: i32, former: i32) {
        let moved = (former != tid).then(|| self.threads.remove(&former));
        if let Some(thread) = moved.flatten() {
            self.threads.insert(tid, thread);
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.startup = Startup::of_program(tid);
        }
    }

    fn note_stop(&mut self, tid: i32, stops: bool) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.stopped != stops {
            thread.stopped = stops;
            self.say(&match stops {
                true => Message::Stopped(tid as u32),
                false => Message::Continued(tid as u32),
            });
        }
    }

    fn at_syscall(&mut self, tid: i32) {
        let at = monotonic_ns();
        match ptrace::syscall(tid) {
            Syscall::Entry { arch, ip, number, args } => {
                let name = match names::name(number as i64) {
                    Some(name) if Some(arch) == AUDIT_ARCH => name.to_string(),
                    _ => decode::nameless(number),
                };
                self.entered(tid, at, ip, name, args);
            }
            Syscall::Exit { result } => self.returned(tid, at, result),
            Syscall::Neither => {}
        }
    }

    fn entered(
        &mut self,
        tid: i32,
        at: u64,
        ip: u64,
        name: String,
        args: [u64; 6],
    ) {
        let memory = Memory(tid);
        self.tell_the_look(tid, name == "close");
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let startup =
            thread.startup.has(&name, ip, &args, memory, &mut self.private);
        // A place for the return is kept free.
        let kept = self.kept + 2 <= MOST_KEPT;
        let number = thread.number;
        let pending =
            Pending { name: name.clone(), args, entered: at, startup, kept };
        thread.call = Some(pending);
        if !kept {
            self.counted += 1;
            if self.counted == COUNTED_AT_ONCE {
                self.tell_the_count();
            }
            return;
        }
        self.kept += 2;
        let text = Some(decode::entry(&name, &args, memory));
        let (program, thread) = (String::new(), number);
        let tid = tid as u32;
        let looks = name == "fcntl" && args[1] as i32 == libc::F_GETFD;
        let call =
            CallEvent { program, thread, tid, name, args, text, startup };
        let message = Message::Entered { at, call };
        match self.threads.get_mut(&(tid as i32)) {
            Some(thread) if looks => thread.looked.push(message),
            _ => self.say(&message),
        }
    }

    /// Rust's standard library, where debug assertions are on, looks whether a
    /// descriptor is open before it closes it: that is not the program's call.
    fn tell_the_look(&mut self, tid: i32, closes: bool) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        for mut message in std::mem::take(&mut thread.looked) {
            if let Message::Entered {
                call: CallEvent { startup, .. }, ..
            }
            | Message::Returned {
                call: ReturnEvent { startup, .. }, ..
            } = &mut message
            {
                *startup |= closes;
            }
            self.say(&message);
        }
    }

    fn returned(&mut self, tid: i32, at: u64, result: i64) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        // The execve that made it the program has no entry here.
        let Some(call) = thread.call.take() else { return };
        let number = thread.number;
        if call.startup {
            let private = &mut self.private;
            thread.startup.returned(&call.name, &call.args, result, private);
        }
        let mut result = result;
        if result == -i64::from(libc::EINTR)
            && would_not_have_been_interrupted(tid)
            && ptrace::set_result(tid, ERESTARTNOHAND).is_ok()
        {
            result = ERESTARTNOHAND;
        }
        if !call.kept {
            return;
        }
        let text = decode::exit(&call.name, &call.args, result, Memory(tid));
        let Pending { name, entered, startup, .. } = call;
        let call = ReturnEvent {
            program: String::new(),
            thread: number,
            tid: tid as u32,
            name,
            entered_ns: entered,
            result,
            text,
            startup,
        };
        let message = Message::Returned { at, call };
        match self.threads.get_mut(&tid) {
            Some(thread) if !thread.looked.is_empty() => {
                thread.looked.push(message);
            }
            _ => self.say(&message),
        }
    }

    fn tell_the_count(&mut self) {
        if self.counted > 0 {
            let count = std::mem::take(&mut self.counted);
            self.say(&Message::NotKept(count));
        }
    }

    /// Whoever listened has gone with the run, and so will this process.
    fn say(&mut self, message: &Message) {
        let Ok(mut line) = serde_json::to_vec(message) else { return };
        line.push(b'\n');
        let _ = self.tell.write_all(&line);
    }
}

impl Thread {
    fn makes_a_thread(&self, memory: Memory) -> bool {
        let Some(call) = &self.call else { return false };
        let flags = match call.name.as_str() {
            "clone" => call.args[0],
            "clone3" => memory.word(call.args[0]).unwrap_or(0),
            _ => 0,
        };
        flags & libc::CLONE_THREAD as u64 != 0
    }
}

/// A traced thread wakes up for every signal, even one that is ignored: a call
/// that is not begun again by itself (epoll_wait, semop, recv with a time
/// limit) then fails with EINTR, and would not have if nobody looked. Are all
/// signals that wait for this thread ignored?
fn would_not_have_been_interrupted(tid: i32) -> bool {
    /// What does nothing by default.
    const QUIET: [libc::c_int; 4] =
        [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status"))
    else {
        return false;
    };
    let set = |name: &str| {
        let field = status.lines().find_map(|line| line.strip_prefix(name));
        let digits = field.unwrap_or_default().trim();
        u64::from_str_radix(digits, 16).unwrap_or(0)
    };
    let waiting = (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:");
    let quiet = QUIET.iter().fold(0, |set, signal| set | 1 << (signal - 1));
    let ignored = set("SigIgn:") | (quiet & !set("SigCgt:"));
    waiting != 0 && waiting & !ignored == 0
}

//! The system calls of a program: counted, told in their order, and held.
//!
//! A thread that makes a watched call sleeps at its entry until the supervisor,
//! a thread of ours, has the kernel go on with it (seccomp_unotify(2)). What is
//! held is a thread that the supervisor has not answered yet.

pub(crate) mod names;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Result;
use crate::recorder::Recorder;
use crate::sys::seccomp;
use crate::trace::CallEvent;

pub(crate) use watch::{Arrival, Filter, Plan};

/// Calls of a program that are kept, in its log and in the trace. Those after
/// them are counted.
const MOST_KEPT: usize = 10_000;

/// A system call that a thread has made, or is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it was entered: nanoseconds since the network was up.
    pub t_ns: u64,
    /// The thread's number, as this run's /proc counts.
    pub tid: u32,
    /// The same as a reader counts: the program's threads, those of what it
    /// has started included, from 1 by their first watched call.
    pub thread: u32,
    /// Its name, as in syscalls(2).
    pub name: &'static str,
    /// What the registers held: of a pointer the address; of an `int` the lower
    /// half counts.
    pub args: [u64; 6],
    /// The kernel's number for the thread's wait.
    id: u64,
}

/// The watched calls of a program and of all that it starts; clones are the
/// same calls, for other threads.
///
/// Two threads that both read a counter before either writes it:
///
/// ```no_run
/// # use testbed::{Launch, Network};
/// # use std::time::Duration;
/// # fn main() -> testbed::Result<()> {
/// # testbed::enter()?;
/// # let net = Network::lan().up()?;
/// # let limit = Duration::from_secs(5);
/// let launch = Launch::new("counter", "./counter").hold(&["sched_yield"]);
/// let program = net.host("Kongming20")?.start_program(launch)?;
/// let calls = program.calls().expect("its calls are watched");
/// assert!(calls.wait_held("sched_yield", 2, limit), "both stand between");
/// calls.let_go("sched_yield");
/// # Ok(())
/// # }
/// ```
///
/// A held thread sleeps (S in /proc, or D once a signal has come) and counts as
/// idle. Only SIGKILL ends its wait. A signal that comes meanwhile is pending
/// when the call begins: one that would block returns EINTR, after the handler.
/// On kernels before 5.19 the signal ends the wait: the handler runs, and the
/// call, if it is made again, is told and held as another.
///
/// # Panics
///
/// Methods that take a call's name panic if it was not given to
/// [`Launch::watch`](crate::Launch::watch): nothing could ever be seen of it.
#[derive(Clone)]
pub struct Calls {
    shared: Arc<Shared>,
}

struct Shared {
    listener: OwnedFd,
    plan: Plan,
    recorder: Recorder,
    /// The supervisor has taken a call and not decided about it yet.
    deciding: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<Call>,
    counts: BTreeMap<i64, usize>,
    threads: BTreeMap<u32, u32>,
    holding: BTreeSet<&'static str>,
    held: Vec<Call>,
    /// How many calls were let go on.
    answered: u64,
    /// Nothing is held any more: the program is dropped.
    released: bool,
    /// No task is left that could make a call.
    ended: bool,
}

impl Calls {
    /// The first 10,000 watched calls, in the order in which they were entered.
    pub fn log(&self) -> Vec<Call> {
        self.shared.lock().log.clone()
    }

    /// How often a call has been made, the held ones included.
    pub fn count(&self, name: &str) -> usize {
        let number = self.watched(name).1;
        self.shared.lock().count(number)
    }

    /// Waits until a call has been made so many times: `false` when time runs
    /// out, or every task that could make it has ended.
    pub fn wait_count(
        &self,
        name: &str,
        count: usize,
        limit: Duration,
    ) -> bool {
        let number = self.watched(name).1;
        let enough = |state: &mut State| state.count(number) >= count;
        self.wait(limit, enough)
    }

    /// From now on each thread that makes this call stops at its entry.
    pub fn hold(&self, name: &str) {
        let name = self.watched(name).0;
        let mut state = self.shared.lock();
        if !state.released {
            state.holding.insert(name);
        }
    }

    /// Waits until so many threads stand held at this call: `false` when time
    /// runs out, or every task that could make it has ended.
    pub fn wait_held(&self, name: &str, count: usize, limit: Duration) -> bool {
        let name = self.watched(name).0;
        self.wait(limit, |state| {
            self.shared.forget_the_dead(state);
            state.held.iter().filter(|call| call.name == name).count() >= count
        })
    }

    /// Who stands held, the one that has waited longest first.
    pub fn held(&self) -> Vec<Call> {
        let mut state = self.shared.lock();
        self.shared.forget_the_dead(&mut state);
        state.held.clone()
    }

    /// Lets one thread go on with its call; `false`: it is not held, or it has
    /// been killed.
    pub fn release(&self, call: &Call) -> bool {
        self.release_where(1, |held| held.id == call.id) == 1
    }

    /// Lets the thread go on that has waited longest at this call; `false`: no
    /// thread waits there.
    pub fn release_one(&self, name: &str) -> bool {
        let name = self.watched(name).0;
        self.release_where(1, |held| held.name == name) == 1
    }

    /// Lets every thread go on that waits at this call, and tells how many.
    /// Those that come later are held again.
    pub fn release_all(&self, name: &str) -> usize {
        let name = self.watched(name).0;
        self.release_where(usize::MAX, |held| held.name == name)
    }

    /// Stops holding this call, and lets every thread go on that waits there.
    pub fn let_go(&self, name: &str) -> usize {
        let name = self.watched(name).0;
        self.shared.lock().holding.remove(name);
        self.release_all(name)
    }

    /// Lets a held thread go on and waits until it stands held again: where.
    /// `None`: it was not held, has ended, sleeps in a call that is not held,
    /// or time ran out.
    pub fn step(&self, call: &Call, limit: Duration) -> Option<Call> {
        if !self.release(call) {
            return None;
        }
        let mut next = None;
        self.wait(limit, |state| {
            self.shared.forget_the_dead(state);
            next = state.held.iter().find(|held| held.tid == call.tid).cloned();
            next.is_some()
        });
        next
    }

    /// Lets everything go on, for good.
    pub(crate) fn release_for_good(&self) {
        let mut state = self.shared.lock();
        state.released = true;
        state.holding.clear();
        drop(state);
        self.release_where(usize::MAX, |_| true);
    }

    /// Asks `look` whether any thread is at work. One that sleeps because its
    /// call has not been answered yet is, and `look` would not see it.
    pub(crate) fn is_at_work(
        &self,
        look: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let before = self.shared.settled();
        let at_work = look()?;
        let after = self.shared.settled();
        Ok(at_work || before.is_none() || before != after)
    }

    /// The name and the number of a watched call.
    fn watched(&self, name: &str) -> (&'static str, i64) {
        let watched = &self.shared.plan.watched;
        match watched.iter().find(|call| call.0 == name) {
            Some(call) => *call,
            // A grader may name the forms of all architectures.
            None if self.shared.plan.absent.iter().any(|call| call == name) => {
                ("", -1)
            }
            None => panic!("`{name}` is not among the watched calls"),
        }
    }

    fn release_where(
        &self,
        most: usize,
        wanted: impl Fn(&Call) -> bool,
    ) -> usize {
        let mut state = self.shared.lock();
        let (mut at, mut released) = (0, 0);
        while released < most && at < state.held.len() {
            if wanted(&state.held[at]) {
                let call = state.held.remove(at);
                released += usize::from(self.shared.answer(&mut state, &call));
            } else {
                at += 1;
            }
        }
        self.shared.changed.notify_all();
        released
    }

    fn wait(
        &self,
        limit: Duration,
        mut done: impl FnMut(&mut State) -> bool,
    ) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if done(&mut state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left == Duration::ZERO {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }
}

impl State {
    fn count(&self, number: i64) -> usize {
        self.counts.get(&number).copied().unwrap_or(0)
    }

    fn thread(&mut self, tid: u32) -> u32 {
        let next = self.threads.len() as u32 + 1;
        *self.threads.entry(tid).or_insert(next)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A thread stands at the entry of a watched call.
    fn entered(&self, notification: &libc::seccomp_notif) {
        let number = i64::from(notification.data.nr);
        let mut state = self.lock();
        let tid = notification.pid;
        let mut call = Call {
            t_ns: self.recorder.now(),
            tid,
            thread: state.thread(tid),
            name: names::name(number).unwrap_or("?"),
            args: notification.data.args,
            id: notification.id,
        };
        *state.counts.entry(number).or_default() += 1;
        if state.log.len() < MOST_KEPT {
            call.t_ns = self.record(&call);
            state.log.push(call.clone());
        }
        if state.holding.contains(call.name) {
            state.held.push(call);
        } else {
            self.answer(&mut state, &call);
        }
        self.deciding.store(false, Ordering::SeqCst);
        self.changed.notify_all();
    }

    fn record(&self, call: &Call) -> u64 {
        let event = CallEvent {
            program: self.plan.program.clone(),
            thread: call.thread,
            tid: call.tid,
            name: call.name.to_string(),
            args: call.args,
            text: None,
            startup: false,
        };
        self.recorder.call(&self.plan.host, event)
    }

    /// Has the kernel go on with a call; `false`: its thread has gone.
    fn answer(&self, state: &mut State, call: &Call) -> bool {
        state.answered += 1;
        seccomp::let_continue(&self.listener, call.id).is_ok()
    }

    /// A held thread that is killed is gone without a word.
    fn forget_the_dead(&self, state: &mut State) {
        let waits = |call: &Call| seccomp::still_waits(&self.listener, call.id);
        state.held.retain(waits);
    }

    /// How many calls were let go on; `None`: one more waits for its answer.
    /// In this order: one is taken only while `deciding`, and counted before
    /// that ends.
    fn settled(&self) -> Option<u64> {
        let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        let waiting = polled.is_err() || events.contains(PollFlags::POLLIN);
        if waiting || self.deciding.load(Ordering::SeqCst) {
            return None;
        }
        Some(self.lock().answered)
    }
}

//! A network that is up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::autopsy::Autopsy;
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::link::Merge;
use crate::netlink;
use crate::network::Backend;
use crate::power::Power;
use crate::profile::Profile;
use crate::program::Program;
use crate::recorder::Recorder;
use crate::sockets::TcpSocket;
use crate::trace::{ClockInfo, HostInfo, Trace, What};
use crate::wire::{Matcher, Wire};

/// How often a follower looks though nobody has called it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often it looks whether a frame has come from another machine.
const GLANCE: Duration = Duration::from_millis(1);

/// A network that is up. Dropping it ends every process on its hosts, and
/// nothing of it stays.
pub struct Testbed {
    // Dropped in this order: nobody waits for a wire that is gone.
    hosts: Vec<Host>,
    wire: Wire,
    recorder: Recorder,
    profile: Profile,
    backend: Backend,
    seed: u64,
    kernel: String,
    /// Of hosts on other machines: what their agents tell.
    merge: Option<Arc<Merge>>,
}

impl Testbed {
    pub(crate) fn new(
        hosts: Vec<Host>,
        wire: Wire,
        recorder: Recorder,
        profile: Profile,
        backend: Backend,
        seed: u64,
    ) -> Testbed {
        let kernel = crate::kernel_release();
        Testbed {
            hosts,
            wire,
            recorder,
            profile,
            backend,
            seed,
            kernel,
            merge: None,
        }
    }

    /// The same, of hosts on other machines, with these kernels.
    pub(crate) fn of_machines(
        mut self,
        kernel: String,
        merge: Arc<Merge>,
    ) -> Testbed {
        self.kernel = kernel;
        self.merge = Some(merge);
        self
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What each machine's clock showed at the trace's time 0; none where the
    /// hosts share one.
    pub fn clocks(&self) -> Vec<ClockInfo> {
        self.merge.as_ref().map_or(Vec::new(), |merge| merge.clocks())
    }

    /// What has been asked of the hosts so far that hosts on other machines
    /// have not got.
    pub fn asked(&self) -> BTreeSet<Power> {
        let mut asked: BTreeSet<Power> =
            self.hosts.iter().flat_map(Host::asked).collect();
        if self.hosts.len() > 2 {
            asked.insert(Power::MoreHosts);
        }
        asked
    }

    /// How long a question to every host takes.
    pub fn round_trip(&self) -> Result<Duration> {
        let start = Instant::now();
        self.wire.sample()?;
        Ok(start.elapsed())
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.hosts.iter().map(Host::name).collect();
            Error::new(format!("no host `{name}` is on this network"))
                .cure(format!("there are {}", names.join(", ")))
        })
    }

    /// Every host, in the order of the plan.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The wire between them.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// What the run draws by lot: the same for the same seed.
    pub fn draw(&self) -> Draw {
        Draw::from_seed(self.seed)
    }

    /// Which backend carries the frames.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Writes a step of the scenario into the trace, with the states as they
    /// are now.
    pub fn step(&self, host: &str, text: impl Into<String>) -> Result<()> {
        self.wire.sample()?;
        self.recorder.step(host, text.into());
        Ok(())
    }

    /// How many events there are so far: it grows while anything happens.
    pub fn happened(&self) -> usize {
        self.recorder.log().events.len()
    }

    /// Waits until `count` frames that match have been on the wire since the
    /// network is up, delivered or not: `false` when time runs out first.
    pub fn wait_frames(
        &self,
        what: &str,
        count: usize,
        limit: Duration,
    ) -> Result<bool> {
        let matcher: Matcher = what.parse()?;
        let (mut seen, mut from) = (0, 0);
        Ok(self.recorder.wait_until(Instant::now() + limit, |log| {
            for event in &log.events[from..] {
                if let What::Frame(frame) = &event.what {
                    let hit = matcher.matches(&event.host, &frame.packet());
                    seen += usize::from(hit);
                }
            }
            from = log.events.len();
            seen >= count
        }))
    }

    /// Waits until a host's sockets satisfy `done`; the sockets at that moment,
    /// or `Err` with the last ones when time runs out.
    ///
    /// Sockets have no event that a watcher could wait for: they are looked at
    /// each time something happens in the run, and every millisecond.
    pub fn wait_sockets(
        &self,
        host: &str,
        limit: Duration,
        done: impl Fn(&[TcpSocket]) -> bool,
    ) -> Result<std::result::Result<Vec<TcpSocket>, Vec<TcpSocket>>> {
        let host = self.host(host)?;
        let deadline = Instant::now() + limit;
        loop {
            let sockets = host.tcp_sockets()?;
            if done(&sockets) {
                self.wire.sample()?;
                return Ok(Ok(sockets));
            }
            if Instant::now() >= deadline {
                self.wire.sample()?;
                return Ok(Err(sockets));
            }
            let events = self.recorder.log().events.len();
            let soon = Instant::now() + Duration::from_millis(1);
            self.recorder.wait_until(soon, |log| log.events.len() != events);
        }
    }

    /// Why a program on this host does not go on: where each of its threads is,
    /// and what it waits for, by what its host, the other ends of its
    /// connections, and the frames so far tell.
    pub fn autopsy(&self, host: &str, program: &Program) -> Result<Autopsy> {
        let host = self.host(host)?;
        let mut everywhere = Vec::new();
        for host in &self.hosts {
            everywhere.extend(host.tcp_sockets()?);
        }
        host.autopsy_in(program, Some(&self.trace()?), Some(everywhere))
    }

    /// Calls `hear` with each event once it is in the trace, from a thread of
    /// its own, until the network is down. What the wire adds to a frame later
    /// (its delivery after a delay) is in [`Testbed::trace`] alone.
    pub fn follow(
        &self,
        mut hear: impl FnMut(&crate::trace::Event) + Send + 'static,
    ) -> Follower {
        let recorder = self.recorder.clone();
        let merge = self.merge.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            loop {
                let last = stopped.load(Ordering::Acquire);
                recorder.wait_until(Instant::now() + HEARTBEAT, |log| {
                    log.events.len() > next || stopped.load(Ordering::Acquire)
                });
                let end = recorder.log().events.len();
                for place in std::mem::replace(&mut next, end)..end {
                    // What became of a frame its receiver's machine tells.
                    while merge
                        .as_ref()
                        .is_some_and(|merge| merge.under_way().contains(&place))
                    {
                        std::thread::sleep(GLANCE);
                    }
                    let event = recorder.log().events[place].clone();
                    hear(&event);
                }
                if last {
                    return;
                }
            }
        });
        let recorder = self.recorder.clone();
        Follower { stop, recorder, thread: Some(thread) }
    }

    /// Everything that has happened so far.
    pub fn trace(&self) -> Result<Trace> {
        self.wire.sample()?;
        if let Some(merge) = &self.merge {
            while !merge.under_way().is_empty() {
                self.wire.sample()?;
            }
        }
        self.hosts.iter().for_each(Host::settle);
        let mut events = self.recorder.log().events.clone();
        if let Some(merge) = &self.merge {
            merge.retime(&mut events);
        }
        // A frame is written down once it is delivered, with the time at which
        // it came; what changed meanwhile stands before it in the list.
        events.sort_by_key(|event| event.t_ns);
        let not_kept = self.recorder.log().not_kept;
        let losses = self.losses()?;
        let calls_not_kept = self.hosts.iter().map(Host::calls_not_kept).sum();
        Ok(Trace {
            events,
            losses,
            not_kept,
            calls_not_kept,
            ..self.blank_trace()
        })
    }

    /// The trace before anything has happened: what the world is.
    pub fn blank_trace(&self) -> Trace {
        Trace {
            kernel: self.kernel.clone(),
            profile: self.profile.name().to_string(),
            backend: self.backend.name().to_string(),
            seed: self.seed,
            epoch_ns: self.recorder.epoch_ns(),
            hosts: self
                .hosts
                .iter()
                .map(|host| HostInfo {
                    name: host.name().to_string(),
                    addresses: host.addresses(),
                })
                .collect(),
            events: Vec::new(),
            losses: Vec::new(),
            not_kept: 0,
            calls_not_kept: 0,
            clocks: self.clocks(),
        }
    }

    /// Frames that were lost though nobody told the wire to lose them: in the
    /// queue between a host and the wire, or in the write to a host.
    pub fn losses(&self) -> Result<Vec<String>> {
        let mut losses = self.wire.losses()?;
        if let Some(merge) = &self.merge {
            losses.extend(merge.losses());
            return Ok(losses);
        }
        for host in &self.hosts {
            for number in 0..host.spec().interfaces.len() {
                let name = format!("eth{number}");
                let asked = name.clone();
                let counters =
                    host.run(move || netlink::counters(&asked))??;
                let dropped = counters.tx_dropped;
                let explained = self.wire.explains_drops(host.name());
                if dropped > 0 && !explained {
                    let host = host.name();
                    losses.push(format!("{name} of {host} dropped {dropped}"));
                }
            }
        }
        Ok(losses)
    }
}

/// A thread that hears the events of a run; ends when dropped, after the last.
pub struct Follower {
    stop: Arc<AtomicBool>,
    recorder: Recorder,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.recorder.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

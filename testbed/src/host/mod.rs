//! A host: its own network, name, mounts, processes and IPC objects.

mod birth;
mod inside;
mod tables;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};

use crate::calls::Arrival;
use crate::error::{Call, Error, Result};
use crate::ipc::IpcObject;
use crate::launch::Launch;
use crate::link::Link;
use crate::network::{Backend, HostSpec};
use crate::power::{Asked, Power};
use crate::process::Mourner;
use crate::profile::Profile;
use crate::program::Program;
use crate::recorder::Recorder;
use crate::tracer::{Seizure, Tracing};
use crate::wire::{Sampling, Tap};
use crate::{ipc, sys};

use birth::{Core, become_host, live};

/// A host of a running network.
///
/// Its processes see a hostname, /etc/hosts, /etc/resolv.conf, /proc and
/// interfaces of their own, and no network but the wire.
pub struct Host {
    spec: HostSpec,
    addresses: Addresses,
    character: Character,
    recorder: Recorder,
    place: Place,
    asked: Asked,
}

/// Where a host is.
enum Place {
    /// Namespaces of this machine.
    Here(Box<Here>),
    /// Another machine, where an agent of ours acts for it.
    There(Arc<Link>),
}

/// A host of this machine: its thread, and what it is to look after.
struct Here {
    core: Core,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    sampling: Option<Sampling>,
    mourners: Mutex<Vec<Mourner>>,
    tracings: Mutex<Vec<Tracing>>,
}

/// What makes a host this network's: files in /etc, and settings.
#[derive(Clone, Debug)]
pub(crate) struct Character {
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
    pub(crate) profile: Profile,
}

/// A host's addresses, IPv4 first: it may be given more while it is up.
#[derive(Clone, Debug)]
pub(crate) struct Addresses(Arc<Mutex<Vec<IpAddr>>>);

impl Addresses {
    fn new(addresses: Vec<IpAddr>) -> Addresses {
        Addresses(Arc::new(Mutex::new(addresses)))
    }

    /// Those that it has now.
    pub(crate) fn now(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, address: IpAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(address);
        all.sort_by_key(IpAddr::is_ipv6);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that acts on a host.
pub struct Acting<T> {
    thread: JoinHandle<Option<T>>,
}

impl<T> Acting<T> {
    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// Passes on the thread's own panic.
    pub fn join(self) -> T {
        match self.thread.join() {
            Ok(result) => result.expect("a thread off its host is an error"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Has it ended?
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The namespaces that a thread of ours can share with a host's processes. The
/// process-id namespace is not among them: a thread cannot change its own.
const SHARED_BY_THREADS: i32 = libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC;

impl Host {
    /// Starts a host; on the pkt backend its interfaces are still to come.
    pub(crate) fn start(
        spec: HostSpec,
        character: Character,
        backend: Backend,
        recorder: Recorder,
    ) -> Result<Host> {
        let (jobs, inbox) = channel::<Job>();
        let (ready, started) = channel();
        let (plan, written) = (spec.clone(), character.clone());
        let thread = std::thread::Builder::new()
            .name(format!("host {}", spec.name))
            .spawn(move || {
                live(|| become_host(&plan, &written, backend), &ready, &inbox);
            })
            .call("clone thread")?;
        let core = started
            .recv()
            .map_err(|_| Error::new(format!("{}: no start", spec.name)))??;
        let here = Here {
            core,
            jobs: Some(jobs),
            thread: Some(thread),
            sampling: None,
            mourners: Mutex::default(),
            tracings: Mutex::default(),
        };
        let place = Place::Here(Box::new(here));
        Ok(Host::at_place(spec, character, recorder, place))
    }

    /// A host on another machine.
    pub(crate) fn there(
        spec: HostSpec,
        character: Character,
        recorder: Recorder,
        link: Arc<Link>,
    ) -> Host {
        Host::at_place(spec, character, recorder, Place::There(link))
    }

    fn at_place(
        spec: HostSpec,
        character: Character,
        recorder: Recorder,
        place: Place,
    ) -> Host {
        Host {
            addresses: Addresses::new(spec.addresses()),
            spec,
            character,
            recorder,
            place,
            asked: Asked::default(),
        }
    }

    /// The way to it, if it is on another machine.
    pub(crate) fn link(&self) -> Option<&Arc<Link>> {
        match &self.place {
            Place::Here(_) => None,
            Place::There(link) => Some(link),
        }
    }

    /// Asks for what no call of this crate stands for: a scenario says so itself.
    ///
    /// # Errors
    ///
    /// The host is on another machine.
    pub fn require(&self, power: Power) -> Result<()> {
        self.here(power).map(drop)
    }

    /// What it has been asked for that a host on another machine has not.
    pub(crate) fn asked(&self) -> BTreeSet<Power> {
        self.asked.all()
    }

    /// The host, if it is here, for what none but such a one can do.
    fn here(&self, power: Power) -> Result<&Here> {
        self.asked.note(power);
        match &self.place {
            Place::Here(here) => Ok(here),
            Place::There(_) => {
                Err(Error::new(format!("{}: {}", self.name(), power.meaning()))
                    .cause("a host on another machine has not got it")
                    .cure("run it without `--on vagrant`"))
            }
        }
    }

    /// The host name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.now()
    }

    /// The same for who has to know of those that come later.
    pub(crate) fn shared_addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Its first IPv4 address.
    ///
    /// # Panics
    ///
    /// If the host was specified without one.
    pub fn ip(&self) -> IpAddr {
        let mut addresses = self.addresses().into_iter();
        addresses.find(IpAddr::is_ipv4).expect("the host has an IPv4 address")
    }

    /// Its first IPv6 address, if it has one.
    pub fn ip6(&self) -> Option<IpAddr> {
        self.addresses().into_iter().find(IpAddr::is_ipv6)
    }

    /// What its /etc/hosts says.
    pub fn etc_hosts(&self) -> &str {
        &self.character.hosts
    }

    /// Runs `f` on a thread that is on this host, and waits for it: sockets
    /// that it opens are the host's, and stay so wherever they are used. A host
    /// on another machine cannot; for TCP connections, [`Host::connect`] and
    /// [`Host::listen`] do it there too.
    ///
    /// The thread is not in the host's PID namespace: there is no /proc/self
    /// for it. What needs one is a program's work.
    pub fn at<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        self.here(Power::OwnSockets)?;
        self.act(f)
    }

    /// The same for what can be asked of an agent too.
    pub(crate) fn act<T: Send>(
        &self,
        f: impl FnOnce() -> T + Send,
    ) -> Result<T> {
        let Some(first) = self.process() else {
            return Err(Error::new(format!("{} is not here", self.name())));
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                join_as_thread(first)?;
                Ok(f())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts a thread that is on this host.
    pub fn thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Acting<T>> {
        let here = self.here(Power::OwnSockets)?;
        let first = here.core.first.try_clone().call("dup pidfd")?;
        let (ready, joined) = channel();
        let thread = std::thread::Builder::new()
            .name(format!("on {}", self.name()))
            .spawn(move || {
                let result = join_as_thread(&first);
                let on_host = result.is_ok();
                let _ = ready.send(result);
                on_host.then(f)
            })
            .call("clone thread")?;
        match joined.recv() {
            Ok(Ok(())) => Ok(Acting { thread }),
            Ok(Err(err)) => Err(err),
            Err(_) => Err(Error::new("a thread ended before it had begun")),
        }
    }

    /// Has the file of a program ready to be started, wherever the host is: on
    /// another machine it is brought, which takes its time.
    pub fn make_ready(&self, program: &Path) -> Result<()> {
        match &self.place {
            Place::Here(_) => Ok(()),
            Place::There(link) => {
                link.bring(Launch::new("ready", program)).map(drop)
            }
        }
    }

    /// Starts a program on this host.
    pub fn start_program(&self, launch: Launch) -> Result<Program> {
        let here = match &self.place {
            Place::Here(here) => here,
            Place::There(link) => {
                let asked = self.asked.clone();
                return Program::there(link, launch, asked);
            }
        };
        let recorder = self.recorder.clone();
        let host = self.name().to_string();
        let sampling = here.sampling.clone();
        let room = here.core.room.clone();
        let plan = launch.plan(&host)?;
        let watch =
            plan.map(|plan| plan.start(recorder.clone())).transpose()?;
        let (filter, arrival) = watch.unzip();
        let (lead, seizure) = match launch.is_traced() {
            false => (None, None),
            true => {
                let (lead, seizure, tracing) =
                    Tracing::start(launch.name(), &host, recorder.clone())?;
                here.tracings().push(tracing);
                (Some(lead), Some(seizure))
            }
        };
        let (spawned, launch) =
            here.run(move || (launch.spawn(&room, lead, filter), launch))?;
        seizure.map_or(Ok(()), Seizure::wait)?;
        let calls = arrival.map_or(Ok(None), Arrival::wait)?;
        let process = spawned?;
        if let Ok(mut mourners) = here.mourners.lock() {
            mourners.retain(|mourner| !mourner.is_done());
            mourners.push(process.mourner());
        }
        Program::listening(
            launch.name(),
            process,
            &host,
            recorder,
            sampling,
            calls,
            self.asked.clone(),
        )
    }

    /// Waits until what its tracers have seen by now is in the trace.
    pub(crate) fn settle(&self) {
        if let Place::Here(here) = &self.place {
            here.tracings().iter().for_each(Tracing::settle);
        }
    }

    /// Calls of its traced programs of which nothing was kept.
    pub(crate) fn calls_not_kept(&self) -> u64 {
        match &self.place {
            Place::Here(here) => {
                here.tracings().iter().map(Tracing::not_kept).sum()
            }
            Place::There(_) => 0,
        }
    }

    /// A descriptor of the host's process 1: setns(2) takes it. `None`: the
    /// host is on another machine.
    pub fn process(&self) -> Option<&OwnedFd> {
        match &self.place {
            Place::Here(here) => Some(&here.core.first),
            Place::There(_) => None,
        }
    }

    /// Runs a job on the thread whose children are the host's processes.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match &self.place {
            Place::Here(here) => here.run(job),
            Place::There(_) => {
                Err(Error::new(format!("{} is not here", self.name())))
            }
        }
    }

    pub(crate) fn spec(&self) -> &HostSpec {
        &self.spec
    }

    /// Has the wire look at the sockets whenever a program prints.
    pub(crate) fn sample_with(&mut self, sampling: Sampling) {
        if let Place::Here(here) = &mut self.place {
            here.sampling = Some(sampling);
        }
    }

    /// The network namespace, for a device that is to be made in it.
    pub(crate) fn netns(&self) -> Result<&OwnedFd> {
        match &self.place {
            Place::Here(here) => Ok(&here.core.netns),
            Place::There(_) => {
                Err(Error::new(format!("{} is not here", self.name())))
            }
        }
    }

    /// Gives the wire its ends of the TAP devices.
    pub(crate) fn take_taps(&mut self) -> Vec<Tap> {
        match &mut self.place {
            Place::Here(here) => std::mem::take(&mut here.core.taps),
            Place::There(_) => Vec::new(),
        }
    }
}

impl Here {
    fn ipc(&self) -> Result<Vec<IpcObject>> {
        let mut objects = self.run(ipc::system_v)??;
        objects.extend(ipc::posix(&self.core.room));
        Ok(objects)
    }

    fn tracings(&self) -> MutexGuard<'_, Vec<Tracing>> {
        let tracings = self.tracings.lock();
        tracings.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::new("the host's thread has ended");
        let (reply, answer) = channel();
        let job = Box::new(move || {
            let _ = reply.send(job());
        });
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // The end of process 1 is the end of every process of the host.
        let _ = kill(self.core.first_pid, Signal::SIGKILL);
        // Process 1 itself ends last: when the programs, which are children of
        // ours, have been reaped (pid_namespaces(7)).
        if let Ok(mourners) = self.mourners.lock() {
            mourners.iter().for_each(Mourner::reap);
        }
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = nix::sys::wait::waitpid(self.core.first_pid, None);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Place::There(link) = &self.place {
            link.hang_up();
        }
    }
}

fn join_as_thread(first: &OwnedFd) -> Result<()> {
    // A mount namespace cannot be joined by a thread that shares its working
    // directory with others (setns(2), EINVAL).
    unshare(CloneFlags::CLONE_FS).call("unshare CLONE_FS")?;
    sys::join(first, SHARED_BY_THREADS).call("setns pidfd")
}

//! A host: its own network, name, mounts, processes and IPC objects.

mod birth;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};

use crate::autopsy::{Autopsy, World};
use crate::calls::Arrival;
use crate::descriptors::{Descriptor, Names, Tables};
use crate::error::{Call, Error, Result};
use crate::ipc::IpcObject;
use crate::launch::Launch;
use crate::neighbours::Neighbour;
use crate::network::{Backend, HostSpec};
use crate::profile::Profile;
use crate::program::{Mourner, Program};
use crate::recorder::Recorder;
use crate::routes::{Change, Route};
use crate::sockets::TcpSocket;
use crate::trace::Trace;
use crate::tracer::{Seizure, Tracing};
use crate::wire::Tap;
use crate::{
    counters, descriptors, ipc, netlink, processes, routes, sessions, sys,
};

use birth::{Core, become_host, live};

/// A host of a running network.
///
/// Its processes see a hostname, /etc/hosts, /etc/resolv.conf, /proc and
/// interfaces of their own, and no network but the wire.
pub struct Host {
    spec: HostSpec,
    character: Character,
    core: Core,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    recorder: Recorder,
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

type Job = Box<dyn FnOnce() + Send>;

/// Has the wire look at every socket.
pub(crate) type Sampling = Arc<dyn Fn() + Send + Sync>;

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
        Ok(Host {
            spec,
            character,
            core,
            jobs: Some(jobs),
            thread: Some(thread),
            recorder,
            sampling: None,
            mourners: Mutex::default(),
            tracings: Mutex::default(),
        })
    }

    /// The host name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.spec.addresses()
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
    /// that it opens are the host's, and stay so wherever they are used.
    ///
    /// The thread is not in the host's PID namespace: there is no /proc/self
    /// for it. What needs one is a program's work.
    pub fn at<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.join_as_thread()?;
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
        let first = self.core.first.try_clone().call("dup pidfd")?;
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

    /// Starts a program on this host.
    pub fn start_program(&self, launch: Launch) -> Result<Program> {
        let recorder = self.recorder.clone();
        let host = self.name().to_string();
        let sampling = self.sampling.clone();
        let room = self.core.room.clone();
        let plan = launch.plan(&host)?;
        let watch =
            plan.map(|plan| plan.start(recorder.clone())).transpose()?;
        let (filter, arrival) = watch.unzip();
        let (lead, seizure) = match launch.is_traced() {
            false => (None, None),
            true => {
                let (lead, seizure, tracing) =
                    Tracing::start(launch.name(), &host, recorder.clone())?;
                self.tracings().push(tracing);
                (Some(lead), Some(seizure))
            }
        };
        let (spawned, launch) =
            self.run(move || (launch.spawn(&room, lead, filter), launch))?;
        seizure.map_or(Ok(()), Seizure::wait)?;
        let calls = arrival.map_or(Ok(None), Arrival::wait)?;
        let process = spawned?;
        if let Ok(mut mourners) = self.mourners.lock() {
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
        )
    }

    /// Is this file in /etc the host's own? Those by which names are looked up
    /// are, where this machine has one that could be covered: /etc/hosts,
    /// /etc/resolv.conf, /etc/nsswitch.conf, /etc/host.conf, /etc/gai.conf and
    /// /etc/services.
    pub fn owns(&self, path: &str) -> bool {
        self.core.files.contains(&path)
    }

    /// Writes a file that is the host's own.
    ///
    /// # Errors
    ///
    /// It is the machine's: see [`Host::owns`].
    pub fn write_own(&self, path: &str, text: &str) -> Result<()> {
        if !self.owns(path) {
            let what = format!("{path} is not {}'s own", self.name());
            return Err(Error::new(what));
        }
        let (path, text) = (path.to_string(), text.to_string());
        self.run(move || fs::write(&path, text).call(format!("write {path}")))?
    }

    /// Reads a setting of this host; the name as in sysctl(8).
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let path = sysctl_path(name);
        self.run(move || {
            let text = fs::read_to_string(&path);
            text.call(format!("read {}", path.display()))
        })?
        .map(|text| text.trim().to_string())
    }

    /// Changes a setting of this host; the name as in sysctl(8).
    ///
    /// # Errors
    ///
    /// Some settings belong to the whole machine and have no copy in a network
    /// namespace (`net.core.rmem_max`, `net.ipv4.tcp_mem`).
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let (path, value) = (sysctl_path(name), value.to_string());
        self.run(move || {
            let written = fs::write(&path, &value);
            written.call(format!("write `{value}` to {}", path.display()))
        })?
    }

    /// A table of this host's network as text, by its name in proc_net(5):
    /// `arp`, `route`, `snmp`, `netstat`.
    pub fn net_table(&self, name: &str) -> Result<String> {
        let first = sessions::number(&self.core.first)?.unwrap_or_default();
        let path = format!("/proc/{first}/net/{name}");
        fs::read_to_string(&path).call(format!("read {path}"))
    }

    /// What the host knows of the stations on the wire of an interface (`eth0`).
    pub fn neighbours(&self, interface: &str) -> Result<Vec<Neighbour>> {
        let name = interface.to_string();
        self.run(move || netlink::neighbours(&name))?
    }

    /// Sets an entry of the neighbour table by hand: it is
    /// [`Permanent`](crate::NeighbourState), and nobody is asked any more.
    pub fn set_neighbour(
        &self,
        interface: &str,
        address: IpAddr,
        station: [u8; 6],
    ) -> Result<()> {
        let name = interface.to_string();
        self.run(move || netlink::set_neighbour(&name, address, station))?
    }

    /// Deletes an entry of the neighbour table.
    ///
    /// # Errors
    ///
    /// There is none (ENOENT). Its kernel deletes entries by itself, too.
    pub fn forget_neighbour(
        &self,
        interface: &str,
        address: IpAddr,
    ) -> Result<()> {
        let name = interface.to_string();
        self.run(move || netlink::delete_neighbour(&name, address))?
    }

    /// What its kernel has counted since it is up, by the names of nstat(8):
    /// `UdpInCsumErrors`, `IpInHdrErrors`.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let first = sessions::number(&self.core.first)?;
        let gone = || Error::new(format!("{} has ended", self.name()));
        counters::of_process(first.ok_or_else(gone)?)
    }

    /// Adds a route to the main table: `198.51.100.0/24 via 192.168.1.1`,
    /// `default via 192.168.1.109`, `blackhole 198.51.100.0/24`; see [`Route`].
    ///
    /// # Errors
    ///
    /// It is no route, one to this prefix is there already (EEXIST), or its
    /// gateway is on no link (ENETUNREACH).
    pub fn add_route(&self, route: &str) -> Result<()> {
        self.change_route(Change::Add, route)
    }

    /// The same, in place of a route to this prefix if there is one.
    ///
    /// # Errors
    ///
    /// As [`Host::add_route`], but for EEXIST.
    pub fn replace_route(&self, route: &str) -> Result<()> {
        self.change_route(Change::Replace, route)
    }

    /// Deletes a route of the main table: of those to this prefix the first
    /// that has what else is said.
    ///
    /// # Errors
    ///
    /// There is none (ESRCH).
    pub fn delete_route(&self, route: &str) -> Result<()> {
        self.change_route(Change::Delete, route)
    }

    fn change_route(&self, what: Change, route: &str) -> Result<()> {
        let route: Route = route.parse()?;
        self.run(move || routes::change(what, &route))?
    }

    /// The main routing table, IPv4 first.
    pub fn routes(&self) -> Result<Vec<Route>> {
        self.run(|| routes::list(false))?
    }

    /// The exceptions to it that the kernel has learned by itself, each for one
    /// destination: from an ICMP redirect, or of a path's MTU. It is what
    /// `ip route show cache` lists, since Linux 5.3.
    pub fn learned_routes(&self) -> Result<Vec<Route>> {
        self.run(|| routes::list(true))?
    }

    /// For each destination the route that the kernel takes now, by asking it
    /// (RTM_GETROUTE, as `ip route get`): what it has learned by a redirect, or
    /// of a path's MTU, is in the answer. `None`: it would send nothing there.
    pub fn routes_to(
        &self,
        destinations: &[IpAddr],
    ) -> Result<Vec<Option<Route>>> {
        let destinations = destinations.to_vec();
        self.run(move || routes::ask(&destinations))?
    }

    /// Sets the longest packet, in bytes, that an interface sends in one frame:
    /// Ethernet's is 1500.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<()> {
        let name = interface.to_string();
        self.run(move || netlink::set_mtu(&name, mtu))?
    }

    /// Puts a frame on the wire as it stands, from the destination station
    /// address on: one that no kernel would send. `interface` is `eth0` ...
    pub fn send_frame(&self, interface: &str, frame: &[u8]) -> Result<()> {
        let (interface, frame) = (interface.to_string(), frame.to_vec());
        self.run(move || {
            let socket = sys::packet_socket(netlink::index(&interface)?)
                .call(format!("socket AF_PACKET on {interface}"))?;
            let sent = nix::unistd::write(&socket, &frame);
            sent.call(format!("write {} bytes", frame.len())).map(drop)
        })?
    }

    /// The host's TCP sockets at this moment.
    pub fn tcp_sockets(&self) -> Result<Vec<TcpSocket>> {
        self.core.inspector.tcp()
    }

    /// The descriptors of a program's first process; none once it has ended.
    pub fn descriptors(&self, program: &Program) -> Result<Vec<Descriptor>> {
        match program.number()? {
            Some(pid) => self.descriptors_of(pid),
            None => Ok(Vec::new()),
        }
    }

    /// The descriptors of a process of this host, by its number as this run's
    /// /proc counts. A zombie has none.
    pub fn descriptors_of(&self, pid: i32) -> Result<Vec<Descriptor>> {
        descriptors::of_process(pid, &self.tables()?)
    }

    /// What the host's IPC namespace, /dev/shm and /dev/mqueue hold: what its
    /// programs have made and not removed.
    pub fn ipc(&self) -> Result<Vec<IpcObject>> {
        let mut objects = self.run(ipc::system_v)??;
        objects.extend(ipc::posix(&self.core.room));
        Ok(objects)
    }

    /// The directory that its programs start in and can write to, as this
    /// process sees it (not its threads that are on a host). `None`: this
    /// machine has no place for one.
    pub fn scratch(&self) -> Option<PathBuf> {
        self.core.room.scratch()
    }

    /// Sends a signal, by its number, to a process of this host, by its number
    /// as this run's /proc counts.
    ///
    /// # Errors
    ///
    /// A process of another host, or of none, and the host's own process 1.
    pub fn signal(&self, pid: i32, number: i32) -> Result<()> {
        let process = sys::pidfd_open(pid);
        let process = process.call(format!("pidfd_open {pid}"))?;
        let first = sessions::number(&self.core.first)?.unwrap_or_default();
        let here = processes::inode(first, "pid");
        if pid == first
            || here.is_none()
            || here != processes::inode(pid, "pid")
        {
            let name = self.name();
            return Err(Error::new(format!("{pid} is no program of {name}")));
        }
        sys::signal(&process, number)
            .call(format!("pidfd_send_signal {pid} {number}"))
    }

    /// Why a program does not go on: where each of its threads is, and what it
    /// waits for. [`crate::Testbed::autopsy`] knows the other hosts too.
    pub fn autopsy(&self, program: &Program) -> Result<Autopsy> {
        self.autopsy_in(program, None, None)
    }

    pub(crate) fn autopsy_in(
        &self,
        program: &Program,
        trace: Option<&Trace>,
        everywhere: Option<Vec<TcpSocket>>,
    ) -> Result<Autopsy> {
        let this = fs::read_link("/proc/self").call("readlink /proc/self")?;
        let mut processes = program.processes()?;
        // The name of its file, which may be any, says less.
        let file = processes.first().map(|first| first.name.clone());
        for process in &mut processes {
            if Some(&process.name) == file.as_ref() {
                process.name = program.name().to_string();
            }
        }
        let world = World {
            processes,
            tables: self.tables()?,
            objects: self.ipc()?,
            addresses: self.addresses(),
            everywhere,
            trace,
            this_process: this.to_string_lossy().parse().unwrap_or(0),
        };
        Ok(Autopsy::of(program.name(), &world))
    }

    fn tables(&self) -> Result<Tables> {
        let names = Names::parse(&self.character.hosts);
        Ok(Tables { tcp: self.tcp_sockets()?, names })
    }

    /// Waits until what its tracers have seen by now is in the trace.
    pub(crate) fn settle(&self) {
        self.tracings().iter().for_each(Tracing::settle);
    }

    /// Calls of its traced programs of which nothing was kept.
    pub(crate) fn calls_not_kept(&self) -> u64 {
        self.tracings().iter().map(Tracing::not_kept).sum()
    }

    fn tracings(&self) -> MutexGuard<'_, Vec<Tracing>> {
        let tracings = self.tracings.lock();
        tracings.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A descriptor of the host's process 1: setns(2) takes it.
    pub fn process(&self) -> &OwnedFd {
        &self.core.first
    }

    /// Runs a job on the thread whose children are the host's processes.
    pub(crate) fn run<T: Send + 'static>(
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

    /// The network namespace, for a device that is to be made in it.
    pub(crate) fn netns(&self) -> &OwnedFd {
        &self.core.netns
    }

    /// Gives the wire its ends of the TAP devices.
    pub(crate) fn take_taps(&mut self) -> Vec<Tap> {
        std::mem::take(&mut self.core.taps)
    }

    pub(crate) fn spec(&self) -> &HostSpec {
        &self.spec
    }

    /// Has the wire look at the sockets whenever a program prints.
    pub(crate) fn sample_with(&mut self, sampling: Sampling) {
        self.sampling = Some(sampling);
    }

    fn join_as_thread(&self) -> Result<()> {
        join_as_thread(&self.core.first)
    }
}

impl Drop for Host {
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

fn join_as_thread(first: &OwnedFd) -> Result<()> {
    // A mount namespace cannot be joined by a thread that shares its working
    // directory with others (setns(2), EINVAL).
    unshare(CloneFlags::CLONE_FS).call("unshare CLONE_FS")?;
    sys::join(first, SHARED_BY_THREADS).call("setns pidfd")
}

/// `net.ipv4.tcp_sack` or `net/ipv4/tcp_sack`, as sysctl(8) takes them.
fn sysctl_path(name: &str) -> PathBuf {
    let name = if name.contains('/') {
        name.to_string()
    } else {
        name.replace('.', "/")
    };
    Path::new("/proc/sys").join(name)
}

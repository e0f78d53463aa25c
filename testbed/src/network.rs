//! The plan of a network, and the network.

use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::error::{Call, Error, Result};
use crate::host::{Character, Host};
use crate::netlink::Links;
use crate::profile::Profile;
use crate::recorder::Recorder;
use crate::sampler::Sampler;
use crate::sockets::{Inspector, TcpSocket};
use crate::trace::{HostInfo, Trace, What};
use crate::wire::{Matcher, Pkt, Plug, Port, Tap, Wire};
use crate::{netlink, sys};

/// TAP's own queue of 500 frames loses hundreds a second of bulk traffic.
const QUEUE: u32 = 10_000;
/// What a veth pair may need to notice that it is connected.
const CARRIER_PATIENCE: Duration = Duration::from_secs(2);

/// How a host's interface reaches the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A TAP device each. Needs /dev/net/tun to be open to the user.
    Tap,
    /// A veth pair each, its far end behind a packet socket. Needs no device;
    /// slower, and its offloads are switched off so that frames are real.
    Pkt,
}

impl Backend {
    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Tap => "tap",
            Backend::Pkt => "pkt",
        }
    }

    /// What this machine has: `tap` where the device opens, else `pkt`.
    pub fn detect() -> Backend {
        if open_tun().is_ok() { Backend::Tap } else { Backend::Pkt }
    }

    /// Why `tap` cannot be had, if it cannot.
    pub fn tap_problem() -> Option<Error> {
        open_tun().err()
    }
}

/// A host to be.
#[derive(Clone, Debug)]
pub struct HostSpec {
    pub(crate) name: String,
    pub(crate) interfaces: Vec<Interface>,
    gateways: Vec<IpAddr>,
    forwards: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) lan: usize,
    pub(crate) mac: [u8; 6],
    addresses: Vec<(IpAddr, u8)>,
}

impl HostSpec {
    /// A host of this name, without interfaces.
    pub fn new(name: impl Into<String>) -> HostSpec {
        HostSpec {
            name: name.into(),
            interfaces: Vec::new(),
            gateways: Vec::new(),
            forwards: false,
        }
    }

    /// One more interface (`eth0`, `eth1` ...) on the LAN of this number, with
    /// its addresses and prefix lengths.
    pub fn interface(mut self, lan: usize, addresses: &[(IpAddr, u8)]) -> Self {
        // Locally administered, and told from the address, so that a trace
        // can be read: 52:54 and the last four bytes of the first address.
        let last = match addresses.first() {
            Some((IpAddr::V4(v4), _)) => v4.octets(),
            Some((IpAddr::V6(v6), _)) => {
                let [.., a, b, c, d] = v6.octets();
                [a, b, c, d]
            }
            None => [0, 0, lan as u8, self.interfaces.len() as u8],
        };
        let mac = [0x52, 0x54, last[0], last[1], last[2], last[3]];
        let addresses = addresses.to_vec();
        self.interfaces.push(Interface { lan, mac, addresses });
        self
    }

    /// The default route.
    pub fn gateway(mut self, address: IpAddr) -> Self {
        self.gateways.push(address);
        self
    }

    /// Makes it a router: `ip_forward` is 1.
    pub fn forwards(mut self) -> Self {
        self.forwards = true;
        self
    }

    /// Its addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let all = self.interfaces.iter().flat_map(|i| &i.addresses);
        let (mut v4, v6): (Vec<IpAddr>, Vec<IpAddr>) =
            all.map(|(address, _)| *address).partition(IpAddr::is_ipv4);
        v4.extend(v6);
        v4.extend(
            self.interfaces.iter().map(|interface| {
                IpAddr::V6(netlink::link_local(interface.mac))
            }),
        );
        v4
    }
}

/// The plan of a network: hosts, LANs, and how the kernel is to behave.
#[derive(Clone, Debug)]
pub struct Network {
    hosts: Vec<HostSpec>,
    nameserver: Option<IpAddr>,
    profile: Profile,
    backend: Option<Backend>,
    capture: bool,
    states: bool,
    seed: Option<u64>,
}

impl Network {
    /// A network without hosts.
    pub fn empty() -> Network {
        Network {
            hosts: Vec::new(),
            nameserver: None,
            profile: Profile::Modern,
            backend: None,
            capture: true,
            states: true,
            seed: None,
        }
    }

    /// Two hosts on one LAN, `ernest-laptop` 192.168.1.108 and `Kongming20`
    /// 192.168.1.109; in IPv6 2001:db8:1::108 and ::109 (RFC 3849).
    pub fn lan() -> Network {
        Network::empty()
            .host(HostSpec::new("ernest-laptop").interface(0, &lan(108)))
            .host(HostSpec::new("Kongming20").interface(0, &lan(109)))
    }

    /// The same LAN with `router` 192.168.1.1, and behind it 203.0.113.0/24
    /// (RFC 5737): `ns.example.test` .53 and `www.example.test` .80.
    /// [`crate::internet`] starts their servers.
    pub fn internet() -> Network {
        let [inside, inside6] = lan(1);
        let [outside, outside6] = internet(1);
        let lan_host = |name: &str, number| {
            HostSpec::new(name)
                .interface(0, &lan(number))
                .gateway(inside.0)
                .gateway(inside6.0)
        };
        let server = |name: &str, addresses: &[(IpAddr, u8)]| {
            HostSpec::new(name)
                .interface(1, addresses)
                .gateway(outside.0)
                .gateway(outside6.0)
        };
        let router = HostSpec::new("router")
            .interface(0, &[inside, inside6])
            .interface(1, &[outside, outside6])
            .forwards();
        let [first, first6] = internet(80);
        let [second, _] = internet(81);
        let ns = internet(53);
        Network::empty()
            .host(lan_host("ernest-laptop", 108))
            .host(lan_host("Kongming20", 109))
            .host(router)
            .host(server("ns.example.test", &ns))
            .host(server("www.example.test", &[first, second, first6]))
            .nameserver(ns[0].0)
    }

    /// One more host.
    pub fn host(mut self, host: HostSpec) -> Network {
        self.hosts.push(host);
        self
    }

    /// What every host's /etc/resolv.conf names.
    pub fn nameserver(mut self, address: IpAddr) -> Network {
        self.nameserver = Some(address);
        self
    }

    /// How the kernel is to behave; `modern` unless said.
    pub fn profile(mut self, profile: Profile) -> Network {
        self.profile = profile;
        self
    }

    /// This backend and no other. Without it, what the machine has.
    pub fn backend(mut self, backend: Backend) -> Network {
        self.backend = Some(backend);
        self
    }

    /// Whether frames are recorded; they are unless said.
    pub fn capture(mut self, on: bool) -> Network {
        self.capture = on;
        self
    }

    /// Whether socket states are sampled at every segment; they are unless
    /// said. Bulk traffic is carried several times faster without.
    pub fn states(mut self, on: bool) -> Network {
        self.states = on;
        self
    }

    /// What the run's ports, payloads and counts are drawn from.
    pub fn seed(mut self, seed: u64) -> Network {
        self.seed = Some(seed);
        self
    }

    /// Brings it up: 2 ms or so for two hosts. [`crate::enter`] comes first.
    ///
    /// # Errors
    ///
    /// The call that this machine refused, why, and the cure.
    pub fn up(self) -> Result<Testbed> {
        let backend = self.backend.unwrap_or_else(Backend::detect);
        let recorder = Recorder::new();
        let mut hosts = self.start_hosts(&recorder)?;
        let plugs = connect(&hosts, backend)?;
        for host in &hosts {
            configure(host)?;
        }
        let links = links(&hosts)?;
        if backend == Backend::Pkt {
            for (host, links) in &links {
                wait_for_carrier(host, links)?;
            }
        }
        let sampler = if self.states {
            Some(Sampler::new(watched(&hosts)?, recorder.clone()))
        } else {
            None
        };
        let capture = self.capture.then(|| recorder.clone());
        let wire = Wire::start(plugs, links, capture, sampler)?;
        if self.states {
            for host in &mut hosts {
                host.sample_with(wire.sampling());
            }
        }
        let seed = self.seed.unwrap_or_else(Draw::fresh_seed);
        let profile = self.profile;
        Ok(Testbed { wire, hosts, recorder, profile, backend, seed })
    }

    /// All hosts at once: each waits for the kernel more than it works.
    fn start_hosts(&self, recorder: &Recorder) -> Result<Vec<Host>> {
        let character = self.character();
        std::thread::scope(|scope| {
            let starting: Vec<_> = self
                .hosts
                .iter()
                .map(|spec| {
                    let (character, recorder) = (&character, recorder.clone());
                    scope.spawn(move || {
                        Host::start(spec.clone(), character.clone(), recorder)
                    })
                })
                .collect();
            let hosts =
                starting.into_iter().map(|thread| match thread.join() {
                    Ok(host) => host,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
            hosts.collect()
        })
    }

    fn character(&self) -> Character {
        let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for host in &self.hosts {
            // A name that DNS is to be asked for is not in /etc/hosts.
            if host.name.contains('.') {
                continue;
            }
            for interface in &host.interfaces {
                for (address, _) in &interface.addresses {
                    hosts.push_str(&format!("{address} {}\n", host.name));
                }
            }
        }
        let resolv_conf = match self.nameserver {
            Some(address) => format!("nameserver {address}\n"),
            None => "# This network has no DNS server.\n".to_string(),
        };
        Character { hosts, resolv_conf, profile: self.profile }
    }
}

/// The last number of an address on the LAN, 192.168.1.0/24.
fn lan(host: u8) -> [(IpAddr, u8); 2] {
    addresses(Ipv4Addr::new(192, 168, 1, host), 1)
}

/// The last number of an address on the small internet, 203.0.113.0/24.
fn internet(host: u8) -> [(IpAddr, u8); 2] {
    addresses(Ipv4Addr::new(203, 0, 113, host), 2)
}

/// An IPv4 address and the IPv6 address that reads like its last number.
fn addresses(v4: Ipv4Addr, subnet: u16) -> [(IpAddr, u8); 2] {
    let host = format!("{}", v4.octets()[3]);
    let host = u16::from_str_radix(&host, 16).unwrap_or_default();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, host);
    [(v4.into(), 24), (v6.into(), 64)]
}

/// Gives each host its interfaces, the other ends of which the wire gets.
fn connect(hosts: &[Host], backend: Backend) -> Result<Vec<Plug>> {
    let mut plugs = Vec::new();
    for host in hosts {
        for (number, interface) in host.spec().interfaces.iter().enumerate() {
            let name = format!("eth{number}");
            let port: Box<dyn Port> = match backend {
                Backend::Tap => Box::new(host.run(move || tap(&name))??),
                Backend::Pkt => {
                    // The devices of a network that is down linger a while.
                    static COUNT: AtomicUsize = AtomicUsize::new(0);
                    let count = COUNT.fetch_add(1, Ordering::Relaxed);
                    let far = format!("w{count}");
                    Box::new(pkt(host, &name, far)?)
                }
            };
            let (lan, mac) = (interface.lan, interface.mac);
            plugs.push(Plug { host: host.name().to_string(), lan, mac, port });
        }
    }
    Ok(plugs)
}

fn open_tun() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .call("open /dev/net/tun")
}

/// Runs on the host: a TAP device belongs to the network of who opened it.
fn tap(name: &str) -> Result<Tap> {
    let tun = open_tun()?;
    sys::create_tap(&tun, name).call(format!("ioctl TUNSETIFF {name}"))?;
    Ok(Tap(tun))
}

/// Runs on the wire's side, in the namespace that [`crate::enter`] made.
fn pkt(host: &Host, name: &str, far: String) -> Result<Pkt> {
    netlink::create_veth(&far, name, host.netns().as_fd())?;
    let own = format!("/proc/sys/net/ipv6/conf/{far}/disable_ipv6");
    // A kernel without IPv6 has no such file, and no such frames.
    let _ = std::fs::write(own, "1");
    netlink::set_up(&far, true)?;
    sys::no_offload(&far).call(format!("ioctl SIOCETHTOOL {far}"))?;
    let socket = sys::packet_socket(netlink::index(&far)?)
        .call(format!("socket AF_PACKET on {far}"))?;
    Ok(Pkt::new(socket, far))
}

/// Addresses and routes, set from the host's own thread.
fn configure(host: &Host) -> Result<()> {
    let spec = host.spec().clone();
    host.run(move || {
        if spec.forwards {
            for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                let path = format!("/proc/sys/net/{path}");
                std::fs::write(&path, "1").call(format!("write {path}"))?;
            }
        }
        for (number, interface) in spec.interfaces.iter().enumerate() {
            let name = format!("eth{number}");
            netlink::configure(&name, interface.mac, QUEUE)?;
            sys::no_offload(&name).call(format!("ioctl SIOCETHTOOL {name}"))?;
            for (address, prefix) in &interface.addresses {
                netlink::add_address(&name, *address, *prefix)?;
            }
        }
        for gateway in &spec.gateways {
            netlink::add_default_route(*gateway)?;
        }
        Ok(())
    })?
}

/// veth's carrier comes some time after both ends are up.
fn wait_for_carrier(host: &str, links: &Links) -> Result<()> {
    match links.wait_for_carrier(true, CARRIER_PATIENCE)? {
        true => Ok(()),
        false => Err(Error::new(format!(
            "a link of {host} has no carrier after {CARRIER_PATIENCE:?}"
        ))),
    }
}

/// Each host's name and links.
fn links(hosts: &[Host]) -> Result<Vec<(String, Links)>> {
    let links = hosts.iter().map(|host| {
        let count = host.spec().interfaces.len();
        let names: Vec<String> =
            (0..count).map(|n| format!("eth{n}")).collect();
        let links = host.run(move || Links::open(&names))??;
        Ok((host.name().to_string(), links))
    });
    links.collect()
}

fn watched(hosts: &[Host]) -> Result<Vec<(String, Vec<IpAddr>, Inspector)>> {
    let watched = hosts.iter().map(|host| {
        let inspector = host.run(Inspector::open)??;
        Ok((host.name().to_string(), host.addresses(), inspector))
    });
    watched.collect()
}

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
}

impl Testbed {
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

    /// Calls `hear` with each event once it is in the trace, from a thread of
    /// its own, until the network is down. What the wire adds to a frame later
    /// (its delivery after a delay) is in [`Testbed::trace`] alone.
    pub fn follow(
        &self,
        mut hear: impl FnMut(&crate::trace::Event) + Send + 'static,
    ) -> Follower {
        let recorder = self.recorder.clone();
        let stop =
            std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            loop {
                let last = stopped.load(std::sync::atomic::Ordering::Acquire);
                let soon = Instant::now() + Duration::from_millis(50);
                recorder.wait_until(soon, |log| log.events.len() > next);
                let new = recorder.log().events[next..].to_vec();
                next += new.len();
                new.iter().for_each(&mut hear);
                if last {
                    return;
                }
            }
        });
        Follower { stop, thread: Some(thread) }
    }

    /// Everything that has happened so far.
    pub fn trace(&self) -> Result<Trace> {
        self.wire.sample()?;
        let mut events = self.recorder.log().events.clone();
        // A frame is written down once it is delivered, with the time at which
        // it came; what changed meanwhile stands before it in the list.
        events.sort_by_key(|event| event.t_ns);
        let not_kept = self.recorder.log().not_kept;
        let losses = self.losses()?;
        Ok(Trace { events, losses, not_kept, ..self.blank_trace() })
    }

    /// The trace before anything has happened: what the world is.
    pub fn blank_trace(&self) -> Trace {
        Trace {
            kernel: crate::kernel_release(),
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
        }
    }

    /// Frames that were lost though nobody told the wire to lose them: in the
    /// queue between a host and the wire, or in the write to a host.
    pub fn losses(&self) -> Result<Vec<String>> {
        let mut losses = self.wire.losses()?;
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
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

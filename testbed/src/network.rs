//! The plan of a network.

mod machines;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::error::{Call, Error, Result};
use crate::host::{Addresses, Character, Host};
use crate::interfaces::{self, open_tun};
use crate::link::{LAN, Reach};
use crate::netlink::{self, Links};
use crate::profile::Profile;
use crate::recorder::Recorder;
use crate::running::Testbed;
use crate::sampler::Sampler;
use crate::sockets::Inspector;
use crate::wire::{Pkt, Plug, Wire};

/// How a host's interface reaches the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A TAP device each. Needs /dev/net/tun to be open to the user.
    Tap,
    /// A veth pair each, its far end behind a packet socket. Needs no device;
    /// slower, and its offloads are switched off so that frames are real.
    ///
    /// All of such a network runs on one processor. veth queues a frame on the
    /// processor that sends it, so with two of them the ACK that a kernel sends
    /// and the FIN that its program sends right after could change places.
    Pkt,
    /// Two machines, as `vagrant/` provisions them: [`Network::on_machines`].
    Vagrant,
}

impl Backend {
    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Tap => "tap",
            Backend::Pkt => "pkt",
            Backend::Vagrant => "vagrant",
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
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) forwards: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) lan: usize,
    pub(crate) mac: [u8; 6],
    pub(crate) addresses: Vec<(IpAddr, u8)>,
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

    fn drop_ipv6(&mut self) {
        self.gateways.retain(IpAddr::is_ipv4);
        for interface in &mut self.interfaces {
            interface.addresses.retain(|(address, _)| address.is_ipv4());
        }
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
    machines: Option<(Reach, bool)>,
    uplink: Option<Uplink>,
}

/// Of a host on a machine of its own: the way to the others.
#[derive(Clone, Debug)]
struct Uplink {
    host: String,
    socket: Arc<OwnedFd>,
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
            machines: None,
            uplink: None,
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

    /// On machines that are reached so, each host on the one of its name; with
    /// `tracer`, programs can be traced there ([`crate::Launch::trace`]). This
    /// process must not have entered a network of its own, since it would not
    /// reach them from there.
    pub fn on_machines(mut self, reach: Reach, tracer: bool) -> Network {
        self.machines = Some((reach, tracer));
        self
    }

    /// Of these hosts, the one on this machine, with the way to the others.
    pub(crate) fn with_uplink(
        mut self,
        host: &str,
        socket: OwnedFd,
    ) -> Result<Network> {
        self.address_of(host)?;
        let (host, socket) = (host.to_string(), Arc::new(socket));
        self.uplink = Some(Uplink { host, socket });
        Ok(self)
    }

    /// The first address of a host.
    pub(crate) fn address_of(&self, host: &str) -> Result<IpAddr> {
        let spec = self.hosts.iter().find(|spec| spec.name == host);
        let address = spec.and_then(|spec| spec.addresses().first().copied());
        address.ok_or_else(|| {
            Error::new(format!("no host `{host}` is on this network"))
        })
    }

    pub(crate) fn hosts(&self) -> &[HostSpec] {
        &self.hosts
    }

    pub(crate) fn profile_asked(&self) -> Profile {
        self.profile
    }

    pub(crate) fn seed_or_fresh(&self) -> u64 {
        self.seed.unwrap_or_else(Draw::fresh_seed)
    }

    /// Brings it up: 2 ms or so for two hosts. [`crate::enter`] comes first.
    ///
    /// # Errors
    ///
    /// The call that this machine refused, why, and the cure.
    pub fn up(mut self) -> Result<Testbed> {
        if let Some((reach, tracer)) = self.machines.take() {
            return machines::connect(&self, &reach, tracer);
        }
        let character = self.character();
        if let Some(uplink) = &self.uplink {
            self.hosts.retain(|spec| spec.name == uplink.host);
        }
        if !Path::new("/proc/sys/net/ipv6").exists() {
            // A kernel without IPv6: its hosts do with IPv4.
            self.hosts.iter_mut().for_each(HostSpec::drop_ipv6);
        }
        let backend = self.backend.unwrap_or_else(Backend::detect);
        if backend == Backend::Pkt {
            stay_on_one_processor()?;
        }
        let recorder = Recorder::new();
        let mut hosts = self.start_hosts(&character, backend, &recorder)?;
        let mut plugs = interfaces::connect(&mut hosts, backend)?;
        if let Some(uplink) = &self.uplink {
            plugs.push(uplink.plug()?);
        }
        let links = links(&hosts, &plugs)?;
        if backend == Backend::Pkt {
            for (host, links) in &links {
                interfaces::wait_for_carrier(host, links)?;
            }
        }
        let sampler = if self.states {
            let sampler = Sampler::new(watched(&hosts)?, recorder.clone());
            Some(match self.uplink {
                Some(_) => sampler.there(),
                None => sampler,
            })
        } else {
            None
        };
        interfaces::wait_for_ipv6(&hosts)?;
        let capture = self.capture.then(|| recorder.clone());
        let wire = Wire::start(plugs, links, capture, sampler)?;
        if self.states {
            for host in &mut hosts {
                host.sample_with(wire.sampling());
            }
        }
        let (seed, profile) = (self.seed_or_fresh(), self.profile);
        Ok(Testbed::new(hosts, wire, recorder, profile, backend, seed))
    }

    /// All hosts at once: each waits for the kernel more than it works.
    fn start_hosts(
        &self,
        character: &Character,
        backend: Backend,
        recorder: &Recorder,
    ) -> Result<Vec<Host>> {
        std::thread::scope(|scope| {
            let starting: Vec<_> = self
                .hosts
                .iter()
                .map(|spec| {
                    let recorder = recorder.clone();
                    scope.spawn(move || {
                        let spec = spec.clone();
                        Host::start(spec, character.clone(), backend, recorder)
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

    pub(crate) fn character(&self) -> Character {
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

impl Uplink {
    /// At the wire it is every station that the host is not.
    fn plug(&self) -> Result<Plug> {
        let socket = self.socket.try_clone().call("dup packet socket")?;
        Ok(Plug {
            host: LAN.to_string(),
            lan: 0,
            mac: [0; 6],
            port: Box::new(Pkt::uplink(socket)),
        })
    }
}

/// For this thread and all that it starts: hosts, their programs, the wire.
/// Networks are spread over the processors by lot.
fn stay_on_one_processor() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).call("sched_getaffinity")?;
    let allowed: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let Some(cpu) = fastrand::choice(&allowed) else { return Ok(()) };
    let mut one = CpuSet::new();
    one.set(*cpu).call(format!("processor {cpu}"))?;
    sched_setaffinity(this, &one).call(format!("sched_setaffinity {cpu}"))
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

/// Each host's name and links: its own ends, and, where they are devices too,
/// the wire's. Either drops in silence what it is given before it is ready.
fn links(hosts: &[Host], plugs: &[Plug]) -> Result<Vec<(String, Links)>> {
    let mut links = Vec::new();
    for host in hosts {
        let count = host.spec().interfaces.len();
        let names: Vec<String> =
            (0..count).map(|n| format!("eth{n}")).collect();
        let near = host.run(move || Links::open(&names))??;
        links.push((host.name().to_string(), near));
    }
    for plug in plugs {
        if let Some(name) = plug.port.device() {
            let far = Links::open(&[name.to_string()])?;
            links.push((plug.host.clone(), far));
        }
    }
    Ok(links)
}

fn watched(hosts: &[Host]) -> Result<Vec<(String, Addresses, Inspector)>> {
    let watched = hosts.iter().map(|host| {
        let inspector = host.run(Inspector::open)??;
        Ok((host.name().to_string(), host.shared_addresses(), inspector))
    });
    watched.collect()
}

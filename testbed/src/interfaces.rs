//! A host's interfaces: made, joined to the wire, given their addresses.

use std::fs::{File, OpenOptions};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Call, Error, Result};
use crate::host::Host;
use crate::netlink::{self, Links};
use crate::network::{Backend, HostSpec, Interface};
use crate::sys;
use crate::wire::{Pkt, Plug, Port, Tap};

/// TAP's own queue of 500 frames loses hundreds a second of bulk traffic.
const QUEUE: u32 = 10_000;
/// What a veth pair may need to notice that it is connected, and the kernel's own
/// thread to make an IPv6 address usable.
const PATIENCE: Duration = Duration::from_secs(10);

/// What of it can be done by the host alone, while others start: TAP devices,
/// addresses and all. Runs on the host.
pub(crate) fn start(spec: &HostSpec, backend: Backend) -> Result<Vec<Tap>> {
    if backend == Backend::Pkt {
        return Ok(Vec::new());
    }
    let count = spec.interfaces.len();
    let taps = (0..count).map(|number| tap(&format!("eth{number}")));
    let taps = taps.collect::<Result<_>>()?;
    configure(spec)?;
    Ok(taps)
}

/// The wire's end of every host's interfaces.
pub(crate) fn connect(
    hosts: &mut [Host],
    backend: Backend,
) -> Result<Vec<Plug>> {
    let mut plugs = Vec::new();
    for host in hosts {
        let ports: Vec<Box<dyn Port>> = match backend {
            Backend::Tap => {
                let taps = host.take_taps().into_iter();
                taps.map(|tap| Box::new(tap) as Box<dyn Port>).collect()
            }
            Backend::Pkt => connect_pkt(host)?,
            Backend::Vagrant => Vec::new(), // Its machines have their own.
        };
        for (interface, port) in host.spec().interfaces.iter().zip(ports) {
            let (lan, mac) = (interface.lan, interface.mac);
            plugs.push(Plug { host: host.name().to_string(), lan, mac, port });
        }
    }
    Ok(plugs)
}

fn connect_pkt(host: &Host) -> Result<Vec<Box<dyn Port>>> {
    let mut ports: Vec<Box<dyn Port>> = Vec::new();
    for number in 0..host.spec().interfaces.len() {
        ports.push(Box::new(pkt(host, &format!("eth{number}"))?));
    }
    let spec = host.spec().clone();
    host.run(move || {
        for number in 0..spec.interfaces.len() {
            let name = format!("eth{number}");
            sys::no_offload(&name).call(format!("ioctl SIOCETHTOOL {name}"))?;
        }
        configure(&spec)
    })??;
    Ok(ports)
}

/// Opens the device that TAP interfaces come from.
pub(crate) fn open_tun() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .call("open /dev/net/tun")
}

/// A TAP device belongs to the network of who opened it.
fn tap(name: &str) -> Result<Tap> {
    let tun = open_tun()?;
    sys::create_tap(&tun, name).call(format!("ioctl TUNSETIFF {name}"))?;
    Ok(Tap(tun))
}

/// Runs on the wire's side, in the namespace that [`crate::enter`] made.
fn pkt(host: &Host, name: &str) -> Result<Pkt> {
    // The devices of a network that is down linger a while.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let far = format!("w{}", COUNT.fetch_add(1, Ordering::Relaxed));
    netlink::create_veth(&far, name, host.netns()?.as_fd())?;
    let own = format!("/proc/sys/net/ipv6/conf/{far}/disable_ipv6");
    // A kernel without IPv6 has no such file, and no such frames.
    let _ = std::fs::write(own, "1");
    netlink::set_up(&far, true)?;
    sys::no_offload(&far).call(format!("ioctl SIOCETHTOOL {far}"))?;
    let socket = sys::packet_socket(netlink::index(&far)?)
        .call(format!("socket AF_PACKET on {far}"))?;
    Ok(Pkt::new(socket, far))
}

/// Settings, addresses and routes. Runs on the host.
fn configure(spec: &HostSpec) -> Result<()> {
    if spec.forwards {
        for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let path = format!("/proc/sys/net/{path}");
            std::fs::write(&path, "1").call(format!("write {path}"))?;
        }
    }
    for (number, interface) in spec.interfaces.iter().enumerate() {
        let name = format!("eth{number}");
        netlink::configure(&name, interface.mac, QUEUE)?;
        for (address, prefix) in &interface.addresses {
            netlink::add_address(&name, *address, *prefix)?;
        }
    }
    for gateway in &spec.gateways {
        netlink::add_default_route(*gateway)?;
    }
    Ok(())
}

/// veth's carrier comes some time after both ends are up.
pub(crate) fn wait_for_carrier(host: &str, links: &Links) -> Result<()> {
    match links.wait_for_carrier(true, PATIENCE)? {
        true => Ok(()),
        false => Err(Error::new(format!(
            "a link of {host} has no carrier after {PATIENCE:?}"
        ))),
    }
}

/// A host hears neighbour solicitations for an IPv6 address once it has joined
/// that address' multicast group, which the kernel does on a thread of its own
/// before it lets the address be bound. One that it misses costs a second.
pub(crate) fn wait_for_ipv6(hosts: &[Host]) -> Result<()> {
    for host in hosts {
        let of = |interface: &Interface| interface.addresses.clone();
        let addresses: Vec<_> =
            host.spec().interfaces.iter().flat_map(of).collect();
        host.run(move || {
            let mut v6 = addresses.iter().filter(|(ip, _)| ip.is_ipv6());
            v6.try_for_each(|(address, _)| wait_to_bind(*address))
        })??;
    }
    Ok(())
}

fn wait_to_bind(address: IpAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(err) = UdpSocket::bind((address, 0)) {
        if Instant::now() >= deadline {
            return Err(err)
                .call(format!("bind {address}, tried for {PATIENCE:?}"));
        }
        // There is no event for it that costs less than asking again.
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

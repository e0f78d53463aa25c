//! The machine's interface on the LAN, which the host has for the time of a run.
//!
//! The host's own interface has the address and the station address of the
//! machine's. While it is up, the machine's network must not answer for it: what
//! comes in by that interface is for the host alone, and what the machine itself
//! would send there stays. nftables does that, by tables that belong to a process
//! and go with it (nft(8), "owner"): however a run ends, the machine is as it was.

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;

use crate::error::{Call, Error, Result};
use crate::{netlink, sys};

/// What nft needs on a slow machine, and the end of the run before.
const PATIENCE: Duration = Duration::from_secs(20);

/// The interface, while it is the host's.
pub(super) struct Station {
    pub(super) interface: String,
    /// The frames that come, and the way out.
    pub(super) socket: OwnedFd,
    /// Its end is the end of the tables.
    _nft: (Child, ChildStdin),
    _lock: UnixListener,
}

impl Station {
    /// Takes the interface that has this address, for as long as this lives.
    ///
    /// # Errors
    ///
    /// No interface has it, another run has the machine, or the right to open a
    /// packet socket is missing.
    pub(super) fn take(host: &str, address: IpAddr) -> Result<Station> {
        let lock = lock(host)?;
        let interface = interface_with(address)?;
        let index = netlink::index(&interface)?;
        // Frames as they are on a wire, as far as the driver lets us.
        let _ = sys::no_offload(&interface);
        let socket = sys::packet_socket(index)
            .call(format!("socket AF_PACKET on {interface}"))?;
        let nft = silence(&interface)?;
        Ok(Station { interface, socket, _nft: nft, _lock: lock })
    }
}

/// Where programs are kept that have been brought: beside this one, which came
/// in the same way.
pub(super) fn directory() -> Result<PathBuf> {
    let program = std::env::current_exe().call("readlink /proc/self/exe")?;
    let folder = program.parent().map(Path::to_path_buf);
    folder.ok_or_else(|| Error::new("this program is in no folder"))
}

/// One run at a time: a name in the machine's network, which goes with the
/// process that has it (unix(7), "abstract").
fn lock(host: &str) -> Result<UnixListener> {
    let name = format!("serverlab/{host}");
    let address = SocketAddr::from_abstract_name(&name)
        .call(format!("socket name {name}"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixListener::bind_addr(&address) {
            Ok(lock) => return Ok(lock),
            Err(err) if err.kind() != ErrorKind::AddrInUse => {
                return Err(err).call(format!("bind @{name}"));
            }
            Err(err) if Instant::now() > deadline => {
                return Err(Error::from_call(format!("bind @{name}"), err)
                    .cause(format!("another run has {host}"))
                    .cure("wait for its end"));
            }
            // The last run's agent may be about to end.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn interface_with(address: IpAddr) -> Result<String> {
    let mut all = getifaddrs().call("getifaddrs")?;
    let has = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4 == Some(address)
    };
    let found = all.find(|one| one.address.is_some_and(has));
    found.map(|one| one.interface_name).ok_or_else(|| {
        Error::new(format!("no interface of this machine has {address}"))
            .cause("Vagrant has not configured it, or it has lost the address")
            .cure("vagrant reload, for the machine that `vagrant/status` names")
    })
}

/// Has nothing of the machine's own come or go by the interface.
fn silence(interface: &str) -> Result<(Child, ChildStdin)> {
    // Another one than that of a run that is about to end.
    let table = format!("serverlab_{}", std::process::id());
    let mut nft = Command::new(nft())
        .arg("-i")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|err| {
            Error::from_call("exec nft", err)
                .cure("sudo apt-get install nftables")
        })?;
    let mut commands = nft.stdin.take().ok_or_else(|| Error::new("nft"))?;
    let mut text = String::new();
    for (family, hook) in [
        ("netdev", format!("hook ingress device \"{interface}\"")),
        ("inet", "hook output".to_string()),
        ("arp", "hook output".to_string()),
    ] {
        let rule = match family {
            "netdev" => "drop".to_string(),
            _ => format!("oifname \"{interface}\" drop"),
        };
        text += &format!(
            "add table {family} {table} {{ flags owner; }}\n\
             add chain {family} {table} lan \
             {{ type filter {hook} priority 0; }}\n\
             add rule {family} {table} lan {rule}\n"
        );
    }
    commands.write_all(text.as_bytes()).call("write to nft")?;
    commands.flush().call("write to nft")?;
    // The last of them has to be there, and it is the kernel's to say so.
    let deadline = Instant::now() + PATIENCE;
    while !has_rule(&table) {
        if Instant::now() > deadline {
            let what = format!("nft made no table {table}");
            return Err(Error::new(what)
                .cause("it takes Linux 5.12 and nftables 0.9.9, and root"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((nft, commands))
}

fn has_rule(table: &str) -> bool {
    let listed = Command::new(nft())
        .args(["list", "table", "arp", table])
        .stderr(Stdio::null())
        .output();
    let drops = |text: &[u8]| String::from_utf8_lossy(text).contains("drop");
    listed.is_ok_and(|listed| drops(&listed.stdout))
}

/// An ordinary user's PATH has not always the place of the tools for root.
fn nft() -> &'static str {
    let usual = "/usr/sbin/nft";
    if Path::new(usual).exists() { usual } else { "nft" }
}

//! What the descriptors of a process lead to: /proc/PID/fd, fdinfo, and the
//! socket tables of its network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use nix::sys::statfs::FsType;
use serde::{Deserialize, Serialize};

use crate::error::{Call, Result};
use crate::processes::{field, numbers};
use crate::sockets::{TcpSocket, TcpState};
use crate::sys;

/// The kinds of files that a descriptor can lead to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // The names are those of the calls that make them.
pub enum DescriptorKind {
    Tcp,
    Udp,
    Unix,
    OtherSocket,
    Pipe,
    Fifo,
    EventFd,
    Epoll,
    TimerFd,
    SignalFd,
    Inotify,
    Pidfd,
    MessageQueue,
    SharedMemory,
    File,
    Directory,
    Device,
    Other,
}

/// An open descriptor of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub number: i32,
    /// The kind of what it leads to.
    pub kind: DescriptorKind,
    /// What it leads to, as one would say it: `TCP LISTEN 192.168.1.109:80`,
    /// `pipe (read end)`, `/dev/null`.
    pub text: String,
    /// The same for every descriptor that leads to the same pipe or socket; 0
    /// for what has none.
    pub inode: u64,
    /// Opened for reading?
    pub readable: bool,
    /// Opened for writing?
    pub writable: bool,
    /// O_NONBLOCK
    pub nonblocking: bool,
    /// FD_CLOEXEC
    pub close_on_exec: bool,
    /// The socket itself, if it is TCP and has a state.
    pub tcp: Option<TcpSocket>,
    /// What an epoll instance watches, as the numbers they had.
    pub watches: Vec<i32>,
}

/// What a host knows about the sockets behind descriptors.
pub(crate) struct Tables {
    pub(crate) tcp: Vec<TcpSocket>,
    pub(crate) names: Names,
}

/// Whose addresses these are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<IpAddr, String>);

impl Names {
    /// From a text as in hosts(5).
    pub(crate) fn parse(hosts: &str) -> Names {
        let mut names = BTreeMap::new();
        for line in hosts.lines() {
            let mut words = line.split_whitespace();
            let address = words.next().and_then(|word| word.parse().ok());
            if let (Some(address), Some(name)) = (address, words.next()) {
                names.entry(address).or_insert_with(|| name.to_string());
            }
        }
        Names(names)
    }

    /// `ernest-laptop:40000`
    pub(crate) fn peer(&self, address: SocketAddr) -> String {
        match self.0.get(&address.ip().to_canonical()) {
            Some(name) => format!("{name}:{}", address.port()),
            None => address.to_string(),
        }
    }
}

/// The descriptors of a process, in the order of their numbers.
pub(crate) fn of_process(pid: i32, tables: &Tables) -> Result<Vec<Descriptor>> {
    let directory = format!("/proc/{pid}/fd");
    match fs::read_dir(&directory) {
        Ok(_) => {}
        Err(_) if has_no_memory(pid) => return Ok(Vec::new()),
        // It has gone, or is none that we may look into.
        err => drop(err.call(format!("open {directory}"))?),
    }
    let mut fds: Vec<i32> = numbers(Path::new(&directory)).collect();
    fds.sort_unstable();
    let sockets = LocalTables::of(pid);
    let describe = |fd| describe(pid, fd, tables, &sockets);
    Ok(fds.into_iter().filter_map(describe).collect())
}

/// Has a process given its memory back, being about to end or a zombie? From
/// then on root alone may open its /proc/PID/fd, which is empty soon.
fn has_no_memory(pid: i32) -> bool {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"));
    pages.is_ok_and(|pages| pages.starts_with("0 "))
}

/// One descriptor; `None`: it has been closed just now.
fn describe(
    pid: i32,
    number: i32,
    tables: &Tables,
    sockets: &LocalTables,
) -> Option<Descriptor> {
    let path = format!("/proc/{pid}/fd/{number}");
    let target = fs::read_link(&path).ok()?;
    let target = target.to_string_lossy().into_owned();
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
    let info = info.ok()?;
    let flags = field(&info, "flags:").unwrap_or_default();
    let flags = i32::from_str_radix(flags, 8).unwrap_or_default();
    let access = flags & libc::O_ACCMODE;
    let mut descriptor = Descriptor {
        number,
        kind: DescriptorKind::Other,
        text: target.clone(),
        inode: inode_of(&target),
        readable: access != libc::O_WRONLY,
        writable: access != libc::O_RDONLY,
        nonblocking: flags & libc::O_NONBLOCK != 0,
        close_on_exec: flags & libc::O_CLOEXEC != 0,
        tcp: None,
        watches: Vec::new(),
    };
    if target.starts_with("socket:") {
        name_socket(&mut descriptor, &path, tables, sockets);
    } else {
        name_file(&mut descriptor, &target, &path, &info);
    }
    Some(descriptor)
}

/// `pipe:[1234]`, `socket:[1234]`
fn inode_of(target: &str) -> u64 {
    let number = target.split_once(":[").map(|(_, rest)| rest);
    let number = number.and_then(|rest| rest.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn name_socket(
    descriptor: &mut Descriptor,
    path: &str,
    tables: &Tables,
    sockets: &LocalTables,
) {
    let inode = descriptor.inode;
    let same = |socket: &&TcpSocket| u64::from(socket.inode) == inode;
    let protocol = sys::protocol(path).unwrap_or_default();
    let (kind, text) = if let Some(tcp) = tables.tcp.iter().find(same) {
        descriptor.tcp = Some(tcp.clone());
        (DescriptorKind::Tcp, tcp_text(tcp, &tables.names))
    } else if let Some((local, peer)) = sockets.udp.get(&inode) {
        let text = match peer.port() {
            0 => format!("UDP {local}"),
            _ => format!("UDP {local} -> {}", tables.names.peer(*peer)),
        };
        (DescriptorKind::Udp, text)
    } else if let Some(text) = sockets.unix.get(&inode) {
        (DescriptorKind::Unix, text.clone())
    } else if protocol.starts_with("TCP") {
        (DescriptorKind::Tcp, "TCP, not connected".to_string())
    } else if protocol.starts_with("UDP") {
        (DescriptorKind::Udp, "UDP, not bound".to_string())
    } else if protocol.starts_with("UNIX") {
        (DescriptorKind::Unix, "unix socket".to_string())
    } else {
        (DescriptorKind::OtherSocket, format!("{protocol} socket"))
    };
    (descriptor.kind, descriptor.text) = (kind, text);
}

fn tcp_text(socket: &TcpSocket, names: &Names) -> String {
    let TcpSocket { state, local, peer, .. } = socket;
    match state {
        TcpState::Listen => format!("TCP LISTEN {local}"),
        _ => format!("TCP {state} {local} -> {}", names.peer(*peer)),
    }
}

fn name_file(
    descriptor: &mut Descriptor,
    target: &str,
    path: &str,
    info: &str,
) {
    use std::os::unix::fs::FileTypeExt;
    let file_type = fs::metadata(path).map(|meta| meta.file_type());
    let is =
        |test: fn(&fs::FileType) -> bool| file_type.as_ref().is_ok_and(test);
    let end = match (descriptor.readable, descriptor.writable) {
        (true, true) => "both ends",
        (true, false) => "read end",
        _ => "write end",
    };
    let anonymous = target.strip_prefix("anon_inode:");
    let anonymous = anonymous.map(|name| name.trim_matches(['[', ']']));
    let (kind, text) = match anonymous {
        Some("eventfd") => (DescriptorKind::EventFd, "eventfd".to_string()),
        Some("eventpoll") => {
            descriptor.watches = watched(info);
            let numbers = descriptor.watches.iter().map(i32::to_string);
            let numbers = numbers.collect::<Vec<_>>().join(" ");
            let text = match numbers.as_str() {
                "" => "epoll, watching nothing".to_string(),
                numbers => format!("epoll, watching {numbers}"),
            };
            (DescriptorKind::Epoll, text)
        }
        Some("timerfd") => (DescriptorKind::TimerFd, "timerfd".to_string()),
        Some("signalfd") => (DescriptorKind::SignalFd, "signalfd".to_string()),
        Some("inotify") => (DescriptorKind::Inotify, "inotify".to_string()),
        Some("pidfd") => (DescriptorKind::Pidfd, "pidfd".to_string()),
        Some(name) => (DescriptorKind::Other, name.to_string()),
        None if target.starts_with("pipe:") => {
            (DescriptorKind::Pipe, format!("pipe ({end})"))
        }
        // Since Linux 6.10 a process descriptor is a file of pidfs.
        None if target.starts_with("pidfd:") => {
            (DescriptorKind::Pidfd, "pidfd".to_string())
        }
        None if is(|kind| kind.is_fifo()) => {
            (DescriptorKind::Fifo, format!("fifo {target} ({end})"))
        }
        None if is(|kind| kind.is_char_device() || kind.is_block_device()) => {
            (DescriptorKind::Device, target.to_string())
        }
        None if is(|kind| kind.is_dir()) => {
            (DescriptorKind::Directory, format!("directory {target}"))
        }
        None if is(|kind| kind.is_file()) => {
            let at = field(info, "pos:").unwrap_or("0");
            named_file(target, path, at)
        }
        None => (DescriptorKind::Other, target.to_string()),
    };
    (descriptor.kind, descriptor.text) = (kind, text);
}

/// An ordinary file, or what POSIX IPC makes to look like one.
fn named_file(target: &str, path: &str, at: &str) -> (DescriptorKind, String) {
    const MQUEUE_MAGIC: FsType = FsType(0x1980_0202);
    let system = nix::sys::statfs::statfs(path);
    let magic = system.map(|system| system.filesystem_type());
    if magic == Ok(MQUEUE_MAGIC) {
        let name = target.rsplit('/').next().unwrap_or(target);
        let text = format!("message queue /{name}");
        (DescriptorKind::MessageQueue, text)
    } else if let Some(name) = target.strip_prefix("/dev/shm/") {
        (DescriptorKind::SharedMemory, format!("shared memory /{name}"))
    } else {
        (DescriptorKind::File, format!("file {target} at offset {at}"))
    }
}

/// The `tfd:` lines of an epoll instance.
fn watched(info: &str) -> Vec<i32> {
    let lines = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
    let mut fds: Vec<i32> = lines
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    fds.sort_unstable();
    fds
}

/// The sockets of a process's network namespace that /proc/PID/net lists.
struct LocalTables {
    udp: BTreeMap<u64, (SocketAddr, SocketAddr)>,
    unix: BTreeMap<u64, String>,
}

impl LocalTables {
    fn of(pid: i32) -> LocalTables {
        let read = |name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/net/{name}"));
            text.unwrap_or_default()
        };
        let udp = [read("udp"), read("udp6")];
        let rows = udp.iter().flat_map(|text| text.lines().skip(1));
        let unix = read("unix");
        LocalTables {
            udp: rows.filter_map(udp_row).collect(),
            unix: unix.lines().skip(1).filter_map(unix_row).collect(),
        }
    }
}

/// `sl local remote st queues tr retransmits uid timeout inode ...`
fn udp_row(row: &str) -> Option<(u64, (SocketAddr, SocketAddr))> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let (local, peer) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    Some((fields.get(9)?.parse().ok()?, (local, peer)))
}

/// `6D01A8C0:0050`: words as this machine's memory has them, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(words.get(at * 8..at * 8 + 8)?, 16);
        word.ok().map(u32::to_ne_bytes)
    };
    let ip = if words.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let mut octets = [0; 16];
        for at in 0..4 {
            octets[at * 4..][..4].copy_from_slice(&word(at)?);
        }
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// `Num: RefCount Protocol Flags Type St Inode Path`
fn unix_row(row: &str) -> Option<(u64, String)> {
    const LISTENS: u32 = 1 << 16; // __SO_ACCEPTCON
    let fields: Vec<&str> = row.split_whitespace().collect();
    let kind = match *fields.get(4)? {
        "0001" => "stream",
        "0002" => "datagram",
        "0005" => "seqpacket",
        _ => "socket",
    };
    let mut text = format!("unix {kind}");
    if u32::from_str_radix(fields.get(3)?, 16).ok()? & LISTENS != 0 {
        text += " LISTEN";
    }
    if let Some(path) = fields.get(7) {
        text = format!("{text} {path}");
    }
    Some((fields.get(6)?.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_prints_them() {
        let bytes = u32::from_ne_bytes([192, 168, 1, 109]);
        let text = format!("{bytes:08X}:0050");
        assert_eq!(address(&text), "192.168.1.109:80".parse().ok());
        assert_eq!(address("6D01A8:0050"), None);
    }
}

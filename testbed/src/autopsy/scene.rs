//! What the sentences are made from: the call, and what stands around it.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::SystemCall;
use crate::descriptors::{self, Descriptor, Tables};
use crate::ipc::IpcObject;
use crate::processes::{ProcessInfo, numbers};
use crate::sockets::TcpSocket;
use crate::trace::Trace;

/// What is known of the run at the moment of an autopsy.
pub(crate) struct World<'a> {
    /// Those of the program.
    pub(crate) processes: Vec<ProcessInfo>,
    /// The host's sockets and its names.
    pub(crate) tables: Tables,
    pub(crate) objects: Vec<IpcObject>,
    pub(crate) addresses: Vec<std::net::IpAddr>,
    /// The sockets of every host, its own included, if they are known.
    pub(crate) everywhere: Option<Vec<TcpSocket>>,
    pub(crate) trace: Option<&'a Trace>,
    /// The scenario, which has the other ends of the program's input and
    /// output.
    pub(crate) this_process: i32,
}

/// One thread in one call.
pub(super) struct Scene<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) process: &'a ProcessInfo,
    pub(super) own_tid: i32,
    pub(super) call: &'a SystemCall,
    descriptors: OnceCell<Vec<Descriptor>>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        world: &'a World<'a>,
        process: &'a ProcessInfo,
        own_tid: i32,
        call: &'a SystemCall,
    ) -> Scene<'a> {
        let descriptors = OnceCell::new();
        Scene { world, process, own_tid, call, descriptors }
    }

    /// An argument as the `int` that it is.
    pub(super) fn int(&self, at: usize) -> i32 {
        self.call.arguments[at] as i32
    }

    pub(super) fn descriptor(&self, number: i32) -> Option<&Descriptor> {
        let all = self.descriptors.get_or_init(|| {
            let pid = self.process.pid;
            descriptors::of_process(pid, &self.world.tables).unwrap_or_default()
        });
        all.iter().find(|one| one.number == number)
    }

    /// Bytes of the program's memory; `None`: we may not look, or there are
    /// none.
    pub(super) fn memory(
        &self,
        address: u64,
        length: usize,
    ) -> Option<Vec<u8>> {
        let path = format!("/proc/{}/mem", self.process.pid);
        let mut bytes = vec![0; length];
        let memory = File::open(path).ok().filter(|_| address != 0)?;
        memory.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    /// The other end of a connection: `None` if the other hosts are not known,
    /// `Some(None)` if none of them has it.
    pub(super) fn other_end(
        &self,
        socket: &TcpSocket,
    ) -> Option<Option<&TcpSocket>> {
        let ends = (socket.peer, socket.local);
        let mut everywhere = self.world.everywhere.as_ref()?.iter();
        Some(everywhere.find(|other| (other.local, other.peer) == ends))
    }

    /// Who has a lock on the file behind a descriptor, by /proc/locks: a lock
    /// for which somebody waits has `->` before it.
    pub(super) fn lock_holder(&self, number: i32) -> Option<String> {
        let path = format!("/proc/{}/fd/{number}", self.process.pid);
        let end = format!(":{}", fs::metadata(path).ok()?.ino());
        let locks = fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            // `1: FLOCK ADVISORY WRITE 4711 00:2a:7 0 EOF`
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.get(5)?.ends_with(&end) || words[1] == "->" {
                return None;
            }
            let pid: i32 = words[4].parse().ok()?;
            let mut processes = self.world.processes.iter();
            let holder = processes.find(|process| process.pid == pid);
            Some(match holder {
                Some(holder) if pid == self.process.pid => {
                    format!("{} {} itself", holder.name, holder.own_pid)
                }
                Some(holder) => format!("{} {}", holder.name, holder.own_pid),
                None => "another program".to_string(),
            })
        })
    }

    pub(super) fn peer(&self, address: SocketAddr) -> String {
        self.world.tables.names.peer(address)
    }

    /// Who else has an end of this pipe open, and as which descriptor: the end
    /// to write to, or the one to read from.
    pub(super) fn holders(&self, inode: u64, to_write: bool) -> Vec<Holder> {
        let target = format!("pipe:[{inode}]");
        let mut pids: Vec<i32> =
            numbers(std::path::Path::new("/proc")).collect();
        pids.sort_unstable();
        pids.into_iter()
            .flat_map(|pid| ends(pid, &target, to_write))
            .map(|(pid, fd)| self.holder(pid, fd))
            .collect()
    }

    fn holder(&self, pid: i32, fd: i32) -> Holder {
        let processes = &self.world.processes;
        if pid == self.process.pid {
            Holder::Itself(fd)
        } else if pid == self.world.this_process {
            Holder::Scenario
        } else if let Some(other) = processes.iter().find(|p| p.pid == pid) {
            Holder::Other(format!("{} {}", other.name, other.own_pid), fd)
        } else {
            Holder::Other("another program".to_string(), fd)
        }
    }
}

/// Who has an end of a pipe open.
pub(super) enum Holder {
    /// The process in question.
    Itself(i32),
    /// The run, which speaks to the program through it.
    Scenario,
    /// A process, by name and number.
    Other(String, i32),
}

fn ends(pid: i32, target: &str, to_write: bool) -> Vec<(i32, i32)> {
    let directory = format!("/proc/{pid}/fd");
    let mut fds: Vec<i32> = numbers(std::path::Path::new(&directory)).collect();
    fds.sort_unstable();
    fds.retain(|fd| {
        let link = fs::read_link(format!("{directory}/{fd}"));
        link.is_ok_and(|link| link.as_os_str() == target)
            && access(pid, *fd).is_some_and(|(read, write)| match to_write {
                true => write,
                false => read,
            })
    });
    fds.into_iter().map(|fd| (pid, fd)).collect()
}

/// Is a descriptor open for reading, and for writing?
fn access(pid: i32, fd: i32) -> Option<(bool, bool)> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let flags = crate::processes::field(&info, "flags:")?;
    let access = i32::from_str_radix(flags, 8).ok()? & libc::O_ACCMODE;
    Some((access != libc::O_WRONLY, access != libc::O_RDONLY))
}

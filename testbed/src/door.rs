//! A door into a running network, for another terminal of the same user.
//!
//! A door is an abstract Unix socket (unix(7)) outside the network: it needs no
//! file, and goes with its process however that ends. Whoever knocks, and is the
//! same user, gets a process descriptor of each host, which setns(2) takes.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg,
};
use nix::unistd::geteuid;

use crate::error::{Call, Error, Result};
use crate::running::Testbed;
use crate::sys;

/// More hosts than any network has.
const MOST_HOSTS: usize = 32;
/// More than their names take.
const LONGEST_ANSWER: usize = 4096;

/// A door that is not open yet.
pub struct Door {
    listener: UnixListener,
}

impl Door {
    /// Sets a door into the wall. The label says what goes on behind it. Comes
    /// before [`crate::enter`], which leaves the outside for good.
    pub fn build(label: &str) -> Result<Door> {
        let name = format!("{}{}/{label}", prefix(), std::process::id());
        let address = SocketAddr::from_abstract_name(&name)
            .call(format!("socket name {name}"))?;
        let listener =
            UnixListener::bind_addr(&address).call(format!("bind @{name}"))?;
        Ok(Door { listener })
    }

    /// Opens it: from now on who knocks is given the network's hosts.
    pub fn open(self, net: &Testbed) -> Result<()> {
        let mut hosts = Vec::new();
        for host in net.hosts() {
            // A host on another machine is entered by ssh.
            let Some(process) = host.process() else { continue };
            let process = process.try_clone().call("dup pidfd")?;
            hosts.push((host.name().to_string(), process));
        }
        std::thread::Builder::new()
            .name("door".into())
            .spawn(move || {
                for visitor in self.listener.incoming().flatten() {
                    if is_ours(&visitor) {
                        // Who has gone again needs no answer.
                        let _ = hand_out(&visitor, &hosts);
                    }
                }
            })
            .call("clone thread")?;
        Ok(())
    }
}

/// A network that runs, as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    name: String,
    /// What goes on in it.
    pub label: String,
    /// The process that holds it.
    pub pid: u32,
}

impl Running {
    /// The networks of this user, the newest last.
    pub fn all() -> Result<Vec<Running>> {
        let path = "/proc/net/unix";
        let table =
            std::fs::read_to_string(path).call(format!("read {path}"))?;
        let prefix = format!("@{}", prefix());
        let mut found: Vec<Running> = table
            .lines()
            .filter_map(|line| {
                let name = line.split_whitespace().nth(7)?;
                let (pid, label) =
                    name.strip_prefix(&prefix)?.split_once('/')?;
                Some(Running {
                    name: name[1..].to_string(),
                    label: label.to_string(),
                    pid: pid.parse().ok()?,
                })
            })
            .collect();
        found.sort_by_key(|running| running.pid);
        found.dedup();
        Ok(found)
    }

    /// Knocks: the hosts by name, each with a descriptor for [`join`].
    pub fn hosts(&self) -> Result<Vec<(String, OwnedFd)>> {
        let call = format!("connect @{}", self.name);
        let address =
            SocketAddr::from_abstract_name(&self.name).call(call.clone())?;
        let stream = UnixStream::connect_addr(&address).call(call)?;
        // Another user could have taken the name.
        if !is_ours(&stream) {
            return Err(Error::new(format!(
                "@{} belongs to another user",
                self.name
            )));
        }
        receive(&stream)
    }
}

/// Makes `command`, once it is spawned, run on the host behind `process`, with
/// every capability over that host and over nothing else.
pub fn join(command: &mut Command, process: OwnedFd) {
    // Root's networks have no user namespace: root needs none.
    let user = if geteuid().is_root() { 0 } else { libc::CLONE_NEWUSER };
    let kinds = user
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWPID;
    sys::pre_exec(command, move || {
        sys::join(&process, kinds)?;
        sys::keep_capabilities()?;
        sys::restore_interrupts();
        sys::fork_and_wait()
    });
}

/// Makes `command`, after [`join`], lead the terminal at standard input, as a
/// shell must: a process group that is led from outside its PID namespace has
/// the number 0 in there, and dash cannot give the terminal back to that.
pub fn lead_the_terminal(command: &mut Command) {
    sys::pre_exec(command, || {
        sys::lead_the_terminal();
        Ok(())
    });
}

/// Ignores SIGINT, SIGQUIT and SIGTTOU in this process; a program that [`join`]
/// starts gets them as ever.
pub fn leave_interrupts_to_children() {
    sys::ignore_interrupts();
}

/// `testbed/UID/`, what the names of this user's doors begin with.
fn prefix() -> String {
    format!("testbed/{}/", geteuid())
}

fn is_ours(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

fn hand_out(
    visitor: &UnixStream,
    hosts: &[(String, OwnedFd)],
) -> nix::Result<()> {
    let names: Vec<&str> = hosts.iter().map(|host| host.0.as_str()).collect();
    let names = names.join("\n");
    let fds: Vec<RawFd> = hosts.iter().map(|host| host.1.as_raw_fd()).collect();
    sendmsg::<()>(
        visitor.as_raw_fd(),
        &[IoSlice::new(names.as_bytes())],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

fn receive(stream: &UnixStream) -> Result<Vec<(String, OwnedFd)>> {
    let mut names = [0; LONGEST_ANSWER];
    let mut rights = nix::cmsg_space!([RawFd; MOST_HOSTS]);
    let mut parts = [IoSliceMut::new(&mut names)];
    let answer = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut parts,
        Some(&mut rights),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .call("recvmsg SCM_RIGHTS")?;
    let mut processes = Vec::new();
    for message in answer.cmsgs().call("recvmsg SCM_RIGHTS")? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            processes.extend(fds.into_iter().map(sys::own));
        }
    }
    let length = answer.bytes;
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    Ok(names.lines().map(str::to_string).zip(processes).collect())
}

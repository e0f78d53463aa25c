//! What is inside a host: sockets, descriptors, IPC objects, and where a program
//! that does not go on is.

use std::fs;
use std::path::PathBuf;

use super::{Host, Place};
use crate::autopsy::{Autopsy, World};
use crate::descriptors::{self, Descriptor, Names, Tables};
use crate::error::{Call, Error, Result};
use crate::ipc::IpcObject;
use crate::link::Ask;
use crate::power::Power;
use crate::program::Program;
use crate::sockets::TcpSocket;
use crate::trace::Trace;
use crate::{processes, sessions, sys};

impl Host {
    /// The host's TCP sockets at this moment.
    pub fn tcp_sockets(&self) -> Result<Vec<TcpSocket>> {
        match &self.place {
            Place::Here(here) => here.core.inspector.tcp(),
            Place::There(link) => link.ask(&Ask::TcpSockets),
        }
    }

    /// The descriptors of a program's first process; none once it has ended.
    pub fn descriptors(&self, program: &Program) -> Result<Vec<Descriptor>> {
        if let Place::There(link) = &self.place {
            return program.descriptors_there(link);
        }
        match program.number()? {
            Some(pid) => descriptors::of_process(pid, &self.tables()?),
            None => Ok(Vec::new()),
        }
    }

    /// The descriptors of a process of this host, by its number as this run's
    /// /proc counts. A zombie has none.
    pub fn descriptors_of(&self, pid: i32) -> Result<Vec<Descriptor>> {
        self.here(Power::Processes)?;
        descriptors::of_process(pid, &self.tables()?)
    }

    /// What the host's IPC namespace, /dev/shm and /dev/mqueue hold: what its
    /// programs have made and not removed.
    pub fn ipc(&self) -> Result<Vec<IpcObject>> {
        self.here(Power::Processes)?.ipc()
    }

    /// The directory that its programs start in and can write to, as this
    /// process sees it (not its threads that are on a host). `None`: this
    /// machine has no place for one.
    pub fn scratch(&self) -> Option<PathBuf> {
        self.here(Power::Processes).ok()?.core.room.scratch()
    }

    /// Sends a signal, by its number, to a process of this host, by its number
    /// as this run's /proc counts.
    ///
    /// # Errors
    ///
    /// A process of another host, or of none, and the host's own process 1.
    pub fn signal(&self, pid: i32, number: i32) -> Result<()> {
        let here = self.here(Power::Processes)?;
        let process = sys::pidfd_open(pid);
        let process = process.call(format!("pidfd_open {pid}"))?;
        let first = sessions::number(&here.core.first)?.unwrap_or_default();
        let ours = processes::inode(first, "pid");
        if pid == first
            || ours.is_none()
            || ours != processes::inode(pid, "pid")
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
        let here = match &self.place {
            Place::Here(here) => here,
            Place::There(link) => return program.autopsy_there(link),
        };
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
            objects: here.ipc()?,
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
}

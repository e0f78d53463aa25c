//! The IPC objects of a host: what System V calls and POSIX calls have made,
//! and nobody has removed.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Call, Result};
use crate::room::Room;
use crate::sys;

/// The kinds of objects, by the calls that make them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum IpcKind {
    /// semget(2)
    SemaphoreSet,
    /// shmget(2)
    SharedMemory,
    /// msgget(2)
    MessageQueue,
    /// sem_open(3)
    PosixSemaphore,
    /// shm_open(3), or any other file in /dev/shm
    PosixSharedMemory,
    /// mq_open(3)
    PosixMessageQueue,
}

/// One object of a host. A field that its kind does not have is 0 or empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpcObject {
    /// What it is.
    pub kind: IpcKind,
    /// The key, as `0x4d2`, or the name, as `/queue`; `private` for
    /// IPC_PRIVATE.
    pub name: String,
    /// The number that System V calls take; -1 for POSIX objects.
    pub id: i32,
    /// Processes that have to do with it, as this run's /proc counts: of shared
    /// memory who made it and who last attached or detached it, of a queue who
    /// last sent and who last received.
    pub pids: Vec<i32>,
    /// The bytes of memory, or of the messages in the queue.
    pub bytes: u64,
    /// The messages in the queue.
    pub messages: u64,
    /// How many the queue holds (POSIX).
    pub most_messages: u64,
    /// How often the memory is attached.
    pub attached: u64,
    /// The semaphores' values.
    pub values: Vec<u32>,
}

impl IpcObject {
    fn new(kind: IpcKind, name: impl Into<String>) -> IpcObject {
        IpcObject {
            kind,
            name: name.into(),
            id: -1,
            pids: Vec::new(),
            bytes: 0,
            messages: 0,
            most_messages: 0,
            attached: 0,
            values: Vec::new(),
        }
    }
}

/// The System V objects of the IPC namespace that the calling thread is in.
pub(crate) fn system_v() -> Result<Vec<IpcObject>> {
    let mut found = Vec::new();
    for (file, kind) in [
        ("sem", IpcKind::SemaphoreSet),
        ("shm", IpcKind::SharedMemory),
        ("msg", IpcKind::MessageQueue),
    ] {
        let path = format!("/proc/sysvipc/{file}");
        let table = fs::read_to_string(&path);
        let table = table.call(format!("read {path}"))?;
        found.extend(table.lines().skip(1).filter_map(|row| parse(kind, row)));
    }
    Ok(found)
}

/// A row of proc(5), /proc/sysvipc: key, id, permissions, and then what the
/// kind has.
fn parse(kind: IpcKind, row: &str) -> Option<IpcObject> {
    let row: Vec<i64> =
        row.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let key = *row.first()? as u32;
    let name = match key {
        0 => "private".to_string(),
        key => format!("{key:#x}"),
    };
    let mut object = IpcObject::new(kind, name);
    object.id = *row.get(1)? as i32;
    let (third, fourth) = (*row.get(3)? as u64, *row.get(4)?);
    let pids = match kind {
        IpcKind::SemaphoreSet => {
            let values = sys::semaphore_values(object.id, third as usize);
            // Not readable for us: as many zeros.
            let values = values.unwrap_or_else(|_| vec![0; third as usize]);
            object.values = values.into_iter().map(u32::from).collect();
            Vec::new()
        }
        IpcKind::SharedMemory => {
            object.bytes = third;
            object.attached = *row.get(6)? as u64;
            vec![fourth, *row.get(5)?]
        }
        _ => {
            object.bytes = third;
            object.messages = fourth as u64;
            vec![*row.get(5)?, *row.get(6)?]
        }
    };
    object.pids = pids.into_iter().map(|pid| pid as i32).collect();
    object.pids.retain(|pid| *pid != 0);
    object.pids.dedup();
    Some(object)
}

/// The POSIX objects of a host.
pub(crate) fn posix(room: &Room) -> Vec<IpcObject> {
    let mut found = Vec::new();
    for path in room.shm().iter().flat_map(|shm| files(shm)) {
        found.extend(in_memory(&path));
    }
    for path in room.queues().iter().flat_map(|queues| files(queues)) {
        found.extend(queue(&path));
    }
    found
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A file in /dev/shm; glibc names those of semaphores `sem.NAME`, and keeps
/// the value in the first word.
fn in_memory(path: &Path) -> Option<IpcObject> {
    let bytes = fs::symlink_metadata(path).ok()?.len();
    let file = name_of(path);
    let mut object = match file.strip_prefix("sem.") {
        Some(name) => {
            let mut object =
                IpcObject::new(IpcKind::PosixSemaphore, format!("/{name}"));
            let content = fs::read(path).ok()?;
            let word = content.get(..4)?.try_into().ok()?;
            object.values = vec![u32::from_ne_bytes(word)];
            object
        }
        None => IpcObject::new(IpcKind::PosixSharedMemory, format!("/{file}")),
    };
    object.bytes = bytes;
    Some(object)
}

/// A file of mqueue: `QSIZE:129 NOTIFY:0 SIGNO:0 NOTIFY_PID:8260`
/// (mq_overview(7)).
fn queue(path: &Path) -> Option<IpcObject> {
    let name = format!("/{}", name_of(path));
    let mut object = IpcObject::new(IpcKind::PosixMessageQueue, name);
    let text = fs::read_to_string(path).ok()?;
    let size = text.split_whitespace().next()?.strip_prefix("QSIZE:")?;
    object.bytes = size.parse().ok()?;
    let file = File::open(path).ok()?;
    (object.messages, object.most_messages) = sys::queue_length(&file).ok()?;
    Some(object)
}

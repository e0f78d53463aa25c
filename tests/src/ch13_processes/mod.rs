//! Chapter 13: processes.

pub mod fork_exec;
pub mod message_queue;
pub mod pass_fd;
pub mod pipe_ipc;
pub mod shared_memory;
pub mod sysv_sem;
pub mod zombies;

mod client;

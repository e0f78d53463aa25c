//! Chapter 13: processes.

pub mod fork_exec;
pub mod pipe_ipc;
pub mod zombies;
// sysv_sem
// shared_memory
// message_queue
// pass_fd

mod client;

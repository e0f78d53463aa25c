//! Chapter 13: processes.

// fork_exec
// zombies
// pipe_ipc
pub mod fork_exec;
pub mod pipe_ipc;
pub mod shared_memory;
pub mod sysv_sem;
pub mod zombies;
// message_queue
// pass_fd

mod client;

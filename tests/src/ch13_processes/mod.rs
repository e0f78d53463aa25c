//! Chapter 13: processes.

pub mod fork_exec;
// zombies
// pipe_ipc
// sysv_sem
// shared_memory
pub mod message_queue;
// pass_fd

//! Chapter 13: processes.

mod client;
// fork_exec
pub mod pipe_ipc;
pub mod zombies;
// sysv_sem
// shared_memory
// message_queue
// pass_fd

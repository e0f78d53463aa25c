//! Chapter 13: processes.

mod client;
// fork_exec
pub mod zombies;
// pipe_ipc
// sysv_sem
// shared_memory
// message_queue
// pass_fd

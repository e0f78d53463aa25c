//! Chapter 13: processes.

// fork_exec
// zombies
// pipe_ipc
// sysv_sem
// shared_memory
// message_queue
pub mod pass_fd;

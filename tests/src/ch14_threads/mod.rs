//! Chapter 14: threads.

pub mod mutex;
pub mod threads;
// condvar
// semaphore

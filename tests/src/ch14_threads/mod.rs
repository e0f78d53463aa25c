//! Chapter 14: threads.

pub mod condvar;
pub mod mutex;
mod steps;
pub mod threads;
// semaphore

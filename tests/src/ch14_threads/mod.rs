//! Chapter 14: threads.

pub mod condvar;
pub mod mutex;
pub mod semaphore;
mod steps;
pub mod threads;

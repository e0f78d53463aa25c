//! Chapter 14: threads.

pub mod threads;
// mutex
// condvar
// semaphore

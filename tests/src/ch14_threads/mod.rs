//! Chapter 14: threads.

// threads
// mutex
// condvar
// semaphore

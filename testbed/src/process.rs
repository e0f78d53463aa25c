//! A child of this process, which goes with whoever holds it.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// A child of ours. Dropping it kills and reaps it.
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    /// The mount namespace that it and its descendants are in.
    pub(crate) namespace: OwnedFd,
}

impl Process {
    pub(crate) fn new(child: Child, namespace: OwnedFd) -> Process {
        Process { child: Arc::new(Mutex::new(child)), namespace }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Child> {
        lock(&self.child)
    }

    /// For its host, which ends when every child that was on it is reaped.
    pub(crate) fn mourner(&self) -> Mourner {
        Mourner(Arc::downgrade(&self.child))
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        let mut child = self.lock();
        let _ = child.kill(); // It may have ended by itself.
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who reaps a child that its host has killed while the program is still held.
pub(crate) struct Mourner(Weak<Mutex<Child>>);

impl Mourner {
    /// Waits for the child's end; the program's holder can still ask for it.
    pub(crate) fn reap(&self) {
        if let Some(child) = self.0.upgrade() {
            let _ = lock(&child).wait();
        }
    }

    /// Is there nobody left to mourn?
    pub(crate) fn is_done(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

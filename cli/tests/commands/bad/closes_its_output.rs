//! Closes standard output and standard error, and lives on.

use std::os::fd::{FromRawFd, OwnedFd};

fn main() {
    for number in [1, 2] {
        // SAFETY: nothing in this program writes to either again.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

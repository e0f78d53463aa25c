//! Sends SIGKILL to its parent, to process 1 and to everybody it may.

fn main() {
    // SAFETY: plain integer arguments.
    unsafe {
        let parent = libc::getppid();
        if parent > 0 {
            libc::kill(parent, libc::SIGKILL);
        }
        libc::kill(1, libc::SIGKILL);
        libc::kill(-1, libc::SIGKILL);
    }
}

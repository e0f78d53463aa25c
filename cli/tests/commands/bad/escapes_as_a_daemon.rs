//! Forks twice with a session in between, as daemons do, and returns.

fn main() {
    // SAFETY: one thread, and no pointers.
    unsafe {
        if libc::fork() > 0 {
            return;
        }
        libc::setsid();
        if libc::fork() > 0 {
            libc::_exit(0);
        }
        for descriptor in 0..3 {
            libc::close(descriptor);
        }
        loop {
            libc::pause();
        }
    }
}

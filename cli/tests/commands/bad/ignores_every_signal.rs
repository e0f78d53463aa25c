//! Stays, whatever it is asked, and leaves a child in a session of its own.

use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() {
    for signal in 1..=64 {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    if std::env::args().count() < 4 {
        let me = std::env::current_exe().expect("readlink /proc/self/exe");
        let mut child = Command::new(me);
        child.args(std::env::args().skip(1)).arg("again");
        // SAFETY: setsid is async-signal-safe.
        unsafe {
            child.pre_exec(|| {
                libc::setsid();
                Ok(())
            })
        };
        child.spawn().expect("spawn");
    }
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

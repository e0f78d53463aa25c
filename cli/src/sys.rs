//! The system calls that no safe binding covers; this crate's only `unsafe`.

use nix::sys::signal::{SigHandler, Signal, signal};

/// Ends this process quietly when nobody reads its output any more, as in
/// `lab list | head`. Rust ignores SIGPIPE, and `println!` then panics.
pub fn end_with_the_reader() {
    // SAFETY: the default installs no handler. It cannot fail for SIGPIPE.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}
